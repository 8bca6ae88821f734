"""What psilon-run shows before and after a run: help in two levels, lists of options, and what to do next."""

import re
import shlex
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from programs import ENVIRONMENT
from tiny import TINY

from psilon_bench.cli import overview
from psilon_bench.cli.predict import predict
from psilon_bench.cli.report import report
from psilon_bench.cli.run import begin_as_asked
from psilon_bench.cli.suggestions import page_of, suggest
from psilon_bench.config.command_line import arranged
from psilon_bench.config.conf_folder import CONF, option_files
from psilon_bench.errors import UsageError

GROUPS = sorted({file.parent.name for file in CONF.glob("*/*.yaml")})
Shown = Callable[..., str]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Shown:
    """shown("--help"): what psilon-run prints, on a terminal of so many columns."""

    def shown(*arguments: str, columns: int = 80) -> str:
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setattr(sys, "argv", ["psilon-run", *arranged([*arguments])])
        begin_as_asked()
        return capfd.readouterr().out

    return shown


@pytest.mark.parametrize("group", GROUPS)
def test_every_option_says_what_it_is(group: str) -> None:
    """By the first comment of its file, in whole sentences or one phrase; none ends in the middle of a line."""
    for name, file in option_files(group).items():
        said = overview.about(file)
        assert re.search(r"\w{2,}.*\w$|[.?!)\]]$|\w.*\|\|\^2$", said), (name, said)
        assert not re.search(r"\b(as|of|the|and|for|but|with|by|are|is)$", said), (name, said)


def test_a_sentence_that_goes_on_is_left_out(tmp_path: Path) -> None:
    """The sentences that the first line of the comment holds whole; where there is none, the line."""
    file = tmp_path / "one.yaml"
    for text, said in {
        "# @package _global_\n# A net. Its values are those\n# of others.\na: 1": "A net.",
        "# A net (of A. B. 2024). Values are\n# ours": "A net (of A. B. 2024).",
        "# a net, values as those\n# of others": "a net, values as those",
        "a: 1 # later": "",
    }.items():
        file.write_text(text, encoding="utf-8")
        assert overview.about(file) == said


def test_the_short_help(shown: Shown) -> None:
    """A screen and a half: every option but presets, each group on lines of its own; the rest is one command away."""
    said = shown("--help")
    assert len(said.splitlines()) <= 50
    for group in sorted({*GROUPS} - {*overview.PRESETS}):
        (line,) = re.findall(rf"^{group}: ((?:.|\n  )*)", said, re.MULTILINE)
        assert re.split(r",\s+", line) == sorted(option_files(group))
    assert "pathprox_task1" not in said
    for command in ("--help all", "--list", "psilon-doctor", "--cfg job"):
        assert command in said


def test_the_long_help_has_all_options(shown: Shown) -> None:
    """Presets among them, with what each is."""
    said = shown("--help", "all", columns=200)
    for group in GROUPS:
        for name, file in option_files(group).items():
            assert re.search(rf"^  {name}\s+{re.escape(overview.about(file)[:40])}", said, re.MULTILINE), name


@pytest.mark.parametrize("columns", [40, 80])
@pytest.mark.parametrize("arguments", ["--help", "--help all", "--list", "--list experiment"])
def test_lines_fit(shown: Shown, arguments: str, columns: int) -> None:
    """But for commands to be copied, and what is written for 80 columns."""
    said = shown(*arguments.split(), columns=columns).splitlines()
    written = {*(overview.USE + overview.VALUES + overview.MORE).splitlines()}
    assert all(len(line) <= (80 if line in written else columns) for line in said)


def test_the_version_is_that_of_the_package(shown: Shown, capfd: pytest.CaptureFixture[str]) -> None:
    """Not of Hydra alone."""
    with pytest.raises(SystemExit):
        shown("--version")
    assert capfd.readouterr().out.startswith(f"psilon-bench {version('psilon-bench')}, Hydra ")


def test_a_group_that_is_none(shown: Shown) -> None:
    """One line that names the groups."""
    with pytest.raises(
        UsageError, match=r"^--list nodel is no group\. Groups: dataset, .*experiment, suite, effort\.$"
    ):
        shown("--list", "nodel")


def test_options_of_your_own_are_listed(shown: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of --config-dir, wherever it stands."""
    monkeypatch.setenv("PSILON_COMPONENTS", "")
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "model" / "wide.yaml").write_text("# A wide net.\nname: wide\n", encoding="utf-8")
    assert "  wide             A wide net.\n" in shown("--list", "model", "--config-dir", str(tmp_path / "mine"))
    assert "  wide             A wide net.\n" in shown("--list=model")


def test_what_is_suggested_works(finished: Any, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The commands that a run ends with are run as they stand; without a network there is nothing to predict with."""
    record = finished("dataset=wine", "results_dir=my results")
    capfd.readouterr()
    suggest(record.folder, None)
    reporting, predicting = (shlex.split(line.partition(":")[2]) for line in capfd.readouterr().out.splitlines())
    assert reporting == ["psilon-report", "my results/runs"]
    assert predicting[0] == "psilon-predict"
    said = CliRunner().invoke(report, [*reporting[1:], "--no-figures", "--no-attach"])
    assert said.exit_code == 0, said.output
    from sklearn.datasets import load_wine

    load_wine(as_frame=True).frame.to_csv("rows.csv", index=False)
    said = CliRunner().invoke(predict, predicting[1:])
    assert said.exit_code == 0, said.output
    assert len(said.stdout.splitlines()) == 179
    (record.folder / "model.pt").rename("model.pt")
    suggest(record.folder, None)
    assert "predict" not in capfd.readouterr().out


@pytest.mark.parametrize(
    ("uri", "page"),
    [
        ("http://me:pw@127.0.0.1:9/", "http://127.0.0.1:9/#/experiments?workflowType=machine_learning"),
        (
            "sqlite:////a b/c.db",
            "mlflow ui --backend-store-uri 'sqlite:////a b/c.db', then http://127.0.0.1:5000/#/exp",
        ),
    ],
)
def test_where_mlflow_shows_it(uri: str, page: str) -> None:
    """By a link that opens on trained models, without the password."""
    assert page_of(uri).startswith(page)


@pytest.mark.slow
def test_a_sweep_suggests_its_folder(forking: Any, tmp_path: Path) -> None:
    """The last lines of a sweep; a plan has started nothing, and suggests nothing."""
    said = forking(("-m", *TINY, "seed=1,2", "name=two"), tmp_path, environment=ENVIRONMENT)
    assert said.out.endswith("see it:  psilon-report results/two\npredict: psilon-predict results/two rows.csv\n")
    said = forking(("-m", *TINY, "seed=1,2", "name=two", "plan=true"), tmp_path, environment=ENVIRONMENT)
    assert "see it" not in said.out
