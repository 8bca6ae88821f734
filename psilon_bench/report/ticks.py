"""The ticks of a finished figure: located and labelled once, and only those in view.

Left to itself, matplotlib makes the ticks out of view too, of a logarithmic axis as many again, and locates, labels and
measures all of them whenever it lays out or draws: a third of the time of a figure.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FixedFormatter, FixedLocator, Formatter, Locator, NullLocator

CLOSE = 1e-9  # of the length of an axis: a tick at its very end is in view


class Ticks:
    """The ticks of an axis, as its locators and formatters have them."""

    def __init__(self, axis: Axis) -> None:
        self.axis = axis
        self.major = axis.get_major_locator(), axis.get_major_formatter()
        self.minor = axis.get_minor_locator(), axis.get_minor_formatter()

    def fix(self) -> None:
        """Locate and label the ticks that the axis has at its present size, and keep those."""
        axis = self.axis
        axis.set_major_locator(self.major[0])
        axis.set_minor_locator(self.minor[0])
        major = self.fixed(axis.get_majorticklocs(), self.major[1])
        minor = self.fixed(axis.get_minorticklocs(), self.minor[1])
        for fixed, (locator, _), set_locator, set_formatter in (
            (major, self.major, axis.set_major_locator, axis.set_major_formatter),
            (minor, self.minor, axis.set_minor_locator, axis.set_minor_formatter),
        ):
            if not isinstance(locator, NullLocator):
                set_locator(fixed[0])
                set_formatter(fixed[1])

    def fixed(self, places: Any, formatter: Formatter) -> tuple[Locator, Formatter]:
        """Return the places in view and their labels; these may depend on all places."""
        labels = formatter.format_ticks(places)
        kept = [index for index, is_seen in enumerate(self.seen(places)) if is_seen]
        fixed = FixedFormatter([labels[index] for index in kept])
        fixed.set_offset_string(formatter.get_offset())
        return FixedLocator([places[index] for index in kept]), fixed

    def seen(self, places: Any) -> Iterator[bool]:
        """Tell for each place whether it lies between the ends of the axis."""
        transform = self.axis.get_transform()
        low, high = np.sort(transform.transform(np.asarray(self.axis.get_view_interval(), float)))
        room = CLOSE * (high - low)
        yield from (low - room <= place <= high + room for place in transform.transform(np.asarray(places, float)))

    def measure_no_more(self) -> None:
        """Tell matplotlib that nothing depends on the sizes of the labels any more; an offset (1e6) stands by them."""
        if not self.axis.get_major_formatter().get_offset():
            for tick in (*self.axis.get_major_ticks(), *self.axis.get_minor_ticks()):
                tick.label1.set_in_layout(False)


def ticks_of(every: Sequence[Axes]) -> list[Ticks]:
    """Return the ticks of both axes of all of these."""
    return [Ticks(axis) for axes in every for axis in (axes.xaxis, axes.yaxis)]
