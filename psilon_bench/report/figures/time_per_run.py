"""Training time of every run, in seconds."""

from collections.abc import Iterator
from typing import Any

from psilon_bench.report.drawing import Drawing, labelled, legend, look, panels, scale, wrapped
from psilon_bench.report.material import Material
from psilon_bench.report.metric import label, title

PLACE = 90
TIME = "time/fit_s"
NAME = 3.3  # inches of a line of a name, at most


def draw(material: Material) -> Iterator[Drawing]:
    """Yield one figure: a row a data set, a point a run."""
    points: list[list[Any]] = [
        [choice.group.dataset, choice.group.method, setting.text, run.seed, run.metrics[TIME]]
        for choice in material.choices
        for setting in choice.group.settings
        for run in setting.runs
        if TIME in run.metrics
    ]
    if not points:
        return
    datasets = sorted({row[0] for row in points}, reverse=True)
    made, (axis,) = panels(1, width=6.5, height=max(2.0, 0.35 * len(datasets) + 1.2))
    for method in material.methods:
        own = [row for row in points if row[1] == method]
        shift = 0.5 * (material.methods.index(method) + 0.5) / len(material.methods) - 0.25
        heights = [datasets.index(row[0]) - shift for row in own]
        axis.plot(
            [r[4] for r in own], heights, linestyle="none", alpha=0.6, label=method, **look(material.methods, method)
        )
    scale(axis.xaxis, [row[4] for row in points])
    axis.set_yticks(range(len(datasets)), [wrapped(name, NAME) for name in datasets])
    axis.set(xlabel=label(TIME), ylim=(-0.6, len(datasets) - 0.4))
    legend(made, labelled([axis]))
    caption = "A point is a run; of a stack that trained as one program, its share. Compare times of one machine only."
    yield Drawing("time_per_run", title(TIME), caption, made, ["data set", "method", "setting", "seed", TIME], points)
