"""The objective against iteration of the chosen settings, both axes logarithmic: figure 4 of PathProx (Yang 2022)."""

from collections.abc import Iterator
from typing import Any

from matplotlib.axes import Axes

from psilon_bench.report.drawing import COLOURS, Drawing, file_name, legend, look, pages, panels, scale
from psilon_bench.report.material import Material
from psilon_bench.report.metric import label, title

PLACE = 40


def draw(material: Material) -> Iterator[Drawing]:
    """One figure for each objective in the histories, twelve data sets on each."""
    runs = [choice.setting.runs[0] for own in material.datasets.values() for choice in own if choice.setting]
    columns = dict.fromkeys(name for run in runs for name in material.history(run) if name.endswith("objective"))
    for column in columns:
        for page, datasets in pages(list(material.datasets)):
            yield figure(material, column, datasets, page)


def figure(material: Material, column: str, datasets: list[str], page: str) -> Drawing:
    """Some data sets."""
    made, axes = panels(len(datasets))
    points = [
        row for axis, dataset in zip(axes, datasets, strict=True) for row in lines(axis, material, dataset, column)
    ]
    legend(made, axes)
    return Drawing(
        name=file_name(column, page),
        title=f"{title(column)} against step",
        caption="Loss + lambda x penalty of each method's chosen setting, mean over seeds. Each minimises its own: "
        "heights compare between methods only where loss, penalty and lambda are the same.",
        figure=made,
        columns=["data set", "method", "setting", "step", "mean", "n"],
        points=points,
    )


def lines(axis: Axes, material: Material, dataset: str, column: str) -> list[list[Any]]:
    """All methods on one data set; the rows of their points."""
    rows: list[list[Any]] = []
    for choice in material.datasets[dataset]:
        assert choice.setting is not None
        steps, runs = material.curve(choice.setting, column)
        if steps.size:
            mean = runs.mean(axis=0)
            colour = look(material.methods, choice.group.method)["color"]
            dashed = material.methods.index(choice.group.method) >= len(COLOURS)
            axis.plot(steps, mean, "--" if dashed else "-", color=colour, label=choice.group.method)
            about = [dataset, choice.group.method, choice.setting.text]
            rows += [[*about, step, value, len(runs)] for step, value in zip(steps, mean, strict=True)]
    axis.set(title=dataset, xlabel="step", ylabel=label(column))
    scale(axis.xaxis, [row[3] for row in rows], always=True)
    scale(axis.yaxis, [row[4] for row in rows], always=True)
    return rows
