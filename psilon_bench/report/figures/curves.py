"""The validation metric against step, one panel a method, one colour a lambda: figure 1 of PSiLON (Biswas 2024)."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.lines import Line2D

from psilon_bench.report.drawing import Drawing, file_name, legend, panels, scale, shades, unit_below
from psilon_bench.report.grouping import Setting
from psilon_bench.report.keys import value_text
from psilon_bench.report.material import Material, numeric_keys
from psilon_bench.report.metric import label, title
from psilon_bench.report.selection import Choice

PLACE = 10


def draw(material: Material) -> Iterator[Drawing]:
    """Yield one figure a data set."""
    for dataset, choices in material.datasets.items():
        curves = [(choice, tuned_curves(material, choice)) for choice in choices]
        curves = [(choice, own) for choice, own in curves if own]
        if curves:
            yield _figure(material, dataset, curves)


def tuned_curves(material: Material, choice: Choice) -> list[tuple[float, Setting]]:
    """Return a setting for every value of the first tuned key, or the chosen setting where nothing is tuned.

    Settings whose history has one row, as those of baselines, are left out.
    """
    keys = numeric_keys(choice.group)
    along = [(value, setting) for value, setting, _ in material.along(choice.group, keys[0])] if keys else []
    assert choice.setting is not None
    found = along or [(float("nan"), choice.setting)]
    return [(value, setting) for value, setting in found if len(material.curve(setting, material.metric.name)[0]) > 1]


def _figure(material: Material, dataset: str, curves: Sequence[tuple[Choice, list[tuple[float, Setting]]]]) -> Drawing:
    """Return the figure of all methods on one data set."""
    made, axes = panels(len(curves), share_y=True)
    values = sorted({value for _, own in curves for value, _ in own if value == value})
    colours = shades(len(values) or 1)
    points: list[list[Any]] = []
    means: list[float] = []
    for axis, (choice, own) in zip(axes, curves, strict=True):
        for value, setting in own:
            steps, runs = material.curve(setting, material.metric.name)
            mean, sd = runs.mean(axis=0), runs.std(axis=0, ddof=1) if len(runs) > 1 else np.zeros(len(steps))
            colour = colours[values.index(value)] if value == value else colours[0]
            axis.plot(steps, mean, color=colour)
            axis.fill_between(steps, mean - sd, mean + sd, color=colour, alpha=0.2, linewidth=0)
            points += [
                [choice.group.method, setting.text, *row, len(runs)] for row in zip(steps, mean, sd, strict=True)
            ]
            means += mean[np.isfinite(mean)].tolist()
        axis.set(title=choice.group.method, xlabel="step")
    scale(axes[0].yaxis, means)
    axes[0].set_ylabel(unit_below(label(material.metric.name, curves[0][0].group.kind)))
    keys = {key for choice, _ in curves for key in numeric_keys(choice.group)[:1]}
    entries = {value_text(value): Line2D([], [], color=colour) for value, colour in zip(values, colours, strict=False)}
    legend(made, entries, " / ".join(label(key) for key in sorted(keys)))
    return Drawing(
        name=file_name("curves", dataset),
        title=f"{title(material.metric.name)} against step: {dataset}",
        caption="Mean over seeds; the band is one standard deviation. Of further tuned values the best is shown.",
        figure=made,
        columns=["method", "setting", "step", "mean", "sd", "n"],
        points=points,
    )
