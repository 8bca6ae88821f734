"""The weights of a chosen network before and after pruning, a heat map a layer; exact zeros are grey.

model.pt and pruned.pt of the record are needed, so reports of records fetched from MLflow have no such figure.
"""

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import LogNorm

from psilon_bench.records import places
from psilon_bench.report.drawing import Drawing, add_below, file_name, lay_out, panels
from psilon_bench.report.material import Material
from psilon_bench.report.records import Run
from psilon_bench.report.selection import Choice

PLACE = 65
LAYERS = 5  # in one figure,
UNITS = 64  # and rows and columns of each: the others lie evenly between them
DECADES = 3  # of absolute weights that have a colour of their own
MAP = colormaps["viridis"].with_extremes(bad="0.8")


def draw(material: Material) -> Iterator[Drawing]:
    """Yield one figure for each data set and method whose chosen network was pruned, that of the first seed."""
    for dataset, choices in material.datasets.items():
        for choice in choices:
            runs = choice.setting.tested if choice.setting else []
            pruned = [run for run in runs if (run.folder / places.weights_name("pruned")).exists()]
            if pruned and (pair := material.tried(pruned[0], before_and_after)):
                yield _figure(dataset, choice, pruned[0], *pair)


def before_and_after(run: Run) -> tuple[list[np.ndarray], list[np.ndarray]] | None:
    """Return the weights of the trained and of the pruned network; None where they are the same."""
    before, after = matrices(run, "model"), matrices(run, "pruned")
    return (before, after) if any((a != b).any() for a, b in zip(before, after, strict=True)) else None


def matrices(run: Run, which: Literal["model", "pruned"]) -> list[np.ndarray]:
    """Return the effective weights of every layer, (out, in); all weights of a channel are in one row."""
    from psilon_bench.models.offers import HasWeights  # torch takes a second
    from psilon_bench.report import networks

    network: Any = networks.network(run, which).network
    return (
        [weight.detach().flatten(1).numpy() for weight in network.weights()] if isinstance(network, HasWeights) else []
    )


def evenly(count: int, most: int) -> np.ndarray:
    """Return the indices 0 ... count - 1, or `most` of them, evenly spaced from end to end."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def _figure(dataset: str, choice: Choice, run: Run, before: list[np.ndarray], after: list[np.ndarray]) -> Drawing:
    """Return the figure with layers across, before pruning above and after it below."""
    layers = evenly(len(before), LAYERS)
    made, axes = panels(2 * len(layers), width=2.1, height=2.1, across=len(layers))
    top = max(np.abs(weight).max() for weight in before)
    norm = LogNorm(top / 10**DECADES, top, clip=True)
    rows: list[list[Any]] = []
    for upper, lower, layer in zip(axes, axes[len(layers) :], layers, strict=False):
        down, across = (evenly(count, UNITS) for count in before[layer].shape)
        shown = [weight[layer][np.ix_(down, across)] for weight in (before, after)]
        for axis, whole, part, when in zip((upper, lower), (before, after), shown, ("before", "after"), strict=True):
            sizes = np.ma.masked_equal(np.abs(part), 0.0)
            image = axis.imshow(sizes, cmap=MAP, norm=norm, aspect="auto", interpolation="nearest")
            axis.set_title(f"W{layer + 1} {when}, {np.mean(whole[layer] == 0):.0%} zeros")
            axis.set(xlabel="column: what is read", ylabel="row: unit")
            for one, indices in ((axis.xaxis, across), (axis.yaxis, down)):
                ticks = evenly(len(indices), 3)
                one.set_ticks(ticks.tolist(), labels=[str(indices[tick]) for tick in ticks])
            axis.grid(False)
        places = [[layer + 1, row, column] for row in down for column in across]
        pairs = zip(shown[0].ravel(), shown[1].ravel(), strict=True)
        rows += [[*place, f"{a:.6g}", f"{b:.6g}"] for place, (a, b) in zip(places, pairs, strict=True)]
    lay_out(made)
    add_below(made, 0.7)
    bar = made.add_axes((0.3, 0.5 / made.get_figheight(), 0.4, 0.12 / made.get_figheight()))
    label = "absolute weight (grey: exactly 0)"
    made.colorbar(image, cax=bar, orientation="horizontal", label=label, extend="min", format="{x:g}")
    assert choice.setting
    method = choice.group.method
    return Drawing(
        name=file_name("weight_maps", dataset, method),
        title=f"Weights before and after pruning: {method} on {dataset}",
        caption=f"{choice.setting.text}, seed {run.seed}. Of larger matrices {UNITS} rows and columns, evenly "
        f"spaced; of more than {LAYERS} matrices as many. The zeros of the titles are counted in whole matrices.",
        figure=made,
        columns=["matrix", "row", "column", "before", "after"],
        points=rows,
    )
