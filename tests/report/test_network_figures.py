"""Figures of networks that are loaded from their records show what these networks do."""

import html
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from matplotlib.colors import to_rgb

from psilon_bench.models.offers import HasPlain, HasWeights
from psilon_bench.records.networks import SavedNetwork, load
from psilon_bench.report.drawing import COLOURS, style
from psilon_bench.report.figures import decision_regions, weight_maps
from psilon_bench.report.report import make
from psilon_bench.report.write import write_report


def drawn(module: Any, material: Any) -> Any:
    with style():
        return list(module.draw(material))


def frame(drawing: Any) -> Any:
    return pd.DataFrame(drawing.points, columns=list(drawing.columns))


def run_of(material: Any, method: Any) -> Any:
    (choice,) = [one for one in material.choices if one.group.method == method]
    return choice.setting.runs[0]


def test_regions_are_what_the_networks_predict(networks: Any) -> None:
    """Class and probability of every point of the grid; the picture mixes the colours of the classes by them."""
    (drawing,) = drawn(decision_regions, networks)
    whole = frame(drawing)
    assert drawing.name == "decision_regions_toy2d"
    methods = ["mlp_factorized l2", "mlp_factorized pathprox"]
    for axis, method in zip(drawing.figure.axes, methods, strict=True):
        assert axis.get_title() == f"{method}, seed 3"
        grid = whole.query("method == @method and what == 'grid'").reset_index()
        points = grid[["x1", "x2"]].astype(float)
        expected = load(run_of(networks, method).folder).predict(points)
        classes = np.array(["inside", "outside"])
        sure = np.abs(expected[:, 0] - 0.5) > 1e-3  # coordinates are rounded to four digits
        assert (grid["class"] == classes[expected.argmax(axis=1)])[sure].all()
        np.testing.assert_allclose(grid["probability"].astype(float), expected.max(axis=1), atol=2e-3)
        (image,) = axis.images
        mixed = expected @ [to_rgb(colour) for colour in COLOURS[:2]]
        side = decision_regions.GRID
        np.testing.assert_allclose(image.get_array().reshape(-1, 3), mixed, atol=2e-3)
        assert image.get_array().shape == (side, side, 3)
        assert image.origin == "lower"
        left, right, bottom, top = image.get_extent()
        assert (points["x1"].min(), points["x1"].max()) == pytest.approx((left, right), abs=1e-3)
        assert (points["x2"].min(), points["x2"].max()) == pytest.approx((bottom, top), abs=1e-3)
        assert len(points.iloc[:side]["x2"].unique()) == 1  # a row of the picture is one value of the second input


def test_the_line_is_where_classes_are_even(networks: Any) -> None:
    """Probabilities within a few percent of one half along it, and neither class likely by far."""
    (drawing,) = drawn(decision_regions, networks)
    lines = 0
    for axis, method in zip(drawing.figure.axes, ("mlp_factorized l2", "mlp_factorized pathprox"), strict=True):
        saved = load(run_of(networks, method).folder)
        for contour in axis.collections:
            vertices = np.concatenate([path.vertices for path in contour.get_paths()])
            lines += len(vertices)
            even = saved.predict(pd.DataFrame(vertices, columns=["x1", "x2"]))[:, 0]
            np.testing.assert_allclose(even, 0.5, atol=0.03)
    assert lines > 10


def test_training_points_are_those_of_the_data_set(networks: Any, config: Any) -> None:
    """In raw units, with their own class, outliers too; crosses on those that the network takes for the other class."""
    (drawing,) = drawn(decision_regions, networks)
    task = config("dataset=toy2d", "dataset.train_size=30", "seed=3").dataset.build(name="toy2d")
    raw = np.random.default_rng(3).uniform(-1, 1, (2030, 2))[:30]
    inside = (raw**2).sum(axis=1) < 0.49
    inside[:5] ^= True
    for axis, method in zip(drawing.figure.axes, ("mlp_factorized l2", "mlp_factorized pathprox"), strict=True):
        own = frame(drawing).query("method == @method and what == 'train'")
        np.testing.assert_allclose(own[["x1", "x2"]].astype(float), raw, atol=1e-4)
        assert own["class"].tolist() == np.where(inside, "inside", "outside").tolist()
        with torch.no_grad():
            wrong = (load(run_of(networks, method).folder).network(task.train.x.double())[:, 0] > 0).numpy() == inside
        *_, crosses = axis.lines
        np.testing.assert_allclose(crosses.get_xydata(), raw[wrong], atol=1e-6)


