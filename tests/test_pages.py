"""What the pages show is what there is: commands compose or parse, Python runs, sessions print what they show."""

import copy
import os
import pkgutil
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import component_page
import pages
import pytest
from forked import Forked
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig
from pages import COMPONENT, DOCS, FOLLOWED, ROOT, Block

from psilon_bench.cli import certify, data, doctor, export, overview, predict, report, sync
from psilon_bench.config.check import check
from psilon_bench.config.conf_folder import add_folder

FOLLOWED_PAGES = {DOCS / name for name in FOLLOWED}
CLICK: dict[str, click.Command] = {
    "psilon-certify": certify.certify,
    "psilon-data": data.commands,
    "psilon-doctor": doctor.doctor,
    "psilon-export": export.export,
    "psilon-predict": predict.predict,
    "psilon-report": report.report,
    "psilon-sync": sync.sync,
}
OTHER_PROGRAMS = {"eval", "export", "mlflow", "curl"}  # the shell's own, and those that no test can talk to
WITHOUT_OVERRIDES = {"--help", "--shell-completion"}
COMMANDS = sorted({line for block in pages.all_blocks("bash") for line in block.lines})
SESSIONS = [block for block in pages.all_blocks("console") if block.page not in FOLLOWED_PAGES]
PYTHON = [block for block in pages.all_blocks("python") if block.page not in FOLLOWED_PAGES | {COMPONENT}]


def first_of_a_sweep(override: str) -> str:
    """key=a for key=a,b and for key=interval(a,b)."""
    parsed = OverridesParser.create().parse_override(override)
    if not parsed.is_sweep_override():
        return override
    if parsed.is_interval_sweep():
        return f"{parsed.get_key_element()}={parsed.value().start}"
    return f"{parsed.get_key_element()}={next(iter(parsed.sweep_string_iterator()))}"


def check_run(arguments: list[str], composed: Callable[..., DictConfig], monkeypatch: pytest.MonkeyPatch) -> None:
    """The configuration of a psilon-run is valid."""
    if arguments[0] == "--list":
        assert overview.listing("".join(arguments[1:]))
        return
    if WITHOUT_OVERRIDES & {word.partition("=")[0] for word in arguments}:
        return
    if "--config-dir" in arguments:
        place = arguments.index("--config-dir")
        monkeypatch.setenv("PSILON_COMPONENTS", "")
        add_folder(ROOT / arguments[place + 1])
        del arguments[place : place + 2]
    if "--cfg" in arguments:
        place = arguments.index("--cfg")
        del arguments[place : place + 2]
    overrides = [word for word in arguments if word not in ("-m", "--verbose")]
    check(composed(*map(first_of_a_sweep, overrides)))


def check_click(name: str, arguments: list[str]) -> None:
    """A command of ours takes these arguments, of whatever files."""
    command = copy.deepcopy(CLICK[name])
    while isinstance(command, click.Group):
        key, *arguments = arguments
        command = command.commands[key]
    for parameter in command.params:
        if isinstance(parameter.type, click.Path):
            parameter.type.exists = False
    command.make_context(name, arguments)


