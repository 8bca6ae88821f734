"""Data sets are told apart by content and named so that a person can; drawn data are one, whatever their checksums."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from made_records import write_record

from psilon_bench.report.datasets import runs_by_dataset
from psilon_bench.report.material import Material
from psilon_bench.report.metric import chosen_by
from psilon_bench.report.records import scan
from psilon_bench.report.report import make
from psilon_bench.report.write import write_report

METRIC = chosen_by("val/loss", None)
A, B, C = "a1" * 32, "b2" * 32, "c3" * 32


@pytest.fixture
def record(tmp_path: Path) -> Any:
    """record(checksum, path, seed, minute): a run of a table named data."""

    def record(
        checksum: Any, path: Any = "/home/me/data.csv", seed: Any = 0, minute: Any = 0, loss: Any = 0.5, **more: Any
    ) -> Any:
        params = {"dataset.path": path} | more.pop("params", {})
        task = {"checksum": checksum, "source": path} | more.pop("task", {})
        started = f"2030-01-01T12:{minute:02d}:00.000+00:00"
        metrics = {"val/loss": loss, "test/loss": loss + 0.1}
        return write_record(
            tmp_path, 1e-3, seed, metrics, dataset="data", params=params, task=task, started=started, **more
        )

    return record


@pytest.fixture
def drawn(record: Any) -> Any:
    """drawn(checksum, seed): a run of data that no file holds."""
    return lambda checksum, seed=0, source="drawn", **more: record(
        checksum, None, seed, task={"source": source} | more.pop("task", {}), **more
    )


@pytest.fixture
def sizes(tmp_path: Path) -> Any:
    """The number of runs of each data set, by its name."""
    return lambda: {name: len(runs) for name, runs in runs_by_dataset(scan([tmp_path]).runs).items()}


def doubts(made: Any, flag: Any) -> Any:
    return [doubt.note for choice in made.choices for doubt in choice.doubts if doubt.flag == flag]


def test_two_files_of_one_name(record: Any, sizes: Any) -> None:
    """The ends of their paths, as short as tells them apart."""
    for seed in (0, 1):
        record(A, "/home/me/siteA/x/data.csv", seed)
        record(B, "/home/me/siteB/x/data.csv", seed)
    assert sizes() == {"data (siteA/x/data.csv)": 2, "data (siteB/x/data.csv)": 2}


def test_names_with_a_dot_that_were_cut(record: Any, sizes: Any) -> None:
    """house.2019.csv and house.2020.csv of records that know them as house."""
    record(A, "/home/me/house.2019.csv")
    record(B, "/home/me/house.2020.csv")
    assert sizes() == {"data (house.2019.csv)": 1, "data (house.2020.csv)": 1}


def test_a_file_before_and_after_an_edit(record: Any, sizes: Any, tmp_path: Path) -> None:
    """Checksum and time; nothing is pooled, nothing replaced, and the name that two have is said."""
    for seed in (0, 1):
        record(A, seed=seed, minute=3)
    for seed in (0, 1, 2):
        record(B, seed=seed, minute=41)
    before, after = "data (checksum a1a1a1a1, 2030-01-01 12:03)", "data (checksum b2b2b2b2, 2030-01-01 12:41)"
    assert sizes() == {before: 2, after: 3}
    assert make([tmp_path], METRIC).notes == [
        "5 records: 5 finished.",
        f"2 data sets of different content are named data: {before}; {after}.",
    ]


def test_an_edit_between_the_seeds(record: Any, sizes: Any) -> None:
    """Every seed has a checksum of its own, but a file has them: these are no drawn data."""
    for seed, checksum in enumerate((A, B, C)):
        record(checksum, seed=seed)
    assert sorted(sizes().values()) == [1, 1, 1]


def test_one_file_edited_and_another(record: Any, sizes: Any) -> None:
    """The path for all, the checksum for those that share it."""
    record(A, "/me/siteA/data.csv")
    record(B, "/me/siteA/data.csv", minute=1)
    record(C, "/me/siteB/data.csv")
    assert set(sizes()) == {
        "data (siteA/data.csv, checksum a1a1a1a1, 2030-01-01 12:00)",
        "data (siteA/data.csv, checksum b2b2b2b2, 2030-01-01 12:01)",
        "data (siteB/data.csv)",
    }


def test_checksums_that_begin_alike(record: Any, sizes: Any) -> None:
    """As many digits as tell them apart."""
    record("a1" * 8 + "0" * 48)
    record("a1" * 8 + "1" * 48)
    assert [name[:31] for name in sizes()] == ["data (checksum " + "a1" * 8] * 2
    assert len(sizes()) == 2


def test_one_content_in_two_places(record: Any, sizes: Any) -> None:
    """A copy is the same data set; a later run of a seed replaces the earlier one."""
    record(A, "/me/one/data.csv")
    record(A, "/me/two/data.csv", seed=1)
    assert sizes() == {"data": 2}


def test_other_rows_of_two_contents(record: Any, sizes: Any) -> None:
    """What is taken stands behind what it is taken from, be it of one value for each content."""
    record(A, "/me/siteA/data.csv", params={"dataset.max_rows": 100})
    record(B, "/me/siteB/data.csv", params={"dataset.max_rows": 200})
    assert set(sizes()) == {"data (siteA/data.csv) max_rows=100", "data (siteB/data.csv) max_rows=200"}


def test_versions_of_an_openml_data_set(drawn: Any, sizes: Any) -> None:
    """The number says it all."""
    for number, checksum in ((31, A), (1461, B)):
        for seed in (0, 1):
            source = f"https://www.openml.org/d/{number}"
            drawn(checksum, seed, source, params={"dataset.data_id": number})
    assert sizes() == {"data data_id=31": 2, "data data_id=1461": 2}


def test_other_images_of_corruption(record: Any, sizes: Any) -> None:
    """Known by their folder, where the checksum knows them."""
    for checksum, folder in ((A, "/me/fog"), (B, "/me/snow")):
        record(checksum, None, params={"dataset.corrupted": folder}, task={"source": "https://www.openml.org/d/554"})
    assert set(sizes()) == {"data (fog)", "data (snow)"}


@pytest.mark.parametrize(("source", "kind"), [("drawn", "recovery"), ("made by dataset=toy2d", "binary")])
def test_drawn_data_are_one(drawn: Any, sizes: Any, tmp_path: Path, source: Any, kind: Any) -> None:
    """A checksum for every seed, in records made before it was one for all; other sizes are other data."""
    for seed, checksum in enumerate((A, B, C)):
        drawn(checksum, seed, source, kind=kind, params={"dataset.size": 40})
        drawn(checksum[::-1], seed, source, kind=kind, params={"dataset.size": 60})
        drawn("d4" * 32, seed + 2, source, kind=kind, params={"dataset.size": 40}, minute=5)
    assert sizes() == {"data size=40": 6, "data size=60": 3}
    made = make([tmp_path], METRIC)
    counts = {one.group.dataset: one.validation.n for one in made.choices if one.validation is not None}
    assert counts == {"data size=40": 5, "data size=60": 3}
    assert doubts(made, "data") == []


def test_what_may_be_drawn_is_flagged(drawn: Any, sizes: Any, tmp_path: Path) -> None:
    """A component of one's own, whose source says nothing: pooled, with a word."""
    for seed, checksum in enumerate((A, B, C)):
        drawn(checksum, seed, source="mine")
    assert sizes() == {"data": 3}
    (note,) = doubts(make([tmp_path], METRIC), "data")
    assert note.startswith("as given has 3 checksums in 3 runs; data drawn anew for every seed, or changed between")


