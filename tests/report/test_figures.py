"""Figures show the numbers of the records: points are read back from the axes and the CSV, pixels are not compared."""

import importlib
import pkgutil
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from drawn import only, points, xy
from made_records import write_grid, write_record

from psilon_bench.records.history import read_rows
from psilon_bench.report import figures, pictures
from psilon_bench.report.drawing import style
from psilon_bench.report.figures import (
    curves,
    objective,
    swept,
    tuned,
)
from psilon_bench.report.material import Material
from psilon_bench.report.metric import chosen_by
from psilon_bench.report.report import make

# zeros_at_equal_loss needs methods that are equally good, and is drawn in test_kinds_of_figures
MODULES = [m.name for m in pkgutil.iter_modules(figures.__path__) if m.name != "zeros_at_equal_loss"]


@pytest.mark.parametrize("name", MODULES)
def test_every_figure_is_drawn_and_saved(
    name: Any, material: Any, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Where all data is there: PNG, an SVG that parses and asks for nothing from outside, and the CSV of its points."""
    module = importlib.import_module(f"{figures.__name__}.{name}")
    with style():
        found = next(module.draw(material), None) or next(module.draw(request.getfixturevalue("networks")))
        drawings = [found]  # the others are of other data sets
        drawings[0].save(tmp_path)
    for drawing in drawings:
        assert (tmp_path / f"{drawing.name}.png").read_bytes().startswith(b"\x89PNG")
        root = ET.parse(tmp_path / f"{drawing.name}.svg").getroot()
        links = [value for node in root.iter() for key, value in node.attrib.items() if key.endswith("href")]
        assert all(link.startswith(("#", "data:")) for link in links)
        frame = pd.read_csv(tmp_path / f"{drawing.name}.csv")
        assert list(frame.columns) == list(drawing.columns)
        assert len(frame) == len(drawing.points) > 0
        assert drawing.title
        assert drawing.caption
        for axis in drawing.figure.axes:
            if (
                axis.axison
                and name not in ("kept_features", "critical_difference")
                and axis.get_label() != "<colorbar>"
            ):
                assert axis.get_xlabel(), f"{name}: an axis without a name"


@pytest.mark.parametrize("name", MODULES)
def test_no_figure_without_its_data(name: Any, tmp_path: Path) -> None:
    """One bare run: no figure but the one of times, were they recorded, may appear."""
    write_record(tmp_path, 1e-3, 0, {"val/loss": 0.5})
    metric = chosen_by("val/loss", None)
    module = importlib.import_module(f"{figures.__name__}.{name}")
    assert list(module.draw(Material(make([tmp_path], metric).choices, metric))) == []


def test_curves_are_means_over_seeds(material: Any, runs: Any) -> None:
    """Every lambda at the learning rate that is best for it; mean and band as by hand."""
    drawing = only(curves, material, "curves_wine")
    own = runs[(runs.dataset == "wine") & (runs.model == "snet") & (runs.lr == 0.1)]
    axis = next(axis for axis in drawing.figure.axes if axis.get_title() == "snet pathnorm")
    assert len(axis.lines) == 3
    for line, (lam, members) in zip(axis.lines, own.groupby("lam"), strict=True):
        histories = np.array([[row["val/loss"] for row in read_rows(f / "history.csv")] for f in members.folder])
        assert line.get_xdata().tolist() == [5, 10, 20]
        np.testing.assert_allclose(line.get_ydata(), histories.mean(axis=0), rtol=1e-12)
        frame = points(drawing).query(f"method == 'snet pathnorm' and setting == 'lam={lam:g} lr=0.1'")
        np.testing.assert_allclose(frame["sd"], histories.std(axis=0, ddof=1), rtol=1e-12)
        assert set(frame["n"]) == {2}
    assert len({line.get_color().tobytes() for line in axis.lines}) == 3


def test_curves_use_the_steps_that_all_seeds_have(tmp_path: Path) -> None:
    """One seed stopped early, another was evaluated twice as often."""
    for seed, steps in enumerate(((1, 2, 3, 4), (2, 4), (2, 4, 6))):
        history: list[dict[str, float]] = [{"epoch": i, "step": i, "val/loss": 10 * seed + i} for i in steps]
        write_record(tmp_path, 1e-3, seed, {"val/loss": 1.0}, history=history)
    metric = chosen_by("val/loss", None)
    drawing = only(curves, Material(make([tmp_path], metric).choices, metric))
    assert points(drawing)[["step", "mean", "n"]].to_numpy().tolist() == [[2, 12, 3], [4, 14, 3]]


def test_a_spread_down_to_zero_does_not_stretch_a_logarithmic_axis(tmp_path: Path) -> None:
    """Means from 0.03 to 3, each with a spread that ends a hair above 0: the axis ends below the smallest mean."""
    for seed, factor in enumerate((1.0, 5.828)):
        history = [{"epoch": i, "step": i, "val/loss": factor / i} for i in (1, 10, 100)]
        write_record(tmp_path, 1e-3, seed, {"val/loss": 1.0}, history=history)
    metric = chosen_by("val/loss", None)
    drawing = only(curves, Material(make([tmp_path], metric).choices, metric))
    frame = points(drawing)
    assert (frame["mean"] - frame["sd"]).min() < 1e-5
    (axis,) = drawing.figure.axes
    assert axis.get_yscale() == "log"
    assert 0.01 < axis.get_ylim()[0] < frame["mean"].min()


@pytest.mark.parametrize("module", [curves, objective])
def test_one_row_is_no_curve(tmp_path: Path, module: Any) -> None:
    """A baseline, fitted as a whole, has no panel beside a network's."""
    for dataset, model, steps in (("wine", "pnet", (1, 2)), ("wine", "ridge", (1,)), ("iris", "ridge", (1,))):
        history = [{"epoch": i, "step": i, "val/loss": 1 / i, "train/objective": 1 / i} for i in steps]
        params = {"model.name": model}
        write_record(tmp_path, 1e-3, 0, {"val/loss": 1.0}, dataset=dataset, history=history, params=params)
    metric = chosen_by("val/loss", None)
    drawing = only(module, Material(make([tmp_path], metric).choices, metric))
    assert set(points(drawing)["method"]) == {"pnet pathnorm"}
    assert len(drawing.figure.axes) == 1


def test_long_curves_are_thinned_to_their_ends(tmp_path: Path) -> None:
    """No more than 400 points, the first and the last among them."""
    history: list[dict[str, float]] = [{"epoch": i, "step": i, "val/loss": i} for i in range(1, 3000)]
    write_record(tmp_path, 1e-3, 0, {"val/loss": 1.0}, history=history)
    metric = chosen_by("val/loss", None)
    steps = points(only(curves, Material(make([tmp_path], metric).choices, metric)))["step"].tolist()
    assert (steps[0], steps[-1], len(steps)) == (1, 2999, 400)


def test_tuned_shows_the_best_of_the_others_and_the_choice(material: Any, runs: Any) -> None:
    """Against lambda: the minimum over learning rates of the means over seeds; the ring sits on the choice."""
    drawing = only(tuned, material, "val_loss_against_reg.lam")
    means = runs.groupby(["dataset", "model", "lam", "lr"])["val/loss"].mean().groupby(level=[0, 1, 2]).min()
    frame = points(drawing).set_index(["data set", "method", "reg.lam"])
    for (dataset, model, lam), value in means.items():
        assert frame.loc[(dataset, f"{model} pathnorm", lam), "mean"] == pytest.approx(value, rel=1e-12)
    assert frame["chosen"].sum() == 9
    axis = next(axis for axis in drawing.figure.axes if axis.get_title() == "iris")
    rings = [xy(line)[0] for line in axis.lines if line.get_fillstyle() == "none"]
    assert sorted(rings) == sorted([lam, mean] for lam, mean in chosen(frame, "iris"))
    assert axis.get_xscale() == "log"


def test_a_method_without_tuned_numbers_is_a_level(tmp_path: Path) -> None:
    """Across the panel at its mean, in the CSV without a place on the axis; a tuned one is none."""
    write_grid(tmp_path, {1e-3: [0.3, 0.4], 1e-2: [0.2, 0.1]})
    for seed, loss in enumerate((0.5, 0.7)):
        write_record(tmp_path, 0.0, seed, {"val/loss": loss}, params={"model.name": "mlp", "reg.name": "none"})
    metric = chosen_by("val/loss", None)
    drawing = only(tuned, Material(make([tmp_path], metric).choices, metric))
    levels = [row for row in drawing.points if row[2] is None]
    assert levels == [["wine", "mlp", None, pytest.approx(0.6), pytest.approx(0.02**0.5), 2, True]]
    (broken,) = [line for line in drawing.figure.axes[0].lines if line.get_linestyle() == "--"]
    assert list(broken.get_ydata()) == [0.6, 0.6]


def chosen(frame: Any, dataset: Any) -> Any:
    own = frame[frame["chosen"]].loc[dataset].reset_index()
    return own[["reg.lam", "mean"]].to_numpy().tolist()


def test_swept_shows_every_pair(material: Any, runs: Any) -> None:
    """x is the key of most values (lambda), a line each learning rate, all means there."""
    drawing = only(swept, material, "swept_wine_pnet_pathnorm")
    own = runs[(runs.dataset == "wine") & (runs.model == "pnet")]
    means = own.groupby(["lam", "lr"])["val/loss"].mean()
    frame = points(drawing).set_index(["reg.lam", "optimizer.lr"])["mean"]
    pd.testing.assert_series_equal(frame.sort_index(), means.sort_index(), check_names=False)
    (axis,) = drawing.figure.axes
    for container, rate in zip(axis.containers, (0.1, 0.2), strict=True):
        np.testing.assert_allclose(container[0].get_ydata(orig=False), means.xs(rate, level="lr"), rtol=1e-12)


def test_many_data_sets_are_cut_into_pages(tmp_path: Path) -> None:
    """Thirteen: twelve and one."""
    for number in range(13):
        write_grid(tmp_path, {1e-4: [0.1], 1e-3: [0.2]}, dataset=f"data {number:02d}")
    metric = chosen_by("val/loss", None)
    with style():
        drawings = list(tuned.draw(Material(make([tmp_path], metric).choices, metric)))
    assert [one.name for one in drawings] == ["val_loss_against_reg.lam_1", "val_loss_against_reg.lam_2"]
    assert [points(one)["data set"].nunique() for one in drawings] == [12, 1]


def test_a_figure_is_laid_out_once_and_labels_stay_clear(material: Any) -> None:
    """Axis labels, tick labels and the legend do not touch, in the PNG and after its size of 150 dpi was changed."""
    drawing = only(tuned, material, "val_loss_against_reg.lam")
    before = drawing.figure.get_size_inches().tolist()
    for dpi in (150, 72):
        drawing.figure.set_dpi(dpi)
        drawing.figure.draw_without_rendering()
        for axis in drawing.figure.axes:
            labels = [axis.xaxis.label, axis.yaxis.label]
            ticks = [
                tick.label1
                for one in (axis.xaxis, axis.yaxis)
                for tick in one.get_major_ticks()
                if one.get_view_interval()[0] <= tick.get_loc() <= one.get_view_interval()[1]
            ]
            boxes = [text.get_window_extent().padded(-1) for text in [*labels, *ticks, *drawing.figure.legends]]
            assert not [(i, j) for i, a in enumerate(boxes) for j, b in enumerate(boxes) if i < j and a.overlaps(b)]
            assert all(drawing.figure.bbox.padded(2).containsx(x) for box in boxes for x in (box.x0, box.x1))
    assert drawing.figure.get_size_inches().tolist() == before


@pytest.mark.slow
def test_processes_draw_the_same(material: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same pictures with the same points and words, in the same order."""
    saved = pictures.save_figures(material, tmp_path / "alone")
    alone = saved.pictures
    assert (saved.problems, saved.damaged) == ([], [])
    monkeypatch.setattr(pictures, "MANY", 1)
    together = pictures.save_figures(material, tmp_path / "together").pictures
    assert [(one.name, one.title, one.caption) for one in together] == [(a.name, a.title, a.caption) for a in alone]
    assert len(alone) > 10
    for path in (tmp_path / "alone").glob("*.csv"):
        assert (tmp_path / "together" / path.name).read_bytes() == path.read_bytes()


def test_a_drawing_process_that_is_killed_is_told(material: Any, tmp_path: Path) -> None:
    """In one line, instead of waiting for it for ever."""
    file = tmp_path / "greedy.py"
    file.write_text("import os, signal\n\n\ndef draw(_):\n    os.kill(os.getpid(), signal.SIGKILL)\n    yield\n")
    (saved,) = pictures.save_side_by_side([(file, material, tmp_path)], 2)
    assert saved.pictures == []
    assert [line for line in saved.problems if "killed" in line] == saved.problems != []
