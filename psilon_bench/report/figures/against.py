"""Our methods among published ones: seconds against scores with their Pareto front, and mean ranks of some of them."""

from collections.abc import Iterator, Sequence
from typing import Any

from psilon_bench.report.against import Comparison
from psilon_bench.report.against_tables import SECONDS, heading
from psilon_bench.report.drawing import Drawing, labelled, legend, look, panels, scale
from psilon_bench.report.figures.critical_difference import bars_text, diagram
from psilon_bench.report.figures.pareto import on_front
from psilon_bench.report.material import Material
from psilon_bench.report.metric import Metric

PLACE = 6
BEST = 12  # methods of a diagram of ranks, beside ours and the median one
THEIRS = "#9A9A9A"
SCORE = Metric("score", "max")


def draw(material: Material) -> Iterator[Drawing]:
    """Yield for each file the scores against time, where times are published, and the ranks, where they are tested."""
    for made in material.comparisons:
        if set(made.seconds.index) - set(made.ours):
            yield _scores_against_seconds(made)
        if made.across.nemenyi is not None:
            yield _ranks(made)


def _scores_against_seconds(made: Comparison) -> Drawing:
    """Return the figure of mean scores against mean seconds; published methods on the front have numbers and names."""
    scores = made.scores.mean()
    rows = [[method, None, -float(spent), float(scores[method])] for method, spent in made.seconds.items()]
    points = [[row[0], -row[2], row[3], on_front(row, rows, SCORE)] for row in rows]
    drawn, (axis,) = panels(1, width=6.5, height=4)
    front = sorted([seconds, score] for _, seconds, score, is_on in points if is_on)
    axis.plot(*zip(*front, strict=True), color="0.55", linewidth=1, drawstyle="steps-post", label="Pareto front")
    theirs = [point for point in points if point[0] not in made.ours]
    axis.plot([p[1] for p in theirs], [p[2] for p in theirs], "o", color=THEIRS, label="published")
    for method, seconds, score, _ in points:
        if method in made.ours:
            axis.plot([seconds], [score], linestyle="none", label=method, **look(made.ours, method))
    for index, (method, seconds, score) in enumerate(published_front(points, made.ours), start=1):
        axis.plot([seconds], [score], "o", color=THEIRS, label=f"{index}: {method}")
        axis.annotate(str(index), (seconds, score), (0, 4), textcoords="offset points", ha="center", fontsize=7)
    scale(axis.xaxis, [point[1] for point in points])
    axis.set(xlabel="training time (s), mean over data sets", ylabel="mean score above the median", ylim=(-0.03, 1.05))
    legend(drawn, labelled([axis]))
    return Drawing(
        name=f"against_seconds{made.tag}",
        title=heading(made, f"Scores against training time, with published numbers, over {len(made.first)} data sets"),
        caption="1: the best of a data set; 0: its median or worse. The line is the Pareto front; its published "
        f"methods are numbered. {SECONDS}",
        figure=drawn,
        columns=["method", "seconds", "mean score above median", "on the front"],
        points=points,
    )


def published_front(points: Sequence[Sequence[Any]], ours: Sequence[str]) -> list[tuple[str, float, float]]:
    """Return the published methods on the front, the fastest first, with their seconds and scores."""
    front = [(method, seconds, score) for method, seconds, score, is_on in points if is_on and method not in ours]
    return sorted(front, key=lambda point: point[1:])


def _ranks(made: Comparison) -> Drawing:
    """Return the diagram of the mean ranks of the best methods, the median one, and ours."""
    mean_ranks = made.across.ranks.mean().sort_values(kind="stable")
    shown = shown_methods(list(mean_ranks.index), made.ours)
    colours = {method: _colour(made.ours, method) for method in shown}
    count = len(mean_ranks)
    some = f" Of {count} methods the best {BEST}, the median one and ours (coloured) are shown; ranks are among all."
    return Drawing(
        name=f"against_ranks{made.tag}",
        title=heading(made, f"Mean ranks with published numbers, over {len(made.first)} data sets"),
        caption=f"1 is the best. {bars_text(made.across)}{some if len(shown) < count else ' Ours are coloured.'}",
        figure=diagram(made.across, colours),
        columns=["method", "mean rank", "shown"],
        points=[[method, float(rank), method in shown] for method, rank in mean_ranks.items()],
    )


def shown_methods(ranked: list[str], ours: list[str]) -> list[str]:
    """Return the best BEST of the ranked methods, the median one, and ours, in their order."""
    kept = {*ranked[:BEST], ranked[(len(ranked) - 1) // 2], *ours}
    return [method for method in ranked if method in kept]


def _colour(ours: list[str], method: str) -> str:
    """Return the colour of a method: those of others are grey."""
    return str(look(ours, method)["color"]) if method in ours else THEIRS
