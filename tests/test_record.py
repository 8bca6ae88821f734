"""The local record: a folder of its own, whole files, and everything about the run."""

import importlib.metadata
import json
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from tiny import TINY

from psilon_bench.config import code_version as code_module
from psilon_bench.config.check import check
from psilon_bench.data.task import Task
from psilon_bench.data.tasks import load_task
from psilon_bench.errors import UsageError
from psilon_bench.records import record as record_module
from psilon_bench.records.history import read_rows
from psilon_bench.records.record import Record, check_writable


@pytest.fixture
def record(config: Any) -> Record:
    """A record that was just opened."""
    return Record(config(*TINY), {"command": ["psilon-run"]})


def run_json(folder: Path) -> dict[str, Any]:
    """run.json as strict JSON: no NaN, no Infinity."""
    return json.loads((folder / "run.json").read_text(), parse_constant=lambda word: pytest.fail(word))


def test_records_of_the_same_second_have_folders_of_their_own(config: Any) -> None:
    """Forty records of one configuration opened at once by many threads share nothing."""
    made = config(*TINY)
    with ThreadPoolExecutor(16) as pool:
        records = list(pool.map(lambda i: Record(made, {"number": i}), range(40)))
    assert len({one.folder for one in records}) == 40
    assert sorted(run_json(one.folder)["number"] for one in records) == list(range(40))
    assert {one.folder.parent for one in records} == {Path("results/runs").absolute()}


