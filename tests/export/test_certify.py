"""psilon-certify: bounds of a run, a file with proofs, and its check, by the command and by the stand-alone file."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from export_commands import Said
from rich.console import Console

from psilon_bench.cli import certify, predict
from psilon_bench.export import check_certificate
from psilon_bench.run.display import Display
from psilon_bench.run.run import run_alone


def certifying(*arguments: str | Path) -> Said:
    """psilon-certify with these arguments."""
    return Said(certify.main, "psilon-certify", arguments)


def test_a_run_is_certified_and_checked(finished: Any, tmp_path: Path) -> None:
    """The path norm alone; lower and upper bounds; the file is proved, and no more once a number is changed."""
    record, out = finished("dataset=breast_cancer", "model.hidden=3"), tmp_path / "made" / "proofs.json"
    bound = record.run["metrics"]["lipschitz_bound"]
    said = certifying(record.folder)
    assert (said.code or 0, said.out) == (0, f"all outputs (L1): at most {bound:.6g}, the path norm\n")
    said = certifying(record.folder, "--exact", "--time", "1", "--out", out)
    assert not said.code
    assert said.out.startswith("all outputs (L1): lower ")
    claims = json.loads(out.read_text())
    (claim,) = claims["claims"]
    told = f"all outputs (L1), lower {claim['lower']}, upper {claim['proved']}: proved\n"
    assert certifying("--check", out).out == told
    alone = [sys.executable, "-I", check_certificate.__file__, str(out)]
    assert subprocess.run(alone, check=True, capture_output=True, text=True).stdout == told
    assert subprocess.run([*alone[:-1], str(tmp_path / "none")], check=False, capture_output=True).returncode == 2
    claim["proved"] *= 0.9
    out.write_text(json.dumps(claims))
    said = certifying("--check", out)
    assert (said.code, "does not prove" in said.out) == (1, True)


def test_a_baseline_is_no_network(config: Any) -> None:
    """One line of psilon-certify and of psilon-predict, which names the estimator's file."""
    asked = config("dataset=diabetes", "model=ridge", "reg=none")
    folder = run_alone(asked, Display(Console(file=io.StringIO()))).folder
    for said in (
        certifying(folder),
        certifying(folder, "--exact"),
        Said(predict.main, "psilon-predict", predicting(folder)),
    ):
        assert (said.code, said.err.count("\n"), said.err.count("estimator.skops")) == (2, 1, 1)


def predicting(folder: Path) -> tuple[str | Path, ...]:
    """The arguments that predict rows of a file with bounds."""
    rows = folder / "rows.csv"
    rows.write_text("age\n1\n")
    return folder, rows, "--bounds"


def test_what_is_asked_wrongly_is_one_line(tmp_path: Path) -> None:
    """No RUN, --out without --exact, a file of something else."""
    (tmp_path / "other.json").write_text("[]")
    for arguments in ((), (tmp_path, "--out", "x.json"), ("--check", tmp_path / "other.json")):
        said = certifying(*arguments)
        assert (said.code, said.err.count("\n")) == (2, 1)
