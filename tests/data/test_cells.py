"""A cell is read as its owner means it: words for what is missing, numbers that look odd, levels as they are."""

import re
import shlex
from typing import Any

import pytest
import torch
from cells import NUMBERS, ROWS, TARGET, lines, raised, raw
from hydra.core.override_parser.overrides_parser import OverridesParser

from psilon_bench.data.form import Form
from psilon_bench.data.setting import setting
from psilon_bench.errors import UsageError

# words for what is missing


@pytest.mark.parametrize("word", ["NA", "None", "null", "nan", "N/A", "?", "", "NaN", "NULL", "<NA>", "#N/A", "n/a"])
def test_words_that_are_missing_among_numbers_alone(column: Any, word: Any) -> None:
    """In a column of numbers they leave the cell empty and are counted; as level or class they are what they are."""
    cells = [word if row % 10 == 0 else number for row, number in enumerate(NUMBERS)]
    task = column(cells)
    assert task.feature_names == ["a", "b", "missingindicator_a"]
    assert f"missing: 'a' (12 {repr(word) if word else 'empty'})" in task.notes
    task = column(["x", "y", word] * 40)
    assert task.feature_names[1:] == [f"a={level}" for level in sorted(["x", "y", word or "missing"])] or not word
    if word:
        assert any(note.startswith(f"{word} in 'a': levels") for note in task.notes)


def test_words_that_are_classes(written: Any, load: Any) -> None:
    """None of the rows is left out."""
    rows = lines(NUMBERS, ["Double", "None", "null"] * 40)
    task = load("table", path=written("a,label", rows))
    assert task.classes == ["Double", "None", "null"]
    assert sum(len(split) for split in (task.train, task.val, task.test)) == ROWS


def test_classes_some_of_which_are_numbers(written: Any, load: Any) -> None:
    """Asked about, unless they are said to be classes or levels."""
    path = written("a,target", lines(NUMBERS, ["U" if row % 24 == 0 else str(row % 3) for row in range(ROWS)]))
    assert "Column 'target' must hold numbers or levels" in raised(load, path=path)
    for said in ({"kind": "classes"}, {"categorical": ["target"]}):
        assert load("table", path=path, **said).classes == ["0", "1", "2", "U"]


@pytest.mark.parametrize(
    ("words", "classes", "inferred", "alike"),
    [
        (["007", "7", "1"], ["1", "007", "7"], ["1", "7"], "007 and 7"),
        (["1", "1.0", "0", "2"], ["0", "1", "1.0", "2"], ["0", "1", "2"], "1 and 1.0"),
        (["true", "TRUE", "False"], ["False", "TRUE", "true"], ["False", "True"], "TRUE and true"),
        (["2.50", "10.0", "3"], ["2.50", "3", "10.0"], None, None),
        ([" 7", "7", "1"], ["1", "7"], ["1", "7"], None),
        (["1e5", "1e05", "1"], ["1", "1e05", "1e5"], None, "1e05 and 1e5"),
    ],
)
def test_classes_are_words(written: Any, load: Any, words: Any, classes: Any, inferred: Any, alike: Any) -> None:
    """As they are written where they are said to be classes; where this is inferred, a note says what is one class."""
    cells = [words[row % len(words)] for row in range(ROWS)]
    path = written("a,target", lines(NUMBERS, cells))
    task = load("table", path=path, kind="classes")
    assert task.classes == classes
    assert raw(path, kind="classes").frame["target"].tolist() == [cell.strip() for cell in cells]
    said = [note for note in task.notes if "'target'" in note]
    assert said == ([f"different classes in 'target', for dataset.kind=classes keeps words: {alike}"] if alike else [])
    if inferred is not None:
        task = load("table", path=path)
        assert task.classes == inferred
        said = [note for note in task.notes if note.startswith("one class in 'target'")]
        kept = "dataset.kind=classes keeps them apart"
        assert said == ([f"one class in 'target', for they are one value: {alike}; {kept}"] if alike else [])


