"""A figure with the points it shows, and its files: PNG for print, SVG for light and dark pages, CSV of the points."""

import contextlib
import csv
import io
import re
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from matplotlib.transforms import ScaledTranslation

from psilon_bench.report.escaping import spreadsheet
from psilon_bench.report.ticks import ticks_of

# Okabe & Ito 2008, told apart by colour-blind readers; black and yellow, which vanish on dark and light, are left out
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#8C6BB1", "#7F7F7F")
MARKERS = "osD^vPX*"
PANELS = 12  # in one figure
LONGEST_NAME = 100  # of a file
TICKS = 5  # intervals of an axis, at most
INK = "#0b0c0e"  # a black of our own: in the SVG file it becomes the colour of the text around it
DARK = "svg{color:#111}@media (prefers-color-scheme: dark){svg{color:#e6e6e6}}"
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titley": 1.0,  # where it is in any case; asking the ticks for room above takes time
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
    "text.parse_math": False,  # a dollar in a name is no formula
    "svg.hashsalt": "psilon_bench",
    "figure.dpi": 150,
} | dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color"), INK)


@dataclass(frozen=True)
class Drawing:
    """A finished figure; `points` are what it shows, one row a point, under the names in `columns`."""

    name: str
    title: str
    caption: str
    figure: Figure
    columns: Sequence[str]
    points: Sequence[Sequence[Any]]

    def save(self, folder: Path) -> None:
        """Write NAME.png, NAME.svg and NAME.csv to the folder."""
        lay_out(self.figure)
        self.figure.savefig(folder / f"{self.name}.png", facecolor="white")
        (folder / f"{self.name}.svg").write_text(self.svg(), encoding="utf-8")
        with (folder / f"{self.name}.csv").open("w", newline="", encoding="utf-8") as file:
            rows = ([spreadsheet(cell) for cell in row] for row in (self.columns, *self.points))
            csv.writer(file, lineterminator="\n").writerows(rows)

    def svg(self) -> str:
        """Return the figure as a transparent SVG with text and axes in the reader's colour, light or dark."""
        file = io.StringIO()
        self.figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
        head, tag, rest = file.getvalue().replace(INK, "currentColor").partition("<defs>")
        return f"{head}<style>{DARK}</style>{tag}{rest}"


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Set the style of figures while they are drawn and saved; missing letters (boxes) give no warning."""
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing from font")
        yield


LETTER, LINE = 0.062, 0.17  # width and height in a legend, inches
TITLE_LETTER, MARGIN = 0.068, 0.3  # the same above a panel, and the room beside it


def panels(
    count: int, width: float = 3.4, height: float = 2.7, share_y: bool = False, across: int | None = None
) -> tuple[Figure, list[Axes]]:
    """Return a figure with `count` axes of `width` x `height` inches, in rows of `across` (None: a usual number)."""
    across = across or (2 if count == 4 else min(count, 3))
    down = -(-count // across)
    figure = Figure(figsize=(max(width * across, 4.2), height * down))
    figure.set_layout_engine("tight", pad=0.6, w_pad=1.4, h_pad=1.2, rect=None)  # a rect is measured for twice
    grid, axes = figure.add_gridspec(down, across), list[Axes]()
    for index in range(count):  # figure.subplots would make, and draw, those of the last row that are not used
        axes.append(figure.add_subplot(grid[index], sharey=axes[0] if share_y and axes else None))
        axes[-1].locator_params(nbins=TICKS)
        if share_y and index % across:
            axes[-1].tick_params(labelleft=False)
    return figure, axes


def look(methods: Sequence[str], method: str) -> dict[str, Any]:
    """Return colour and marker of a method, which are the same in every figure."""
    index = methods.index(method)
    return {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index // len(COLOURS) % len(MARKERS)]}


def shades(count: int) -> np.ndarray:
    """Return RGBA colours (count, 4) of ordered values: viridis without its ends, which vanish on black or white."""
    return mpl.colormaps["viridis"](np.linspace(0.25, 0.9, count))


def lay_out(figure: Figure) -> None:
    """Give the labels the room they need, once.

    Left to itself, matplotlib measures all text again for every file.
    """
    engine = figure.get_layout_engine()
    if engine is not None:
        for axes in figure.axes:
            place = axes.get_subplotspec()
            axes.set_title(
                wrapped(axes.get_title(), figure.get_figwidth() / (place.get_gridspec().ncols if place else 1))
            )
        corners, ticks = {axes: tuple(axes.bbox.min) for axes in figure.axes}, ticks_of(figure.axes)
        for one in ticks:
            one.fix()
        engine.execute(figure)
        figure.set_layout_engine(None)
        for one in ticks:
            one.fix()  # an axis of another length may have other ticks
            one.measure_no_more()
        for axes, corner in corners.items():
            nail_labels(axes, corner)


def wrapped(text: str, inches: float) -> str:
    """Return a name in as many lines as it needs within `inches`, even a name of one word."""
    return textwrap.fill(text, max(10, int((inches - MARGIN) / TITLE_LETTER)))


def nail_labels(axes: Axes, corner: Sequence[float]) -> None:
    """Fix the labels of both axes at the distance measured when the lower left corner of the axes was at `corner`.

    Otherwise all tick labels are measured again for every file.
    """
    for axis, side in ((axes.yaxis, 0), (axes.xaxis, 1)):
        if axis.label.get_text():
            inches = (axis.label.get_position()[side] - corner[side]) / axes.figure.dpi
            move = ScaledTranslation(inches * (1 - side), inches * side, axes.figure.dpi_scale_trans)
            axis.set_label_coords(0.5 * side, 0.5 * (1 - side), transform=axes.transAxes + move)


def labelled(axes: Sequence[Axes]) -> dict[str, Any]:
    """Return the artists that have a label in any of the axes, each label once."""
    return {name: handle for one in axes for handle, name in zip(*one.get_legend_handles_labels(), strict=True)}


def legend(figure: Figure, found: dict[str, Any], heading: str = "") -> None:
    """Put one legend below all axes; this comes last, for the figure is laid out and made higher."""
    lay_out(figure)
    if found:
        entry = 0.6 + max(map(len, found)) * LETTER
        columns = min(len(found), max(1, int(figure.get_figwidth() // entry)))
        add_below(figure, LINE * (-(-len(found) // columns) + bool(heading)) + 0.1)
        figure.legend(
            found.values(), found.keys(), loc="lower center", ncols=columns, title=heading or None, borderaxespad=0.2
        )


def add_below(figure: Figure, inches: float) -> None:
    """Add room at the bottom of a figure; all axes keep their sizes and distances."""
    before, parts = figure.get_figheight(), figure.subplotpars
    after = before + inches
    figure.set_figheight(after)
    figure.subplots_adjust(bottom=(parts.bottom * before + inches) / after, top=1 - (1 - parts.top) * before / after)


def scale(axis: Axis, values: Sequence[float], always: bool = False) -> None:
    """Make an axis logarithmic where the values span a wide range, or where `always` asks for it and they are positive.

    Zero among wide values keeps a place beside the smallest (symlog).
    """
    set_scale = axis.axes.set_xscale if isinstance(axis, XAxis) else axis.axes.set_yscale
    positive = [value for value in values if value > 0]
    if values and min(values) == 0 and is_wide(positive):
        set_scale("symlog", linthresh=min(positive))
        axis.set_major_formatter("{x:g}")
    elif is_wide(values) or (always and values and min(values) > 0):
        set_scale("log")
        if not isinstance(axis, XAxis):
            # a spread that reaches below 0 would stretch the axis for ever
            axis.axes.set_ylim(bottom=min(values) / 1.5)
        narrow = max(values) < 100 * min(values)
        axis.set_major_formatter("{x:g}")
        if narrow:
            axis.set_minor_formatter(lambda x, _: f"{x:g}" if f"{x:e}"[0] in "25" else "")
        else:
            axis.set_minor_locator(NullLocator())


def unit_below(label: str) -> str:
    """Return an axis label in two lines, the unit in the second."""
    return label.replace(" (", "\n(", 1)


def pages(names: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield names in pages of PANELS, each with its number, or with "" where one page holds them all."""
    for start in range(0, len(names), PANELS):
        yield (str(start // PANELS + 1) if len(names) > PANELS else ""), names[start : start + PANELS]


def file_name(*words: str) -> str:
    """Return the words as a file name of letters, digits and . = - _, at most LONGEST_NAME long."""
    return "_".join(part for part in re.split(r"[^A-Za-z0-9.=-]+", " ".join(words)) if part)[:LONGEST_NAME]


def is_wide(values: Sequence[float]) -> bool:
    """Tell whether numbers need a logarithmic axis: all are positive, and they span more than a factor of 20."""
    return bool(values) and min(values) > 0 and max(values) > 20 * min(values)
