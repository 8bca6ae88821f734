"""Local Lipschitz constants of the chosen networks at test rows, beside the certificate.

The values are the list `lipschitz_local_values` in run.json.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from psilon_bench.report.drawing import COLOURS, Drawing, is_wide, labelled, legend, look, pages, panels, scale
from psilon_bench.report.estimate import estimate
from psilon_bench.report.material import Material
from psilon_bench.report.metric import label, title
from psilon_bench.report.selection import Choice

PLACE = 70
BINS = 30


def draw(material: Material) -> Iterator[Drawing]:
    """Yield figures of twelve data sets each, those of which a run has the values."""
    values = {
        dataset: own
        for dataset, choices in material.datasets.items()
        if (own := {choice.group.method: v for choice in choices if len(v := _values_of(material, choice))})
    }
    for page, datasets in pages(list(values)):
        yield _figure(material, {dataset: values[dataset] for dataset in datasets}, page)


def _values_of(material: Material, choice: Choice) -> np.ndarray:
    """Return the positive values (n,) of all seeds of the chosen setting: the axis may be logarithmic."""
    assert choice.setting
    lists = [material.about(run).lipschitz_local_values for run in choice.setting.tested]
    pooled = np.array([value for own in lists for value in own or [] if value is not None], dtype=float)
    return pooled[pooled > 0]


def _figure(material: Material, values: dict[str, dict[str, np.ndarray]], page: str) -> Drawing:
    """Return histograms with a broken line at the mean certificate."""
    made, axes = panels(len(values))
    points: list[list[Any]] = []
    for axis, (dataset, by_method) in zip(axes, values.items(), strict=True):
        every = np.concatenate(list(by_method.values()))
        bounds = {
            choice.group.method: bound.mean
            for choice in material.datasets[dataset]
            if choice.setting and (bound := estimate(choice.setting.tested_numbers("lipschitz_bound")))
        }
        low, high = every.min() / 1.01, every.max() * 1.01
        reach = [low, high, *bounds.values()]
        edges = np.geomspace(low, high, BINS + 1) if is_wide(reach) else np.linspace(low, high, BINS + 1)
        for choice in material.datasets[dataset]:
            method = choice.group.method
            if method not in by_method:
                continue
            counts, _ = np.histogram(by_method[method], edges)
            colour = look(material.methods, method)["color"]
            dashed = material.methods.index(method) >= len(COLOURS)
            axis.stairs(counts / counts.sum(), edges, color=colour, label=method, linestyle=":" if dashed else "-")
            if method in bounds:
                axis.axvline(bounds[method], color=colour, linestyle="--", linewidth=1)
            rows = zip(edges[:-1], edges[1:], counts, strict=True)
            points += [[dataset, method, *row, bounds.get(method)] for row in rows]
        scale(axis.xaxis, reach)
        axis.set(title=dataset, xlabel=label("lipschitz_local"), ylabel="fraction of test rows")
    legend(made, labelled(axes))
    return Drawing(
        name=f"local_lipschitz{page and '_' + page}",
        title=title("lipschitz_local"),
        caption="At test rows, all seeds of the chosen settings, L2 to L2. Broken: the mean certificate, which is of "
        "L_inf to L1 and so bounds it.",
        figure=made,
        columns=["data set", "method", "from", "to", "count", "certificate"],
        points=points,
    )