def test_a_quantity_may_be_spelled_in_two_ways(written: Any, load: Any) -> None:
    """No note, for nothing is merged."""
    cells = [f"{row % 60}{'.0' if row < 60 else ''}" for row in range(ROWS)]
    task = load("table", path=written("a,target", lines(NUMBERS, cells)))
    assert task.kind == "regression"
    assert not any("one value" in note for note in task.notes)


def test_words_that_are_classes_may_be_missing(written: Any, load: Any) -> None:
    """By the words that are missing among numbers and truth values, and by dataset.missing, a number by its value."""
    for words, missing in ((["007", "7", "NA", "-9", "-9.0"], [-9]), (["TRUE", "true", "NA", "none"], [])):
        path = written("a,target", lines(NUMBERS, [words[row % len(words)] for row in range(ROWS)]))
        task = load("table", path=path, kind="classes", missing=missing)
        assert task.classes == words[:2]
        assert f"left out {ROWS - 2 * ROWS // len(words)} rows without a target" in task.notes


def test_missing_can_be_set(column: Any) -> None:
    """For all columns: levels, classes, and numbers by value, here -999, which is a number otherwise."""
    cells = ["-999" if row % 10 == 0 else number for row, number in enumerate(NUMBERS)]
    assert column(cells).feature_names == ["a", "b"]
    for missing in ([-999], ["-999"], [-999.0]):
        task = column(cells, missing=missing)
        assert task.feature_names == ["a", "b", "missingindicator_a"]
        assert "missing: 'a' (12 '-999')" in task.notes
    task = column(["x", "y", "none of them"] * 40, missing=["none of them", None])
    assert task.feature_names[1:] == ["a=x", "a=y", "a=missing"]


def test_missing_classes_leave_their_rows_out(written: Any, load: Any) -> None:
    """As they are told to."""
    path = written("a,label", lines(NUMBERS, ["x", "y", "unknown"] * 40))
    task = load("table", path=path, missing=["unknown"])
    assert task.classes == ["x", "y"]
    assert "left out 40 rows without a target" in task.notes


def test_truth_values_may_be_missing(column: Any) -> None:
    """0, 1 and an indicator."""
    assert column(["True", "False", "NA"] * 40).feature_names == ["a", "b", "missingindicator_a"]


# cells that are no numbers among numbers


@pytest.mark.parametrize(
    ("odd", "told", "remedy"),
    [
        ("Total", "1 of its 120 cells are no numbers: 'Total' in line 121", "dataset.missing=[Total]"),
        ("#DIV/0!", "'#DIV/0!' in line 121", "'dataset.missing=[\"#DIV/0!\"]'"),
        ("1,234", "'1,234' in line 121", "'dataset.thousands=\",\"'"),
        ("0,5", "'0,5' in line 121", "'dataset.missing=[\"0,5\"]'"),  # 0.841 beside it
        ("12%", "'12%' in line 121", "'dataset.missing=[\"12%\"]'"),
        ("0x1F", "'0x1F' in line 121", "'dataset.missing=[\"0x1F\"]'"),
        ("n.d.", "'n.d.' in line 121", "dataset.missing=[n.d.]"),
        ("1_000", "'1_000' in line 121", "'dataset.missing=[\"1_000\"]'"),
    ],
)
def test_a_cell_that_is_no_number_is_named(column: Any, odd: Any, told: Any, remedy: Any) -> None:
    """Never one-hot levels, never the advice to drop the column; every remedy that is told works as typed."""
    cells = [*NUMBERS[: ROWS - 1], odd]
    with pytest.raises(UsageError) as error:
        column(cells)
    message = str(error.value)
    assert "Column 'a' must hold numbers or levels" in message
    assert told in message
    assert remedy in message
    assert "dataset.drop" not in message
    assert "\n" not in message
    for key, value in map(typed, re.findall(r"'dataset\.(?:missing|thousands|decimal)=.+?'(?= )", message)):
        assert column(cells, **{key: value}).feature_names[:1] == ["a"]


