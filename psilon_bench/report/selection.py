"""The choice of tuned values, by the mean VALIDATION metric over seeds; no test number is read here.

A setting is chosen from those that are complete enough: it has at least as many finished seeds as the upper half of the
settings has, so that no setting wins by one lucky seed, or because its bad seeds diverged. One that was raced out is
never chosen. Of equal means the largest lambda wins. Everything a reader should doubt is said: ties, a choice at the
edge of the grid, missing and failed seeds, a setting passed over for missing seeds, one seed alone, runs of several
code versions or contents in one mean.

Of a cross-validation (cv=5) the out-of-fold value takes the place of the mean, and a setting needs every fold. What is
shown of the test rows is that of the refits; a setting without refits has no test numbers.
"""

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from psilon_bench.report.datasets import is_drawn
from psilon_bench.report.estimate import Estimate, rounded
from psilon_bench.report.grouping import RunGroup, Setting
from psilon_bench.report.keys import order
from psilon_bench.report.metric import Metric

TOLD = 3  # settings named in a note, the rest is counted


@dataclass(frozen=True)
class Doubt:
    """A reason to doubt a choice: a word for the table and a sentence for below it."""

    flag: str  # edge, tie, seeds, passed over, one seed, no metric, raced out, refit, no refit, code, data
    note: str


@dataclass(frozen=True)
class Choice:
    """The setting of a group that stands for it; None where no run can be used."""

    group: RunGroup
    setting: Setting | None
    validation: Estimate | None
    doubts: list[Doubt]


def choose(group: RunGroup, metric: Metric) -> Choice:
    """Return the best setting of a group by the validation metric, with its doubts; the module has the rule."""
    stayed = [setting for setting in group.settings if not setting.raced_out]
    scored = [(setting, mean) for setting in stayed if (mean := group.validation(setting, metric.name))]
    if not scored and len(group.settings) == 1 and is_refitted(group):
        return Choice(group, group.settings[0], None, [Doubt("refit", "trained on the validation rows too: no choice")])
    if not scored:
        if not stayed:
            return Choice(group, None, None, [Doubt("raced out", "all settings lost to those of another method")])
        what = "setting with all folds and" if group.is_cross_validated else "finished run with"
        return Choice(group, None, None, [Doubt("no metric", f"no {what} {metric.name}")])
    enough = statistics.median_high(mean.n for _, mean in scored)
    eligible = [(setting, mean) for setting, mean in scored if mean.n >= enough]
    best = min(metric.sign * mean.mean for _, mean in eligible)
    tied = [(setting, mean) for setting, mean in eligible if math.isclose(metric.sign * mean.mean, best, rel_tol=1e-12)]
    setting, mean = max(tied, key=lambda pair: order(pair[0].value("reg.lam")))
    doubts = [
        *ties(setting, [other for other, _ in tied]),
        *edges(setting, group.settings),
        *missing(group, metric.name),
        *passed_over([(other, m) for other, m in scored if metric.sign * m.mean < best], enough),
        *one_seed(mean),
        *without_refit(setting),
        *mixed_code(group.settings),
        *mixed_data(group.settings),
    ]
    return Choice(group, setting, mean, doubts)


def is_refitted(group: RunGroup) -> bool:
    """Tell whether the group has finished runs, all of them refits: what is chosen elsewhere, trained on more rows."""
    return bool(group.runs) and all(run.is_refit for run in group.runs)


def ties(chosen: Setting, tied: Sequence[Setting]) -> list[Doubt]:
    """Return a doubt where other settings have the same mean."""
    others = [setting.text for setting in tied if setting is not chosen]
    return [Doubt("tie", f"same mean: {listed(others)}")] if others else []


