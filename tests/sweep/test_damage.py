"""Damage: a checkpoint that cannot be read, a folder that cannot be written. Nothing blocks, nothing is lost."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from psilon_bench.errors import RecordsFailed
from psilon_bench.machine.signals import Stopped
from psilon_bench.records.history import read_rows
from psilon_bench.records.record import Record
from psilon_bench.run.display import Display
from psilon_bench.run.run import run_alone
from psilon_bench.sweep.sweep import run_sweep
from psilon_bench.training.step import TrainingStep
from psilon_bench.training.trainer import Trainer

RUN = ("model.hidden=4", "model.depth=2", "trainer.epochs=6", "trainer.eval_every=2", "tracking=none")


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "500")


@pytest.fixture
def at_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], None]], None]:
    """at_step(7, f): f is called before the seventh training step, once."""

    def at_step(number: int, act: Callable[[], None]) -> None:
        step, count = TrainingStep.__call__, 0

        def counted(self: Any, batch: Any, taken: Any) -> Any:
            nonlocal count
            count += 1
            if count == number:
                act()
            return step(self, batch, taken)

        monkeypatch.setattr(TrainingStep, "__call__", counted)

    return at_step


def stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def runs() -> list[dict[str, Any]]:
    """run.json of every record, with its folder."""
    found = sorted(Path("results/runs").glob("*/run.json"))
    return [json.loads(path.read_text()) | {"folder": path.parent} for path in found]


def checkpoint(suffix: str) -> Path:
    (path,) = Path("results/runs/.checkpoints").glob(f"*{suffix}")
    return path


DAMAGE: dict[str, Callable[[], object]] = {
    "an empty .json": lambda: checkpoint(".json").write_bytes(b""),
    "a .json of another shape": lambda: checkpoint(".json").write_text('{"fingerprints": [], "folders": []}'),
    "a .json that is a list": lambda: checkpoint(".json").write_text("[]"),
    "a .json without values": lambda: checkpoint(".json").write_text(
        '{"identities":[{}],"paths":[{}],"records":["x"],"sweep":"y","file":"0123456789abcdef-0.pt","sha256":"z"}'
    ),
    "a .json of nothing": lambda: checkpoint(".json").write_text(
        '{"identities":[],"paths":[],"records":[],"sweep":"y","file":"0123456789abcdef-0.pt","sha256":"z"}'
    ),
    "a .json that names another file": lambda: replace("file", "../../../precious.txt"),
    "a .json of bytes": lambda: checkpoint(".json").write_bytes(b"\xff\x00\x80"),
    "a cut .pt": lambda: os.truncate(checkpoint(".pt"), checkpoint(".pt").stat().st_size // 2),
    "an empty .pt": lambda: os.truncate(checkpoint(".pt"), 0),
    "no .pt": lambda: checkpoint(".pt").unlink(),
    "another byte in .pt": lambda: flip(checkpoint(".pt")),
}


def replace(key: str, value: object) -> None:
    path = checkpoint(".json")
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {key: value}))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.sampled(every=3)
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_set_aside(
    config: Any, at_step: Any, capsys: pytest.CaptureFixture[str], damage: Any
) -> None:
    """It is said in one line, the run trains from the start, and the folder is free for the runs after it."""
    at_step(15, stop)
    with pytest.raises(Stopped):
        run_alone(config(*RUN), Display())
    Path("precious.txt").write_text("mine", encoding="utf-8")
    DAMAGE[damage]()
    capsys.readouterr()
    assert run_alone(config(*RUN), Display()).run["status"] == "finished"
    said = capsys.readouterr().out
    assert said.count("is damaged (") == 1
    assert "it is set aside in " in said
    assert list(Path("results/runs/.checkpoints/set_aside").iterdir())
    assert sorted(run["status"] for run in runs()) == ["finished", "killed"]
    run_alone(config(*RUN), Display())
    assert "damaged" not in capsys.readouterr().out
    assert Path("precious.txt").read_text(encoding="utf-8") == "mine"
    assert {path.name for path in Path("results/runs/.checkpoints").iterdir()} == {"set_aside"}


def test_a_resumed_run_mends_its_record(config: Any, at_step: Any) -> None:
    """history.csv, or the whole folder, was damaged while the run was stopped: the checkpoint has the rows."""
    whole = run_alone(config(*RUN, "name=whole"), Display()).folder
    for damage in (lambda folder: (folder / "history.csv").write_bytes(b"\x00\xff"), shutil.rmtree):
        shutil.rmtree("results/runs", ignore_errors=True)
        at_step(15, stop)
        with pytest.raises(Stopped):
            run_alone(config(*RUN), Display())
        damage(runs()[0]["folder"])
        record = run_alone(config(*RUN), Display())
        assert (record.folder / "history.csv").read_bytes() == (whole / "history.csv").read_bytes()
        assert not list(Path("results/runs/.checkpoints").glob("*.pt"))


def test_a_record_that_was_deleted_is_written_anew(config: Any, at_step: Any) -> None:
    """Somebody removes the folder of a run while it trains: at its end everything is there."""
    at_step(15, lambda: shutil.rmtree(runs()[0]["folder"]))
    record = run_alone(config(*RUN), Display())
    assert [row["epoch"] for row in read_rows(record.folder / "history.csv")] == [2, 4, 6]
    assert {"config.yaml", "run.json", "model.pt"} <= {path.name for path in record.folder.iterdir()}
    assert runs()[0]["status"] == "finished"


def in_the_way() -> None:
    """A file takes the place of the results folder."""
    Path("results").rename("away")
    Path("results").write_text("in the way", encoding="utf-8")


def test_what_cannot_be_written_is_kept_elsewhere(config: Any, at_step: Any, tmp_path: Path) -> None:
    """The file and the place of the checkpoint are named; the same command closes the record, without training."""
    expected = run_alone(config(*RUN, "name=expected"), Display())
    at_step(15, in_the_way)
    with pytest.raises(RecordsFailed, match=r"cannot be written \(.*in a checkpoint in \S*cache") as caught:
        run_alone(config(*RUN), Display())
    assert "results/runs/" in str(caught.value)
    assert list((tmp_path / "cache" / "psilon_bench" / "checkpoints").glob("*.pt"))
    Path("results").unlink()
    Path("away").rename("results")
    at_step(1, lambda: pytest.fail("it was trained already"))
    record = run_alone(config(*RUN), Display())
    assert record.run["status"] == "finished"
    left, right = (torch.load(one.folder / "model.pt") for one in (record, expected))
    assert all(torch.equal(left[name], right[name]) for name in left)
    assert not list((tmp_path / "cache" / "psilon_bench" / "checkpoints").iterdir())


def test_a_failed_try_leaves_no_error_in_a_finished_run(config: Any, at_step: Any, tmp_path: Path) -> None:
    """error.txt is of the try that failed."""

    def breaks() -> None:
        raise RuntimeError("once")

    from psilon_bench.data.tasks import load_task
    from psilon_bench.records.finished import FinishedRuns
    from psilon_bench.records.places import sweep_folder
    from psilon_bench.sweep.attempt import Attempt
    from psilon_bench.sweep.retries import RetryingTrainer

    at_step(3, breaks)
    own = config(*RUN, "retries=1")
    own = own.with_data(load_task(own.dataset.text()).checksum)
    display = Display()
    with display.sweep(1):
        trainer = RetryingTrainer(display, None, 1, FinishedRuns(sweep_folder(own)), {own.identity.key})
        trainer.train(Attempt([own]))
    (run,) = trainer.runs.values()
    assert run["status"] == "finished"
    assert not (Path(run["folder"]) / "error.txt").exists()


def test_a_state_that_does_not_load_is_set_aside(
    config: Any, at_step: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole, by its checksum, but of another make: the run trains from the start."""
    state = Trainer.state
    monkeypatch.setattr(
        Trainer, "state", lambda self: {key: state(self)[key] for key in state(self) if key != "batches"}
    )
    at_step(15, stop)
    with pytest.raises(Stopped):
        run_alone(config(*RUN), Display())
    monkeypatch.setattr(Trainer, "state", state)
    capsys.readouterr()
    assert run_alone(config(*RUN), Display()).run["status"] == "finished"
    assert "is of no use (KeyError: 'batches')" in capsys.readouterr().out


