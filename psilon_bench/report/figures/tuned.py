"""The validation metric against each tuned number (lambda first), all methods in one panel a data set."""

from collections.abc import Iterator
from typing import Any

from matplotlib.axes import Axes

from psilon_bench.report.drawing import Drawing, file_name, labelled, legend, look, pages, panels, scale, unit_below
from psilon_bench.report.estimate import rounded
from psilon_bench.report.material import Material, numeric_keys
from psilon_bench.report.metric import label, title
from psilon_bench.report.selection import Choice

PLACE = 20
FAR = 1000  # times below all that is swept


def draw(material: Material) -> Iterator[Drawing]:
    """Yield figures for each tuned key, twelve data sets on each."""
    every = [choice for choices in material.datasets.values() for choice in choices]
    for key in dict.fromkeys(key for choice in every for key in numeric_keys(choice.group)):
        with_key = [name for name, own in material.datasets.items() if any(key in numeric_keys(c.group) for c in own)]
        for page, datasets in pages(with_key):
            yield _figure(material, key, datasets, page)


def _figure(material: Material, key: str, datasets: list[str], page: str) -> Drawing:
    """Return the figure of one key on these data sets."""
    made, axes = panels(len(datasets))
    points: list[list[Any]] = []
    for axis, dataset in zip(axes, datasets, strict=True):
        choices = [choice for choice in material.datasets[dataset] if key in numeric_keys(choice.group)]
        for choice in choices:
            points += [[dataset, *row] for row in _lines(axis, material, choice, key)]
        swept = [row for row in points if row[0] == dataset]
        floor = min(row[3] for row in swept) / FAR
        untuned = [choice for choice in material.datasets[dataset] if not choice.group.tuned()]
        levels = [[dataset, *level(axis, material, choice, floor)] for choice in untuned]
        points += levels
        scale(axis.xaxis, [row[2] for row in swept])
        scale(axis.yaxis, [row[3] for row in (*swept, *levels) if row[3] >= floor])
        axis.set(
            title=dataset, xlabel=label(key), ylabel=unit_below(label(material.metric.name, choices[0].group.kind))
        )
    legend(made, labelled(axes))
    return Drawing(
        name=file_name(f"{material.metric.name} against {key}", page),
        title=f"{title(material.metric.name)} against {label(key)}",
        caption="Mean and standard deviation over seeds; a ring marks the choice. Of further tuned values the best. "
        "Broken: a method without tuned numbers; far below all others its mean is in the legend.",
        figure=made,
        columns=["data set", "method", key, "mean", "sd", "n", "chosen"],
        points=points,
    )


def _lines(axis: Axes, material: Material, choice: Choice, key: str) -> list[list[Any]]:
    """Draw one method, and return the rows of its points."""
    along = material.along(choice.group, key)
    values, means = [value for value, _, _ in along], [mean.mean for _, _, mean in along]
    bars = [mean.sd or 0 for _, _, mean in along]
    how = look(material.methods, choice.group.method)
    axis.errorbar(values, means, bars, **how, label=choice.group.method, capsize=2, elinewidth=0.8)
    for value, setting, mean in along:
        if setting is choice.setting:
            axis.plot(value, mean.mean, "o", markersize=10, fillstyle="none", color=how["color"])
    return [
        [choice.group.method, value, mean.mean, mean.sd, mean.n, setting is choice.setting]
        for value, setting, mean in along
    ]


def level(axis: Axes, material: Material, choice: Choice, floor: float) -> list[Any]:
    """Draw a method of one setting as a line across, and return the row of its one point, without an x value.

    A line below `floor` would leave no room for the others, so that its mean stands in the legend.
    """
    assert choice.validation is not None
    method, mean = choice.group.method, choice.validation
    name = method if mean.mean >= floor else f"{method} ({rounded(mean.mean)})"
    axis.axhline(mean.mean, color=look(material.methods, method)["color"], linestyle="--", label=name)
    return [method, None, mean.mean, mean.sd, mean.n, True]
