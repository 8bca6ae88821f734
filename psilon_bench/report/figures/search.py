"""Searches: the best value against the number of trials, the Pareto front, and how much each key mattered."""

from collections.abc import Iterator
from itertools import accumulate

from psilon_bench.report.drawing import Drawing, file_name, labelled, legend, panels, scale
from psilon_bench.report.material import Material
from psilon_bench.report.metric import label, title
from psilon_bench.report.search import SearchResult

PLACE = 25


def draw(material: Material) -> Iterator[Drawing]:
    """Yield for each search its history and, where there are any, its Pareto front and importances."""
    for search in material.searches:
        yield _history(search)
        if len(search.goals) > 1:
            yield _front(search)
        if search.importances:
            yield _importances(search)


def _history(search: SearchResult) -> Drawing:
    """Return the figure of each objective against the trials, with the best value so far."""
    made, axes = panels(len(search.goals))
    numbers = [trial.number for trial in search.complete]
    points = []
    for index, (axis, goal, sign) in enumerate(zip(axes, search.goals, search.signs(), strict=True)):
        values = [trial.values[index] for trial in search.complete]
        best = [sign * value for value in accumulate((sign * value for value in values), min)]
        axis.plot(numbers, values, "o", alpha=0.5, label="a trial")
        axis.plot(numbers, best, drawstyle="steps-post", label="best so far")
        axis.set(xlabel="trial", ylabel=label(goal))
        axis.locator_params(axis="x", integer=True)
        scale(axis.yaxis, values)
        points += [[search.name, goal, *row] for row in zip(numbers, values, best, strict=True)]
    legend(made, labelled(axes))
    return Drawing(
        name=file_name("search_history", search.name),
        title=f"Search {search.name}: the best value against the number of trials",
        caption="Trials that failed have no point.",
        figure=made,
        columns=["search", "objective", "trial", "value", "best so far"],
        points=points,
    )


def _front(search: SearchResult) -> Drawing:
    """Return the figure of the first objective against each other one, with the trials on the Pareto front."""
    first, *others = search.goals
    made, axes = panels(len(others))
    for index, (axis, other) in enumerate(zip(axes, others, strict=True), start=1):
        for on_front, words in ((False, "other trials"), (True, "Pareto front")):
            trials = [trial for trial in search.complete if trial.on_front is on_front]
            x, y = [trial.values[index] for trial in trials], [trial.values[0] for trial in trials]
            axis.plot(x, y, "o", color="C0" if on_front else "0.6", label=words)
        axis.set(xlabel=label(other), ylabel=label(first))
        scale(axis.xaxis, [trial.values[index] for trial in search.complete])
        scale(axis.yaxis, [trial.values[0] for trial in search.complete])
    legend(made, labelled(axes))
    return Drawing(
        name=file_name("search_front", search.name),
        title=f"Search {search.name}: {title(first)} against {', '.join(map(label, others))}",
        caption="No trial is at least as good in all objectives as one on the front, and better in one of them.",
        figure=made,
        columns=["search", "trial", *search.goals, "on the front", "values"],
        points=[[search.name, t.number, *t.values, t.on_front, t.text] for t in search.complete],
    )


def _importances(search: SearchResult) -> Drawing:
    """Return the figure of the importances of keys."""
    keys, shares = list(search.importances)[::-1], list(search.importances.values())[::-1]
    made, (axis,) = panels(1, width=5.0, height=max(1.6, 0.3 * len(keys) + 0.9))
    axis.barh(keys, shares)
    axis.set(xlabel="importance")
    return Drawing(
        name=file_name("search_importances", search.name),
        title=f"Search {search.name}: which keys mattered",
        caption="The share of each key in being among the best tenth of the trials (PED-ANOVA).",
        figure=made,
        columns=["search", "key", "importance"],
        points=[[search.name, key, share] for key, share in search.importances.items()],
    )
