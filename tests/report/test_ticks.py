"""Ticks that are fixed once are those that matplotlib would draw."""

from typing import Any

import pytest
from matplotlib.axis import Axis
from matplotlib.figure import Figure

from psilon_bench.report.drawing import lay_out, panels, scale, style

CASES: dict[str, list[float]] = {
    "linear": [0.13, 0.71],
    "one decade": [0.03, 0.9],
    "five decades": [1e-4, 7.0],
    "twelve decades": [1e-9, 2e3],
    "with zero": [0.0, 1e-3, 5.0],
    "an offset": [1e6 + 1e-3, 1e6 + 2e-3],
    "a power of ten": [2e9, 7e9],
}


def drawn(case: str, is_fixed: bool) -> Figure:
    figure, (axes, other) = panels(2, share_y=True)
    for one in (axes, other):
        one.plot(CASES[case], CASES[case])
    for axis in (axes.xaxis, axes.yaxis):
        scale(axis, CASES[case], always=True)
    if is_fixed:
        lay_out(figure)
    return figure


def seen(axis: Axis) -> list[Any]:
    """The places, the words and the visibility of all ticks in view, and the offset beside them."""
    low, high = axis.get_view_interval()
    every = [(k, tick) for k, ticks in enumerate((axis.get_major_ticks(), axis.get_minor_ticks())) for tick in ticks]
    marks = [
        (kind, tick.get_loc(), tick.label1.get_text(), tick.label1.get_visible())
        for kind, tick in every
        if low <= tick.get_loc() <= high
    ]
    return [sorted(marks), axis.offsetText.get_text()]


@pytest.mark.parametrize("case", CASES)
def test_fixed_ticks_are_those_of_the_locators(case: str) -> None:
    """At the size after the layout, major and minor, on either panel; and none is made out of view."""
    with style():
        fixed, free = drawn(case, True), drawn(case, False)
        free.set_layout_engine(None)
        for one, other in zip(fixed.axes, free.axes, strict=True):
            other.set_position(one.get_position())
        for figure in (fixed, free):
            figure.draw_without_rendering()
        for one, other in zip(fixed.axes, free.axes, strict=True):
            for ours, theirs in ((one.xaxis, other.xaxis), (one.yaxis, other.yaxis)):
                assert seen(ours) == seen(theirs)
                assert len(ours.get_majorticklocs()) == sum(kind == 0 for kind, *_ in seen(theirs)[0])