@pytest.mark.sampled(every=3)
@pytest.mark.parametrize("line", COMMANDS)
def test_commands_are_valid(
    line: str, composed: Callable[..., DictConfig], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each line of bash: its configuration passes the check, or its parser takes it, or what it names is there."""
    program, *arguments = pages.words(line)
    while "=" in program:  # a variable of the environment
        program, *arguments = arguments
    if program == "psilon-run":
        check_run(arguments, composed, monkeypatch)
    elif program in CLICK:
        check_click(program, arguments)
    elif program == "make":
        assert re.search(rf"^{arguments[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    elif program == "pip":
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        (asked,) = re.fullmatch(r"psilon-bench\[(\w+)\]", arguments[1]).groups()  # type: ignore[union-attr]
        assert asked in extras
    elif program == "python":
        assert (ROOT / arguments[0]).exists() or arguments[0].endswith("/model.py")
    else:
        assert program in OTHER_PROGRAMS, line


@pytest.mark.parametrize("page", sorted({block.page for block in PYTHON}), ids=lambda page: page.stem)
def test_python_runs(page: Path) -> None:
    """The blocks of Python of a page run as they stand, one after the other."""
    names: dict[str, Any] = {}
    for block in PYTHON:
        if block.page == page:
            exec(compile(block.body, str(page), "exec"), names)


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """A program as a reader of the page runs it."""
    place = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": place, "OMP_NUM_THREADS": "1", "PYTHONPATH": "", "MPLBACKEND": "agg"}
    environment |= {"MLFLOW_DISABLE_TELEMETRY": "true", "PSILON_COMPONENTS": ""}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def session(block: Block, forking: Forked, folder: Path) -> None:
    """Each command of a captured session prints what the page shows, its progress left out."""
    for command, shown in pages.console_parts(block):
        program, *arguments = pages.words(command)
        if program == "psilon-run":
            _, out, err = forking(arguments, folder, seconds=240)
        else:
            done = run([program, *arguments], folder)
            out, err = done.stdout, done.stderr
        printed = [line for line in (out or err).rstrip("\n").splitlines() if " ETA " not in line]
        assert pages.looks_like(shown, printed), "\n".join([command, *printed])


@pytest.mark.slow
@pytest.mark.parametrize("block", SESSIONS, ids=lambda block: block.name)
def test_sessions_print_what_they_show(block: Block, forking: Forked, tmp_path: Path) -> None:
    """Numbers may differ in value."""
    session(block, forking, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", FOLLOWED)
def test_a_reader_follows_the_page(name: str, forking: Forked, tmp_path: Path) -> None:
    """From above to below in one folder, but for `make`, `pip` and what the page says that no test has."""
    ran = 0
    for block in pages.blocks_of(DOCS / name):
        if block.why or block.language not in ("bash", "python", "console"):
            continue
        if block.language == "console":
            session(block, forking, tmp_path)
            continue
        commands = [[sys.executable, "-c", block.body]]
        if block.language == "bash":
            commands = [["bash", "-c", line] for line in block.lines if pages.words(line)[0] not in ("make", "pip")]
        for command in commands:
            done = run(command, tmp_path)
            assert done.returncode == 0, f"{command[-1]}\n{done.stderr}"
            ran += 1
    assert ran


def test_no_block_escapes() -> None:
    """Every block has a language with a test; text shows no command, but usage and trees of files."""
    for page in pages.pages():
        text = page.read_text(encoding="utf-8")
        found = pages.blocks_of(page)
        assert len(re.findall(r"^```", text, re.MULTILINE)) == 2 * len(found), page
        assert "    psilon-" not in text, page
        for block in found:
            assert block.language in pages.LANGUAGES, block.name
            if block.language == "text":
                assert not re.search(r"^(\$ |>>> |psilon-|import |make )", block.body, re.MULTILINE), block.name
            if block.why:
                assert block.language == "bash", block.name


def test_files_that_are_shown_are_those_of_the_examples() -> None:
    """A page that shows how a component is written shows the one that the tests run."""
    folder = component_page.EXAMPLE
    own = {block.language: block.body for block in pages.blocks_of(pages.COMPONENT) if "log_sum" in block.body}
    assert own["yaml"] == (folder / "reg" / "log_sum.yaml").read_text(encoding="utf-8")
    classes = [block.body for block in pages.all_blocks("python") if "(Regularizer):" in block.body]
    assert classes == [(folder / "log_sum.py").read_text(encoding="utf-8")]
    assert [block.body for block in pages.all_blocks("yaml")] == [own["yaml"]]


def test_there_is_something_to_test() -> None:
    """Pages are found with their blocks; each page that is followed has some."""
    assert len(COMMANDS) > 60
    assert len(SESSIONS) >= 1
    assert len(PYTHON) >= 3
    assert all(pages.blocks_of(page) for page in FOLLOWED_PAGES)
    assert sum(page.read_text(encoding="utf-8").count(".md)") for page in pages.pages()) > 60


def test_a_session_is_compared() -> None:
    """Words count, numbers of tables do not; lines may be left out where the page says so."""
    shown = [
        "┃ metric ┃ value ┃",
        "│ test/loss │ 0.1 │",
        "...",
        "in results/2026-01-01_00-00-00_pnet_x_0123abcd",
    ]
    printed = [
        "┃ metric  ┃ value  ┃",
        "│ test/loss  │ 1.22e-05 │",
        "more",
        "in results/2026-02-03_01-02-03_pnet_x_89abcdef",
    ]
    assert pages.looks_like(shown, printed)
    assert not pages.looks_like(shown, [line.replace("test/loss", "test/los") for line in printed])
    assert not pages.looks_like(["it should be 0."], ["it should be 1."])
    assert pages.looks_like(["lower 7.01 (gap 5.8e-07)"], ["lower 6.9 (gap 1.25e-05)"])
    assert not pages.looks_like(["upper 7.01: proved"], ["upper 7.01: not proved"])


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MyST make them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", pages.pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_a_page_names_is_there(page: Path) -> None:
    """Links lead to files and headings, paths to files, and dotted names of the package to what they name."""
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^):\s]+)\)", text):
        path, _, anchor = link.partition("#")
        place = (page.parent / path).resolve() if path else page
        made = place.is_relative_to(DOCS) and place.relative_to(DOCS).as_posix() in pages.GENERATED
        assert made or place.exists(), link
        assert made or not anchor or anchor in anchors(place), link
    for name in re.findall(r"`(psilon_bench(?:\.\w+)+)`", text):
        pkgutil.resolve_name(name)
    for path in re.findall(r"`((?:psilon_bench|scripts|tests|conf|examples|results)/[\w/.]+\.\w+)`", text):
        assert (ROOT / path).exists() or path.startswith("results/") or "NAME" in path, path


@pytest.mark.parametrize("page", sorted(DOCS.glob("mathematics/*.md")), ids=lambda page: page.stem)
def test_tests_that_are_named_are_there(page: Path) -> None:
    """A claim of the mathematics names tests that exist."""
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page.read_text(encoding="utf-8"))
    assert named or page.stem == "index"
    for file, test in named:
        assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8"), test


def test_the_readme_is_short() -> None:
    """A page, with the two commands that set up and test."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    assert "\nmake run " in text
    assert "\nmake test " in text