def edges(chosen: Setting, settings: Sequence[Setting]) -> list[Doubt]:
    """Return a doubt for each tuned number at an end of the values that were tried; 0 is an end by nature."""
    doubts = []
    for key, value in chosen.values:
        tried = [v for setting in settings if is_number(v := setting.value(key))]
        if not is_number(value) or len(set(tried)) < 2 or value == 0:
            continue
        for end, word in ((min(tried), "smallest"), (max(tried), "largest")):
            if value == end:
                doubts.append(Doubt("edge", f"{key}={rounded(value)} is the {word} of {len(set(tried))} tried"))
    return doubts


def is_number(value: object) -> bool:
    """Tell whether a value is a number; True and False are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def missing(group: RunGroup, metric: str) -> list[Doubt]:
    """Return a doubt where settings lack a seed that others have, but for those that were raced out."""
    lacking = []
    for setting in group.settings:
        if setting.raced_out:
            continue
        there = {run.replicate for run in setting.runs if metric in run.metrics}
        seeds = sorted({text for seed, text in group.seeds.items() if seed not in there})
        if seeds:
            reasons = sorted({run.status for run in setting.unfinished})
            why = f" ({', '.join(reasons)})" if reasons else ""
            lacking.append(f"{setting.text} lacks seed {', '.join(seeds)}{why}")
    return [Doubt("seeds", listed(lacking))] if lacking else []


def passed_over(better: Sequence[tuple[Setting, Estimate]], enough: int) -> list[Doubt]:
    """Return a doubt where settings with too few seeds have a better mean."""
    texts = [f"{setting.text} has a better mean ({rounded(mean.mean)}, n={mean.n})" for setting, mean in better]
    return [Doubt("passed over", f"{listed(texts)}; compared were those with n={enough} or more")] if texts else []


def one_seed(mean: Estimate) -> list[Doubt]:
    """Return a doubt where one seed leaves the spread unknown."""
    return [Doubt("one seed", "one seed only, no standard deviation")] if mean.n == 1 else []


def without_refit(setting: Setting) -> list[Doubt]:
    """Return a doubt where a setting that was chosen by cross-validation has no network that trained on all folds."""
    if setting.tested:
        return []
    why = "no finished refit, so no test numbers; the sweep's command trains the best setting of the data set again"
    return [Doubt("no refit", f"{why}, or more of them: cv_refit=N")]


def mixed_code(settings: Sequence[Setting]) -> list[Doubt]:
    """Return a doubt where the runs of a setting are of several code versions."""
    versions = [(setting.text, Counter(code_text(run.code_version) for run in setting.runs)) for setting in settings]
    mixed = [f"{text} mixes {per_version(counts)}" for text, counts in versions if len(counts) > 1]
    remedy = "the same command again trains those of other versions anew, rerun=true all"
    return [Doubt("code", f"code versions: {listed(mixed)}; {remedy}")] if mixed else []


def code_text(version: str | None) -> str:
    """Return eight digits of a code version; `unknown` for records made before versions were written down."""
    return "unknown" if version is None else version[:8]


def per_version(counts: Counter[str]) -> str:
    """Return the number of runs of each code version: `2 runs of 1a2b3c4d, 1 of unknown`."""
    (first, count), *others = counts.most_common()
    return ", ".join([f"{count} runs of {first}", *(f"{count} of {name}" for name, count in others)])


def mixed_data(settings: Sequence[Setting]) -> list[Doubt]:
    """Return a doubt where the runs of a setting have several checksums and the record does not say they were drawn."""
    mixed = []
    for setting in settings:
        checksums = {run.checksum for run in setting.runs}
        if len(checksums) > 1 and not all(map(is_drawn, setting.runs)):
            mixed.append(f"{setting.text} has {len(checksums)} checksums in {len(setting.runs)} runs")
    remedy = "data drawn anew for every seed, or changed between the runs: rerun=true trains all on one"
    return [Doubt("data", f"{listed(mixed)}; {remedy}")] if mixed else []


def listed(texts: Sequence[str]) -> str:
    """Return the first few texts, and how many more there are."""
    more = f"; and {len(texts) - TOLD} more" if len(texts) > TOLD else ""
    return "; ".join(texts[:TOLD]) + more