def test_a_plane_without_its_data_or_network_is_left_out(networks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of other inputs, without model.pt, or of a data set that is not at hand."""
    run = run_of(networks, "mlp_factorized l2")
    assert not decision_regions.has_plane(networks, run_of(networks, "pnet pathnorm magnitude"))
    assert decision_regions.has_plane(networks, run)
    text = (run.folder / "config.yaml").read_text()
    (run.folder / "config.yaml").write_text(text.replace("outliers: 5", "outliers: 500"))
    assert decision_regions.plane_of(run) is None
    (run.folder / "model.pt").unlink()
    assert not decision_regions.has_plane(networks, run)


def weights_of(saved: SavedNetwork) -> list[Any]:
    """Its matrices, for numpy."""
    assert isinstance(saved.network, HasWeights)
    return [weight.detach().numpy() for weight in saved.network.weights()]


def test_weights_before_and_after_pruning(networks: Any) -> None:
    """Those of model.pt above those of pruned.pt; exact zeros are blank, and counted in the whole matrix."""
    drawings = drawn(weight_maps, networks)
    assert [one.name.rpartition("pathnorm_")[2] for one in drawings] == ["l1_projection", "magnitude"]
    for drawing in drawings:
        method = "pnet pathnorm " + drawing.name.rpartition("pathnorm_")[2]
        folder = run_of(networks, method).folder
        before, after = (weights_of(load(folder, which)) for which in ("model", "pruned"))
        whole = frame(drawing).astype(float)
        upper, lower = drawing.figure.axes[:3], drawing.figure.axes[3:6]
        for k, (above, below) in enumerate(zip(upper, lower, strict=True)):
            own = whole[whole["matrix"] == k + 1]
            rows, columns = own["row"].astype(int), own["column"].astype(int)
            np.testing.assert_allclose(own["before"], before[k][rows, columns], rtol=1e-5)
            np.testing.assert_allclose(own["after"], after[k][rows, columns], rtol=1e-5)
            assert (rows.max(), columns.max()) == tuple(size - 1 for size in after[k].shape)
            assert rows.nunique() <= weight_maps.UNITS
            for axis, values, all_of_them in ((above, own["before"], before[k]), (below, own["after"], after[k])):
                image = axis.images[0].get_array()
                np.testing.assert_allclose(image.data.ravel(), values.abs(), rtol=1e-5)
                assert (np.ma.getmaskarray(image).ravel() == (values == 0)).all()
                assert axis.get_title().endswith(f" {np.mean(all_of_them == 0):.0%} zeros")
        assert (whole["after"] == 0).mean() > 0.3


def test_a_network_that_pruning_left_as_it_was_has_no_map(networks: Any) -> None:
    """Nothing to see."""
    folder = run_of(networks, "pnet pathnorm magnitude").folder
    network = load(folder).network
    assert isinstance(network, HasPlain)
    torch.save(network.plain().state_dict(), folder / "pruned.pt")
    assert [one.name.rpartition("pathnorm_")[2] for one in drawn(weight_maps, networks)] == ["l1_projection"]


def test_evenly() -> None:
    """Ends included, nothing twice."""
    assert weight_maps.evenly(5, 9).tolist() == [0, 1, 2, 3, 4]
    assert weight_maps.evenly(100, 3).tolist() == [0, 50, 99]
    assert weight_maps.evenly(1, 3).tolist() == [0]


@pytest.mark.slow
def test_a_network_that_cannot_be_read_costs_its_figures_alone(networks: Any, tmp_path: Path) -> None:
    """The report is whole but for these, and says so."""
    (run_of(networks, "pnet pathnorm magnitude").folder / "pruned.pt").write_bytes(b"half")
    made = make([tmp_path / "networks"], networks.metric)
    page = write_report(made, tmp_path / "out", networks)
    (note,) = [note for note in made.notes if note.startswith("1 networks are not drawn (")]
    assert note in html.unescape(page.read_text())
    names = {path.stem for path in (tmp_path / "out/figures").glob("*.png")}
    assert "weight_maps_breast_cancer_pnet_pathnorm_l1_projection" in names
    assert "weight_maps_breast_cancer_pnet_pathnorm_magnitude" not in names
    assert "decision_regions_toy2d" in names


def test_networks_of_records_of_an_earlier_version(networks: Any) -> None:
    """A configuration that lacks keys of today still says what the network is."""
    folder = run_of(networks, "pnet pathnorm magnitude").folder
    config = yaml.safe_load((folder / "config.yaml").read_text())
    expected = load(folder).network(torch.ones(1, 30).double())
    del config["trainer"]["select"], config["metrics"]
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    torch.testing.assert_close(load(folder).network(torch.ones(1, 30).double()), expected)
