"""A figure of your own: the spherical loss of every setting against its loss."""

from collections.abc import Iterator

from psilon_bench.report.drawing import Drawing, labelled, legend, look, panels
from psilon_bench.report.material import Material

X, Y = "val/loss", "val/spherical_loss"


def draw(material: Material) -> Iterator[Drawing]:
    """Yield one figure, a panel for each data set; none where no run has a spherical loss."""
    points = [
        (dataset, choice.group.method, setting.text, run.seed, run.metrics[X], run.metrics[Y])
        for dataset, choices in material.datasets.items()
        for choice in choices
        for setting in choice.group.settings
        for run in setting.runs
        if Y in run.metrics
    ]
    datasets = list(dict.fromkeys(point[0] for point in points))
    if not datasets:
        return
    figure, axes = panels(len(datasets))
    for axis, dataset in zip(axes, datasets, strict=True):
        axis.set(title=dataset, xlabel=X, ylabel=Y)
        for method in material.methods:
            shown = [point for point in points if point[:2] == (dataset, method)]
            how = look(material.methods, method)
            axis.plot([p[4] for p in shown], [p[5] for p in shown], linestyle="none", label=method, **how)
    legend(figure, labelled(axes))
    yield Drawing(
        name="spherical_against_loss",
        title="Spherical loss against loss",
        caption="A point is a run.",
        figure=figure,
        columns=["data set", "method", "setting", "seed", X, Y],
        points=points,
    )