def typed(override: str) -> tuple[str, object]:
    """The key and the value that a shell and Hydra make of an override."""
    (word,) = shlex.split(override)
    parsed = OverridesParser.create().parse_override(word)
    return parsed.key_or_group.removeprefix("dataset."), parsed.value()


@pytest.mark.parametrize("share", [1, 40, 119])
def test_any_number_of_spreadsheet_errors_and_separators(column: Any, share: Any) -> None:
    """They are not levels however many there are."""
    for odd in (["#DIV/0!"] * share, [f"1,{row:03d}" for row in range(share)]):
        with pytest.raises(UsageError, match=rf"Column 'a' must hold .* {share} of its 120 cells are no numbers"):
            column([*NUMBERS[: ROWS - share], *odd])


@pytest.mark.parametrize(
    ("cells", "remedy"),
    [
        ([f"{row / 7:.2f}".replace(".", ",") for row in range(ROWS)], "set 'dataset.decimal=\",\"', or"),
        ([f"{1234 * row:,}" for row in range(ROWS)], "set 'dataset.thousands=\",\"', or"),
        ([f"{1234 * row / 8:,.2f}" for row in range(ROWS)], "set 'dataset.thousands=\",\"', or"),
        ([f"{row}%" for row in range(ROWS)], "set dataset.decimal and dataset.thousands once cells have no units"),
    ],
)
def test_a_column_that_is_written_otherwise_tells_how(column: Any, cells: Any, remedy: Any) -> None:
    """Settings that read every cell of it, and those alone."""
    with pytest.raises(UsageError, match="Column 'a' must hold numbers or levels") as error:
        column(cells)
    assert remedy in str(error.value)


def test_half_a_column_of_numbers(column: Any) -> None:
    """Sixty different numbers and one word are no levels; twelve numbers and words are."""
    with pytest.raises(UsageError, match=r"'not done' in line 62 \(60 times\)"):
        column([*NUMBERS[:60], *["not done"] * 60])
    assert column(["1", "2", "3", "many"] * 30).feature_names[1:] == ["a=1", "a=2", "a=3", "a=many"]


def test_a_footer_can_be_set_missing(written: Any, load: Any) -> None:
    """Its row has no target then."""
    path = written("a,b,target", [*lines(NUMBERS, NUMBERS[::-1], TARGET), "Total,,"])
    assert f"Column 'a' must hold numbers or levels, but 1 of its {ROWS + 1} cells" in raised(load, path=path)
    task = load("table", path=path, missing=["Total"])
    assert task.feature_names == ["a", "b"] or task.feature_names == ["a", "b", "missingindicator_a"]
    assert "left out 1 row without a target" in task.notes


@pytest.mark.parametrize(
    ("cell", "values", "expected"),
    [
        ("1,234", {"thousands": ","}, 1234),
        ("1,234,567.5", {"thousands": ","}, 1234567.5),
        ("0,5", {"decimal": ","}, 0.5),
        ("1.234,5", {"decimal": ",", "thousands": "."}, 1234.5),
        ("1 234", {"thousands": " "}, 1234),
        (" 7 ", {}, 7),
        ("+7", {}, 7),
        ("1e-3", {}, 1e-3),
        ("1,2", {"thousands": ","}, None),
        ("0,143", {"thousands": ","}, None),
        ("1,2345", {"thousands": ","}, None),
        ("1.5", {"decimal": ","}, None),
        ("1_000", {}, None),
        ("nan", {}, None),
    ],
)
def test_numbers_as_they_are_written(cell: Any, values: Any, expected: Any) -> None:
    """Groups of three digits alone, and the one decimal mark."""
    assert Form(**values).number(cell) == expected


def test_decimal_and_thousands_must_differ(column: Any) -> None:
    """No number could be read."""
    with pytest.raises(UsageError, match=r"dataset.decimal and dataset.thousands must differ, but both are ','"):
        column(NUMBERS, decimal=",", thousands=",")


