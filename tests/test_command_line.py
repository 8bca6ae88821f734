"""Options anywhere, values that need quotes, hints from the options that were chosen."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from psilon_bench.config.command_line import arranged
from psilon_bench.config.conf_folder import CONF, add_folder
from psilon_bench.config.messages import known_keys, remedy
from psilon_bench.config.option_file import read_option
from psilon_bench.config.overrides import parse
from psilon_bench.config.schema import Config
from psilon_bench.errors import LONGEST, UsageError, short
from psilon_bench.sweep.other_launchers import OtherLauncher

TEXT = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="$"), min_size=1, max_size=40)
OPTIONS = (["-m"], ["--multirun"], ["--cfg", "job"], ["--cfg=job", "--resolve"], ["-cd", "."], ["--config-dir=x y"])


@pytest.mark.parametrize("option", OPTIONS, ids=" ".join)
def test_options_may_stand_anywhere(option: list[str]) -> None:
    """Wherever they stand, Hydra gets them first, and the overrides in their order."""
    overrides = ["model=pnet", "+reg.q=1", "~seed", "reg.lam=[1,2]"]
    for place in range(len(overrides) + 1):
        assert arranged([*overrides[:place], *option, *overrides[place:]]) == [*option, *overrides]


def test_an_option_that_may_have_a_value_takes_no_override() -> None:
    """--info, which shows all without one."""
    assert arranged(["model=snet", "--info"]) == ["--info", "--", "model=snet"]
    assert arranged(["model=snet", "--info", "searchpath"]) == ["--info", "searchpath", "--", "model=snet"]


@settings(deadline=None)
@example('~"')
@given(TEXT)
def test_a_value_is_read_or_told_how_to_write(value: str) -> None:
    """Any text: what the line tells to write is read by shell and Hydra as the text that was meant."""
    try:
        (argument,) = arranged([f"results_dir={value}"])
    except UsageError as error:
        (argument,) = shlex.split(str(error).partition("quotes: ")[2])
        assert parse(argument).value() == value
    else:
        read = OverridesParser.create().parse_override(argument).value()
        assert repr(parse(argument).value()) == repr(read)  # nan equals nothing, not even itself


@pytest.mark.parametrize(
    ("argument", "values"),
    [
        ("results_dir=~/x", ["~/x"]),
        ("dataset.path=~/ä b.csv", ["~/ä b.csv"]),
        ("dataset.path=~/a.csv,~/b.csv", ["~/a.csv", "~/b.csv"]),
        ("a=[~/x,y]", ["~/x", "y"]),
    ],
)
def test_a_value_may_begin_with_a_tilde(argument: str, values: list[str]) -> None:
    """As it is written, alone, in a list or in a sweep."""
    _, given = arranged(["-m", argument])
    value = parse(given).value()
    items = value if isinstance(value, list) else getattr(value, "list", [value])
    assert [getattr(one, "text", one) for one in items] == values


@given(TEXT)
def test_the_folder_of_an_inner_launcher_is_read_as_it_is(name: str) -> None:
    """Quotes, brackets and spaces of results_dir included."""
    folder, _ = OtherLauncher("joblib", OmegaConf.create(), None, OmegaConf.create()).job(Path("/tmp", name))
    assert parse(folder).value() == str(Path("/tmp", name))


@pytest.mark.sampled(every=3)
@pytest.mark.parametrize("group", sorted({path.parent.name for path in CONF.glob("*/*.yaml")} & {*Config.model_fields}))
def test_hints_are_keys_of_the_chosen_option(group: str) -> None:
    """Of every third option of every group: a key without its last letter is answered with that key."""
    for path in sorted((CONF / group).glob("*.yaml"))[::3]:
        known = known_keys([f"{group}={path.stem}"])
        for key in read_option(path):
            if not str(key).startswith("_"):
                assert f"{group}.{key}" in remedy(f"{group}.{str(key)[:-1]}", known)


def test_hints_know_the_option_beside_another_mistake() -> None:
    """The option that is chosen counts, whatever else is wrong."""
    assert "dataset.task_id" in remedy("dataset.task", known_keys(["dataset=openml", "reg.nothing=1"]))


def test_hints_know_a_folder_of_yours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys of an option in a folder that Hydra is told to search, and in one that --config-dir names."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("name: mine\nsharpness: 3\n", encoding="utf-8")
    known = known_keys([f'hydra.searchpath=["file://{tmp_path}"]', "model=mine"])
    assert remedy("model.sharp", known) == " Did you mean model.sharpness?"
    monkeypatch.setenv("PSILON_COMPONENTS", "")
    add_folder(tmp_path)
    assert remedy("model.sharp", known_keys(["model=mine"])) == " Did you mean model.sharpness?"


@given(st.text(max_size=300))
def test_a_value_in_a_message_is_short(text: str) -> None:
    """At most so many letters; what fits is shown whole."""
    assert len(short(text)) <= LONGEST
    assert short(text) == text or len(text) > LONGEST


@pytest.mark.parametrize("command", [["run", "seed=1"], ["doctor"], ["report", "x"]], ids=lambda command: command[0])
def test_a_deleted_working_folder_is_told(tmp_path: Path, command: list[str]) -> None:
    """One line, exit code 2; the other commands of click end like these two."""
    name, *arguments = command
    leave = "import os; os.mkdir('x'); os.chdir('x'); os.rmdir('../x')"
    code = f"{leave}\nfrom psilon_bench.cli.{name} import main; main()"
    said = subprocess.run(
        [sys.executable, "-P", "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (said.returncode, said.stdout) == (2, "")
    line = rf"psilon-{name}: The working folder is not there any more\. .*\n"
    assert re.fullmatch(line, said.stderr), said.stderr
