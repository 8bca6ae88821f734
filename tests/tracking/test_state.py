"""mlflow.json and the file of a sweep's folder, after anything may have happened to them."""

from pathlib import Path
from typing import Any

import pytest
from mirrored import same_curves, state

from psilon_bench.records.places import mlflow_parent
from psilon_bench.tracking.mirror import Mirror
from psilon_bench.tracking.state import MirrorState, ParentRun, is_sent, mirror_state, tell_once

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")  # in MLflow itself
ODD = [
    b"",
    b"[]",
    b"{}",
    b"null",
    b"1",
    b'"x"',
    b'{"uri": "sqlite',
    b'{"uri": "\xff"}',
    b"\x00" * 64,
    b'{"uri": 1, "run_id": [], "done": {}}',
    b'{"uri": "http://h", "run_id": "../../x", "done": true}',
    b'{"uri": "http://h", "done": "yes"}',
    b"[" * 5000,
]


@pytest.mark.parametrize("content", ODD)
def test_what_does_not_fit_counts_as_absent_and_is_told(
    tmp_path: Path, content: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line that names the file, once however often it is asked for."""
    tell_once.cache_clear()
    (tmp_path / "mlflow.json").write_bytes(content)
    mlflow_parent(tmp_path).write_bytes(content)
    (tmp_path / "run.json").write_text("{}")
    for _ in range(3):
        assert mirror_state(tmp_path) is None
        assert not is_sent(tmp_path, "http://h")
        assert ParentRun.read(mlflow_parent(tmp_path)) is None
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert all(line.endswith(".") and "cannot be used and counts as absent: " in line for line in said)


def test_absent_is_nothing_to_tell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nor is a folder in the file's place anything to fall over."""
    assert mirror_state(tmp_path) is None
    assert capsys.readouterr().err == ""
    (tmp_path / "mlflow.json").mkdir()
    assert mirror_state(tmp_path) is None
    assert "Is a directory" in capsys.readouterr().err


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    """And holds nothing that is not known."""
    one = MirrorState(uri="http://h", run_id="0" * 32, done=False, token="x")
    one.write(tmp_path / "mlflow.json")
    assert mirror_state(tmp_path) == one
    MirrorState(uri="http://h", done=True).write(tmp_path / "mlflow.json")
    assert state(tmp_path) == {"uri": "http://h", "done": True}


@pytest.mark.parametrize("content", [b"[]", b'{"uri": "sqlite'])
def test_damage_costs_no_run_and_no_parent(experiment: Any, record: Any, content: Any) -> None:
    """The mirror finds both again in MLflow: nothing is lost, nothing there twice."""
    name = f"damage{len(content)}"
    one = record(2, f"name={name}", in_sweep=True)
    first = Mirror(experiment, one.folder)
    assert not first.send()
    (one.folder / "mlflow.json").write_text(f'{{"uri": "{experiment.uri}", "done": false}}')
    mlflow_parent(one.folder.parent).write_bytes(content)
    experiment.parents.clear()
    one.finish("finished")
    second = Mirror(experiment, one.folder)
    assert second.send()
    assert second.run_id == first.run_id
    other = record(1, f"name={name}", "seed=1", in_sweep=True)
    other.finish("finished")
    assert Mirror(experiment, other.folder).send()
    same_curves(experiment, second)
    assert len(list(experiment.runs(f"tags.sweep = '{name}' and tags.parent_of != ''"))) == 1
