"""The objective against step of the chosen settings, both axes logarithmic: figure 4 of PathProx (Yang et al. 2022)."""

from collections.abc import Iterator
from typing import Any

from matplotlib.axes import Axes

from psilon_bench.report.drawing import COLOURS, Drawing, file_name, labelled, legend, look, pages, panels, scale
from psilon_bench.report.material import Material
from psilon_bench.report.metric import label, title
from psilon_bench.report.selection import Choice

PLACE = 40
OWN = (
    " Loss + lambda x penalty: each minimises its own, and heights compare between methods only where loss, penalty "
    "and lambda are the same."
)


def draw(material: Material) -> Iterator[Drawing]:
    """Yield figures for each objective in the histories, twelve data sets on each."""
    runs = [choice.setting.runs[0] for own in material.datasets.values() for choice in own if choice.setting]
    columns = dict.fromkeys(
        name for run in runs for name in material.history(run) if name.endswith(("objective", "objective_raw"))
    )
    for column in columns:
        drawn = [name for name, own in material.datasets.items() if any(has_curve(material, c, column) for c in own)]
        for page, datasets in pages(drawn):
            yield _figure(material, column, datasets, page)


def has_curve(material: Material, choice: Choice, column: str) -> bool:
    """Tell whether the chosen setting has a history of several rows, which baselines do not."""
    return choice.setting is not None and len(material.curve(choice.setting, column)[0]) > 1


def _figure(material: Material, column: str, datasets: list[str], page: str) -> Drawing:
    """Return the figure of one objective on these data sets."""
    made, axes = panels(len(datasets))
    points = [
        row for axis, dataset in zip(axes, datasets, strict=True) for row in _lines(axis, material, dataset, column)
    ]
    legend(made, labelled(axes))
    return Drawing(
        name=file_name(column, page),
        title=f"{title(column)} against step",
        caption=f"Each method's chosen setting, mean over seeds.{OWN if column == 'train/objective' else ''}",
        figure=made,
        columns=["data set", "method", "setting", "step", "mean", "n"],
        points=points,
    )


def _lines(axis: Axes, material: Material, dataset: str, column: str) -> list[list[Any]]:
    """Draw all methods on one data set, and return the rows of their points."""
    rows: list[list[Any]] = []
    for choice in material.datasets[dataset]:
        if choice.setting is None or not has_curve(material, choice, column):
            continue
        steps, runs = material.curve(choice.setting, column)
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