def test_a_copied_folder_is_on_its_own(config: Any, at_step: Any) -> None:
    """A run that was stopped goes on in the copy, and the original stays as it was."""
    at_step(15, stop)
    with pytest.raises(Stopped):
        run_alone(config(*RUN), Display())
    shutil.copytree("results", "copy")
    record = run_alone(config(*RUN, "results_dir=copy"), Display())
    assert record.folder.is_relative_to(Path("copy").absolute())
    assert len(record.run["times"]["resumed"]) == 1
    assert [run["status"] for run in runs()] == ["killed"]


@pytest.fixture
def sweep(config: Any) -> Callable[..., dict[str, Any]]:
    """sweep("seed=0", "seed=1"): the outcomes of these runs as one stack, with checkpoints."""

    def sweep(*each: str) -> dict[str, Any]:
        common = (*RUN, "hardware.plan=stacked", "trainer.checkpoint_every=1")
        return run_sweep([config(*common, one) for one in each], None, None)

    return sweep


def test_a_kill_among_the_last_words_costs_nothing(sweep: Any, at_step: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One record of a stack is closed, then the process ends: the others go on from the checkpoint, where they were."""
    seeds = [f"seed={seed}" for seed in range(4)]
    finish = Record.finish
    ended: list[Path] = []

    def dies(self: Any, *args: Any, **more: Any) -> None:
        if ended:
            raise KeyboardInterrupt
        ended.append(self.folder)
        finish(self, *args, **more)

    monkeypatch.setattr(Record, "finish", dies)
    with pytest.raises(KeyboardInterrupt):
        sweep(*seeds)
    monkeypatch.setattr(Record, "finish", finish)
    before = {run["folder"] for run in runs()}
    at_step(1, lambda: pytest.fail("it was trained already"))
    outcomes = sweep(*seeds)
    assert [run["status"] for run in outcomes.values()] == ["finished"] * 4
    assert {run["folder"] for run in runs()} == before
    assert not list(Path("results/runs/.checkpoints").iterdir())


def test_records_without_what_they_may_leave_out(sweep: Any) -> None:
    """Of an earlier version: they count as other runs, and block nothing."""
    sweep("seed=0")
    path = next(Path("results/runs").glob("*/run.json"))
    whole = json.loads(path.read_text(encoding="utf-8"))
    for key in ("reason", "code_version", "identity", "process", "versions", "in_sweep"):
        path.write_text(json.dumps({name: value for name, value in whole.items() if name != key}))
        sweep("seed=0")
    path.write_text(json.dumps(whole | {"task": {key: whole["task"][key] for key in ("name", "kind")}}))
    assert [run["status"] for run in sweep("seed=0").values()] == ["finished"]
    assert path.exists()
