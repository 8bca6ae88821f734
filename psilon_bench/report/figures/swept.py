"""The metric against two or three swept numbers at once: error against alpha, by rate ratio and by L (WN-GD)."""

from collections.abc import Iterator
from typing import Any

from psilon_bench.report.drawing import Drawing, file_name, panels, scale, shades, unit_below
from psilon_bench.report.estimate import Estimate, estimate
from psilon_bench.report.grouping import RunGroup
from psilon_bench.report.keys import value_text
from psilon_bench.report.material import Material, numeric_keys
from psilon_bench.report.metric import label, title
from psilon_bench.report.selection import is_number

PLACE = 25
Point = tuple[tuple[float, ...], Estimate]


def draw(material: Material) -> Iterator[Drawing]:
    """Yield one figure for each data set and method with two or more swept numbers.

    The key of most values is the x axis.
    """
    for choices in material.datasets.values():
        for choice in choices:
            keys = sorted(numeric_keys(choice.group), key=lambda key: -len(_values_of(choice.group, key)))[:3]
            points = best_points(material, choice.group, keys)
            if len(keys) > 1 and points:
                yield _figure(material, choice.group, keys, points)


def _values_of(group: RunGroup, key: str) -> list[Any]:
    """Return the numbers that were tried of a key, sorted."""
    return sorted({value for setting in group.settings if is_number(value := setting.value(key))})


def best_points(material: Material, group: RunGroup, keys: list[str]) -> list[Point]:
    """Return values of the keys with the best metric among the settings that have them."""
    best: dict[tuple[float, ...], Estimate] = {}
    for setting in group.settings:
        values = tuple(setting.value(key) for key in keys)
        mean = estimate(setting.numbers(material.metric.name))
        if mean is None or not all(map(is_number, values)):
            continue
        if values not in best or material.metric.sign * (mean.mean - best[values].mean) < 0:
            best[values] = mean
    return sorted(best.items(), key=lambda point: point[0])


def _figure(material: Material, group: RunGroup, keys: list[str], points: list[Point]) -> Drawing:
    """Return the figure with the first key as x, the second as colour and the third as panel."""
    shapes = sorted({values[2:] for values, _ in points})
    made, axes = panels(len(shapes), share_y=True)
    seconds = sorted({values[1] for values, _ in points})
    colours = shades(len(seconds))
    for axis, rest in zip(axes, shapes, strict=True):
        for colour, second in zip(colours, seconds, strict=True):
            own = [(v[0], mean) for v, mean in points if v[1:] == (second, *rest)]
            means, bars = [mean.mean for _, mean in own], [mean.sd or 0 for _, mean in own]
            axis.errorbar(
                [x for x, _ in own], means, bars, color=colour, marker="o", capsize=2, label=value_text(second)
            )
        scale(axis.xaxis, [values[0] for values, _ in points])
        scale(axis.yaxis, [mean.mean for _, mean in points])
        axis.set(xlabel=label(keys[0]), ylabel=unit_below(label(material.metric.name, group.kind)))
        axis.set_title(f"{keys[2]}={value_text(rest[0])}" if rest else group.dataset)
    axes[-1].legend(title=label(keys[1]))
    return Drawing(
        name=file_name("swept", f"{group.dataset} {group.method}"),
        title=f"{title(material.metric.name)} against {', '.join(map(label, keys))}: {group.method} on {group.dataset}",
        caption="Mean and standard deviation over seeds. Of further swept values the best is shown.",
        figure=made,
        columns=[*keys, "mean", "sd", "n"],
        points=[[*values, mean.mean, mean.sd, mean.n] for values, mean in points],
    )
