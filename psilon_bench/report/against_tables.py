"""Tables of a comparison with published numbers: on each data set, across them, pair by pair, and what is left out."""

from collections.abc import Iterator

from psilon_bench.report.against import Comparison
from psilon_bench.report.compare import friedman_text, interval_text, won
from psilon_bench.report.estimate import Estimate
from psilon_bench.report.selection import listed
from psilon_bench.report.standings import OURS, Standing, Standings
from psilon_bench.report.table import Cell, Table

SCORE = "The score above the median is 1 for the best method, and 0 for the median of all or a worse one."
SECONDS = (
    "Seconds of ours are of all runs of the method on one split, every setting and seed; of an ensemble, those of all "
    "networks. They are of other machines than the published ones."
)


def against_tables(made: Comparison) -> list[Table]:
    """Return the tables of a comparison; those across data sets need two of them."""
    several = len(made.first) > 1
    return [on_each(made), *([across_all(made)] if several else []), left_out(made), *more_tables(made, several)]


def more_tables(made: Comparison, several: bool) -> Iterator[Table]:
    """Yield the tables that are too long for a terminal."""
    if several:
        yield pairs_with_ours(made)
    yield every_number(made)


def heading(made: Comparison, words: str) -> str:
    """Return a title with the name of the file, where there are several."""
    return f"{words} ({made.name})" if made.name else words


def on_each(made: Comparison) -> Table:
    """Return the table of our methods on each data set, beside the best published one."""
    rows = [our_row(one, standing) for one in made.standings for standing in one.ours]
    columns = [
        "data set",
        "metric",
        "method",
        "ours",
        "rank",
        "of",
        "score above median",
        "best published",
        "its value",
        "its sd",
    ]
    note = " ".join([SCORE, SECONDS, *made.notes])
    title = heading(made, "Against published numbers")
    return Table(f"against{made.tag}", title, [*columns, "seconds", "its seconds"], rows, note)


def our_row(standings: Standings, ours: Standing) -> list[Cell]:
    """Return the row of one of our methods on a data set."""
    best = min(standings.theirs, key=lambda one: standings.costs[one.method])
    value = ours.value if ours.n is None else Estimate(ours.value, ours.sd, ours.n)
    place: list[Cell] = [
        float(standings.ranks[ours.method]),
        len(standings.every),
        float(standings.scores[ours.method]),
    ]
    about: list[Cell] = [standings.dataset, standings.metric.test, ours.method.removesuffix(OURS), value]
    return [*about, *place, best.method, best.value, best.sd, ours.seconds, best.seconds]


def across_all(made: Comparison) -> Table:
    """Return the table of the methods that are on all data sets, the best mean rank first.

    It has what a method won, tied and lost against each of ours.
    """
    cost, ranks, scores = made.across.scores, made.across.ranks, made.scores.mean()
    ours = [name for name in made.ours if name in cost]
    rows: list[list[Cell]] = [
        [
            method,
            float(ranks[method].mean()),
            float(scores[method]),
            int((ranks[method] == 1).sum()),
            *(None if method == own else won(cost[method], cost[own]) for own in ours),
        ]
        for method in ranks.mean().sort_values(kind="stable").index
    ]
    note = (
        f"On {len(cost)} data sets, each by its metric: {metrics_text(made)}. {friedman_text(made.across)} "
        f"Ranks are among the {cost.shape[1]} methods that are on all of them. Wins / ties / losses are the row's. "
        f"{SCORE}"
    )
    columns = ["method", "mean rank", "mean score above median", "alone first on", *(f"against {own}" for own in ours)]
    return Table(
        f"against_ranks{made.tag}", heading(made, "Across data sets, with published numbers"), columns, rows, note
    )


def metrics_text(made: Comparison) -> str:
    """Return which data sets have which metric, in words."""
    by_metric: dict[str, list[str]] = {}
    for one in made.first:
        by_metric.setdefault(one.metric.test, []).append(one.dataset)
    return "; ".join(f"{metric} of {', '.join(datasets)}" for metric, datasets in by_metric.items())


def pairs_with_ours(made: Comparison) -> Table:
    """Return the table of each of our methods against each other method, across data sets.

    It has wins / ties / losses, Nemenyi's p, and the mean difference of scores with its 95 % interval.
    """
    cost, nemenyi = made.across.scores, made.across.nemenyi
    rows: list[list[Cell]] = []
    for own in made.ours:
        for other in made.across.ranks.mean().sort_values(kind="stable").index if own in cost else []:
            if other != own:
                difference = (made.scores[own] - made.scores[other]).to_numpy()
                p = None if nemenyi is None else float(nemenyi.loc[own, other])
                about: list[Cell] = [own, other, won(cost[own], cost[other]), p]
                rows.append([*about, float(difference.mean()), interval_text(difference)])
    columns = ["method", "against", "wins / ties / losses", "Nemenyi p", "score difference", "95 % interval"]
    title = heading(made, "Our methods against each other one, across data sets")
    note = f"Differences of scores above the median; the interval is a bootstrap (BCa) over data sets. {SCORE}"
    return Table(f"against_pairs{made.tag}", title, columns, rows, note, brief=False)


def left_out(made: Comparison) -> Table:
    """Return the table of what is not compared, or with care, by reason."""
    rows: list[list[Cell]] = [[why, len(what), listed(sorted(what))] for why, what in sorted(made.left_out.items())]
    title = heading(made, "What is not compared, or with care")
    return Table(f"against_left_out{made.tag}", title, ["reason", "count", "what"], rows)


def every_number(made: Comparison) -> Table:
    """Return the table of all methods on each data set, the best first."""
    rows: list[list[Cell]] = [
        [
            one.dataset,
            one.metric.test,
            s.method,
            s.value,
            s.sd,
            s.n,
            float(rank),
            float(one.scores[s.method]),
            s.seconds,
        ]
        for one in made.standings
        for s, rank in sorted(((s, one.ranks[s.method]) for s in one.every), key=lambda pair: pair[1])
    ]
    columns = ["data set", "metric", "method", "value", "sd", "n", "rank", "score above median", "seconds"]
    title = heading(made, "All methods on each data set, ours and published ones")
    return Table(f"against_numbers{made.tag}", title, columns, rows, brief=False)
