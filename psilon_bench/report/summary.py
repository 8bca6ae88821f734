"""Tables of a selection: chosen settings with their test numbers, all settings, and runs that did not end well."""

from collections.abc import Iterable, Sequence

from psilon_bench.metrics.choosing import is_of_test_rows
from psilon_bench.records.run_json import ENDED_WELL
from psilon_bench.report.escaping import visible
from psilon_bench.report.estimate import estimate
from psilon_bench.report.grouping import RunGroup
from psilon_bench.report.metric import Metric
from psilon_bench.report.records import Damaged, Run
from psilon_bench.report.selection import Choice, listed
from psilon_bench.report.table import Cell, Table

# scores that the table of all numbers has, and this one only where settings are chosen by them
IN_NUMBERS_ONLY = (
    "mae",
    "average_precision",
    "f1",
    "balanced_accuracy",
    "brier",
    "ece",
    "calibrated_brier",
    "calibrated_ece",
)


def summary(choices: Sequence[Choice], metric: Metric) -> Table:
    """Return the table of chosen settings, one row a method and data set, with validation and test numbers."""
    tested = [run for choice in choices if choice.setting for run in choice.setting.tested]
    columns = test_metrics(tested, metric) + [name for name in metrics_of(tested) if name.endswith("sparsity")]
    columns = [name for name in columns if any(run.metrics.get(name) for run in tested)]
    rows: list[list[Cell]] = []
    for choice in choices:
        group, setting = choice.group, choice.setting
        numbers = [estimate(setting.tested_numbers(name)) if setting else None for name in columns]
        flags = ", ".join(dict.fromkeys(doubt.flag for doubt in choice.doubts))
        chosen: list[Cell] = [
            setting.text if setting else None,
            len(setting.tested) if setting else 0,
            choice.validation,
        ]
        rows.append([group.dataset, group.method, *chosen, *numbers, flags])
    head = ["data set", "method", "chosen", "n", metric.name]
    better = "lowest" if metric.direction == "min" else "highest"
    note = f"Chosen: the {better} mean {metric.name} over seeds. Mean ± standard deviation over n seeds."
    if any(choice.group.is_cross_validated for choice in choices):
        note += (
            f" Cross-validated: {metric.name} is out of fold, with the standard deviation of a fold; n and all other "
            "numbers are of networks trained again on all folds."
        )
    note += "".join(raced_out_note(choice.group) for choice in choices)
    return Table("summary", "Chosen by validation", [*head, *columns, "flags"], rows, note)


def raced_out_note(group: RunGroup) -> str:
    """Return how many settings of a group were raced out, as a sentence; nothing where none was."""
    count = sum(bool(setting.raced_out) for setting in group.settings)
    where = f"{group.method} on {group.dataset}"
    return f" {where}: {count} of {len(group.settings)} settings raced out." if count else ""


def raced_out_settings(groups: Sequence[RunGroup]) -> Table:
    """Return the table of settings that left a race, each with its comparison."""
    rows: list[list[Cell]] = [
        [group.dataset, group.method, setting.text, len(setting.raced_out), listed(reasons)]
        for group in groups
        for setting in group.settings
        if (reasons := list(dict.fromkeys(run.reason for run in setting.raced_out)))
    ]
    return Table("raced_out", "Settings that were raced out", ["data set", "method", "setting", "runs", "why"], rows)


def all_metrics(choices: Sequence[Choice]) -> Table:
    """Return the table of every final metric of the chosen settings."""
    chosen = [(choice, choice.setting) for choice in choices if choice.setting]
    columns = metrics_of([run for _, setting in chosen for run in setting.tested])
    rows: list[list[Cell]] = [
        [c.group.dataset, c.group.method, setting.text, *(estimate(setting.tested_numbers(name)) for name in columns)]
        for c, setting in chosen
    ]
    title = "All numbers of the chosen settings"
    return Table("numbers", title, ["data set", "method", "chosen", *columns], rows, brief=False)


def all_settings(choices: Sequence[Choice]) -> Table:
    """Return the table of every setting that was tried, without metrics of the test rows."""
    every = [setting for choice in choices for setting in choice.group.settings]
    columns = [
        name for name in metrics_of([run for setting in every for run in setting.runs]) if not is_of_test_rows(name)
    ]
    rows: list[list[Cell]] = [
        [
            choice.group.dataset,
            choice.group.method,
            setting.text,
            len(setting.runs),
            "chosen" if setting is choice.setting else "",
            *(estimate(setting.numbers(name)) for name in columns),
        ]
        for choice in choices
        for setting in choice.group.settings
    ]
    head = ["data set", "method", "setting", "n", "chosen"]
    return Table("settings", "All settings, without the test rows", [*head, *columns], rows, brief=False)


def doubts(choices: Sequence[Choice]) -> Table:
    """Return the table of doubts in words, equal ones together."""
    where: dict[tuple[str, str], list[str]] = {}
    for choice in choices:
        for doubt in choice.doubts:
            where.setdefault((doubt.flag, doubt.note), []).append(f"{choice.group.method} on {choice.group.dataset}")
    rows: list[list[Cell]] = [[flag, note, listed(places)] for (flag, note), places in where.items()]
    return Table("doubts", "What to doubt", ["flag", "why", "where"], rows)


def unfinished_runs(groups: Sequence[RunGroup]) -> Table:
    """Return the table of runs without numbers: failed, killed, vanished, or still running."""
    rows: list[list[Cell]] = [
        [group.dataset, run.title, run.status, run.reason, visible(run.folder.name)]
        for group in groups
        for setting in group.settings
        for run in setting.unfinished + (setting.refits or [])
        if run.status not in ENDED_WELL
    ]
    return Table("unfinished", "Runs that did not finish", ["data set", "run", "status", "reason", "folder"], rows)


def damaged_files(damaged: Sequence[Damaged]) -> Table:
    """Return the table of files that cannot be read."""
    rows: list[list[Cell]] = [[visible(str(one.path)), one.reason] for one in damaged]
    return Table("damaged", "Damaged files, left out", ["file", "what is wrong"], rows)


def metrics_of(runs: Iterable[Run]) -> list[str]:
    """Return the names of all final metrics of these runs, in the order of the records."""
    return list(dict.fromkeys(name for run in runs for name in run.metrics))


def test_metrics(runs: Sequence[Run], metric: Metric) -> list[str]:
    """Return the names of the test metrics that a summary shows, the counterpart of the validation metric first.

    Of many scores it shows some, and the table of all numbers all. Of the corrupted test sets the mean over all is
    taken (test/extra/loss), and no single set (test/fog/loss).
    """
    names = [name for name in metrics_of(runs) if name.startswith("test/")]
    found = [name for name in names if name.count("/") == 1 or name.startswith("test/extra/")]
    shown = [name for name in found if name == metric.test or name.partition("/")[2] not in IN_NUMBERS_ONLY]
    return sorted(shown, key=lambda name: name != metric.test)