def test_categorical_columns_are_read_as_they_are(written: Any, load: Any) -> None:
    """Leading zeros included, and a target that counts too many values to be inferred as classes."""
    path = written("zip,y", lines(["01234", "1234", "94110"] * 40, [str(row % 15) for row in range(ROWS)]))
    assert load("table", path=path).feature_names == ["zip"]
    task = load("table", path=path, categorical=["zip", "y"])
    assert task.feature_names == ["zip=01234", "zip=1234", "zip=94110"]
    assert (task.num_outputs, task.classes[-1]) == (15, "14")
    assert "dataset.categorical must name columns, but zap are none" in raised(load, path=path, categorical=["zap"])


# integers, large numbers


@pytest.mark.parametrize("base", [2**53, 2**60, 2**63, 2**70, -(2**60)])
def test_integer_classes_are_exact(written: Any, load: Any, base: Any) -> None:
    """Two that differ by one are two, also where the target misses a value."""
    rows = [*lines(NUMBERS, [str(base + row % 3) for row in range(ROWS)]), "0.5,"]
    task = load("table", path=written("a,target", rows))
    assert task.classes == [str(base), str(base + 1), str(base + 2)]
    assert "left out 1 row without a target" in task.notes
    assert task.train.y.bincount().tolist() == [24, 24, 24]


def test_classes_that_floats_do_not_tell_apart_are_refused(written: Any, load: Any) -> None:
    """Whoever wrote them has merged them already."""
    rows = lines(NUMBERS, [f"{2**60 + row % 3}.0" for row in range(ROWS)])
    assert "stored as floats, which skip whole numbers beyond 2^53" in raised(load, path=written("a,target", rows))


@pytest.mark.parametrize("row", range(0, ROWS, 13))
@pytest.mark.parametrize("value", ["1.7976931348623157e308", "-1e200", "1e999"])
def test_numbers_that_overflow_name_their_line(written: Any, load: Any, row: Any, value: Any) -> None:
    """In whichever split the row lies; before anything is trained."""
    cells = [value if place == row else number for place, number in enumerate(NUMBERS)]
    message = raised(load, path=written("a,b,target", lines(cells, NUMBERS, TARGET)))
    assert "column 'a'" in message
    assert f"in line {row + 2}." in message


def test_quantiles_that_are_too_far_apart_name_their_line(written: Any, load: Any) -> None:
    """No scale keeps both the slope and the ends of the curve finite."""
    cells = [{3: "1.7e308", 7: "-1.7e308"}.get(row, number) for row, number in enumerate(NUMBERS)]
    message = raised(load, path=written("a,b,target", lines(cells, NUMBERS, TARGET)), scaling="quantile")
    assert "column 'a' holds 1.6999999999999999e+308 in line 5." in message


def test_a_target_that_overflows_names_its_line(written: Any, load: Any) -> None:
    """Its scale would be infinite."""
    cells = ["1.7976931348623157e308" if row == 7 else number for row, number in enumerate(NUMBERS)]
    assert "but target 'y' holds 1.7976931348623157e+308 in line 9." in raised(
        load, path=written("a,y", lines(NUMBERS, cells))
    )


def test_large_numbers_that_can_be_scaled_are_fine(written: Any, load: Any) -> None:
    """Luminosities in erg/s lie beyond float32, their standardised values do not."""
    task = load("table", path=written("a,target", lines([f"{number}e44" for number in NUMBERS], TARGET)))
    plain = load("table", path=written("a,target", lines(NUMBERS, TARGET), "other.csv"))
    torch.testing.assert_close(task.train.x, plain.train.x)


# how settings are typed


@pytest.mark.parametrize(
    "word", ["id", "a b", "#DIV/0!", "N/A", "?", "it's", 'say "so"', "null", "1e5", "ä", "x,y", "7"]
)
def test_settings_are_what_shell_and_hydra_read(word: Any) -> None:
    """A remedy can be pasted."""
    assert typed(setting("dataset.drop", [word])) == ("drop", [word])
    assert typed(setting("dataset.sep", word)) == ("sep", word)


def test_plain_settings_have_no_quotes() -> None:
    """As a person types them."""
    assert setting("dataset.drop", ["id", "name"]) == "dataset.drop=[id,name]"
