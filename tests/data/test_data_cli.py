"""psilon-data: what it prints, what it returns, and that it is quick to answer."""

import subprocess
import sys
from typing import Any

import click
import pytest
import yaml

from psilon_bench.cli import data as data_cli
from psilon_bench.config.conf_folder import CONF
from psilon_bench.data import store

SUITES = ["334", "335", "336", "337"]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """run("info", "1") -> (exit code, output, errors)"""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["psilon-data", *arguments])
        with pytest.raises(SystemExit) as stop:
            data_cli.main()
        code = stop.value.code or 0
        assert isinstance(code, int)
        return (code, *capsys.readouterr())

    return run


def test_fetch_list_info_verify(server: Any, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run("fetch", "openml", "1", "2")[:2] == (
        0,
        "task 1, data set 1: diabetes, 442 rows, 10 features\ntask 2, data set 2: wine, 178 rows, 13 features\n",
    )
    assert run("fetch", "data", "3")[1] == "data set 3: digits, 1797 rows, 64 features\n"
    code, shown, _ = run("list")
    assert code == 0
    assert all(word in shown for word in ("task/1", "data/1", "data/3", "digits", "1797", str(store.root())))
    code, shown, _ = run("info", "1")
    assert '"regression": true' in shown
    assert '"licence": "CC BY 4.0"' in shown
    assert run("verify")[:2] == (0, f"{store.root()}: 5 entries, 0 damaged\n")


def test_verify_finds_damage_and_changes_nothing(server: Any, run: Any) -> None:
    run("fetch", "data", "2")
    table = store.root() / "data/2/data.parquet"
    table.write_bytes(table.read_bytes()[:-1])
    code, shown, _ = run("verify")
    assert code == 1
    assert shown.startswith(f"damaged: {table} does not match its checksum; it will be set aside")
    assert table.exists()
    assert run("list")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "5"], "The cache has no task or data set 5. Run `psilon-data fetch openml 5`"),
        (["fetch", "suite", "99"], "A suite must be one of 334, 335, 336, 337, but '99' is not"),
        (["fetch", "openml", "x"], "Invalid value for 'TASK_IDS...'"),
        (["fetch", "openml", "0"], "Invalid value for 'TASK_IDS...'"),
        (["fetch", "openml"], "Missing argument"),
        (["fetch", "openml", "99"], "OpenML task 99 is not to be had"),
        (["drop"], "No such command 'drop'"),
    ],
)
def test_mistakes_are_one_line_and_code_2(server: Any, run: Any, arguments: Any, message: Any) -> None:
    code, _, errors = run(*arguments)
    assert code == 2
    lines = [line for line in errors.splitlines() if not line.startswith("fetching")]
    assert len(lines) == 1
    assert lines[0].startswith(f"psilon-data: {message}")


def test_help_and_no_command(run: Any) -> None:
    assert run("--help")[0] == 0
    code, shown, _ = run()
    assert (code, "Commands:" in shown) == (2, True)


@pytest.mark.parametrize("suite", SUITES)
def test_suites_name_their_tasks_once_and_follow_the_papers_rule(suite: Any) -> None:
    """The comments of a suite's file list every task with its features: ten or more are in, the others out."""
    text = (CONF / "suite" / f"grinsztajn_{suite}.yaml").read_text()
    tasks = data_cli.suite_tasks(suite)
    assert len(set(tasks)) == len(tasks) >= 6
    kept, left_out = text.split("# Left out:")
    for task in tasks:
        (line,) = (line for line in kept.splitlines() if f"#   {task}, " in line)
        assert int(line.rpartition(" x ")[2]) >= 10
    for line in left_out.splitlines():
        assert not line or "(fewer than 10 features)" in line or "(repeated: suite" in line
    assert yaml.safe_load(text)["defaults"] == [{"override /dataset": "openml"}]


def test_a_suite_is_swept_over() -> None:
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", overrides=["+suite=grinsztajn_336"], return_hydra_config=True)
    assert cfg.dataset.name == "openml"
    assert cfg.hydra.sweeper.params["dataset.task_id"].startswith("361072,361073")


def test_fetch_suite_fetches_every_task(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    fetch = data_cli.commands.commands["fetch"]
    assert isinstance(fetch, click.Group)
    monkeypatch.setattr(data_cli, "fetch_openml", fetch.commands["openml"])
    monkeypatch.setattr(data_cli.fetch_openml, "callback", lambda task_ids, splits: asked.extend(task_ids))
    assert run("fetch", "suite", "337")[0] == 0
    assert asked == data_cli.suite_tasks("337")


def test_help_imports_nothing_heavy() -> None:
    check = "import sys, psilon_bench.cli.data; print(sorted({'torch', 'pandas', 'openml', 'rich'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
