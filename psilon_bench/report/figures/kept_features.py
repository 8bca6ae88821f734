"""The columns of tables that pruned networks still read, by name, from the list `inputs_kept` in run.json."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from psilon_bench.report.drawing import Drawing, file_name, panels
from psilon_bench.report.escaping import visible
from psilon_bench.report.material import Material

PLACE = 60
MOST = 40  # names that can be read in one figure,
LONGEST = 40  # and letters of each
SLANT = 0.04  # inches that a letter of a slanted name takes downwards


def draw(material: Material) -> Iterator[Drawing]:
    """Yield one figure for each data set on which a chosen network dropped an input."""
    for dataset, choices in material.datasets.items():
        kept = {
            choice.group.method: lists
            for choice in choices
            if choice.setting
            and (
                lists := [
                    visible(own)
                    for run in choice.setting.tested
                    if (own := material.about(run).inputs_kept) is not None
                ]
            )
        }
        if len({len(own) for lists in kept.values() for own in lists}) > 1:
            yield _figure(dataset, kept)


def _figure(dataset: str, kept: dict[str, list[list[str]]]) -> Drawing:
    """Return the figure with names down and methods across; a cell is the fraction of seeds that kept the input."""
    counts = {method: Counter(name for own in lists for name in own) for method, lists in kept.items()}
    total = sum(counts.values(), Counter())
    names = [name for name, _ in total.most_common()]
    shown = names[:MOST]
    fractions = np.array([[counts[method][name] / len(kept[method]) for method in kept] for name in shown])
    below = SLANT * max(len(_shortened(method)) for method in kept) if len(kept) > 1 else 0
    made, (axis,) = panels(1, width=2.4 + 0.9 * len(kept), height=0.9 + below + 0.17 * len(shown))
    image = axis.imshow(fractions, aspect="auto", vmin=0, vmax=1, cmap="cividis")
    slanted: dict[str, Any] = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if len(kept) > 1 else {}
    axis.set_xticks(range(len(kept)), [_shortened(method) for method in kept], **slanted)
    axis.set_yticks(range(len(shown)), [_shortened(name) for name in shown])
    axis.grid(False)
    made.colorbar(image, ax=axis, label="fraction\nof seeds")
    points: list[list[Any]] = [[n, m, counts[m][n] / len(kept[m]), len(kept[m])] for n in names for m in kept]
    more = f" The {MOST} kept most often of {len(names)}." if len(names) > MOST else ""
    return Drawing(
        name=file_name("kept_features", dataset),
        title=f"Inputs kept: {dataset}",
        caption=f"Of the chosen settings; a column is kept where weights other than 0 lead from an input of it.{more}",
        figure=made,
        columns=["input", "method", "fraction of seeds", "n"],
        points=points,
    )


def _shortened(name: str) -> str:
    """Return a name of at most LONGEST letters."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 3]}..."
