"""Test metrics that a run has at several values, such as test/certified_accuracy/0.1, against these values."""

from collections.abc import Iterator, Sequence
from typing import Any

from psilon_bench.report.drawing import Drawing, file_name, labelled, legend, look, pages, panels, scale
from psilon_bench.report.estimate import estimate
from psilon_bench.report.material import Material
from psilon_bench.report.metric import is_number_word, label, title
from psilon_bench.report.selection import Choice
from psilon_bench.report.summary import metrics_of

PLACE = 50
OF_RADII = (
    "certified_accuracy",
    "attacked_accuracy",
    "certified_mae",
    "attacked_mae",
    "certified_width",
    "num_undecided",
)


def draw(material: Material) -> Iterator[Drawing]:
    """Yield a figure for each metric with two or more values, twelve data sets on each."""
    names = metrics_of([run for choice in material.choices if choice.setting for run in choice.setting.tested])
    parts = [
        (stem, value)
        for stem, _, value in (name.rpartition("/") for name in names)
        if stem.startswith("test/") and is_number_word(value)
    ]
    for stem in dict.fromkeys(stem for stem, _ in parts):
        values = sorted({value for own, value in parts if own == stem}, key=float)
        datasets = [name for name in material.datasets if _points_of(material.datasets[name], stem, values)]
        for page, some in pages(datasets) if len(values) > 1 else ():
            yield _figure(material, stem, values, some, page)


def _points_of(choices: Sequence[Choice], stem: str, values: Sequence[str]) -> list[list[Any]]:
    """Return rows of method, setting, value, mean, standard deviation and number of runs."""
    return [
        [choice.group.method, choice.setting.text, float(value), mean.mean, mean.sd, mean.n]
        for choice in choices
        for value in values
        if choice.setting and (mean := estimate(choice.setting.numbers(f"{stem}/{value}")))
    ]


def _figure(material: Material, stem: str, values: Sequence[str], datasets: Sequence[str], page: str) -> Drawing:
    """Return the figure of one metric on these data sets."""
    made, axes = panels(len(datasets))
    points: list[list[Any]] = []
    for axis, dataset in zip(axes, datasets, strict=True):
        rows = _points_of(material.datasets[dataset], stem, values)
        for method in dict.fromkeys(row[0] for row in rows):
            own = [row for row in rows if row[0] == method]
            bars = [row[4] or 0 for row in own]
            how = look(material.methods, method)
            axis.errorbar(
                [r[2] for r in own], [r[3] for r in own], bars, **how, label=method, capsize=2, elinewidth=0.8
            )
        axis.set(
            title=dataset,
            xlabel="radius (L_inf, scaled inputs)" if stem.endswith(OF_RADII) else "value",
            ylabel=label(stem),
        )
        scale(axis.xaxis, [row[2] for row in rows])
        points += [[dataset, *row] for row in rows]
    legend(made, labelled(axes))
    return Drawing(
        name=file_name(stem, page),
        title=title(stem),
        caption="The chosen settings, mean and standard deviation over seeds.",
        figure=made,
        columns=["data set", "method", "setting", "value", "mean", "sd", "n"],
        points=points,
    )
