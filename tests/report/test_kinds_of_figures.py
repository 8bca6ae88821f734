"""Fronts, certificates, features, times and ranks show the numbers of the records: read back from the axes."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from drawn import only, points, xy
from made_records import write_record

from psilon_bench.records.history import read_rows
from psilon_bench.report.compare import across
from psilon_bench.report.figures import (
    by_radius,
    critical_difference,
    kept_features,
    local_lipschitz,
    objective,
    pareto,
    time_per_run,
    zeros_at_equal_loss,
)
from psilon_bench.report.material import Material
from psilon_bench.report.metric import chosen_by
from psilon_bench.report.report import make


def test_the_front_is_what_no_other_beats(tmp_path: Path) -> None:
    """(sparsity, loss): sparser or better in one, no worse in the other; equal points are both on it."""
    truth = {
        1.0: (0.1, 0.2, True),
        2.0: (0.5, 0.3, True),
        3.0: (0.4, 0.3, False),
        4.0: (0.5, 0.3, True),
        5.0: (0.05, 0.9, False),
        6.0: (0.5, 0.35, False),
    }
    for lam, (sparsity, loss, _) in truth.items():
        write_record(tmp_path, lam, 0, {"val/loss": loss, "unit_sparsity": sparsity})
    metric = chosen_by("val/loss", None)
    drawing = only(pareto, Material(make([tmp_path], metric).choices, metric))
    frame = points(drawing)
    assert dict(zip(frame["setting"], frame["on the front"], strict=True)) == {
        f"lam={lam:g}": front for lam, (_, _, front) in truth.items()
    }
    front = next(line for line in drawing.figure.axes[0].lines if line.get_label() == "Pareto front")
    assert xy(front) == [[0.1, 0.2], [0.5, 0.3], [0.5, 0.3]]


def test_the_front_of_a_metric_that_is_maximised(tmp_path: Path) -> None:
    """More accuracy and more zeros."""
    for lam, (sparsity, accuracy) in {1.0: (0.1, 0.9), 2.0: (0.5, 0.8), 3.0: (0.4, 0.7)}.items():
        write_record(tmp_path, lam, 0, {"val/accuracy": accuracy, "weight_sparsity": sparsity})
    metric = chosen_by("val/accuracy", None)
    frame = points(only(pareto, Material(make([tmp_path], metric).choices, metric)))
    assert frame["on the front"].tolist() == [True, True, False]


def test_objective_is_that_of_the_chosen(material: Any, runs: Any) -> None:
    """Both axes logarithmic."""
    drawing = only(objective, material)
    frame = points(drawing).query("`data set` == 'digits' and method == 'mlp pathnorm'")
    own = runs[(runs.dataset == "digits") & (runs.model == "mlp") & (runs.lam == 1e-3) & (runs.lr == 0.1)]
    rows = [[row["train/objective"] for row in read_rows(folder / "history.csv")] for folder in own.folder]
    np.testing.assert_allclose(frame["mean"], np.mean(rows, axis=0), rtol=1e-12)
    assert {(axis.get_xscale(), axis.get_yscale()) for axis in drawing.figure.axes} == {("log", "log")}


def test_certified_accuracy_against_radius(material: Any, runs: Any) -> None:
    """Both radii, the chosen settings alone."""
    frame = points(only(by_radius, material)).set_index(["data set", "method", "value"])["mean"]
    assert len(frame) == 3 * 3 * 2
    own = runs[(runs.lam == 1e-3) & (runs.lr == 0.1) & (runs.dataset == "wine") & (runs.model == "pnet")]
    for radius in ("0.1", "0.2"):
        expected = own[f"test/certified_accuracy/{radius}"].mean()
        assert frame["wine", "pnet pathnorm", float(radius)] == pytest.approx(expected)


def test_kept_features_are_counted_over_seeds(material: Any) -> None:
    """pnet keeps age in both seeds, height in one, weight in none."""
    drawing = only(kept_features, material, "kept_features_wine")
    frame = points(drawing).set_index(["method", "input"])["fraction of seeds"]
    assert frame["pnet pathnorm"].to_dict() == {"age": 1.0, "height": 0.5, "weight": 0.0}
    assert frame["snet pathnorm"].to_dict() == {"age": 1.0, "height": 1.0, "weight": 1.0}
    image = drawing.figure.axes[0].images[0].get_array()
    column = [label.get_text() for label in drawing.figure.axes[0].get_xticklabels()].index("pnet pathnorm")
    rows = [label.get_text() for label in drawing.figure.axes[0].get_yticklabels()]
    assert image[:, column].tolist() == [frame["pnet pathnorm", name] for name in rows]


def test_local_constants_beside_the_certificate(material: Any) -> None:
    """All finite values of all seeds are in the histogram; the line stands at the mean bound."""
    drawing = only(local_lipschitz, material)
    frame = points(drawing).query("`data set` == 'wine' and method == 'snet pathnorm'")
    assert frame["count"].sum() == 6
    filled = frame[frame["count"] > 0]
    for value, count in ((0.5, 2), (1.1, 2), (2.0, 1), (3.0, 1)):
        assert filled.loc[(filled["from"] <= value) & (value <= filled["to"]), "count"].tolist() == [count]
    assert set(frame["certificate"]) == {7.5}
    axis = next(axis for axis in drawing.figure.axes if axis.get_title() == "wine")
    assert {line.get_xdata()[0] for line in axis.lines} == {7.5}


def test_times_are_those_of_every_run(material: Any, runs: Any) -> None:
    """A point a run."""
    drawing = only(time_per_run, material)
    assert sorted(points(drawing)["time/fit_s"]) == sorted(runs["time/fit_s"])
    drawn = [x for line in drawing.figure.axes[0].lines for x, _ in xy(line)]
    assert sorted(drawn) == sorted(runs["time/fit_s"])


def test_critical_difference_is_that_of_demsar() -> None:
    """q_0.05 = 2.343 for three methods and 2.850 for six (his table 5): CD = q sqrt(k (k + 1) / (6 N))."""
    for methods, q in ((3, 2.343), (6, 2.850)):
        made = across([], chosen_by("val/loss", None))
        made = type(made)(made.metric, pd.DataFrame(np.zeros((14, methods))), [])
        expected = q * np.sqrt(methods * (methods + 1) / (6 * 14))
        assert critical_difference.critical_difference(made) == pytest.approx(expected, rel=1e-3)


def test_zeros_at_equal_loss_are_of_the_sparsest_setting_that_is_as_good(tmp_path: Path) -> None:
    """Within one standard deviation of the best; ranks over seeds; who is not told apart, or not as good, in words."""
    truth = {  # by method and lambda: validation loss, zeros of the first seed
        "gates": {1.0: (0.50, 0.3), 2.0: (0.52, 0.6), 3.0: (0.60, 0.9)},
        "prox": {1.0: (0.51, 0.2), 2.0: (0.515, 0.1)},
        "gradient": {1.0: (0.50, 0.0)},
        "bad": {1.0: (0.70, 0.99)},
    }
    for method, own in truth.items():
        for lam, (loss, zeros) in own.items():
            for seed in range(5):
                more = 0.01 * seed if zeros else 0.0
                noise = 0.02 * (seed - 2)  # a standard deviation of .0316
                values = {"val/loss": loss + noise, "test/loss": 1 - loss, "weight_sparsity": zeros + more}
                write_record(tmp_path, lam, seed, values, params={"reg.name": method})
    metric = chosen_by("val/loss", None)
    drawing = only(zeros_at_equal_loss, Material(make([tmp_path], metric).choices, metric))
    frame = points(drawing).set_index("method")
    assert frame.index.tolist() == ["pnet gates", "pnet prox", "pnet gradient"]
    assert frame["setting"].tolist() == ["lam=2", "lam=1", "as given"]
    assert frame["weight_sparsity"].tolist() == pytest.approx([0.62, 0.22, 0.0])
    assert frame["mean rank"].tolist() == [1, 2, 3]
    assert frame["test/loss"].tolist() == pytest.approx([0.48, 0.49, 0.5])
    friedman = 0.006737946999085467  # exp(-5): chi squared of 10 with two degrees of freedom
    assert f"Friedman test: p = {friedman:.2g}" in drawing.caption
    assert "pnet prox is not told apart from pnet gates" in drawing.caption
    assert "Without any zeros: pnet gradient. Not as good at any setting: pnet bad." in drawing.caption


def test_no_figure_of_zeros_where_there_are_none(tmp_path: Path) -> None:
    """Two methods without zeros, or one method alone."""
    for method in ("gradient", "l2"):
        write_record(tmp_path, 1.0, 0, {"val/loss": 0.5, "weight_sparsity": 0.0}, params={"reg.name": method})
    metric = chosen_by("val/loss", None)
    assert not list(zeros_at_equal_loss.draw(Material(make([tmp_path], metric).choices, metric)))
