"""Sparsity against performance: every setting is a point, and the Pareto front joins those no other beats in both."""

from collections.abc import Iterator
from typing import Any

from matplotlib.axes import Axes

from psilon_bench.report.drawing import Drawing, file_name, labelled, legend, look, pages, panels, scale, unit_below
from psilon_bench.report.estimate import estimate
from psilon_bench.report.material import Material
from psilon_bench.report.metric import Metric, label, title
from psilon_bench.report.summary import metrics_of

PLACE = 30


def draw(material: Material) -> Iterator[Drawing]:
    """Yield figures for each sparsity that varies, twelve data sets on each."""
    runs = [run for choice in material.choices for run in choice.group.runs]
    for sparsity in [name for name in metrics_of(runs) if name.endswith("sparsity")]:
        points = {dataset: rows for dataset in material.datasets if (rows := _points_of(material, dataset, sparsity))}
        points = {dataset: rows for dataset, rows in points.items() if len({row[2] for row in rows}) > 1}
        for page, datasets in pages(list(points)):
            yield _figure(material, sparsity, {dataset: points[dataset] for dataset in datasets}, page)


def _points_of(material: Material, dataset: str, sparsity: str) -> list[list[Any]]:
    """Return rows of method, setting, mean sparsity, mean performance, number of runs, and membership of the front."""
    rows: list[list[Any]] = []
    for choice in material.datasets[dataset]:
        for setting in choice.group.settings:
            zeros, mean = estimate(setting.numbers(sparsity)), estimate(setting.numbers(material.metric.name))
            if zeros and mean:
                rows.append([choice.group.method, setting.text, zeros.mean, mean.mean, mean.n])
    return [[*row, on_front(row, rows, material.metric)] for row in rows]


def on_front(row: list[Any], rows: list[list[Any]], metric: Metric) -> bool:
    """Tell whether no other row is at least as sparse and at least as good, and better in one of the two."""
    x, y = row[2], metric.sign * row[3]
    return not any(r[2] >= x and metric.sign * r[3] <= y and (r[2], metric.sign * r[3]) != (x, y) for r in rows)


def _figure(material: Material, sparsity: str, points: dict[str, list[list[Any]]], page: str) -> Drawing:
    """Return the figure of one sparsity on these data sets."""
    made, axes = panels(len(points))
    for axis, (dataset, rows) in zip(axes, points.items(), strict=True):
        scatter(axis, material, rows)
        kind = material.datasets[dataset][0].group.kind
        scale(axis.yaxis, [row[3] for row in rows])
        axis.set(title=dataset, xlabel=label(sparsity), ylabel=unit_below(label(material.metric.name, kind)))
    legend(made, labelled(axes))
    return Drawing(
        name=file_name(f"{material.metric.name} against {sparsity}", page),
        title=f"{title(material.metric.name)} against {label(sparsity)}",
        caption="A point is a setting, mean over seeds; the line is the Pareto front.",
        figure=made,
        columns=["data set", "method", "setting", sparsity, material.metric.name, "n", "on the front"],
        points=[[dataset, *row] for dataset, rows in points.items() for row in rows],
    )


def scatter(axis: Axes, material: Material, rows: list[list[Any]]) -> None:
    """Draw the settings by method, and the front through them."""
    front = sorted((row[2], row[3]) for row in rows if row[5])
    axis.plot(*zip(*front, strict=True), color="0.55", linewidth=1, drawstyle="steps-pre", label="Pareto front")
    for method in dict.fromkeys(row[0] for row in rows):
        own = [row for row in rows if row[0] == method]
        axis.plot(
            [r[2] for r in own], [r[3] for r in own], linestyle="none", label=method, **look(material.methods, method)
        )
