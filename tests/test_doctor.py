"""psilon-doctor says what would stop a run, and psilon-run does stop there."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from packaging.requirements import Requirement

from psilon_bench.cli import findings
from psilon_bench.cli.doctor import doctor
from psilon_bench.cli.findings import Finding
from psilon_bench.data import store

Doctor = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def examined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """examined("--device", "cpu"): the exit code, and the lines."""
    monkeypatch.setenv("PSILON_DATA", str(tmp_path / "cache"))

    def examined(*arguments: str) -> tuple[int, list[str]]:
        said = CliRunner().invoke(doctor, arguments)
        assert said.exception is None or isinstance(said.exception, SystemExit)
        return said.exit_code, said.output.splitlines()

    return examined


def test_all_is_well(examined: Doctor, tmp_path: Path) -> None:
    """A line for each thing, all of them ok or a note; nothing is left behind."""
    code, lines = examined("--device", "cpu")
    assert code == 0
    assert lines[-1] == "A run would start here."
    assert all(re.match(r"(ok|note) +\S", line) for line in lines[:-1]), lines
    words = (
        "Python 3",
        "torch 2",
        "extras",
        "imports",
        "memory",
        "threads",
        "device: cpu",
        "C++",
        "results_dir",
        "cache",
    )
    for word in words:
        assert any(word in line for line in lines), word
    assert lines[-2] == f"ok   MLflow: sqlite:///{tmp_path}/results/mlflow.db would be made by the first run"
    assert not list(tmp_path.iterdir())


@pytest.mark.sampled(every=3)
@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--results-dir", "/proc/x"), r"STOP results_dir=/proc/x cannot be written: No such file or directory\. Set "),
        (("--results-dir", "file"), r"STOP results_dir=file cannot be written: (File exists|Not a directory)\. Set "),
        (("--uri", "file:x"), r"STOP MLflow: tracking\.uri=file:x is none of sqlite, .* Take sqlite:///FILE or "),
        (("--uri", "http://me:pw@127.0.0.1:9"), r"STOP MLflow: tracking\.uri=http://127\.0\.0\.1:9 does not answer: "),
        (("--uri", "sqlite:///file"), r"STOP MLflow: tracking\.uri=sqlite:///.*file cannot be used: file is not a da"),
        (("--uri", "sqlite:////proc/x.db"), r"STOP MLflow: tracking\.uri=sqlite:////proc/x\.db cannot be used: No su"),
        (("--device", "cuda:63"), r"STOP hardware\.device=cuda:63 is not there \(\d+ cuda devices\)\. Set hardware"),
        (("--device", "tpu"), r"STOP hardware\.device=tpu does not compute: .*\. Set hardware\.device=cpu\."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_stops_a_run(examined: Doctor, tmp_path: Path, arguments: tuple[str, ...], line: str) -> None:
    """Exit code 1, one line with the rule, the value and the remedy, and no password."""
    (tmp_path / "file").write_text("no database, nor a folder", encoding="utf-8")
    code, lines = examined("--device", "cpu", *arguments)
    stopping = [one for one in lines if one.startswith("STOP")]
    assert any(re.match(line, one) for one in stopping), lines
    assert code == 1
    assert lines[-1] == f"{len(stopping)} of these would stop a run here."
    assert "pw" not in "".join(lines)


def test_packages_out_of_their_ranges() -> None:
    """What is too old or missing has a line each, with what to install; the rest share a line."""
    wanted = [Requirement(text) for text in ("torch>=2", "numpy>=99", "no-such-package-as-this>=1,<2")]
    fine, old, absent = findings.of_dependencies(wanted)
    assert str(fine).startswith("ok   1 packages are in their ranges: torch 2")
    assert re.fullmatch(r"STOP numpy is \d\S*, and should be >=99\. pip install 'numpy>=99'", str(old))
    assert str(absent).startswith("STOP no-such-package-as-this is not installed, and should be <2,>=1. pip install ")


@pytest.mark.parametrize("package", ["torch", pytest.param("pandas", marks=pytest.mark.slow)])
def test_what_cannot_be_imported(tmp_path: Path, package: str) -> None:
    """A package whose version fits and whose files are not whole: a line and exit code 1, no traceback."""
    (tmp_path / f"{package}.py").write_text("raise ImportError('libodd.so is not there.')", encoding="utf-8")
    code = "import sys; sys.path.insert(0, '.')\nfrom psilon_bench.cli.doctor import main; main()"
    said = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (said.returncode, said.stderr) == (1, "")
    *_, stop, last = said.stdout.splitlines()
    assert stop == "STOP imports: libodd.so is not there. Install psilon-bench anew."
    assert last == "1 of these would stop a run here."


def test_an_extra_is_whole_or_says_what_it_lacks() -> None:
    """An extra that names this package's other extras is not asked for the package itself."""
    wanted = [Requirement(text) for text in ("torch>=2; extra == 'a'", "psilon-bench[a]; extra == 'b'")]
    wanted += [Requirement(text) for text in ("numpy>=99; extra == 'c'", "torch; extra == 'c'")]
    assert str(findings.of_extras(wanted, ["a", "b", "c"])) == "ok   extras here: a, b; not whole: c (numpy)"


@pytest.mark.parametrize("compiler", ["/nowhere/c++", "false", "sleep"])
def test_runs_do_without_a_compiler(monkeypatch: pytest.MonkeyPatch, compiler: str) -> None:
    """One that is not there, or fails, is a note."""
    monkeypatch.setenv("CXX", compiler)
    (found,) = findings.at_compiler()
    assert found.level == "note"
    assert "hardware.compile does nothing" in found.what


def test_a_cache_that_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A note: what comes with scikit-learn, or is cached already, needs no place."""
    monkeypatch.setenv("PSILON_DATA", "/proc/x")
    (found,) = findings.at_cache()
    assert found.level == "note"
    assert found.what.endswith("nothing can be added: No such file or directory. Set PSILON_DATA to a folder of yours.")


def test_the_size_of_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All bytes of all files, by hand."""
    monkeypatch.setenv("PSILON_DATA", str(tmp_path))
    entry = tmp_path / "data" / "7"
    entry.mkdir(parents=True)
    (entry / "about.json").write_bytes(b"{}")
    (entry / "data.parquet").write_bytes(bytes(1_500_000))
    assert findings.size_of(store.root()) == 1_500_002
    assert "1 entries, 1.5 MB" in next(findings.at_cache()).what


def test_folders_of_your_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder that is not there is a note; a file with the name of an option of the package stops all runs."""
    monkeypatch.setenv("PSILON_COMPONENTS", str(tmp_path / "gone"))
    assert [found.level for found in findings.at_own_folders()] == ["note"]
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "model" / "pnet.yaml").write_text("name: pnet\n", encoding="utf-8")
    monkeypatch.setenv("PSILON_COMPONENTS", str(tmp_path / "mine"))
    (found,) = findings.at_own_folders()
    assert found.level == "STOP"
    assert "Give the file another name" in found.what


def test_a_finding_is_one_line() -> None:
    """Whatever a library says."""
    assert str(Finding("note", "a\n  b\tc")) == "note a b c"
