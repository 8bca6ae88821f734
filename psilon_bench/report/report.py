"""The making of a report: records are scanned, settings chosen, and tables made; each step has its own file."""

import shlex
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from psilon_bench.errors import UsageError
from psilon_bench.metrics.choosing import is_of_test_rows
from psilon_bench.report import compare, reference, summary
from psilon_bench.report.escaping import visible
from psilon_bench.report.grouping import RunGroup, groups_of
from psilon_bench.report.keys import has_effect
from psilon_bench.report.metric import Metric
from psilon_bench.report.origin import Origin, origin_of
from psilon_bench.report.records import Damaged, Records, Run, scan
from psilon_bench.report.search import SearchResult, load_searches, search_tables
from psilon_bench.report.selection import Choice, choose, code_text, listed, per_version
from psilon_bench.report.table import Table


@dataclass(frozen=True)
class Report:
    """All contents of a report but its figures."""

    title: str
    command: str
    metric: Metric
    records: Records
    choices: list[Choice]
    notes: list[str]
    tables: list[Table]
    origin: Origin
    searches: list[SearchResult]

    def leave_out(self, files: Sequence[Damaged]) -> None:
        """Add a note and table rows on files that could not be read while figures were drawn."""
        if files:
            named = listed([f"{visible(str(file.path))}: {file.reason}" for file in files])
            self.notes.append(f"{len(files)} histories are damaged and left out of the figures: {named}.")
            self.tables[:] = [table for table in self.tables if table.name != "damaged"]
            self.tables.append(summary.damaged_files([*self.records.damaged, *files]))


def make(
    folders: Sequence[Path], metric: Metric, by: Sequence[str] = (), references: Path | Literal["by name"] | None = None
) -> Report:
    """Return the report of all records below the folders.

    Settings are chosen by `metric`; `by` are keys that make a method. `references` is a file of expected numbers, or
    `by name` for the file that goes with the name of the runs. Raises UsageError where there are no records, or where
    they lack a key or the metric.
    """
    records = scan(folders)
    check_keys(by, records.runs)
    groups, replaced = groups_of(records.runs, by)
    choices = [choose(group, metric) for group in groups]
    check_metric(choices, metric)
    searches, left_out = load_searches(dict.fromkeys(run.folder.parent for run in records.runs))
    current = [run for group in groups for run in group.every_run]
    tables = [
        summary.summary(choices, metric),
        *([reference.table(choices, expected(references, records.runs))] if references else []),
        summary.doubts(choices),
        *search_tables(searches),
        *compare.tables(choices, metric),
        summary.raced_out_settings(groups),
        summary.unfinished_runs(groups),
        summary.damaged_files(records.damaged),
        summary.all_settings(choices),
        summary.all_metrics(choices),
    ]
    return Report(
        title=visible(", ".join(dict.fromkeys(folder.name for folder in records.folders))),
        command=visible(shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])),
        metric=metric,
        records=records,
        choices=choices,
        notes=[*counted(records, current, replaced), *cautions(choices), *left_out],
        tables=[table for table in tables if table.rows],
        origin=origin_of(records.runs),
        searches=searches,
    )


def expected(references: Path | Literal["by name"], runs: Sequence[Run]) -> list[reference.Expected]:
    """Return the reference numbers for these runs."""
    return reference.load_expected(reference.file_of(runs) if references == "by name" else Path(references))


def check_keys(by: Sequence[str], runs: Sequence[Run]) -> None:
    """Raise UsageError for a --by that is no key of the configuration."""
    known = {key for run in runs for key in run.params if has_effect(key)}
    for key in by:
        if key not in known:
            raise UsageError(f"--by {key} is not a key of these runs. Take one such as model.depth or reg.bound.")


def check_metric(choices: Sequence[Choice], metric: Metric) -> None:
    """Raise UsageError where there are finished runs and none has the metric, or no setting in all its folds."""
    runs = [run for choice in choices for run in choice.group.runs]
    if runs and not any(choice.setting for choice in choices):
        names = sorted({name for run in runs for name in run.metrics if not is_of_test_rows(name)})
        if metric.name in names:
            raise UsageError(
                f"No setting has {metric.name} of all folds of its cross-validation: runs diverged, left a race or are "
                "still to be trained. The sweep's command says which, and trains them."
            )
        raise UsageError(f"No finished run has {metric.name}. Take --metric with one of: {', '.join(names)}.")


def counted(records: Records, current: Sequence[Run], replaced: Sequence[Run]) -> Iterator[str]:
    """Yield notes on how many records there are, and how many are of use."""
    by_status: dict[str, int] = {}
    for run in current:
        by_status[run.status] = by_status.get(run.status, 0) + 1
    states = ", ".join(
        f"{count} {status}" for status, count in sorted(by_status.items(), key=lambda one: one[0] != "finished")
    )
    yield f"{len(records.runs) + len(records.damaged)} records: {states or 'none that can be read'}."
    if replaced:
        yield (
            f"{len(replaced)} records were replaced by a later run of the same data, settings and seed, "
            "and are left out."
        )
    if records.damaged:
        yield f"{len(records.damaged)} records are damaged and left out."


def cautions(choices: Sequence[Choice]) -> Iterator[str]:
    """Yield notes that hold for the report as a whole."""
    yield from of_one_name([choice.group for choice in choices])
    yield from of_several_versions([run for choice in choices for run in choice.group.runs])
    kinds = {choice.group.kind for choice in choices}
    if "regression" in kinds and len(kinds) > 1:
        yield (
            "Regression and classification are mixed: losses are RMSE in units of the scaled target for the one and "
            "cross-entropy in nats for the other. Compare them within a data set, or across by rank."
        )
    if choices and all(len(choice.group.seeds) == 1 for choice in choices):
        yield "One seed only: no standard deviation, and differences may be chance. Add seeds: seed=0,1,2."


def of_one_name(groups: Sequence[RunGroup]) -> Iterator[str]:
    """Yield a note for each name that several data sets have."""
    labels: dict[str, set[str]] = {}
    for group in groups:
        labels.setdefault(group.every_run[0].dataset, set()).add(group.dataset)
    for name, own in labels.items():
        several = sorted(label for label in own if label.startswith(f"{name} ("))
        if len(several) > 1:
            yield f"{len(several)} data sets of different content are named {name}: {listed(several)}."


def of_several_versions(runs: Sequence[Run]) -> Iterator[str]:
    """Yield a note on the code versions of the finished runs where these are several."""
    counts = Counter(code_text(run.code_version) for run in runs)
    if len(counts) > 1:
        yield f"The runs are of {len(counts)} code versions, whose numbers may differ: {per_version(counts)}."
