"""What is data is printed as it is, at any width."""

import io
import re
from typing import Any

import pytest
from click.testing import CliRunner
from rich.table import Column

from psilon_bench.cli.data import commands
from psilon_bench.config.check import check
from psilon_bench.data import store
from psilon_bench.run.display import Display
from psilon_bench.run.printing import plain_console
from psilon_bench.run.run import run

ODD = ["[/b]", "q[red]r", "[bold]x[/bold]", ":smile:", "[link=x]y", "a\\[b"]


def display(width: int = 200) -> tuple[Display, io.StringIO]:
    """One that prints into a file."""
    out = io.StringIO()
    return Display(plain_console(file=out, width=width)), out


@pytest.mark.parametrize("odd", ODD)
def test_data_are_no_markup(odd: str, finished: Any) -> None:
    """In titles, names, notes, reasons and folders, in tables and bars."""
    record = finished()
    record.run |= {"title": f"title {odd}", "reason": f"reason {odd}", "folder": f"folder {odd}"}
    record.run["task"] |= {"name": f"task {odd}", "notes": [f"note {odd}"]}
    shown, out = display()
    shown.result(record)
    shown.summary([record.run, record.run | {"task": {"name": "other"}}])
    shown.failures([record.run | {"status": "failed"}])
    shown.failure(f"what {odd}", f"why {odd}")
    shown.progress.add_task(f"bar {odd}", what=f"loss {odd}")
    shown.console.print(shown.progress.get_renderable())
    for word in ("title", "reason", "folder", "task", "note", "what", "why", "bar", "loss"):
        assert f"{word} {odd}" in out.getvalue()


@pytest.mark.parametrize("width", [1, 20, 40, 200])
def test_tables_are_readable_at_any_width(width: int) -> None:
    """Nothing is left out: folded in a table, or on a narrow terminal a line for each value."""
    shown, out = display(width)
    shown.table([Column("metric"), Column("value")], [("test/accuracy", "0.9649")])
    shown.table(
        [Column("run", overflow="fold"), Column("val/loss"), Column("test/loss")], [("pnet seed=0", "0.25", "")]
    )
    text = " ".join(out.getvalue().split())
    for word in ("test/accuracy", "0.9649", "pnet", "seed=0", "val/loss", "0.25"):
        assert word in text


def test_a_list_has_as_many_values_in_a_line_as_fit() -> None:
    """On a narrow terminal; a column without a name, and cells without a value, leave nothing behind."""
    shown, out = display(40)
    columns = [*(Column(name) for name in ("setting", "out-of-fold loss", "standard error", "folds", ""))]
    shown.table(
        columns, [("pnet lam=1", "0.04705", "0.01605", "5", "chosen"), ("pnet lam=9", "", "", "0", "raced out")]
    )
    assert out.getvalue().splitlines() == [
        "pnet lam=1",
        "  out-of-fold loss 0.04705",
        "  standard error 0.01605, folds 5",
        "  chosen",
        "pnet lam=9",
        "  folds 0, raced out",
    ]


def failed_run(title: str, reason: str, **more: str) -> dict[str, Any]:
    return {"status": "failed", "title": title, "reason": reason, "metrics": {}, **more}


def test_what_failed_alike_is_told_once() -> None:
    """The reason of a row of runs, and no folder where there is no record; the runs are not listed a second time."""
    shown, out = display(40)
    runs = [failed_run("a", "no", folder="results/x/a"), failed_run("b", "no"), failed_run("c", "else")]
    shown.summary(runs)
    shown.failures(runs)
    assert out.getvalue().splitlines() == [
        *("a", "  reason no, folder results/x/a"),
        *("b", "  reason as above"),
        *("c", "  reason else"),
    ]


def test_a_race_of_several_heats_is_told_in_percent(composed: Any) -> None:
    """Epochs of all heats together mean nothing to a reader; those of one heat are those of the runs."""
    configs = [check(composed("trainer.epochs=40", f"seed={seed}")) for seed in (0, 1)]
    for epochs, words in ((40, "2 networks: epoch 20/40  ETA"), (200, "2 networks: 10 % of the race  ETA")):
        shown, out = display()
        with shown.training(configs, epochs):
            shown.epoch(20)
            done = shown.progress.tasks[0]
            assert (done.completed, done.total) == ((20, 40) if epochs == 40 else (10, 100))
        assert out.getvalue().startswith(words)


def test_tests_are_counted_while_they_last(composed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network of a stack after the other, on rows of so many: attacks may take longer than the training."""
    tiny = ("trainer.epochs=2", "trainer.eval_every=2", "model.hidden=4", "tracking=none")
    shown, _ = display()
    seen: list[Any] = []
    monkeypatch.setattr(shown.progress, "advance", lambda bar: seen.append(shown.progress.tasks[-1]))
    run([check(composed(*tiny, f"reg.lam={lam}")) for lam in (1e-3, 1e-2)], shown)
    assert [(one.description, one.total, one.fields["what"]) for one in seen] == [
        ("tests", 2, "networks on 114 rows")
    ] * 2
    assert not shown.progress.tasks


@pytest.mark.parametrize("width", [40, 80, 120])
def test_progress_is_readable_at_any_width(width: int) -> None:
    """Counts and the time left are whole on a narrow terminal, the loss on a usual one, the name on both."""
    shown, out = display(width)
    for name in ("sweep", "pnet pathnorm lam=0.001 seed=0"):
        task = shown.progress.add_task(name, total=20_000, what="epochs  val/loss 0.2591")
        shown.progress.update(task, completed=1234)
    shown.console.print(shown.progress.get_renderable())
    lines = out.getvalue().splitlines()
    assert len(lines) == 2
    for line, name in zip(lines, ("sweep", "pnet pathnorm"), strict=True):
        assert line.startswith(name)
        assert re.search(r" +1234/20000 ", line)
        assert re.search(r"ETA -:--:-- *$", line)
        assert ("val/loss 0.2591" in line) == (width >= 80)


def test_a_width_that_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    """COLUMNS=0, as some shells say it."""
    monkeypatch.setenv("COLUMNS", "0")
    assert plain_console(file=io.StringIO()).width == 80


def test_the_cache_is_listed_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """psilon-data list: names with brackets."""
    monkeypatch.setattr(store, "entries", lambda: ["data/1"])
    monkeypatch.setattr(
        store, "read_about", lambda key: {"name": "a[/b]", "target": ":smile:", "rows": 3, "features": 2}
    )
    monkeypatch.setenv("COLUMNS", "200")
    said = CliRunner().invoke(commands, ["list"])
    assert said.exit_code == 0, said.output
    assert "a[/b]" in said.output
    assert ":smile:" in said.output