def test_what_is_not_drawn_is_not_pooled(drawn: Any, sizes: Any) -> None:
    """Two seeds share a checksum, a third has another."""
    for seed, checksum in enumerate((A, A, B)):
        drawn(checksum, seed, source="mine")
    assert sorted(sizes().values()) == [1, 2]


def test_a_drawn_vector_for_a_matrix(drawn: Any, sizes: Any, tmp_path: Path) -> None:
    """Records of a matrix from a file have a checksum for every vector: pooled, with a word."""
    for seed, checksum in enumerate((A, B)):
        drawn(checksum, seed, source="/me/matrix.npy", kind="recovery", params={"dataset.matrix": "/me/matrix.npy"})
    assert sizes() == {"data": 2}
    assert len(doubts(make([tmp_path], METRIC), "data")) == 1


def test_records_without_checksums(record: Any, sizes: Any) -> None:
    """As many data sets as names, as far as can be told; beside others they are of unknown content."""
    record("")
    record("", seed=1)
    assert sizes() == {"data": 2}
    record(A, minute=7)
    assert set(sizes()) == {"data (checksum unknown, 2030-01-01 12:00)", "data (checksum a1a1a1a1, 2030-01-01 12:07)"}


def test_everywhere(record: Any, tmp_path: Path) -> None:
    """Tables, figures and their points, ranks, what did not finish: each by the names that differ."""
    history = [{"epoch": i, "step": 5 * i, "val/loss": 1 / i} for i in (1, 2, 4)]
    for site, checksum, loss in (("siteA", A, 0.2), ("siteB", B, 0.7)):
        for model, worse in (("pnet", 0.0), ("snet", 0.1)):
            for seed in (0, 1):
                params = {"model.name": model}
                record(checksum, f"/me/{site}/data.csv", seed, loss=loss + worse, params=params, history=history)
        record(checksum, f"/me/{site}/data.csv", 2, status="failed", reason="boom")
    made = make([tmp_path], METRIC)
    page = write_report(made, tmp_path / "report", Material(made.choices, METRIC))
    names = ["data (siteA/data.csv)", "data (siteB/data.csv)"]
    tables = tmp_path / "report/tables"
    for name in ("summary", "numbers", "settings", "pairs", "unfinished"):
        assert list(dict.fromkeys(pd.read_csv(tables / f"{name}.csv")["data set"])) == names
    assert "on 2 data sets" in next(table.note for table in made.tables if table.name == "ranks")
    figures = {path.stem for path in (tmp_path / "report/figures").glob("curves*.svg")}
    assert figures == {"curves_data_siteA_data.csv", "curves_data_siteB_data.csv"}
    for text in (page.read_text(), (tmp_path / "report/report.md").read_text(), (tables / "summary.tex").read_text()):
        assert all(name in text for name in names)


