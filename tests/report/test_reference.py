"""Expected numbers beside ours: what fits, what is outside, and what cannot be said."""

from pathlib import Path
from typing import Any

import pytest
from made_records import write_grid, write_record

from psilon_bench.errors import UsageError
from psilon_bench.report import reference
from psilon_bench.report.metric import chosen_by
from psilon_bench.report.report import make

METRIC = chosen_by("val/loss", None)
ENTRY = "- {where: {reg.lam: 1e-3}, metric: val/loss, value: .7, tolerance: .05, source: a paper}\n"


@pytest.fixture
def verdicts(tmp_path: Path) -> Any:
    """verdicts(yaml): the rows of the table, of the records in tmp_path/runs."""

    def verdicts(text: Any) -> Any:
        file = tmp_path / "expected.yaml"
        file.write_text(text)
        (found,) = [one for one in make([tmp_path / "runs"], METRIC, (), file).tables if one.name == "reference"]
        return [dict(zip(found.columns, row, strict=True)) for row in found.rows]

    return verdicts


def test_means_over_seeds_are_compared(tmp_path: Path, verdicts: Any) -> None:
    """Inside up to and with the tolerance, outside beyond it; 1e-3 is a number."""
    write_grid(tmp_path / "runs", {1e-3: [0.7, 0.8], 1e-2: [0.9, 1.0]})
    first, second = verdicts(ENTRY + ENTRY.replace("1e-3", "1e-2").replace(".7", "1.1"))
    assert (first["ours"].mean, first["n"], first["verdict"]) == (pytest.approx(0.75), 2, "inside")
    assert first["difference"] == pytest.approx(0.05)
    assert (second["verdict"], second["difference"]) == ("OUTSIDE", pytest.approx(-0.15))
    assert second["where"] == "reg.lam=0.01"


def test_what_cannot_be_compared_is_said(tmp_path: Path, verdicts: Any) -> None:
    """No run, no such metric, more than one setting that fits."""
    write_grid(tmp_path / "runs", {1e-3: [0.7], 1e-2: [0.9]})
    write_record(tmp_path / "runs", 1e-1, 0, {}, status="failed")
    texts = ("1e-1", "1e-3", "5e-3")
    none, metric, other = verdicts("".join(ENTRY.replace("1e-3", text) for text in texts).replace("val/loss", "ours"))
    assert (none["verdict"], metric["verdict"], other["verdict"]) == ("no run", "no such metric", "no run")
    (both,) = verdicts(ENTRY.replace("reg.lam: 1e-3", "model.name: pnet, data set: wine"))
    assert (both["verdict"], both["ours"]) == ("2 settings fit", None)


def test_the_chosen_alone(tmp_path: Path, verdicts: Any) -> None:
    """A table of a paper, after its own choice."""
    write_grid(tmp_path / "runs", {1e-3: [0.7], 1e-2: [0.9]})
    (chosen,) = verdicts(ENTRY.replace("reg.lam: 1e-3", "model.name: pnet").replace("source", "chosen: true, source"))
    assert (chosen["verdict"], chosen["ours"].mean) == ("inside", 0.7)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ENTRY.replace("value: .7, ", ""), r"entry 0\.value: Field required\. See psilon_bench/report/reference\.py"),
        (ENTRY.replace("metric:", "metrics:"), r"entry 0\.metric: Field required"),
        ("just words\n", r"entry : Input should be a valid list|Give a YAML list"),
        ("- {where: [", r"expected\.yaml cannot be read: .*Give a YAML list"),
    ],
)
def test_a_file_that_says_it_wrongly(tmp_path: Path, verdicts: Any, text: Any, message: Any) -> None:
    """One line: file, entry, rule."""
    write_grid(tmp_path / "runs", {1e-3: [0.7]})
    with pytest.raises(UsageError, match=message):
        verdicts(text)


def test_no_reference_goes_with_the_runs(tmp_path: Path) -> None:
    """The names of the runs and the references there are."""
    write_grid(tmp_path, {1e-3: [0.7]})
    with pytest.raises(UsageError, match=r"no reference goes with the runs named made\. There are: .*--reference-file"):
        make([tmp_path], METRIC, (), "by name")


def test_the_reference_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """references/made.yaml goes with runs of name=made."""
    monkeypatch.setattr(reference, "FOLDER", tmp_path / "references")
    (tmp_path / "references").mkdir()
    (tmp_path / "references/made.yaml").write_text(ENTRY)
    write_grid(tmp_path / "runs", {1e-3: [0.7]})
    assert "reference" in [one.name for one in make([tmp_path / "runs"], METRIC, (), "by name").tables]


@pytest.mark.parametrize("path", sorted(reference.FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_references_that_come_with_the_package(path: Any) -> None:
    """Each can be read and has entries."""
    assert reference.load_expected(path)
