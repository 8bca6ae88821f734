"""Records of any shape, and of anybody: what does not fit is named and left out, and nothing that they hold is run."""

import json
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_records import write_grid, write_record

from psilon_bench.errors import UsageError
from psilon_bench.report.material import Material
from psilon_bench.report.metric import chosen_by
from psilon_bench.report.report import make
from psilon_bench.report.write import write_report

METRIC = chosen_by("val/loss", None)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)
TOP = ["status", "reason", "title", "metrics", "params", "fingerprint", "seed", "times", "task", "command", "hardware"]
TOP += ["versions", "process", "git_commit", "inputs_kept", "lipschitz_local_values", "code_version"]


def table(report: Any, name: Any) -> Any:
    (found,) = [one for one in report.tables if one.name == name]
    return {Path(str(row[0])).parent.name: row[1] for row in found.rows}


def test_records_of_other_shapes(tmp_path: Path) -> None:
    """Each is named with what is wrong, left out, and counted; the others make the report."""
    runs = tmp_path / "runs"
    write_grid(runs, {1e-3: [0.5, 0.6], 1e-2: [0.7, 0.8]})
    whole = json.loads((runs / "record_00000/run.json").read_text())
    shapes = {
        "list": [],
        "empty": {},
        "no_status": {key: value for key, value in whole.items() if key != "status"},
        "fingerprint": whole | {"fingerprint": [1]},
        "seed": whole | {"seed": {}},
        "metrics": whole | {"metrics": {"val/loss": "low", "test/loss": None}},
        "params": whole | {"params": [1]},
        "times": whole | {"times": {}},
        "task": whole | {"task": "wine"},
    }
    for name, value in shapes.items():
        (runs / name).mkdir()
        (runs / name / "run.json").write_text(json.dumps(value))
    made = make([runs], METRIC)
    assert made.notes[:2] == ["13 records: 4 finished.", "9 records are damaged and left out."]
    reasons = table(made, "damaged")
    assert reasons.keys() == shapes.keys()
    assert reasons["metrics"] == (
        "metrics.val/loss is 'low', it should be a valid number; metrics.test/loss is None, it should be a valid number"
    )
    assert reasons["no_status"] == "it lacks status"
    validation = made.choices[0].validation
    assert validation is not None
    assert validation.mean == pytest.approx(0.55)


KEYS = ["reg.lam", "dataset.split_seed", "dataset.path", "optimizer.lr", "model.name", "hardware.precision", "val/loss"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(st.sampled_from(TOP), JSON), max_size=1),
    inner=JSON | st.floats(allow_nan=False),
    key=st.sampled_from(KEYS) | st.text(max_size=3),
)
def test_any_record_gives_a_report_or_one_line(tmp_path: Path, changes: Any, inner: Any, key: Any) -> None:
    """Of any values at the top, and any key among metrics, parameters and the task, beside equal settings."""
    path = tmp_path / "runs/one/run.json"
    if not path.exists():
        write_grid(tmp_path / "runs", {1e-3: [0.5, 0.6], 1e-2: [0.5, 0.6]})
        path.parent.mkdir(parents=True, exist_ok=True)
    run = json.loads((tmp_path / "runs/record_00000/run.json").read_text()) | dict(changes)
    for part in ("metrics", "params", "task"):
        if isinstance(run[part], dict) and (part != "metrics" or type(inner) in (int, float)):
            run[part][key] = inner
    path.write_text(json.dumps(run))
    try:
        made = make([tmp_path / "runs"], METRIC)
    except UsageError:
        return
    write_report(made, tmp_path / "out")


def test_numbers_without_end(tmp_path: Path) -> None:
    """Finite ones whose sum is not; whole ones beyond any float; nan, which equals nothing, as a parameter."""
    for seed in (0, 1):
        params = {"optimizer.eps": float("nan"), "model.big": 10**400}
        write_record(tmp_path, 1e-3, seed, {"val/loss": 1.7e308 + seed}, params=params)
        write_record(tmp_path, 1e-2, seed, {"val/loss": 0.5}, params=params | {"model.big": 1})
    made = make([tmp_path], METRIC)
    ((group, chosen),) = [(choice.group, choice.setting) for choice in made.choices]
    assert len(group.settings) == 2
    assert chosen is not None
    assert chosen.value("reg.lam") == 1e-2
    assert "1.7e+308" in next(one for one in made.tables if one.name == "settings").markdown()


HISTORIES = {
    "utf8": (b"epoch,step,val/loss\n1,5,\xff\n", "it is not UTF-8: byte 24 is 0xff"),
    "nul": (b"epoch,step,val/loss\n1,5,0.\x001\n", "line 2 has '0.\\x001' as val/loss, which is no number"),
    "ragged": (b"epoch,step,val/loss\n1,5,0.5\n2,10\n", "line 3 has 2 fields and the header 3"),
    "text": (b"epoch,step,val/loss\n1,5,0.5\n2,10,low\n", "line 3 has 'low' as val/loss, which is no number"),
    "wide": (b"epoch,step,val/loss\n1,5,0.5,7\n2,10,0.4,7\n", "line 2 has 4 fields and the header 3"),
    "stepless": (b"epoch,val/loss\n1,0.5\n2,0.4\n", "it has no column step, but epoch, val/loss"),
    "backwards": (b"epoch,step,val/loss\n1,5,0.5\n2,5,0.4\n", "its steps do not increase from row to row"),
    "blank": (b"\n\n", "line 2 has 0 fields and the header 0"),
}


