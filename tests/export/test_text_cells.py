"""The exported Python file reads text as the run's own file was read, and says in one line what it cannot read."""

import gzip
import io
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from export_commands import Said, exporting, predicting

from psilon_bench.data.form import Form
from psilon_bench.errors import UsageError
from psilon_bench.export import export, numpy_file
from psilon_bench.export.numpy_file import numpy_source
from psilon_bench.export.program import program_of
from psilon_bench.export.served_model import ServedModel
from psilon_bench.export.written import Written, spelled_number, written_as
from psilon_bench.models.mlp import MLP
from psilon_bench.records.networks import load

FORMS = [Form((), d, t) for d in (".", ",") for t in (None, ",", ".", " ", "'", "_") if d != t]
WORDS = (
    *("7.730", "7,730", "7730", "1.234.567,5", "1,234,567.5", "1 234", "1'234", "1_234", "12.34", "12,34", "0.123"),
    *("0,123", "-1.234", "+1,5", " 5 ", "1e3", "1,5e-3", "1.234.56", "01.234", "1..234", "inf", "-Infinity", "nan"),
    *("NA", "true", "1e400", "many", "", ".", ",", "-", "1.2345", "1,234.5.6", "$5", "0x10", "9" * 400),
)
GERMAN = ("dataset.sep=';'", "dataset.thousands='.'", "dataset.decimal=','", "dataset.missing=[k.A.,-9999]")
ROWS = 60


@pytest.fixture
def german(tmp_path: Path) -> Path:
    """A file of `7.730`, which is 7730, with holes and a word for them; large numbers are class "yes"."""
    draw = np.random.default_rng(5)
    large, small = draw.integers(1000, 99999, ROWS), 3 * draw.normal(size=ROWS)
    form = Form((), ",", ".")
    lines = ["groß;klein;wann;job;y"]
    for k in range(ROWS):
        cells = [spelled_number(large[k], form), spelled_number(round(small[k], 4), form), f"2024-03-{1 + k % 28:02}"]
        job = (" ", "k.A.", "clerk", "cook")[draw.integers(4)]
        cells[k % 3] = ("k.A.", " k.A. ", "", "-9.999", "NA")[k % 5] if k % 4 == 0 and k % 3 < 2 else cells[k % 3]
        lines.append(";".join([*cells, job, "yes" if large[k] > 50000 else "no"]))
    (tmp_path / "de.csv").write_text("\n".join(lines) + "\n", encoding="cp1252")
    return tmp_path / "de.csv"


@pytest.fixture
def folder(finished: Any, german: Path) -> Path:
    """A run on that file."""
    settings = (*GERMAN, "dataset.charset=cp1252", "dataset.target=y")
    return Path(finished("dataset=table", f"dataset.path={german}", *settings).folder)


def running(file: Path, *arguments: object) -> Said:
    """What `python FILE ...` prints, and its exit code."""
    return Said(lambda: runpy.run_path(str(file), run_name="__main__"), "model.py", arguments)


