"""Whatever a run.json holds, its readers get the types that the schema names, or one reason."""

import copy
import json
import math
import os
import pickle
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from psilon_bench.records.run_json import RunJson, Unreadable, read_run_json

WHOLE: dict[str, Any] = {
    "status": "finished",
    "reason": None,
    "title": "pnet pathnorm lam=0.001 seed=3",
    "metrics": {"val/loss": 0.25, "num_nonzero": 7},
    "params": {"name": "a", "seed": 3, "model.name": "pnet", "reg.name": "pathnorm", "optimizer.betas": [0.9, 0.999]},
    "fingerprint": "d213b7b9fb9bccf5",
    "seed": 3,
    "code_version": "0123456789abcdef",
    "git_commit": None,
    "versions": {"torch": "2.13.0"},
    "hardware": {"processor": "an abacus", "cores": 2, "gpu": None},
    "times": {"started": "2030-01-01T12:00:00.000+00:00", "ended": "2030-01-01T12:00:01.000+00:00", "resumed": []},
    "process": {"host": "here", "pid": 12, "began": 1.5},
    "task": {
        "name": "wine",
        "kind": "multiclass",
        "rows": {"train": 3, "val": 2, "test": 1},
        "num_features": 4,
        "num_outputs": 3,
        "input_shape": [4],
        "target": {"name": "class", "center": 0.0, "scale": 1.0},
        "classes": ["a", "b", "c"],
        "source": "/data/wine.csv",
        "licence": "none",
        "checksum": "ab" * 32,
        "notes": [],
    },
    "command": ["psilon-run"],
    "in_sweep": True,
    "lipschitz_local_values": [0.5, None],
    "of_a_later_version": [1],
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@pytest.fixture
def file(tmp_path: Path) -> Any:
    """file(value): a run.json that holds it; text is written as it is."""

    def file(value: Any) -> Any:
        path = tmp_path / "run.json"
        path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
        return path

    return file


def reason(path: Any) -> Any:
    with pytest.raises(Unreadable) as caught:
        read_run_json(path)
    assert caught.value.path == path
    assert "\n" not in caught.value.reason
    assert str(pickle.loads(pickle.dumps(caught.value))) == f"{path}: {caught.value.reason}"
    return caught.value.reason


def test_a_whole_record(file: Any) -> None:
    """Fields by name, and the file as it was."""
    run = read_run_json(file(WHOLE))
    assert run.task.target is not None
    assert (run.status, run.seed, run.task.name, run.task.target.scale) == ("finished", 3, "wine", 1.0)
    assert run.metrics == {"val/loss": 0.25, "num_nonzero": 7.0}
    assert run.raw == WHOLE
    assert pickle.loads(pickle.dumps(run)).raw == WHOLE


def test_records_of_an_earlier_version(file: Any) -> None:
    """What was not written down then has a default."""
    keys = ("code_version", "process", "in_sweep", "lipschitz_local_values", "command")
    run = read_run_json(file({key: value for key, value in WHOLE.items() if key not in keys}))
    assert (run.code_version, run.process, run.in_sweep, run.lipschitz_local_values) == (None, None, False, None)
    assert run.task.checksum == "ab" * 32


def test_a_real_record_fits(finished: Any) -> None:
    """What psilon-run writes is read; every value is kept."""
    folder = finished("dataset=diabetes").folder
    assert read_run_json(folder / "run.json").raw == json.loads((folder / "run.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        ("[]", "it holds [] instead of an object"),
        ("3", "it holds 3 instead of an object"),
        ("{}", "it lacks status, title, metrics, params, fingerprint, seed, times, task"),
    ],
)
def test_other_shapes(file: Any, text: Any, words: Any) -> None:
    """One line says what the file holds instead."""
    assert reason(file(text)).startswith(words)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fingerprint": [1]}, "fingerprint is [1], it should be a valid string"),
        ({"fingerprint": "' or 1"}, "it should match pattern"),
        ({"seed": {}}, "seed is {}, it should be a valid integer"),
        ({"seed": 2**64}, "it should be less than"),
        (
            {"metrics": {"val/loss": "low", "b": None}},
            "metrics.val/loss is 'low', it should be a valid number; metrics.b",
        ),
        ({"metrics": {"val/loss": math.nan}}, "it should be a finite number"),
        ({"params": []}, "params is [], it should be an object"),
        ({"params": {"name": "a"}}, "it should have model.name, reg.name"),
        ({"params": WHOLE["params"] | {"tracking.uri": 3}}, "it should have text as tracking.uri, not 3"),
        ({"times": {}}, "it lacks times.started"),
        ({"times": {"started": "soon"}}, "it should be a date and time"),
        ({"task": None}, "task is None, it should be an object"),
        ({"title": "\ud800"}, "it is not JSON"),
        ({"process": {"host": "here", "pid": 2**40, "began": 0.0}}, "process.pid is 1099511627776, it should be less"),
    ],
)
def test_what_is_wrong_is_named(file: Any, change: Any, words: Any) -> None:
    """The key, the value, the rule."""
    assert words in reason(file(WHOLE | change))


def test_what_is_no_file(tmp_path: Path) -> None:
    """A folder, a pipe (which would be waited for), bytes that are no text."""
    assert reason(tmp_path / "none") == "there is no such file"
    (tmp_path / "folder").mkdir()
    assert reason(tmp_path / "folder") == "there is no such file"
    os.mkfifo(tmp_path / "pipe")
    assert reason(tmp_path / "pipe") == "there is no such file"
    (tmp_path / "bytes").write_bytes(b'{"title": "\xff"}')
    assert reason(tmp_path / "bytes").startswith("it is not JSON")


def places(value: Any, prefix: Any = ()) -> Iterator[Any]:
    """The paths of all values within one."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*prefix, key)
        yield from places(inner, (*prefix, key))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.sampled_from(list(places(WHOLE))), value=JSON, gone=st.booleans())
def test_any_value_in_any_place(file: Any, place: Any, value: Any, gone: Any) -> None:
    """Read with the types of the schema, or refused with a reason."""
    changed = copy.deepcopy(WHOLE)
    holder = changed
    for key in place[:-1]:
        holder = holder[key]
    if gone:
        del holder[place[-1]]
    else:
        holder[place[-1]] = value
    try:
        run = read_run_json(file(changed))
    except Unreadable:
        return
    assert all(type(value) is float and math.isfinite(value) for value in run.metrics.values())
    assert all(isinstance(run.params[key], str) for key in ("name", "model.name", "reg.name"))
    assert type(run.seed) is int
    assert isinstance(datetime.fromisoformat(run.times.started), datetime)
    assert all(isinstance(text, str) for text in (run.title, run.fingerprint, run.task.name, run.task.checksum))
    assert RunJson.model_validate(run.raw).model_dump() == run.model_dump()
