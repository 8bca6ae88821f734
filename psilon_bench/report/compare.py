"""Comparison of methods across data sets, by the test metric of the settings that were chosen on validation.

It has ranks, scores scaled to [0, 1] on each data set (0: the worst of its methods, 1: the best), wins / ties / losses,
the Friedman test followed by the Nemenyi test (Demsar 2006, JMLR 7), and bootstrap intervals of mean differences.
"""

import itertools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from psilon_bench.report.estimate import estimate, in_digits, rounded
from psilon_bench.report.grouping import Setting
from psilon_bench.report.metric import Metric
from psilon_bench.report.selection import Choice
from psilon_bench.report.table import Cell, Table

LEVEL = 0.05
RESAMPLES = 4999


@dataclass(frozen=True)
class Across:
    """Mean test scores, data sets x methods, of the data sets on which every method has the test metric."""

    metric: Metric
    scores: pd.DataFrame  # means over seeds
    left_out: list[str]  # data sets where a method is missing

    @property
    def cost(self) -> pd.DataFrame:
        """Return value x sign, less is better, in the digits by which methods are compared."""
        return (self.metric.sign * self.scores).map(in_digits)

    @property
    def ranks(self) -> pd.DataFrame:
        """Return the rank of each method on each data set: 1 is the best; equal scores share their mean rank."""
        return self.cost.rank(axis=1)

    @property
    def normalised(self) -> pd.DataFrame:
        """Return scores in [0, 1]: 1 is the best of a data set and 0 its worst; all are 1 where all are equal."""
        worst, best = self.cost.max(axis=1), self.cost.min(axis=1)
        return self.cost.rsub(worst, axis=0).div((worst - best).where(worst > best), axis=0).fillna(1.0)

    @property
    def friedman(self) -> float | None:
        """Return the Friedman test's p-value of equal ranks; None with fewer than three methods or data sets."""
        if min(self.scores.shape) < 3:
            return None
        if (self.ranks.nunique(axis=1) == 1).all():  # all tied everywhere: 0/0
            return 1.0
        from scipy import stats  # a second, which most reports do not spend

        return float(stats.friedmanchisquare(*self.cost.T.to_numpy()).pvalue)

    @property
    def nemenyi(self) -> pd.DataFrame | None:
        """Return the Nemenyi test's p-value of each pair, methods x methods; None where there is no Friedman test."""
        if self.friedman is None:
            return None
        import scikit_posthocs  # takes a second

        return scikit_posthocs.posthoc_nemenyi_friedman(self.cost)


def across(choices: Sequence[Choice], metric: Metric) -> Across:
    """Return the mean test scores of the chosen settings."""
    means = {
        (choice.group.dataset, choice.group.method): mean.mean
        for choice in choices
        if choice.setting and (mean := estimate(choice.setting.numbers(metric.test)))
    }
    datasets = sorted({dataset for dataset, _ in means})
    methods = sorted({method for _, method in means})
    whole = pd.DataFrame([[means.get((d, m)) for m in methods] for d in datasets], datasets, methods, dtype=float)
    complete = whole.dropna()
    return Across(metric, complete, [name for name in datasets if name not in complete.index])


def tables(choices: Sequence[Choice], metric: Metric) -> list[Table]:
    """Return the tables of ranks, of pairs across data sets and of pairs on each data set; none without rows."""
    made = across(choices, metric)
    methods = made.scores.shape[1]
    found = [pairs_within(choices, metric)]
    if methods > 1 and len(made.scores) > 1:
        found = [ranks(made), pairs_across(made), *found]
    return found


def ranks(made: Across) -> Table:
    """Return the table of mean ranks, one row a method, the best first."""
    mean_rank, scores = made.ranks.mean(), made.normalised.mean()
    first = (made.ranks == 1).sum()
    rows: list[list[Cell]] = [
        [method, float(mean_rank[method]), float(scores[method]), int(first[method])]
        for method in mean_rank.sort_values(kind="stable").index
    ]
    note = f"By {made.metric.test} on {len(made.scores)} data sets. {friedman_text(made)}"
    if made.left_out:
        note += f" Left out, for a method is missing there: {', '.join(made.left_out)}."
    columns = ["method", "mean rank", "mean normalised score", "alone first on"]
    return Table("ranks", "Across data sets", columns, rows, note)


