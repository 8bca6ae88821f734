"""Decision regions of networks of two inputs, with their training points: the toy of PathProx (Yang et al. 2022).

The networks of the records and their data set are needed, so reports of records fetched from MLflow have no such
figure. The preprocessing is fitted again on the same rows; that of the record is not read (see report/networks.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Circle

from psilon_bench.data.preprocessing import Preprocessing
from psilon_bench.errors import UsageError
from psilon_bench.records import places
from psilon_bench.report.drawing import COLOURS, INK, MARKERS, Drawing, file_name, legend, panels
from psilon_bench.report.material import Material
from psilon_bench.report.records import Run

PLACE = 80
SEEDS = 3  # of each method, side by side
GRID = 33  # points along an axis
ROOM = 0.05  # around the training points, of their range


@dataclass(frozen=True)
class Plane:
    """Predictions of a network on a grid of two raw inputs; `train` has points, their class, and the class `taken`."""

    names: list[str]
    classes: list[str]
    grid: tuple[np.ndarray, np.ndarray]  # of the first and of the second input, (GRID,) each
    probabilities: np.ndarray  # (GRID, GRID, classes), the second input first: rows of a picture
    train: pd.DataFrame

    @property
    def log_odds(self) -> np.ndarray:
        """Return the log odds of each class against the best other class, (GRID, GRID, classes).

        They are piecewise linear as the network is, and 0 on the line between regions.
        """
        logs = np.log(self.probabilities.clip(1e-12))
        others = [np.delete(logs, index, axis=2).max(axis=2) for index in range(len(self.classes))]
        return logs - np.stack(others, axis=2)


def draw(material: Material) -> Iterator[Drawing]:
    """Yield one figure a data set: a row a method, a column a seed."""
    for dataset, choices in material.datasets.items():
        planes = [
            (choice.group.method, run, plane)
            for choice in choices
            if choice.setting
            for run in choice.setting.tested[:SEEDS]
            if has_plane(material, run) and (plane := material.tried(run, plane_of))
        ]
        if planes:
            yield _figure(dataset, planes)


def has_plane(material: Material, run: Run) -> bool:
    """Tell whether the run has a network of two inputs that classifies."""
    task = material.about(run).task
    return bool(task.classes) and task.num_features == 2 and (run.folder / places.weights_name("model")).exists()


def plane_of(run: Run) -> Plane | None:
    """Return the predictions of a run's network; None where data are missing or the inputs are not raw numbers."""
    from psilon_bench.report import networks  # torch takes a second

    saved = networks.network(run, "pruned" if (run.folder / places.weights_name("pruned")).exists() else "model")
    try:
        task = networks.task(run)
    except UsageError:
        return None
    names, x = task.feature_names, task.train.x.numpy()
    preprocessing = task.preprocessing
    if not isinstance(preprocessing, Preprocessing) or preprocessing.roles != dict.fromkeys(names, "number"):
        return None
    origin = preprocessing.transform(pd.DataFrame([[0.0, 0.0]], columns=names))
    train = pd.DataFrame((x - origin) * np.array(task.input_scales), columns=names)
    if not np.allclose(preprocessing.transform(train), x, atol=1e-5):
        return None
    saved = replace(saved, preprocessing=preprocessing)
    train["class"] = [task.classes[int(index)] for index in task.train.y.flatten()]
    train["taken"] = [task.classes[index] for index in saved.predict(train[names]).argmax(axis=1)]
    low, high = train[names].min().to_numpy(), train[names].max().to_numpy()
    first, second = np.linspace(low - ROOM * (high - low), high + ROOM * (high - low), GRID).T
    points = pd.DataFrame([[a, b] for b in second for a in first], columns=names)
    probabilities = saved.predict(points).reshape(GRID, GRID, -1)
    return Plane(names, task.classes, (first, second), probabilities, train)


def _figure(dataset: str, planes: list[tuple[str, Run, Plane]]) -> Drawing:
    """Return the figure of all methods on one data set."""
    most = max(sum(method == other for other, _, _ in planes) for method, _, _ in planes)
    made, axes = panels(len(planes), width=2.7, height=2.7, across=most)
    classes, names = planes[0][2].classes, planes[0][2].names
    found = {f"class {name}": Line2D([], [], **style_of(index)) for index, name in enumerate(classes)}
    found |= {"taken for another class": Line2D([], [], marker="x", color=INK, markersize=8, linestyle="none")}
    rows: list[list[Any]] = []
    for axis, (method, run, plane) in zip(axes, planes, strict=True):
        _show(axis, plane)
        axis.set_title(f"{method}, seed {run.seed}")
        if run.params.get("dataset.radius"):  # of toy2d
            axis.add_patch(Circle((0, 0), run.params["dataset.radius"], fill=False, linestyle=":", edgecolor=INK))
            found |= {"border the points were made with": Line2D([], [], linestyle=":", color=INK)}
        rows += [[method, run.seed, *row] for row in rows_of(plane)]
    legend(made, found)
    return Drawing(
        name=file_name("decision_regions", dataset),
        title=f"Decision regions: {dataset}",
        caption="The chosen settings, the first seeds. Colours mix by the probability of the classes, at the line the "
        "likeliest class changes, dots are training points.",
        figure=made,
        columns=["method", "seed", "what", *names, "class", "probability"],
        points=rows,
    )


def _show(axis: Axes, plane: Plane) -> None:
    """Draw regions, borders and training points of one network."""
    first, second = plane.grid
    colours = np.array([to_rgb(colour) for colour in COLOURS[: len(plane.classes)]])
    image = (plane.probabilities @ colours).clip(0, 1)
    extent = (first[0], first[-1], second[0], second[-1])
    axis.imshow(image, aspect="auto", origin="lower", extent=extent, interpolation="bilinear", alpha=0.4)
    for index in range(len(plane.classes)) if len(plane.classes) > 2 else (0,):
        odds = plane.log_odds[:, :, index]
        if odds.min() < 0 < odds.max():
            axis.contour(first, second, odds, levels=[0.0], colors=INK, linewidths=1.2)
    for index, name in enumerate(plane.classes):
        own = plane.train[plane.train["class"] == name]
        axis.plot(own[plane.names[0]], own[plane.names[1]], **style_of(index))
    wrong = plane.train[plane.train["class"] != plane.train["taken"]]
    axis.plot(wrong[plane.names[0]], wrong[plane.names[1]], "x", color=INK, markersize=8)
    axis.set(xlabel=plane.names[0], ylabel=plane.names[1])
    axis.grid(False)


def style_of(index: int) -> dict[str, Any]:
    """Return the style of the dots of a class."""
    look = {"marker": MARKERS[index % len(MARKERS)], "color": COLOURS[index % len(COLOURS)], "markersize": 4.5}
    return look | {"linestyle": "none", "markeredgecolor": "white", "markeredgewidth": 0.5}


def rows_of(plane: Plane) -> Iterator[list[Any]]:
    """Yield the grid with the likeliest class and its probability, then the training points."""
    for i, second in enumerate(plane.grid[1]):
        for j, first in enumerate(plane.grid[0]):
            best = int(plane.probabilities[i, j].argmax())
            probability = float(plane.probabilities[i, j, best])
            yield ["grid", *coordinates(first, second), plane.classes[best], f"{probability:.4g}"]
    for first, second, name in plane.train[[*plane.names, "class"]].itertuples(index=False):
        yield ["train", *coordinates(first, second), name, None]


def coordinates(first: float, second: float) -> list[str]:
    """Return coordinates with four digits, which are enough for a figure."""
    return [f"{first:.4g}", f"{second:.4g}"]
