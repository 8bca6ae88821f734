"""Mean ranks of the methods over data sets; a bar joins those that Nemenyi's test does not tell apart (Demsar 2006)."""

from collections.abc import Iterator, Mapping

import numpy as np
from matplotlib.figure import Figure

from psilon_bench.report.compare import LEVEL, Across, across
from psilon_bench.report.drawing import INK, LETTER, Drawing, look, panels
from psilon_bench.report.material import Material

PLACE = 5


def draw(material: Material) -> Iterator[Drawing]:
    """Yield one figure where there are three methods and three data sets or more."""
    made = across(material.choices, material.metric)
    if made.nemenyi is not None:
        yield _figure(made, material.methods)


def critical_difference(made: Across) -> float:
    """Return the critical difference of mean ranks for k methods on N data sets (Demsar 2006, section 3.2.2).

    It is q(1 - level; k, inf) / sqrt 2 * sqrt(k (k + 1) / (6 N)), where q is the studentised range.
    """
    from scipy import stats  # a second

    datasets, methods = made.scores.shape
    q = float(stats.studentized_range.ppf(1 - LEVEL, methods, np.inf))
    return q / np.sqrt(2) * np.sqrt(methods * (methods + 1) / (6 * datasets))


def _figure(made: Across, methods: list[str]) -> Drawing:
    """Return the figure of all methods."""
    mean_ranks = made.ranks.mean()
    return Drawing(
        name="critical_difference",
        title=f"Mean ranks by {made.metric.test} over {len(made.scores)} data sets",
        caption=f"1 is the best. {bars_text(made)}",
        figure=diagram(made, {method: look(methods, method)["color"] for method in mean_ranks.index}),
        columns=["method", "mean rank"],
        points=[[method, float(rank)] for method, rank in mean_ranks.sort_values().items()],
    )


def bars_text(made: Across) -> str:
    """Return what the bars of a diagram mean, in words."""
    return (
        f"Bars join methods that Nemenyi's test does not tell apart at the {LEVEL:g} level; "
        f"critical difference {critical_difference(made):.2f}."
    )


def diagram(made: Across, colours: Mapping[str, str]) -> Figure:
    """Return the diagram of the methods that have a colour, drawn by scikit-posthocs; ranks are among all methods."""
    import scikit_posthocs  # takes a second

    shown, nemenyi = list(colours), made.nemenyi
    assert nemenyi is not None
    names = (max(map(len, shown)) + 10) * 1.25 * LETTER  # on each side, with ranks
    width = max(6.5, 2.5 + 2 * names)
    drawn, (axis,) = panels(1, width=width, height=0.9 + 0.3 * len(shown))
    drawn.set_layout_engine(None)  # it cuts the names
    drawn.subplots_adjust(left=names / width, right=1 - names / width, top=0.8, bottom=0.05)
    scikit_posthocs.critical_difference_diagram(
        made.ranks.mean()[shown],
        nemenyi.loc[shown, shown],
        alpha=LEVEL,
        ax=axis,
        label_fmt_left="{label} ({rank:.2f}) ",
        label_fmt_right=" ({rank:.2f}) {label}",
        crossbar_props={"color": INK},
        color_palette=dict(colours),
    )
    for text in axis.texts:
        text.set_color(INK)  # light colours are for lines
    axis.grid(False)
    axis.set_xlabel("mean rank", labelpad=14)
    axis.xaxis.set_label_position("top")
    return drawn