def friedman_text(made: Across) -> str:
    """Return what the Friedman test says, in one sentence."""
    p = made.friedman
    if p is None:
        return "The Friedman test needs three methods and three data sets."
    verdict = "the ranks differ" if p < LEVEL else "no difference of ranks is shown"
    return f"Friedman test: p = {rounded(p, 2)}, {verdict} at the {LEVEL:g} level."


def pairs_across(made: Across) -> Table:
    """Return the table of pairs of methods across data sets.

    It has wins / ties / losses, Nemenyi's p, and the mean difference of normalised scores with its 95 % interval.
    """
    nemenyi, scores, cost = made.nemenyi, made.normalised, made.cost
    rows: list[list[Cell]] = []
    for a, b in itertools.combinations(made.ranks.mean().sort_values(kind="stable").index, 2):
        difference = (scores[a] - scores[b]).to_numpy()
        p = None if nemenyi is None else float(nemenyi.loc[a, b])
        rows.append([a, b, won(cost[a], cost[b]), p, float(difference.mean()), interval_text(difference)])
    columns = ["method", "against", "wins / ties / losses", "Nemenyi p", "score difference", "95 % interval"]
    note = "Differences of normalised scores; the interval is a bootstrap (BCa) over data sets."
    return Table("pairs_across", "Pairs of methods across data sets", columns, rows, note)


def won(cost: pd.Series, other: pd.Series) -> str:
    """Return wins / ties / losses of a method against another."""
    return f"{int((cost < other).sum())} / {int((cost == other).sum())} / {int((cost > other).sum())}"


def pairs_within(choices: Sequence[Choice], metric: Metric) -> Table:
    """Return the table of pairs of methods on each data set.

    It has the mean difference over the seeds that both methods have, with its 95 % interval over these seeds.
    """
    rows: list[list[Cell]] = []
    by_dataset: dict[str, list[Choice]] = {}
    for choice in choices:
        if choice.setting:
            by_dataset.setdefault(choice.group.dataset, []).append(choice)
    for dataset, own in by_dataset.items():
        for a, b in itertools.combinations(own, 2):
            assert a.setting
            assert b.setting
            difference = paired(a.setting, b.setting, metric.test)
            if difference.size:
                about: list[Cell] = [dataset, a.group.method, b.group.method, len(difference)]
                rows.append([*about, float(difference.mean()), interval_text(difference)])
    columns = ["data set", "method", "minus", "n", metric.test, "95 % interval"]
    note = "Differences of runs of the same seed, so of the same split; the interval is a bootstrap (BCa) over seeds."
    return Table("pairs", "Pairs of methods on each data set", columns, rows, note, brief=False)


def paired(a: Setting, b: Setting, metric: str) -> np.ndarray:
    """Return the differences a - b of a metric, (n,), one for each seed that both settings have."""
    other = {run.replicate: run.metrics[metric] for run in b.tested if metric in run.metrics}
    return np.array(
        [r.metrics[metric] - other[r.replicate] for r in a.tested if metric in r.metrics and r.replicate in other]
    )


def interval_text(differences: np.ndarray) -> str:
    """Return the interval of a mean in words; `n < 5` where the numbers are too few for one."""
    found = interval(differences)
    return "n < 5" if found is None else f"{rounded(found[0], 3)} to {rounded(found[1], 3)}"


def interval(differences: np.ndarray) -> tuple[float, float] | None:
    """Return the 95 % interval of a mean by scipy.stats.bootstrap (BCa); None for fewer than five numbers.

    An interval of few numbers is too narrow.
    """
    if len(differences) < 5:
        return None
    if np.ptp(differences) == 0:  # BCa would be 0/0
        return float(differences[0]), float(differences[0])
    from scipy import stats

    with warnings.catch_warnings():  # where BCa degenerates scipy says so and gives NaN
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        found = stats.bootstrap((differences,), np.mean, n_resamples=RESAMPLES, rng=np.random.default_rng(0))
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