def test_files_of_figures_are_told_apart(record: Any, tmp_path: Path) -> None:
    """Where letters and digits do not tell data sets apart, a number does."""
    history = [{"epoch": i, "step": 5 * i, "val/loss": 1 / i} for i in (1, 2)]
    for name in ("日本", "中国"):
        record(A, history=history, task={"name": name})
    made = make([tmp_path], METRIC)
    write_report(made, tmp_path / "report", Material(made.choices, METRIC))
    assert {path.name for path in (tmp_path / "report/figures").glob("curves*.svg")} == {"curves.svg", "curves_2.svg"}
    text = (tmp_path / "report/report.md").read_text(encoding="utf-8")
    assert "(figures/curves.png)" in text
    assert "(figures/curves_2.png)" in text


def test_several_versions_of_the_code(record: Any, tmp_path: Path) -> None:
    """Flagged in the cell that mixes them, with counts and remedy; said of the report, and where numbers come from."""
    for seed, version in enumerate(("1a" * 8, "1a" * 8, "9f" * 8, None)):
        more = {} if version is None else {"code_version": version}
        record(A, seed=seed, **more)
    record(A, params={"model.name": "snet"}, code_version="1a" * 8)
    made = make([tmp_path], METRIC)
    (note,) = doubts(made, "code")
    assert note.startswith(
        "code versions: as given mixes 2 runs of 1a1a1a1a, 1 of 9f9f9f9f, 1 of unknown; the same command again"
    )
    assert "rerun=true" in note
    flags = {row[1]: str(row[-1]) for row in next(table for table in made.tables if table.name == "summary").rows}
    assert "code" in flags["pnet pathnorm"]
    assert "code" not in flags["snet pathnorm"]
    said = "The runs are of 3 code versions, whose numbers may differ: 3 runs of 1a1a1a1a, 1 of 9f9f9f9f, 1 of unknown."
    assert said in made.notes
    assert made.origin.code == [("1a" * 8, 3), ("9f" * 8, 1), ("unknown, of an earlier version", 1)]


def test_one_version_of_the_code_is_no_doubt(record: Any, tmp_path: Path) -> None:
    """Known or unknown."""
    for seed in (0, 1):
        record(A, seed=seed)
    made = make([tmp_path], METRIC)
    assert doubts(made, "code") == []
    assert not [note for note in made.notes if "code" in note]


def test_the_later_run_is_that_of_the_later_moment(record: Any, tmp_path: Path) -> None:
    """Times of several zones: 12:00 in UTC is after 13:30 at +02:00."""
    folders = [record(A, loss=loss) for loss in (0.4, 0.5)]
    for folder, moment in zip(folders, ("2030-01-01T12:00:00+00:00", "2030-01-01T13:30:00+02:00"), strict=True):
        path = folder / "run.json"
        path.write_text(path.read_text().replace("2030-01-01T12:00:00.000+00:00", moment))
    made = make([tmp_path], METRIC)
    validation = made.choices[0].validation
    assert validation is not None
    assert validation.mean == 0.4
    assert "1 records were replaced by a later run of the same data, settings and seed" in made.notes[1]