@pytest.fixture
def module(made: Any, saved_as: Any, drawn: Any, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """module(form): the Python file of a network on the table of all kinds of columns, written to model.py."""

    def module(form: Form | None = None) -> dict[str, Any]:
        task = made("binary")
        saved = saved_as(drawn(MLP(len(task.feature_names), 1, 5, 2, 1, True, "relu", "orthogonal")), task)
        source = numpy_source(program_of(saved), Written(form or Form()))
        (tmp_path / "model.py").write_text(source, encoding="utf-8")
        found: dict[str, Any] = {"__name__": "exported", "saved": saved}
        exec(source, found)
        return found

    return module


def test_text_is_the_number_that_a_form_makes_of_it(module: Any) -> None:
    """Form.number is the reference, word by word, for all marks; a spelled number is read back to the last digit."""
    for form in FORMS:
        said_by = module(form)["said_by"]
        for word in WORDS:
            right = form.number(word)
            if right is not None and not isinstance(right, float):
                right = float(word) if right > 1e308 else float(right)
            assert said_by(word) == right, (form, word)
        for value in (7730.0, 1234567.5, -0.1, 1e-7, 1.234e-5, 1e22, -123456.789, 1 / 3 * 1e6, 0.0, 999.0, 1000.0):
            assert said_by(spelled_number(value, form)) == value == form.number(spelled_number(value, form))


def test_the_file_of_the_run_is_read_as_in_training(folder: Path, german: Path) -> None:
    """As psilon-predict reads it: separator, character set, marks and words; the card says how text is to be read."""
    assert exporting(folder, "--to", "numpy", "--to", "onnx").code in (None, 0)
    said, right = running(folder / "export/model.py", german), predicting(folder, german, "--proba")
    assert (said.code, said.err) == (0, "")
    made, wanted = (np.array([line.split(",") for line in out.splitlines()]) for out in (said.out, right.out))
    assert made[:, 0].tolist() == wanted[:, 0].tolist()
    assert len(made) == ROWS + 1
    np.testing.assert_allclose(made[1:, 1:].astype(float), wanted[1:, 1:].astype(float), atol=1e-6)
    card = (folder / "export/model_card.md").read_text()
    assert "decimal ',', thousands '.': '1.234.567,5' is the number 1234567.5" in card
    assert "a value is missing: 'k.A.', '-9999'" in card
    assert " drawn rows as text: " in card


def test_a_loaded_network_reads_text_as_in_training(folder: Path, german: Path, tmp_path: Path) -> None:
    """Cells of text are the numbers that the training file meant, for `predict`, in MLflow, and in mixed columns."""
    cells = pd.read_csv(german, sep=";", dtype=str, keep_default_na=False, encoding="cp1252").drop(columns="y")
    said = predicting(folder, german, "--proba").out
    wanted = pd.read_csv(io.StringIO(said)).iloc[:, 1:].to_numpy()
    saved = load(folder)
    np.testing.assert_allclose(saved.predict(cells), wanted, rtol=1e-12)
    np.testing.assert_allclose(ServedModel(saved).predict(cells).iloc[:, 1:].to_numpy(), wanted, rtol=1e-12)
    with pytest.raises(UsageError, match=r"Column 'klein' .*'1.5' is none \(decimal ',', thousands '\.'\)\. Correct"):
        saved.predict(cells.assign(klein="1.5"))


def test_rows_may_be_written_in_another_form(folder: Path, german: Path, tmp_path: Path) -> None:
    """Numbers are what ROWS means by them, also in a file that calls a column of numbers text."""
    cells = pd.read_csv(german, sep=";", dtype=str, keep_default_na=False, encoding="cp1252").head(3)
    cells = cells.assign(groß=["7730.5", "7000", "123.5"], klein="1.5")
    cells.to_csv(tmp_path / "plain.csv", index=False)
    cells.to_parquet(tmp_path / "text.parquet")
    settings = ("dataset.decimal=.", "dataset.thousands=null", "dataset.sep=','", "dataset.charset=utf-8")
    wanted = load(folder).predict(cells.assign(groß=[7730.5, 7000.0, 123.5], klein=1.5))
    for name in ("plain.csv", "text.parquet"):
        said = predicting(folder, tmp_path / name, "--proba", *settings)
        assert said.code in (0, None), said.err
        np.testing.assert_allclose(pd.read_csv(io.StringIO(said.out)).iloc[:, 1:].to_numpy(), wanted, rtol=1e-12)


@pytest.mark.parametrize("lost", ["thousands", "decimal", "missing"])
def test_text_that_is_misread_ends_the_export(folder: Path, monkeypatch: pytest.MonkeyPatch, lost: str) -> None:
    """A mark that is lost in the file, or on the way to it: one line, no file."""
    about = numpy_file.about

    def without(program: Any, written: Written) -> dict[str, Any]:
        made = about(program, written)
        made["text"] |= {"thousands": None} if lost == "thousands" else {"decimal": "."} if lost == "decimal" else {}
        made["columns"] = [c | ({"missing": []} if lost == "missing" else {}) for c in made["columns"]]
        return made

    monkeypatch.setattr(numpy_file, "about", without)
    said = exporting(folder, "--to", "numpy")
    assert (said.code, said.out, said.err.count("\n")) == (1, "", 1)
    assert "does not predict as the network does" in said.err
    assert "as text" in said.err
    assert not (folder / "export").exists()


def test_the_cells_of_the_run_s_file_are_the_check(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Marks that are lost before anything is spelled by them are found by the test rows of the file."""
    monkeypatch.setattr(export, "written_as", lambda dataset: written_as({**dataset, "thousands": None}))
    said = exporting(folder, "--to", "numpy")
    assert (said.code, "as text" in said.err) == (1, True)


def test_files_are_separated_as_their_ending_says(folder: Path, german: Path) -> None:
    """Tabs, bars and spaces, quotes, gzip, and lines that end in separators."""
    exporting(folder, "--to", "numpy")
    right = running(folder / "export/model.py", german).out
    text = german.read_text(encoding="cp1252")
    files = {
        "rows.tsv": text.replace(";", "\t"),
        "bars.txt": text.replace(";", "|"),
        "tails.csv": text.replace("\n", ";\n"),
        "rows.csv": "\n" + text.replace("cook", '"cook"').replace("y\n", "y; job 2 \n", 1).replace("s\n", "s;\n"),
    }
    files["rows.csv"] = files["rows.csv"].replace("no\n", "no;1\n")
    for name, content in files.items():
        (german.parent / name).write_text(content, encoding="cp1252")
    (german.parent / "rows.tsv.gz").write_bytes(gzip.compress(files["rows.tsv"].encode("cp1252")))
    for name in (*files, "rows.tsv.gz"):
        assert running(folder / "export/model.py", german.parent / name).out == right, name


GOOD = {"age": 30, "in come": 1e6, "whole": 3, "job": "clerk", "zip": "1", "when": "2020-01-01", "label": "x"}


def as_csv(**cells: object) -> str:
    """A table of one row."""
    row = {**GOOD, **cells}
    return f"{','.join(row)}\n{','.join(map(str, row.values()))}\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"model.py: .*rows.csv: it must be text in utf-8 \(.*No such file.*\); check the file"),
        (b"", r"name the columns \['age', .*each once, but these are not there: .*it has \[\]"),
        (b"\xff\xfe\x00", r"must be text in utf-8 \(.*; check the file"),
        (as_csv().replace(",", ";").encode(), r"these are not there: .* separated by ',' it has \['age;in come;"),
        (as_csv().replace("age", "alter").encode(), r"these are not there: \['age'\]"),
        (as_csv().replace("whole", "age").encode(), r"these repeat: \['age'\]"),
        (as_csv(age="many").encode(), r"'age' holds numbers, but 'many' is none; write it .*\(decimal '\.'\)"),
        (as_csv(age="1_000").encode(), "'age' holds numbers, but '1_000' is none"),
        (as_csv(when="soon").encode(), "'when' holds dates, but 'soon' is none"),
        (as_csv(when="20240101").encode(), "'when' holds dates, but '20240101' is none"),
        (as_csv(age="inf").encode(), "must be finite, .*'age' has 1 that are not, the first in row 1"),
        (as_csv(age="1e300").encode(), "must be finite, in float32 too, .*'age' has 1"),
        (as_csv().encode() + b"1,2\n", "must have 7 fields separated by ',', but line 3 has 2"),
        (as_csv().encode() + b"1,1,1,cook,1,2020-01-01,x,9\n", "must have 7 fields separated by ',', but line 3 has 8"),
    ],
)
def test_a_mistake_is_one_line(module: Any, tmp_path: Path, content: bytes | None, message: str) -> None:
    """The rule, what was found and the remedy; exit code 2, and nothing on stdout."""
    module()
    (tmp_path / "good.csv").write_text(as_csv())
    assert running(tmp_path / "model.py", tmp_path / "good.csv").code == 0
    if content is not None:
        (tmp_path / "rows.csv").write_bytes(content)
    said = running(tmp_path / "model.py", tmp_path / "rows.csv")
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1), said.err
    assert pd.Series(said.err).str.contains(message).all(), said.err


def test_the_command_needs_one_file(module: Any, tmp_path: Path) -> None:
    """And says how it is called."""
    module()
    said = running(tmp_path / "model.py")
    assert (said.code, said.err) == (2, "model.py: name one file of rows: python FILE.py rows.csv\n")


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e300])
def test_no_prediction_is_made_of_numbers_that_overflow(module: Any, table: pd.DataFrame, value: float) -> None:
    """Neither by the file nor by the network: no NaN, and no class of it."""
    found = module()
    rows = table.head(4).copy()
    rows.loc[2, "age"] = value
    with pytest.raises(ValueError, match=r"row 3; correct"):
        found["predict"](rows)
    with pytest.raises(UsageError, match=r"'age' (has 1|holds 1e).*row 3"):
        found["saved"].predict(rows)


def test_an_infinite_date_is_refused(module: Any, table: pd.DataFrame) -> None:
    """Before its sine, which is NaN, is imputed."""
    with pytest.raises(ValueError, match="column 'when' has 3 that are not, the first in row 1"):
        module()["features"](table.head(3).assign(when=np.inf))


def test_outputs_that_overflow_are_refused(module: Any, table: pd.DataFrame) -> None:
    """Numbers that fit float32, and sums of them that do not."""
    found = module()
    rows = table.head(4).copy()
    rows.loc[2, "age"] = 1e30
    found["ARRAYS"]["weight0"] *= np.float32(1e20)
    with pytest.raises(ValueError, match="too large for the network, which overflows in row 3"):
        found["predict"](rows)
    with torch.no_grad():
        for parameter in found["saved"].network.parameters():
            parameter *= 1e10
    with pytest.raises(UsageError, match=r"outputs of a network must be finite, .* row 3"):
        found["saved"].predict(rows)


def test_columns_twice_and_values_that_are_missing(module: Any, table: pd.DataFrame) -> None:
    """A frame with two columns of a name is refused; pandas.NA is a missing value like NaN."""
    found = module()
    rows = table.head(40)[found["COLUMNS"]]
    with pytest.raises(ValueError, match=r"'age' must be there once.* has the shape \(40, 2\); name each column once"):
        found["predict"](pd.concat([rows, rows[["age"]]], axis=1))
    nullable = rows.astype({"age": "Int64", "whole": "Int64", "job": "string"})
    assert nullable["age"].isna().any()
    assert nullable["job"].isna().any()
    np.testing.assert_array_equal(found["predict_proba"](nullable), found["predict_proba"](rows))
