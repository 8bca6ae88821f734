"""A figure, the points in it, and its files: PNG for print, SVG for light and dark, CSV of the points."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.figure import Figure

# Okabe & Ito 2008, told apart by colour-blind readers; black and yellow, which vanish on dark and light, are left out
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#8C6BB1", "#7F7F7F")
MARKERS = "osD^vPX*"
PANELS = 12  # in one figure
INK = "#0b0c0e"  # a black of our own: in the SVG file it becomes the colour of the text around it
DARK = "svg{color:#111}@media (prefers-color-scheme: dark){svg{color:#e6e6e6}}"
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.5,
    "lines.markersize": 4.5,
    "image.cmap": "viridis",
    "axes.prop_cycle": cycler(color=COLOURS),
    "svg.hashsalt": "psilon_bench",
    "figure.dpi": 150,
} | dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color"), INK)


@dataclass(frozen=True)
class Drawing:
    """A finished figure. `points` are what it shows, one row a point, under `columns`."""

    name: str
    title: str
    caption: str
    figure: Figure
    columns: Sequence[str]
    points: Sequence[Sequence[Any]]

    def save(self, folder: Path) -> None:
        """NAME.png, NAME.svg and NAME.csv."""
        self.figure.draw_without_rendering()
        self.figure.set_layout_engine(None)  # laid out once, not for every file: half of the time
        self.figure.savefig(folder / f"{self.name}.png", facecolor="white")
        (folder / f"{self.name}.svg").write_text(self.svg())
        with (folder / f"{self.name}.csv").open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([self.columns, *self.points])

    def svg(self) -> str:
        """Transparent, with text and axes in the reader's colour, light or dark."""
        file = io.StringIO()
        self.figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
        head, tag, rest = file.getvalue().replace(INK, "currentColor").partition("<defs>")
        return f"{head}<style>{DARK}</style>{tag}{rest}"


def style() -> AbstractContextManager[None]:
    """While figures are drawn and saved."""
    return mpl.rc_context(STYLE)


LETTER, LINE = 0.062, 0.17  # width and height in a legend, inches


def panels(count: int, width: float = 3.4, height: float = 2.7, share_y: bool = False) -> tuple[Figure, list[Axes]]:
    """A figure with so many axes, in rows."""
    across = 2 if count == 4 else min(count, 3)
    down = -(-count // across)
    figure = Figure(figsize=(max(width * across, 4.2), height * down), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False, sharey=share_y).ravel()
    for unused in grid[count:]:
        unused.set_axis_off()
    return figure, list(grid[:count])


def look(methods: Sequence[str], method: str) -> dict[str, Any]:
    """Colour and marker of a method, the same in every figure."""
    index = methods.index(method)
    return {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index // len(COLOURS) % len(MARKERS)]}


def shades(count: int) -> np.ndarray:
    """Colours of ordered values, (count, 4): viridis without its ends, which vanish on black and on white."""
    return mpl.colormaps["viridis"](np.linspace(0.25, 0.9, count))


def legend(figure: Figure, axes: Sequence[Axes]) -> None:
    """One legend below all axes, each label once."""
    found = {name: handle for one in axes for handle, name in zip(*one.get_legend_handles_labels(), strict=True)}
    if found:
        entry = 0.6 + max(map(len, found)) * LETTER
        columns = min(len(found), max(1, int(figure.get_figwidth() // entry)))
        figure.set_figheight(figure.get_figheight() + LINE * (-(-len(found) // columns) - 1))
        figure.legend(found.values(), found.keys(), loc="outside lower center", ncols=columns)


def scale(axis: Axis, values: Sequence[float], always: bool = False) -> None:
    """Logarithmic where the numbers ask for it (or `always`, if they can); 0 keeps a place beside the smallest."""
    set_scale = axis.axes.set_xscale if isinstance(axis, XAxis) else axis.axes.set_yscale
    positive = [value for value in values if value > 0]
    if values and min(values) == 0 and is_wide(positive):
        set_scale("symlog", linthresh=min(positive))
    elif is_wide(values) or (always and values and min(values) > 0):
        set_scale("log")
        if not isinstance(axis, XAxis):
            # a spread that reaches below 0 would stretch the axis for ever
            axis.axes.set_ylim(bottom=min(values) / 1.5)
        narrow = max(values) < 100 * min(values)
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(lambda x, _: f"{x:g}" if narrow and f"{x:e}"[0] in "25" else "")


def unit_below(label: str) -> str:
    """An axis label in two lines."""
    return label.replace(" (", "\n(", 1)


def pages(names: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Twelve at a time, with a number where there are more."""
    for start in range(0, len(names), PANELS):
        yield (str(start // PANELS + 1) if len(names) > PANELS else ""), names[start : start + PANELS]


def file_name(*words: str) -> str:
    """Letters, digits and _ alone."""
    return "_".join(part for part in re.split(r"[^A-Za-z0-9.=-]+", " ".join(words)) if part)


def is_wide(values: Sequence[float]) -> bool:
    """Whether numbers ask for a logarithmic axis: all positive, over more than a factor of 20."""
    return bool(values) and min(values) > 0 and max(values) > 20 * min(values)
