"""A table is read as its owner means it: as many fields as names, words for what is missing, numbers that look odd."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
from cells import NUMBERS, ROWS, TARGET, lines, raised, raw

# the fields of a line


@pytest.mark.parametrize(("extra", "fields"), [(",7", 4), (",7,8", 5)])
def test_rows_longer_than_the_header_are_refused(written: Any, load: Any, extra: Any, fields: Any) -> None:
    """Never shifted: pandas would take the first column for names of rows."""
    path = written("target,a,b", lines(TARGET, NUMBERS, NUMBERS, end=extra))
    message = raised(load, path=path)
    assert f"the header of my.csv has 3 and line 2 has {fields} (" in message
    assert f"; {ROWS} lines differ. Correct the header" in message


@pytest.mark.parametrize("bad", ["1,2", "1,2,3,4", "total"])
def test_a_line_of_another_length_is_named(written: Any, load: Any, bad: Any) -> None:
    """Too short as well, below empty lines and cells of two lines."""
    rows = [*lines(TARGET, NUMBERS, NUMBERS), "", '1,0.5,"0.5"', '1,"0.\n5",0.5', bad]
    message = raised(load, path=written("target,a,b", rows))
    assert f"has 3 and line {ROWS + 6} has {bad.count(',') + 1} ('{bad}')" in message


@pytest.mark.parametrize("marks", [("", ","), (",", ","), (",", ""), ("", ",,"), (",,", ",,")])
def test_separators_at_the_end_of_lines(written: Any, load: Any, marks: Any) -> None:
    """In the header, the rows, or both: the columns are those with names."""
    head, end = marks
    task = load("table", path=written(f"target,a,b{head}", lines(TARGET, NUMBERS, NUMBERS[::-1], end=end)))
    assert (task.feature_names, task.classes) == (["a", "b"], ["0", "1"])
    assert any("without a name and without values" in note for note in task.notes) == bool(end)


def test_a_field_behind_the_last_name_that_is_not_always_empty(written: Any, load: Any) -> None:
    """The line with the value is named."""
    rows = [*lines(TARGET, NUMBERS, end=","), "1,0.5,9"]
    assert f"has 2 and line {ROWS + 2} has 3 ('9')" in raised(load, path=written("target,a", rows))


def test_a_first_column_without_a_name(written: Any, load: Any) -> None:
    """Numbers of rows, as pandas and R write them, are no input; another such column is one, and said."""
    counts, squares = [str(row) for row in range(ROWS)], [str(row**2) for row in range(ROWS)]
    task = load("table", path=written(",target,a", lines(counts, TARGET, NUMBERS)))
    assert task.feature_names == ["a"]
    assert "left out the first column, which has no name and counts the rows" in task.notes
    task = load("table", path=written(",target,a", lines(squares, TARGET, NUMBERS)))
    assert task.feature_names == ["Unnamed: 0", "a"]
    assert "column 1 has no name and is called 'Unnamed: 0'" in task.notes


@pytest.mark.parametrize(
    ("name", "mark", "values"),
    [
        ("my.csv", ";", {"sep": ";"}),
        ("my.tsv", "\t", {}),
        ("my.TXT", "\t", {}),
        ("my.txt", ";", {}),
        ("my.txt", "|", {"sep": "|"}),
        ("my.txt", "\t", {"sep": "tab"}),
        ("MY.CSV", ",", {}),
        ("my.CSV.GZ", ",", {}),
        ("my.txt.gz", " ", {}),
        ("my.txt", "   ", {}),
        ("my.csv", "  ", {"sep": "spaces"}),
    ],
)
def test_endings_and_separators(written: Any, load: Any, name: Any, mark: Any, values: Any) -> None:
    """In capitals as well; of .txt the separator that fits the header, which is said."""
    header, *rows = (line.replace(",", mark) for line in ["target,a,b", *lines(TARGET, NUMBERS, NUMBERS[::-1])])
    task = load("table", path=written(header, rows, name), **values)
    assert task.feature_names == ["a", "b"]
    mark = mark if mark.strip() or mark == "\t" else "spaces"
    told = f"separator inferred from the header: {mark!r}" in task.notes
    assert told == (".txt" in name.lower() and not values)


def test_names_may_hold_spaces(written: Any, load: Any) -> None:
    """Where another separator fits."""
    path = written("the target,first a", lines(TARGET, NUMBERS), "my.txt")
    assert load("table", path=path, target="the target").feature_names == ["first a"]


def test_another_separator_is_guessed_in_the_message(written: Any, load: Any) -> None:
    """Never one long column."""
    path = written("target;a;b", [line.replace(",", ";") for line in lines(TARGET, NUMBERS, NUMBERS)])
    assert raised(load, path=path).endswith("has one, 'target;a;b'. Set 'dataset.sep=\";\"'.")
    path = written("target;a", [f"{y};{a}".replace(".", ",") for y, a in zip(TARGET, NUMBERS, strict=True)])
    assert "Set 'dataset.sep=\";\"'" in raised(load, path=path)


@pytest.mark.parametrize("charset", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_charsets(written: Any, load: Any, charset: Any) -> None:
    """What cannot be decoded is told with a remedy; the mark of UTF-8 is no part of a name."""
    path = written("größe,target", lines(["groß", "klein"] * 60, TARGET), charset=charset)
    assert load("table", path=path, charset=charset).feature_names == ["größe=groß", "größe=klein"]
    if charset in ("cp1252", "utf-16"):
        assert "Set dataset.charset to what it is written in, such as cp1252" in raised(load, path=path)
    assert "dataset.charset=latin9000 is not known" in raised(load, path=path, charset="latin9000")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_ends_of_lines(tmp_path: Path, load: Any, end: Any) -> None:
    """Of Linux, Windows and old Macs, and lines are counted alike."""
    rows = [*lines(TARGET, NUMBERS), "1,bad"]
    (tmp_path / "my.csv").write_bytes(end.join(["target,a", *rows, ""]).encode())
    assert f"'bad' in line {ROWS + 2}" in raised(load, path=str(tmp_path / "my.csv"))
    assert load("table", path=str(tmp_path / "my.csv"), missing=["bad"]).feature_names[0] == "a"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("house.2019.csv", "house.2019"), ("house.2019.csv.gz", "house.2019"), ("A.B.TXT", "A.B"), ("my.csv", "my")],
)
def test_the_task_is_called_as_the_file_less_its_ending(written: Any, load: Any, name: Any, expected: Any) -> None:
    """house.2019.csv and house.2020.csv are two data sets."""
    header, rows = "target,a", lines(TARGET, NUMBERS)
    assert load("table", path=written(header, rows, name), sep=",").name == expected


def test_the_checksum_is_of_what_was_read(written: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is opened once; a change right after cannot part checksum and content."""
    path = written("target,a", lines(TARGET, NUMBERS))
    opened, read_bytes = [], Path.read_bytes

    def counted(self: Path) -> bytes:
        opened.append(self)
        return read_bytes(self)

    monkeypatch.setattr(Path, "read_bytes", counted)
    found = raw(path)
    assert opened == [Path(path)]
    assert found.checksum == hashlib.sha256(read_bytes(Path(path))).hexdigest()
