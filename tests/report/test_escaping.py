"""What records say stays text in a terminal, Markdown, LaTeX, a spreadsheet, a figure."""

import csv
import html
import io
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_records import write_record
from markdown_it import MarkdownIt
from rich.console import Console

from psilon_bench.report.escaping import markdown, spreadsheet, visible
from psilon_bench.report.estimate import Estimate
from psilon_bench.report.material import Material
from psilon_bench.report.metric import chosen_by
from psilon_bench.report.report import make
from psilon_bench.report.table import Table
from psilon_bench.report.write import write_report

NAMES = (
    "<img src=x onerror=alert(1)>|a`b`[c](d)",
    "q[red]r [/b] :smile:",
    "=1+1 & 5% *b* _c_ {} \\ ~ ^ #",
    "$x$ $\\frac{1$",
    "\x1b[31mred\x00\nnew",
)
RENDER = MarkdownIt("commonmark", {"html": True}).enable("table")
TEXT = st.text(st.sampled_from("ab1 <>&|`[]()*_~$#-+.=!\\\"':{}^\n\x1b\u2028é"), min_size=1, max_size=12)
TABLE = ["table", "thead", "tr", "th", "th", "tbody", "tr", "td", "td"]
METRIC = chosen_by("val/loss", None)


def words(text: Any) -> Any:
    """As a reader sees it: white space is one space."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "\n", text)).split())


def shown(text: Any) -> Any:
    return " ".join(visible(text).split())


@given(text=TEXT)
def test_markdown_shows_any_text_as_it_is(text: Any) -> None:
    """In a cell, a heading, an item of a list and a paragraph, by a parser of CommonMark; it adds no element."""
    cell = RENDER.render(Table("t", "T", [text, "n"], [[text, "x"]]).markdown())
    assert re.findall(r"<(\w+)", cell) == TABLE
    assert words(cell) == words(f"{html.escape(shown(text))} n {html.escape(shown(text))} x")
    for before, elements in (("# ", ["h1"]), ("- ", ["ul", "li"]), ("", ["p"])):
        made = RENDER.render(f"{before}{markdown(text)}\n")
        if markdown(text):
            assert re.findall(r"<(\w+)", made) == elements
        assert words(made) == shown(text)


@given(text=TEXT)
def test_no_text_is_a_formula(text: Any) -> None:
    """Only numbers, and intervals of them, begin as formulas do."""
    (field,) = next(csv.reader(io.StringIO(Table("t", "T", ["a"], [[text]]).csv().splitlines(keepends=True)[-1])))
    number = re.fullmatch(r"[-+]?[\d.]+( to [-+]?[\d.]+)?", field.strip()) is not None
    assert number or not field.startswith(("=", "+", "-", "@"))


@pytest.mark.parametrize("cell", ["-0.417 to 0.62", "-1,234", "-1e-05", "n < 5", "lam=0.1", "", None, -0.5, 3])
def test_numbers_are_not_harmed(cell: Any) -> None:
    """Nor intervals, nor what begins otherwise."""
    assert spreadsheet(cell) is cell


@pytest.mark.parametrize("cell", ["=cmd|' /C calc'!A0", "+1+cmd", "-2+3", "@SUM(A1)", "\uff1d1+1", "- to 1"])
def test_formulas_begin_with_an_apostrophe(cell: Any) -> None:
    """In cells and heads, of tables and of figures' points."""
    assert spreadsheet(cell) == f"'{cell}"
    head, row = csv.reader(Table("t", "T", [cell, "m"], [[cell, Estimate(-0.5, 0.1, 3)]]).csv().splitlines())
    assert head == [f"'{cell}", "m", "m sd", "m n"]
    assert row == [f"'{cell}", "-0.5", "0.1", "3"]


def test_latex_has_no_live_characters() -> None:
    """All that LaTeX gives a meaning stands escaped, in heads, too."""
    body = Table("t", "T", [r"a_b%"], [[r"# $ % & _ { } ~ ^ \ <>"]]).latex().partition(r"\toprule")[2]
    assert r"a\_b\%" in body
    assert r"\# \$ \% \& \_ \{ \} \textasciitilde{} \^{} \textbackslash{} \ensuremath{<}\ensuremath{>}" in body


def test_a_terminal_shows_markup_as_text() -> None:
    """Brackets that rich would read, in heads, cells, titles and notes; narrow terminals have a list."""
    made = Table("t", "[i]T[/i]", ["[b]h", "n"], [["q[red]r [/b] :smile:", 1.0]], "[/x] note")
    for value in (made.terminal(), made.listed()):
        file = io.StringIO()
        Console(file=file, width=100).print(value)
        text = file.getvalue()
        assert all(part in text for part in ("[i]T[/i]", "q[red]r [/b] :smile:", "[/x] note"))
    assert "[b]h" in text or "n 1" in text


