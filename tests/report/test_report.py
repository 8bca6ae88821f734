"""psilon-report from records to files: the same numbers everywhere, nothing dropped in silence, clear words."""

import csv
import gc
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_records import write_grid, write_record

from psilon_bench.cli.report import main
from psilon_bench.errors import UsageError
from psilon_bench.report.estimate import Estimate, estimate
from psilon_bench.report.metric import chosen_by, direction_of, label
from psilon_bench.report.report import make
from psilon_bench.report.table import Table
from psilon_bench.report.write import write_report, written_alone

METRIC = chosen_by("val/loss", None)


@pytest.fixture
def report(tmp_path: Path) -> Any:
    """report(): of the records in tmp_path/runs."""
    return lambda **how: make([tmp_path / "runs"], METRIC, **how)


def table(report: Any, name: Any) -> Any:
    (found,) = [one for one in report.tables if one.name == name]
    return found


def rows(report: Any, name: Any) -> Any:
    found = table(report, name)
    return [dict(zip(found.columns, row, strict=True)) for row in found.rows]


def psilon_report(*arguments: Any, cwd: Any) -> Any:
    command = [sys.executable, "-c", "from psilon_bench.cli.report import main; main()", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., object]]:
    """here("runs", "--no-figures"): the exit code of psilon-report in this process."""

    def here(*arguments: str) -> object:
        monkeypatch.setattr(sys, "argv", ["psilon-report", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code or 0

    yield here
    gc.enable()


def test_a_real_sweep_from_the_command_line(finished: Any, here: Any, tmp_path: Path) -> None:
    """Real records, all files, and pandas finds the numbers of run.json in the CSV."""
    records = [finished(f"reg.lam={lam}", f"seed={seed}") for lam in (1e-3, 1e-2) for seed in (0, 1)]
    done = psilon_report("results/runs", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "4 records: 4 finished." in done.stdout
    out = tmp_path / "results/runs/report"
    assert {path.name for path in out.iterdir()} == {"report.html", "report.md", "tables", "figures"}
    assert (out / "figures/curves_breast_cancer.png").is_file()
    runs = pd.DataFrame([{"lam": r.run["params"]["reg.lam"], "metrics": r.run["metrics"]} for r in records])
    losses = runs.assign(loss=[m["val/loss"] for m in runs["metrics"]]).groupby("lam")["loss"].mean()
    best = runs[runs.lam == losses.idxmin()]
    summary = pd.read_csv(out / "tables/summary.csv").iloc[0]
    assert summary["chosen"] == f"lam={losses.idxmin():g}"
    for name in ("val/loss", "test/loss", "test/accuracy"):
        values = [m[name] for m in best["metrics"]]
        assert summary[name] == pytest.approx(np.mean(values), rel=1e-12)
        assert summary[f"{name} sd"] == pytest.approx(np.std(values, ddof=1), rel=1e-9, abs=1e-15)
        assert summary[f"{name} n"] == 2
    markdown = (out / "report.md").read_text()
    for path in ("figures/curves_breast_cancer.png", "tables/summary.csv", "tables/numbers.tex"):
        assert f"({path})" in markdown
        assert (out / path).is_file()
    assert here("results/runs", "--no-figures") == 0
    assert not list((out / "figures").iterdir())


def test_what_did_not_finish_is_listed(tmp_path: Path, report: Any) -> None:
    """Failed, killed and vanished runs with reason and folder; damaged records by file; all counted."""
    runs = tmp_path / "runs"
    write_grid(runs, {1e-3: [0.5, 0.6]})
    write_record(runs, 1e-2, 0, {}, status="failed", reason="diverged: the objective is inf at step 7")
    write_record(runs, 1e-2, 1, {}, status="killed", reason="Stopped: SIGTERM")
    gone = {"host": socket.gethostname(), "pid": 2**22 + 1, "began": 0.0}
    write_record(runs, 1e-1, 0, {}, status="running", process=gone)
    for name, text in (("half", '{"status": "fin'), ("other", '{"status": "finished"}'), ("list", "[1]")):
        (runs / name).mkdir()
        (runs / name / "run.json").write_text(text)
    made = report()
    assert made.notes[0] == "8 records: 2 finished, 1 failed, 1 killed, 1 vanished."
    assert made.notes[1] == "3 records are damaged and left out."
    listed = {(row["status"], row["reason"]) for row in rows(made, "unfinished")}
    assert listed == {
        ("failed", "diverged: the objective is inf at step 7"),
        ("killed", "Stopped: SIGTERM"),
        ("vanished", ""),
    }
    reasons = {row["file"].split("/")[-2]: row["what is wrong"] for row in rows(made, "damaged")}
    assert reasons.keys() == {"half", "other", "list"}
    assert reasons["half"].startswith("it is not JSON")
    assert reasons["other"] == "it lacks title, metrics, params, fingerprint, seed, times, task"
    assert reasons["list"] == "it holds [1] instead of an object"


def test_an_empty_folder_and_none(here: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, exit code 2."""
    (tmp_path / "empty").mkdir()
    for folder, words in (("empty", "empty holds no record of a run"), ("none", "none is not a folder")):
        assert here(folder) == 2
        said = capsys.readouterr().err
        assert said.startswith(f"psilon-report: {words}")
        assert said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_a_folder_that_takes_no_report(tmp_path: Path, here: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A file lies in its place, or another report is being written there: one line, and nothing is changed."""
    write_grid(tmp_path / "runs", {1e-3: [0.5]})
    (tmp_path / "file").touch()
    assert here(str(tmp_path / "runs"), "--no-figures", "--out", str(tmp_path / "file")) == 2
    assert "file cannot be written: Not a directory" in capsys.readouterr().err
    out = tmp_path / "runs/report"
    with written_alone(out):
        assert here(str(tmp_path / "runs"), "--no-figures") == 2
        assert "Another report is being written to" in capsys.readouterr().err
        assert not list(out.glob("*.html"))
    assert here(str(tmp_path / "runs"), "--no-figures") == 0


def test_only_damaged_records(tmp_path: Path, report: Any) -> None:
    """Told, not crashed."""
    (tmp_path / "runs/one").mkdir(parents=True)
    (tmp_path / "runs/one/run.json").write_text("")
    made = report()
    assert made.notes == ["1 records: none that can be read.", "1 records are damaged and left out."]
    assert [one.name for one in made.tables] == ["damaged"]
    write_report(made, tmp_path / "out")


def test_one_seed_only(tmp_path: Path, report: Any) -> None:
    """No standard deviation, and it is said."""
    write_grid(tmp_path / "runs", {1e-3: [0.5], 1e-2: [0.6], 1e-1: [0.7]})
    made = report()
    assert any(note.startswith("One seed only: no standard deviation") for note in made.notes)
    (row,) = rows(made, "summary")
    assert row["val/loss"] == Estimate(0.5, None, 1)
    assert "one seed" in row["flags"]
    assert "±" not in table(made, "summary").markdown()
    (line,) = csv.DictReader(table(made, "summary").csv().splitlines())
    assert (line["val/loss"], line["val/loss sd"], line["val/loss n"]) == ("0.5", "", "1")


def test_mixed_kinds_of_tasks(tmp_path: Path, report: Any) -> None:
    """Said, and regression has no accuracy to show."""
    for seed in (0, 1):
        write_record(tmp_path / "runs", 1e-3, seed, {"val/loss": 0.5, "test/accuracy": 0.9})
        write_record(tmp_path / "runs", 1e-3, seed, {"val/loss": 0.7}, dataset="diabetes", kind="regression")
    made = report()
    assert any(note.startswith("Regression and classification are mixed") for note in made.notes)
    accuracies = {row["data set"]: row["test/accuracy"] for row in rows(made, "summary")}
    assert accuracies["diabetes"] is None
    assert accuracies["wine"].mean == pytest.approx(0.9)
    assert label("val/loss", "regression") == "validation loss (RMSE, target in IQR/2)"
    assert label("val/loss", "binary") == "validation loss (cross-entropy, nats)"


def test_test_numbers_are_of_the_chosen_alone(tmp_path: Path, report: Any) -> None:
    """The table of all settings has none of them."""
    write_grid(tmp_path / "runs", {1e-3: [0.5, 0.6], 1e-2: [0.7, 0.9]})
    made = report()
    assert rows(made, "summary")[0]["test/loss"].mean == pytest.approx(0.45)
    everything = table(made, "settings")
    assert len(everything.rows) == 2
    assert not [name for name in everything.columns if name.startswith("test/")]


def test_corrupted_test_sets_count_together(tmp_path: Path, report: Any) -> None:
    """Their mean is in the table of the chosen, each of them among all numbers."""
    write_record(tmp_path / "runs", 1e-3, 0, {"val/loss": 0.1, "test/extra/loss": 0.7, "test/fog/loss": 0.9})
    made = report()
    assert rows(made, "summary")[0]["test/extra/loss"].mean == 0.7
    assert "test/fog/loss" not in rows(made, "summary")[0]
    assert rows(made, "numbers")[0]["test/fog/loss"].mean == 0.9


def test_a_metric_that_no_run_has(tmp_path: Path, report: Any) -> None:
    """Which there are; a key that is none is refused likewise."""
    write_record(tmp_path / "runs", 1e-3, 0, {"val/accuracy": 0.9, "test/loss": 1.0})
    with pytest.raises(UsageError, match=r"No finished run has val/loss\. Take --metric with one of: val/accuracy\.$"):
        report()
    with pytest.raises(UsageError, match=r"--by model\.colour is not a key of these runs"):
        report(by=("model.colour",))


def test_records_of_several_folders_count_once(tmp_path: Path) -> None:
    """A folder and one inside it."""
    write_grid(tmp_path / "runs/a", {1e-3: [0.5, 0.6]})
    write_grid(tmp_path / "runs/b", {1e-2: [0.5, 0.6]})
    made = make([tmp_path / "runs", tmp_path / "runs/a"], METRIC)
    assert made.notes[0] == "4 records: 4 finished."
    assert made.title == "runs, a"


def test_nothing_below_a_record_is_a_record(tmp_path: Path) -> None:
    """A copy that lies inside, or a hidden folder, is not counted."""
    write_grid(tmp_path / "runs", {1e-3: [0.5, 0.6]})
    for place in ("runs/record_00000/copy", "runs/.trash/record"):
        shutil.copytree(tmp_path / "runs/record_00001", tmp_path / place)
    assert make([tmp_path], METRIC).notes[0] == "2 records: 2 finished."


def test_commands_versions_and_hardware_are_named(tmp_path: Path, report: Any) -> None:
    """Each once, with the number of its runs."""
    write_grid(tmp_path / "runs", {1e-3: [0.5, 0.6]})
    write_record(tmp_path / "runs", 1e-2, 0, {"val/loss": 1.0}, command=["psilon-run", "name=a b"], git_commit=None)
    made = report()
    assert made.origin.commands == [("psilon-run -m reg.lam=1e-4,1e-3 seed=0,1", 2), ("psilon-run 'name=a b'", 1)]
    assert made.origin.commits == [("0" * 40, 2), ("installed package, no commit", 1)]
    text = write_report(made, tmp_path / "out").read_text()
    for words in ("psilon-run -m reg.lam=1e-4,1e-3 seed=0,1", "torch 2.13.0", "processor an abacus"):
        assert words in text


def test_cells_in_every_format() -> None:
    """Mean and spread to the same place; CSV has the number whole; LaTeX and Markdown escape what they must."""
    values = [0.7341, 0.7512, 0.7289]
    made = Table("t", "T", ["a|b_c", "loss"], [["x_1|y", estimate(values)], ["z", None]])
    frame = pd.Series(values)
    assert list(csv.reader(made.csv().splitlines()))[1] == ["x_1|y", str(np.mean(values)), str(frame.std()), "3"]
    assert "0.738 ± 0.012" in made.markdown()
    assert r"x_1\|y" in made.markdown()
    assert r"0.738 $\pm$ 0.012" in made.latex()
    assert r"x\_1" in made.latex()
    assert r"\toprule" in made.latex()


@pytest.mark.parametrize(
    ("mean", "sd", "expected"),
    [
        (0.0896, 0.0441, "0.090 ± 0.044"),
        (517005.0, 1234.5, "517,005 ± 1,234"),
        (0.5, 0.0, "0.5 ± 0"),
        (0.5, None, "0.5"),
        (1e-9, 3e-10, "1e-09 ± 3e-10"),
        (12.345, 9.99, "12.3 ± 10.0"),
    ],
)
def test_estimates_read_well(mean: Any, sd: Any, expected: Any) -> None:
    """Two digits of the spread."""
    assert str(Estimate(mean, sd, 3)) == expected


@pytest.mark.parametrize(
    ("name", "direction"),
    [
        ("val/loss", "min"),
        ("val/accuracy", "max"),
        ("val/certified_accuracy/0.1", "max"),
        ("near_sparsity", "max"),
        ("path_norm", "min"),
        ("time/fit_s", "min"),
        ("val/rmse", "min"),
        ("val/mae", "min"),
        ("val/r2", "max"),
        ("val/roc_auc", "max"),
        ("val/average_precision", "max"),
        ("val/f1", "max"),
        ("val/balanced_accuracy", "max"),
        ("val/brier", "min"),
        ("val/ece", "min"),
        ("val/calibrated_loss", "min"),
        ("val/calibrated_brier", "min"),
        ("constant/test/f1", "max"),
        ("test/interval_width", "min"),
        ("test/set_size", "min"),
    ],
)
def test_names_tell_what_is_better(name: Any, direction: Any) -> None:
    """Also with a value at the end."""
    assert direction_of(name) == direction
