"""The reference that is made of the code has all of it, and the tables that are written by hand do, too."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import layers
import option_files
import pytest
from command_reference import COMMANDS, commands_page
from configuration_reference import configuration_page
from links_to_the_repository import with_paths
from metrics_page import documented, undocumented
from option_reference import COMPONENTS, options_page, presets_page
from python_reference import python_page
from types_in_words import in_words

from psilon_bench import estimators
from psilon_bench.config.compose import compose
from psilon_bench.config.conf_folder import CONF, header_of
from psilon_bench.config.schema import MetricsSection
from psilon_bench.config.sections import TrainerSection
from psilon_bench.records import places

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def keys_of(page: str) -> set[str]:
    """The keys in the first column of a page's tables."""
    return set(re.findall(r"^\| `([\w.]+)` \|", page, re.MULTILINE))


def test_every_key_has_its_values_its_default_and_what_it_is() -> None:
    """Those of a composed configuration, but for the names and targets of components; no cell is empty."""
    page, options = configuration_page(), options_page()
    flat = compose({}, {}).flat()
    named = {key for key in flat if key.endswith("._target_") or key in {f"{group}.name" for group in COMPONENTS}}
    assert set(flat) - named - keys_of(page) - keys_of(options) == set()
    for text in (page, options):
        rows = [line for line in text.splitlines() if re.match(r"\| `[\w.]+` \|", line)]
        assert [row for row in rows if not all(cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1])] == []


def test_values_are_told_in_words() -> None:
    """Types, ranges, choices and no value, as the schema has them."""
    hints = {name: field for one in (TrainerSection, MetricsSection) for name, field in one.__annotations__.items()}
    assert in_words(hints["batch_size"]) == "a whole number, at least 1 or `null`"
    assert in_words(hints["teacher_weight"]) == "a number, >= 0, <= 1"
    assert in_words(hints["certificate"]) == "`pairwise` or `crown` or `exact`"
    assert in_words(hints["radii"]) == "a list, each a number, > 0"
    assert in_words(hints["functions"]) == "a list of functions, such as [module.function]"
    assert "| `dataset.target` | text or `null` | `null` |" in options_page()  # not the schema's own field of that name


def test_comments_are_those_of_their_keys() -> None:
    """In a key's line, above it, of sections, and not the words at the top of a file."""
    text = (
        "# what it is\nname: a # the name\n# more of b\n# than a line\nb: 1 # ours\nsection:\n  c: '#' # a sign\nd: 2\n"
    )
    said = {"name": "the name", "b": "more of b than a line; ours", "section.c": "a sign"}
    assert option_files.comments(text) == said
    assert header_of(text) == "what it is"


@pytest.mark.parametrize("folder", sorted(CONF.glob("*/")), ids=lambda folder: folder.name)
def test_every_option_is_there(folder: Path) -> None:
    """Options of groups, presets and suites, each with a heading."""
    page = options_page() if folder.name != "experiment" else presets_page()
    for file in folder.glob("*.yaml"):
        heading = f"## {file.stem}\n" if folder.name == "experiment" else f"### {folder.name}={file.stem}\n"
        assert heading in page


def test_every_command_and_option_of_it_is_there() -> None:
    """Of all programs that the package installs, but psilon-run, whose options are keys."""
    page = commands_page()
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert set(COMMANDS) == set(scripts) - {"psilon-run"}
    for name, command in COMMANDS.items():
        assert re.search(
            rf"^## {name}\n\n.*\n.*\n```\n(\n.*?)?\nExit codes: 0 [^:]*, 130 Ctrl-C\.$", page, re.M | re.S
        ), name
        for parameter in command.params:
            assert not isinstance(parameter, click.Option) or parameter.opts[0] in page


def test_what_can_be_imported_is_there() -> None:
    """Estimators, and what the options of the package are made of, with their docstrings."""
    page = python_page()
    for name in estimators.__all__:
        assert f"{{py:class}} {name}(" in page
    for name in ("MLP(", "CReLUResNet(", "PathNorm(", "L1Projection(", "HasPathNorm(", "load("):
        assert re.search(rf"\{{py:(class|function)\}} {re.escape(name)}", page), name


def test_metrics_of_the_page_are_in_the_code() -> None:
    """The last word of each name is written somewhere; a name that nobody records is not explained."""
    code = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "psilon_bench").rglob("*.py"))
    for name in documented():
        word = re.sub(r"^\*/|/(R|k)$|k$", "", name).rpartition("/")[2]
        assert word in code, name
    assert undocumented(["val/loss", "constant/test/f1", "units/active/2", "test/certified_accuracy/0.1"]) == []
    assert undocumented(["val/lost", "tests/loss", "test/certified_accuracy/x"]) == [
        *("val/lost", "tests/loss", "test/certified_accuracy/x")
    ]


def test_every_file_of_a_record_is_there() -> None:
    """The names that records.places has, and the folders of its docstring."""
    page = (DOCS / "reference" / "record.md").read_text(encoding="utf-8")
    constants = {value for name, value in vars(places).items() if name.isupper() and isinstance(value, str)}
    assert {value for value in constants if value not in page} == set()
    for which in ("model", "best", "last", "pruned", "compact"):
        assert f"`{places.weights_name(which)}`" in page
    for which in ("inputs", "units"):
        assert f"`{places.table_name(which)}`" in page
    for name in re.findall(r"^ {4,12}(\S+?)[, ]", places.__doc__ or "", re.MULTILINE):
        assert name.startswith(("results_dir", "<")) or name in page, name


def test_files_are_as_short_as_the_page_says() -> None:
    """docs/design.md promises at most 300 lines."""
    assert "No file has more than 300 lines" in (DOCS / "design.md").read_text(encoding="utf-8")
    files = [file for part in ("psilon_bench", "hydra_plugins") for file in (ROOT / part).rglob("*.py")]
    assert [file.name for file in files if len(file.read_text(encoding="utf-8").splitlines()) > 300] == []


def test_links_out_of_the_pages_are_paths() -> None:
    """A link within stays; one out of docs becomes the path; one to nothing is told."""
    page = DOCS / "howto" / "speed.md"
    text = "[a](gpu.md) [table](../../results/README.md) [LOG.md](../../results/LOG.md) [no](../../nowhere.md)"
    made, missing = with_paths(text, page, DOCS)
    assert made.startswith("[a](gpu.md) table (`results/README.md`) `results/LOG.md` no (")
    assert missing == ["../../nowhere.md"]


def test_layers_are_those_of_the_contract() -> None:
    """From the commands down to the errors; each package is explained in the page."""
    page = (DOCS / "design.md").read_text(encoding="utf-8")
    assert layers.layers()[0] == "cli"
    content = [page]
    layers.read(None, "design", content)
    assert "```text\ncli\nestimators" in content[0]
    for name in re.findall(r"\w+", " ".join(layers.layers())):
        assert f"`{name}`" in page or name == "errors", name


@pytest.mark.slow
def test_sphinx_builds_the_pages_without_a_warning(tmp_path: Path) -> None:
    """Links, anchors, toctrees and what is generated; notebooks are run by tests of their own."""
    pytest.importorskip("sphinx")
    command = [sys.executable, "-m", "sphinx", "-W", "-n", "-q", "-b", "dummy", "-D", "nb_execution_mode=off"]
    done = subprocess.run([*command, str(DOCS), str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