def test_a_folder_that_exists_is_never_taken(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should two records ever choose the same name, the second fails instead of writing into the first."""

    class SameId:
        hex = "0" * 32

    class Noon(datetime):
        @classmethod
        def now(cls, zone: Any = None) -> Any:
            return cls(2030, 1, 1, 12, tzinfo=zone)

    monkeypatch.setattr(uuid, "uuid4", SameId)
    monkeypatch.setattr(record_module, "datetime", Noon)
    first = Record(config(*TINY), {"number": 1})
    with pytest.raises(FileExistsError):
        Record(config(*TINY), {"number": 2})
    assert run_json(first.folder)["number"] == 1


def test_a_run_that_vanishes_still_says_running(record: Any) -> None:
    """From the first moment on run.json and config.yaml are there and whole."""
    about = run_json(record.folder)
    assert (about["status"], about["reason"], about["metrics"]) == ("running", None, {})
    assert about["times"]["ended"] is None
    assert {path.name for path in record.folder.iterdir()} == {"config.yaml", "run.json"}


def test_history_grows_by_whole_rows(record: Any) -> None:
    """Header once, then a line per row that reads back to the last digit, an infinity included."""
    rows = [
        {"epoch": 1, "val/loss": 0.1 + 0.2},
        {"epoch": 2, "val/loss": float("inf")},
        {"epoch": 3, "val/loss": 1e-300},
    ]
    for number, row in enumerate(rows, start=1):
        record.add_row(row)
        text = (record.folder / "history.csv").read_text()
        assert text.count("\n") == number + 1
        assert text.endswith("\n")
    assert read_rows(record.folder / "history.csv") == rows


def test_half_a_line_is_not_read(record: Any) -> None:
    """What a killed process left of a line is no row."""
    record.add_row({"epoch": 1, "val/loss": 0.5})
    with (record.folder / "history.csv").open("a") as file:
        file.write("2,0.")
    assert read_rows(record.folder / "history.csv") == [{"epoch": 1, "val/loss": 0.5}]
    assert read_rows(record.folder / "missing.csv") == []


@pytest.mark.parametrize("name", ["run.json", "config.yaml", "model.pt"])
def test_files_are_written_whole_or_not_at_all(record: Any, monkeypatch: pytest.MonkeyPatch, name: Any) -> None:
    """A write that breaks off leaves the old file as it was."""
    state = {"weight": torch.ones(3)}
    record.save_tensors("model.pt", state)
    before = (record.folder / name).read_bytes()

    def breaks(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", breaks)
    with pytest.raises(OSError, match="No space left"):
        record.save_tensors(name, {"weight": torch.zeros(3)}) if name == "model.pt" else record.write(name, "x")
    assert (record.folder / name).read_bytes() == before


def test_what_is_not_finite_is_left_out_of_run_json(record: Any) -> None:
    """JSON has no NaN; the rest of the metrics stays."""
    record.finish("failed", {"val/loss": float("nan"), "path_norm": float("inf"), "step": 3}, "diverged")
    about = run_json(record.folder)
    assert about["metrics"] == {"step": 3}
    assert (about["status"], about["reason"]) == ("failed", "diverged")


def test_a_finished_run_is_recorded_whole(finished: Any, config: Any) -> None:
    """Status, metrics under their names, parameters, fingerprint, versions, times; the config runs again."""
    record = finished("trainer.epochs=3", "seed=4")
    about = run_json(record.folder)
    assert (about["status"], about["reason"], about["seed"]) == ("finished", None, 4)
    scores = {f"{split}/{name}" for split in ("val", "test") for name in ("loss", "accuracy")}
    network = {"path_norm", "lipschitz_bound", "near_sparsity", "weight_sparsity", "num_parameters", "num_nonzero"}
    times = {"time/fit_s", "time/step_ms"}
    assert about["metrics"].keys() >= scores | network | times | {"train/loss", "train/objective", "epoch", "step"}
    assert about["metrics"]["step"] == 15
    assert about["params"]["trainer.epochs"] == 3
    assert about["versions"]["torch"] == importlib.metadata.version("torch")
    assert about["times"]["started"] <= about["times"]["ended"]
    assert about["task"]["rows"] == {"train": 341, "val": 114, "test": 114}
    written = OmegaConf.load(record.folder / "config.yaml")
    assert isinstance(written, DictConfig)
    again = check(written)
    assert again.fingerprint() == about["fingerprint"]
    assert again.with_data(about["task"]["checksum"]).identity.key == about["identity"]
    rows = read_rows(record.folder / "history.csv")
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    for name in rows[-1].keys() - {"train/loss"}:
        assert about["metrics"][name] == pytest.approx(rows[-1][name], rel=1e-12)
    assert not [path for path in record.folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("select", ["last", "best"])
def test_model_pt_is_the_network_that_was_tested(finished: Any, select: Any) -> None:
    """It loads with weights_only=True into a freshly built model and gives the recorded scores again."""
    record = finished(
        "trainer.epochs=30", "optimizer.lr=0.3", "scheduler=constant", f"trainer.select={select}", "model=mlp"
    )
    written = OmegaConf.load(record.folder / "config.yaml")
    assert isinstance(written, DictConfig)
    config = check(written)
    task: Task = load_task(config.dataset.text())
    losses = [row["val/loss"] for row in read_rows(record.folder / "history.csv")]
    assert min(losses) < losses[-1]
    files = {"last": losses[-1], "best": min(losses)}
    files["model"] = files[select]
    for name, expected in files.items():
        if name == select:
            continue  # model.pt is it
        model = config.model.build(num_features=task.num_features, num_outputs=task.num_outputs).double()
        model.load_state_dict(torch.load(record.folder / f"{name}.pt", weights_only=True))
        loss = torch.nn.functional.binary_cross_entropy_with_logits
        assert loss(model(task.val.x.double()), task.val.y.double()).item() == pytest.approx(expected, rel=1e-9)
        if name == "model":
            assert record.run["metrics"]["val/loss"] == pytest.approx(expected, rel=1e-9)
            tested = loss(model(task.test.x.double()), task.test.y.double()).item()
            assert record.run["metrics"]["test/loss"] == pytest.approx(tested, rel=1e-9)


def test_a_diverged_run_is_failed_and_keeps_its_rows(finished: Any) -> None:
    """Status failed, the step in the reason, the history of before, no test scores."""
    record = finished("model=mlp", "optimizer=sgd", "optimizer.lr=20", "scheduler=constant", "dataset=diabetes")
    about = run_json(record.folder)
    assert about["status"] == "failed"
    assert about["reason"].startswith("diverged: the objective is ")
    assert "test/loss" not in about["metrics"]


def test_check_writable_leaves_nothing_behind(tmp_path: Path) -> None:
    """A folder that does not exist yet is fine and is not made."""
    check_writable("new/deep/folder")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", ["file/below", "/proc/nowhere"])
def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path, place: Any) -> None:
    """The place, the reason and the remedy."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UsageError, match=rf"^results_dir=\S*{place} cannot be written: .+\. Set results_dir=<a folder"):
        check_writable(place)


def test_git_commit_is_the_sources_and_none_elsewhere(tmp_path: Path) -> None:
    """The commit of the tree the package lies in; none for a package that lies in somebody else's repository."""
    git = ["git", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / "record.py").write_text("")
    commit_of = code_module.git_commit.__wrapped__
    assert commit_of(tmp_path / "record.py") is None
    subprocess.run([*git, "add", "record.py"], check=True)
    who = ["-c", "user.name=n", "-c", "user.email=e"]
    subprocess.run([*git, *who, "commit", "-qm", "one"], check=True)
    commit = commit_of(tmp_path / "record.py")
    assert commit is not None
    assert len(commit) == 40
    (tmp_path / "record.py").write_text("changed")
    assert commit_of(tmp_path / "record.py") == f"{commit}+"


def test_command_line_names_the_program_without_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """As typed."""
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/psilon-run", "seed=1"])
    assert record_module.command_line() == ["psilon-run", "seed=1"]
