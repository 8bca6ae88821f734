"""The choice of tuned values: by the mean VALIDATION metric over seeds. No test number is read here.

A setting is chosen from those that are complete enough: it has at least as many finished seeds as the upper half of the
settings has, so that no setting wins by one lucky seed, or because its bad seeds diverged. Of equal means the largest
lambda wins. Everything a reader should doubt is said: ties, a choice at the edge of the grid, missing and failed seeds,
a setting passed over for missing seeds, one seed alone, runs of several code versions or contents in one mean.
"""

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from psilon_bench.report.datasets import is_drawn
from psilon_bench.report.estimate import Estimate, estimate, number
from psilon_bench.report.grouping import Group, Setting
from psilon_bench.report.keys import order
from psilon_bench.report.metric import Metric

TOLD = 3  # settings named in a note, the rest is counted


@dataclass(frozen=True)
class Doubt:
    """A word for the table and a sentence for below it."""

    flag: str  # edge, tie, seeds, passed over, one seed, no metric, code, data
    note: str


@dataclass(frozen=True)
class Choice:
    """The setting of a group that stands for it; None where no run can be used."""

    group: Group
    setting: Setting | None
    validation: Estimate | None
    doubts: list[Doubt]


def choose(group: Group, metric: Metric) -> Choice:
    """See above."""
    scored = [(setting, mean) for setting in group.settings if (mean := estimate(setting.numbers(metric.name)))]
    if not scored:
        return Choice(group, None, None, [Doubt("no metric", f"no finished run with {metric.name}")])
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
        *alone(mean),
        *mixed_code(group.settings),
        *mixed_data(group.settings),
    ]
    return Choice(group, setting, mean, doubts)


def ties(chosen: Setting, tied: Sequence[Setting]) -> list[Doubt]:
    """Others with the same mean."""
    others = [setting.text for setting in tied if setting is not chosen]
    return [Doubt("tie", f"same mean: {listed(others)}")] if others else []


def edges(chosen: Setting, settings: Sequence[Setting]) -> list[Doubt]:
    """Tuned numbers beyond which nothing was tried; 0 is an end by nature."""
    doubts = []
    for key, value in chosen.values:
        tried = [v for setting in settings if is_number(v := setting.value(key))]
        if not is_number(value) or len(set(tried)) < 2 or value == 0:
            continue
        for end, word in ((min(tried), "smallest"), (max(tried), "largest")):
            if value == end:
                doubts.append(Doubt("edge", f"{key}={number(value)} is the {word} of {len(set(tried))} tried"))
    return doubts


def is_number(value: object) -> bool:
    """True and False are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def missing(group: Group, metric: str) -> list[Doubt]:
    """Settings that lack a seed which others have."""
    lacking = []
    for setting in group.settings:
        there = {run.replicate for run in setting.runs if metric in run.metrics}
        seeds = sorted({str(seed) for seed, _ in group.seeds - there})
        if seeds:
            reasons = sorted({run.status for run in setting.unfinished})
            why = f" ({', '.join(reasons)})" if reasons else ""
            lacking.append(f"{setting.text} lacks seed {', '.join(seeds)}{why}")
    return [Doubt("seeds", listed(lacking))] if lacking else []


def passed_over(better: Sequence[tuple[Setting, Estimate]], enough: int) -> list[Doubt]:
    """Settings with a better mean of too few seeds."""
    texts = [f"{setting.text} has a better mean ({number(mean.mean)}, n={mean.n})" for setting, mean in better]
    return [Doubt("passed over", f"{listed(texts)}; compared were those with n={enough} or more")] if texts else []


def alone(mean: Estimate) -> list[Doubt]:
    """Nothing can be said of the spread."""
    return [Doubt("one seed", "one seed only, no standard deviation")] if mean.n == 1 else []


def mixed_code(settings: Sequence[Setting]) -> list[Doubt]:
    """Settings whose runs are of several versions of the code."""
    versions = [(setting.text, Counter(code_text(run.code_version) for run in setting.runs)) for setting in settings]
    mixed = [f"{text} mixes {per_version(counts)}" for text, counts in versions if len(counts) > 1]
    remedy = "the same command again trains those of other versions anew, rerun=true all"
    return [Doubt("code", f"code versions: {listed(mixed)}; {remedy}")] if mixed else []


def code_text(version: str | None) -> str:
    """Eight digits of a code version; records made before it was written down have none."""
    return "unknown" if version is None else version[:8]


def per_version(counts: Counter[str]) -> str:
    """2 runs of 1a2b3c4d, 1 of unknown"""
    (first, count), *others = counts.most_common()
    return ", ".join([f"{count} runs of {first}", *(f"{count} of {name}" for name, count in others)])


def mixed_data(settings: Sequence[Setting]) -> list[Doubt]:
    """Settings whose runs have several checksums, where nothing says whether they were drawn or changed."""
    mixed = []
    for setting in settings:
        checksums = {run.checksum for run in setting.runs}
        if len(checksums) > 1 and not all(map(is_drawn, setting.runs)):
            mixed.append(f"{setting.text} has {len(checksums)} checksums in {len(setting.runs)} runs")
    remedy = "data drawn anew for every seed, or changed between the runs: rerun=true trains all on one"
    return [Doubt("data", f"{listed(mixed)}; {remedy}")] if mixed else []


def listed(texts: Sequence[str]) -> str:
    """The first few, and how many more."""
    more = f"; and {len(texts) - TOLD} more" if len(texts) > TOLD else ""
    return "; ".join(texts[:TOLD]) + more