def test_control_characters_are_no_text() -> None:
    """They drive terminals and break XML: marks in their place, white ones are spaces; within lists and keys, too."""
    mark = "\N{REPLACEMENT CHARACTER}"
    assert visible("a\x1b[31m\x00b\nc\td\u2028e\udc80") == f"a{mark}[31m{mark}b c d e{mark}"
    assert visible({"a\n": ["b\x07", 1, None]}) == {"a": [f"b{mark}", 1, None]}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Records whose data sets, inputs, values, reasons and titles are such names, and their report."""
    folder = tmp_path_factory.mktemp("hostile")
    runs = folder / "runs"
    history = [{"epoch": i, "step": 5 * i, "val/loss": 1 / i, "train/objective": 2 / i} for i in (1, 2, 4)]
    for number, name in enumerate(NAMES):
        for model in ("pnet", "snet", "mlp"):
            for lam in (1e-3, 1e-2):
                loss = 0.1 * (1 + (number + len(model)) % 4) + lam
                metrics = {"val/loss": loss, "test/loss": loss, "near_sparsity": loss, "time/fit_s": 1.0}
                metrics |= {"test/certified_accuracy/0.1": 0.5, "test/certified_accuracy/0.2": 0.4}
                about: dict[str, Any] = {"inputs_kept": [name, "age"] if model == "pnet" else ["age"]}
                about |= {"lipschitz_local_values": [1.0]}
                params = {"model.name": model, "reg.bound": name}
                write_record(runs, lam, 0, metrics, dataset=name, history=history, params=params, **about)
        write_record(
            runs, 1e-3, 1, status="failed", reason=name, dataset=name, title=name, command=["psilon-run", name]
        )
    made = make([runs], METRIC, by=("reg.bound",))
    told = list(made.notes)
    write_report(made, folder / "report", Material(made.choices, METRIC))
    assert made.notes == told  # every figure was drawn
    return folder


@pytest.mark.slow
def test_a_hostile_report_in_html(hostile: Any) -> None:
    """No element but our own, and all names to be read."""
    text = (hostile / "report/report.html").read_text(encoding="utf-8")
    assert "<img src=x" not in text
    assert text.count("<script>") == 1
    assert all(html.escape(visible(name), quote=False)[:20] in text.replace("&#39;", "'") for name in NAMES)


@pytest.mark.slow
def test_a_hostile_report_in_markdown(hostile: Any) -> None:
    """Rendered, it has the pictures of figures alone and no links but to files."""
    rendered = RENDER.render((hostile / "report/report.md").read_text(encoding="utf-8"))
    images = re.findall(r'<img src="([^"]*)"', rendered)
    assert images
    assert all(re.fullmatch(r"figures/[\w.=-]+\.png", image) for image in images)
    links = re.findall(r'href="([^"]*)"', rendered)
    assert all(re.fullmatch(r"(figures|tables)/[\w.=-]+\.(csv|tex)", link) for link in links)
    elements = set(re.findall(r"<(\w+)", rendered))
    assert elements <= {"h1", "h2", "ul", "li", "p", "pre", "code", "img", "a", *TABLE}


@pytest.mark.slow
def test_hostile_figures(hostile: Any) -> None:
    """Valid XML, names drawn as they are (matplotlib keeps them in comments), points without formulas."""
    drawings = sorted((hostile / "report/figures").glob("*.svg"))
    assert len({path.stem.split("_")[0] for path in drawings}) > 6
    for path in drawings:
        ET.parse(path)
    assert any("<!-- $x$ $\\frac{1$" in path.read_text(encoding="utf-8") for path in drawings)
    for path in (hostile / "report").rglob("*.csv"):
        cells = [cell for row in csv.reader(path.read_text(encoding="utf-8").splitlines()) for cell in row]
        assert not [cell for cell in cells if cell.startswith(("=", "@"))]


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
NARROW = {"NO_COLOR": "1", "COLUMNS": "20", "TERM": "dumb"}


@pytest.mark.slow
@pytest.mark.parametrize("env", [ASCII | NARROW, NARROW])
def test_the_command_in_odd_environments(hostile: Any, tmp_path: Path, env: Any) -> None:
    """It prints what it can and writes UTF-8; what it says ends nothing."""
    command = [sys.executable, "-c", "from psilon_bench.cli.report import main; main()", str(hostile / "runs")]
    done = subprocess.run(
        [*command, "--no-figures", "--no-attach", "--out", str(tmp_path / "out")],
        env={**os.environ, **env},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"q[red]r [/b] :smile:" in done.stdout
    assert b"\x1b" not in done.stdout
    assert "q[red]r [/b]" in (tmp_path / "out/report.html").read_text(encoding="utf-8")
    if "PYTHONIOENCODING" in env:
        done.stdout.decode("ascii")


@pytest.mark.slow
def test_a_narrow_terminal_loses_nothing(hostile: Any) -> None:
    """Where a table does not fit, every cell stands in a paragraph of its row."""
    from psilon_bench.cli.report import show

    made = make([hostile / "runs"], METRIC)
    out = io.StringIO()
    show(made, Console(file=out, width=20, force_terminal=True, highlight=False))
    text = " ".join(re.sub(r"\x1b\[[\d;]*m", "", out.getvalue()).split())
    summary = made.tables[0]
    assert all(cell.split()[0] in text for row in summary.texts() for cell in row if cell)
    assert "val/loss" in text


@pytest.mark.slow
def test_a_reader_who_has_gone(hostile: Any, tmp_path: Path) -> None:
    """`| head` stops the talk, not the report."""
    main = f"{sys.executable} -c 'from psilon_bench.cli.report import main; main()'"
    line = f"{main} {hostile / 'runs'} --no-figures --no-attach --out {tmp_path / 'out'} | true"
    subprocess.run(["bash", "-c", line], check=True, capture_output=True)
    assert (tmp_path / "out/report.html").is_file()
