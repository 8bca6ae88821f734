"""What is done is known by what was computed: data and code that changed are trained again, said, and never mixed."""

import json
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from psilon_bench.records.history import read_rows

SHORT = ("model.hidden=4", "model.depth=2", "trainer.epochs=4", "trainer.eval_every=2", "hardware.threads=1")
TABLE = ("dataset=table", "dataset.path=my.csv", "tracking=none", "hardware.plan=stacked")
LONG = ("model.hidden=4", "model.depth=2", "trainer.epochs=60", "trainer.eval_every=2", "hardware.threads=1")


def write(path: Path, slope: float) -> None:
    """80 rows of a target that depends on one input by this slope."""
    path.parent.mkdir(exist_ok=True)
    rows = (f"{i % 13},{slope * (i % 13) + i % 3}" for i in range(80))
    path.write_text("\n".join(["x,target", *rows]) + "\n", encoding="utf-8")


def test_an_edited_table_is_trained_again(grid: Any, records: Any, tmp_path: Path, capsys: Any) -> None:
    """The same command, and one with another seed, after the edit: all on the data as they are, and it is said once."""
    write(tmp_path / "my.csv", 1.0)
    grid([["seed=0"], ["seed=1"]], *TABLE, *SHORT)
    capsys.readouterr()
    write(tmp_path / "my.csv", 2.0)
    grid([["seed=0"], ["seed=1"], ["seed=2"]], *TABLE, "dataset.path=./my.csv", *SHORT)
    text = capsys.readouterr().out
    assert text.count("data changed since (checksum ") == 1
    assert "2 of 3 runs train again." in text
    checksums = [(run["seed"], run["task"]["checksum"]) for run in records()]
    assert len(set(checksums)) == len(checksums) == 5
    assert len({checksum for _, checksum in checksums}) == 2


@pytest.mark.slow
def test_one_name_in_two_folders_is_two_data_sets(psilon: Any, records: Any, tmp_path: Path) -> None:
    """Neither takes the other's runs for its own, whether in one sweep or one after the other."""
    write(tmp_path / "a" / "data.csv", 1.0)
    write(tmp_path / "b" / "data.csv", 2.0)
    one = [*TABLE[:1], "tracking=none", "hardware.plan=stacked"]
    code, text = psilon("-m", "dataset.path=a/data.csv", "seed=0,1", *one, tiny=SHORT)
    assert code == 0, text
    code, text = psilon("-m", "dataset.path=a/data.csv,b/data.csv", "seed=0,1", *one, tiny=SHORT)
    assert code == 0, text
    assert "2 of 4 runs are done" in text
    assert "changed" not in text
    places = [Path(run["params"]["dataset.path"]).parent.name for run in records()]
    assert sorted(places) == ["a", "a", "b", "b"]


@pytest.mark.slow
@pytest.mark.parametrize("multirun", [pytest.param((), marks=pytest.mark.slow), ("-m", "seed=0,1")])
def test_a_checkpoint_of_other_data_is_set_aside(
    start: Any, psilon: Any, records: Any, tmp_path: Path, multirun: Any
) -> None:
    """Stopped, edited, the same command: it trains from the start on the new data, and says what it set aside."""
    write(tmp_path / "my.csv", 1.0)
    process = start(*multirun, *TABLE, tiny=LONG)
    while not any(read_rows(run["folder"] / "history.csv") for run in records()):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    text = process.communicate()[0]
    assert process.returncode == 130, text
    before = {run["folder"]: run for run in records()}
    write(tmp_path / "my.csv", 2.0)
    short = tuple(one for one in LONG if "epochs" not in one)
    code, text = psilon(*multirun, *TABLE, "trainer.epochs=60", tiny=short)
    assert code == 0, text
    assert text.count("does not count, for data changed since (checksum ") == 1
    runs = [run for run in records() if run["folder"] not in before]
    assert len(runs) == len(before)
    assert all(run["status"] == "finished" and "resumed" not in run["times"] for run in runs)
    assert all(json.loads((folder / "run.json").read_text())["status"] == "killed" for folder in before)
    assert not {run["task"]["checksum"] for run in runs} & {run["task"]["checksum"] for run in before.values()}
    assert {run["task"]["target"]["scale"] for run in runs} != {
        run["task"]["target"]["scale"] for run in before.values()
    }


@pytest.mark.slow
def test_code_of_ones_own_that_changed(psilon: Any, tmp_path: Path, records: Any) -> None:
    """A class of one's own is edited: what it computed before does not count as done."""
    body = "from psilon_bench.regularizers.path_norm import PathNorm\nclass Mine(PathNorm):\n    {}\n"
    mine = ("reg._target_=mine.Mine", "tracking=none")
    (tmp_path / "mine.py").write_text(body.format("pass"))
    assert psilon("-m", "seed=0,1", *mine)[0] == 0
    assert "2 of 2 runs are done" in psilon("-m", "seed=0,1", *mine)[1]
    shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
    (tmp_path / "mine.py").write_text(
        body.format("def penalty(self, model):\n        return 0 * super().penalty(model)")
    )
    code, text = psilon("-m", "seed=0,1", *mine)
    assert code == 0, text
    assert "the code that makes the numbers changed since (version " in text
    assert len({(run["seed"], run["code_version"]) for run in records()}) == 4