def test_histories_of_other_shapes(tmp_path: Path) -> None:
    """The file and the first fault; the curves are those of the others, and numbers do not need a history."""
    runs = tmp_path / "runs"
    rows = [{"epoch": i, "step": 5 * i, "val/loss": 1 / i} for i in (1, 2)]
    folders = {name: write_record(runs, 1e-3, seed, {"val/loss": 0.5}) for seed, name in enumerate(HISTORIES)}
    for name, folder in folders.items():
        (folder / "history.csv").write_bytes(HISTORIES[name][0])
    for seed in (98, 99):
        write_record(runs, 1e-3, seed, {"val/loss": 0.5}, history=rows)
    made = make([runs], METRIC)
    page = write_report(made, tmp_path / "out", Material(made.choices, METRIC))
    validation = made.choices[0].validation
    assert validation is not None
    assert validation.n == len(HISTORIES) + 2
    (note,) = [note for note in made.notes if "histories are damaged" in note]
    told = [name for name in HISTORIES if name != "blank"]
    assert note.startswith(f"{len(table(made, 'damaged'))} histories are damaged and left out of the figures: ")
    reasons = table(made, "damaged")
    for name in told:
        assert reasons[folders[name].name] == HISTORIES[name][1]
        assert folders[name].name in page.read_text(encoding="utf-8")
    assert set(pd.read_csv(tmp_path / "out/figures/curves_wine.csv")["n"]) == {2}
    assert not [note for note in made.notes if "cannot be drawn" in note]


class Payload:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, marker: Any) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module that makes a file when it is imported, and another when it is called; and both files."""
    marker = tmp_path / "it_ran"
    (tmp_path / "modules").mkdir()
    text = f"from pathlib import Path\nPath({str(marker)!r}).touch()\n"
    text += f"def network(**arguments):\n    Path({str(marker)!r}).touch()\n"
    (tmp_path / "modules/trap_of_a_stranger.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path / "modules")
    return marker


@pytest.mark.sampled(every=5)
@pytest.mark.parametrize(
    ("group", "target"),
    [
        ("model", "trap_of_a_stranger.network"),
        pytest.param("model", "psilon_bench.models.mlp.torch.hub.load", marks=pytest.mark.slow),
        pytest.param("model", ["os.system"], marks=pytest.mark.slow),
        pytest.param("model", None, marks=pytest.mark.slow),
        ("dataset", "os.system"),
    ],
)
def test_no_code_of_a_record_runs(networks: Any, trap: Any, tmp_path: Path, group: Any, target: Any) -> None:
    """Neither what its configuration names nor its pickle: such figures are left out, with a word."""
    for folder in (tmp_path / "networks").rglob("run.json"):
        place = folder.parent
        (place / "preprocessing.json").write_bytes(pickle.dumps(Payload(trap)))
        config = yaml.safe_load((place / "config.yaml").read_text())
        config[group]["_target_"] = target
        (place / "config.yaml").write_text(yaml.safe_dump(config))
    made = make([tmp_path / "networks"], METRIC)
    write_report(made, tmp_path / "out", Material(made.choices, METRIC))
    assert not trap.exists()
    assert "trap_of_a_stranger" not in sys.modules
    left_out = [note for note in made.notes if "networks are not drawn" in note]
    assert left_out
    assert any(f"{group}._target_={target} is not of this package" in note for note in left_out) or isinstance(
        target, list
    )
    drawn = {path.name.split("_")[0] for path in (tmp_path / "out/figures").glob("*.png")}
    assert "decision" not in drawn
    assert ("weight" in drawn) == (group == "dataset")


@pytest.mark.slow
def test_a_network_that_is_a_pickle(networks: Any, trap: Any, tmp_path: Path) -> None:
    """Weights are read as tensors alone."""
    for path in (tmp_path / "networks").rglob("model.pt"):
        path.write_bytes(pickle.dumps(Payload(trap)))
    made = make([tmp_path / "networks"], METRIC)
    write_report(made, tmp_path / "out", Material(made.choices, METRIC))
    assert not trap.exists()
    assert any("networks are not drawn" in note for note in made.notes)


def test_preprocessing_is_fitted_again(networks: Any, trap: Any, tmp_path: Path) -> None:
    """Figures of networks read none of a record: they are the same with another in its place."""
    from psilon_bench.report.figures import decision_regions

    (before,) = decision_regions.draw(networks)
    for path in (tmp_path / "networks").rglob("preprocessing.json"):
        path.write_bytes(pickle.dumps(Payload(trap)))
    (after,) = decision_regions.draw(networks)
    assert not trap.exists()
    assert np.array_equal(np.array(before.points, dtype=object), np.array(after.points, dtype=object))


@pytest.mark.slow
def test_data_that_changed_are_not_drawn(tmp_path: Path, finished: Any) -> None:
    """The points of a table that was edited are not those that the network learned from."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(60, 2)), columns=["a", "b"]).assign(target=["x", "y"] * 30)
    frame.to_csv(tmp_path / "data.csv", index=False)
    finished(
        "dataset=table", f"dataset.path={tmp_path / 'data.csv'}", "model=mlp_factorized", "reg=l2", "trainer.epochs=2"
    )
    made = make([tmp_path / "results"], METRIC)
    assert write_and_list(made, tmp_path) == {"decision_regions_data.png"}
    frame.assign(a=frame["a"] + 1).to_csv(tmp_path / "data.csv", index=False)
    made = make([tmp_path / "results"], METRIC)
    assert write_and_list(made, tmp_path) == set()
    assert any("Changed: the data have changed (checksum " in note for note in made.notes)


def write_and_list(made: Any, folder: Any) -> Any:
    write_report(made, folder / "out", Material(made.choices, METRIC))
    return {path.name for path in (folder / "out/figures").glob("decision*.png")}
