"""psilon-predict: a row out for each row in, what the loaded network makes of it, and one line for what is wrong."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from export_commands import predicting
from scipy.special import softmax
from sklearn.datasets import load_diabetes, load_wine

from psilon_bench.data.image_scaler import ImageScaler
from psilon_bench.errors import UsageError
from psilon_bench.export.prediction import bounds_of, predicted
from psilon_bench.records.networks import SavedNetwork, load
from psilon_bench.records.places import ensemble_folder

CLASSES = ("dataset.target=three", "dataset.drop=[number,two]", "dataset.categorical=[zip]", "dataset.missing=[-999]")


@pytest.fixture
def record(finished: Any, table: pd.DataFrame, tmp_path: Path) -> Path:
    """A run of three classes on the table as CSV."""
    table.to_csv(tmp_path / "my.csv", index=False)
    return finished("dataset=table", f"dataset.path={tmp_path}/my.csv", *CLASSES).folder


def read(text: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(text), keep_default_na=False, dtype={"prediction": str})


@pytest.mark.filterwarnings("ignore:.*that no training row had")
def test_rows_come_back_in_their_order(record: Any, table: Any, tmp_path: Path) -> None:
    """Columns in any order, others beside them, an unseen level and holes: predictions are those of the network."""
    rows = table.iloc[::-3][["zip", "number", "when", "whole", "label", "job", "in come", "age"]].copy()
    rows.iloc[1, rows.columns.get_loc("job")] = "violet"
    right = load(record).predict(rows.replace({-999: np.nan}))
    classes = np.array(json.loads((record / "run.json").read_text())["task"]["classes"])
    for name in ("rows.csv", "rows.tsv", "rows.parquet"):
        file = tmp_path / name
        if file.suffix == ".parquet":
            rows.to_parquet(file)
        else:
            rows.to_csv(file, index=False, sep="\t" if file.suffix == ".tsv" else ",")
        said = predicting(record, file, "--proba")
        assert said.code in (0, None)
        made = read(said.out)
        np.testing.assert_allclose(made.iloc[:, 1:].to_numpy(), right, rtol=1e-12)
        assert list(made["prediction"]) == classes[right.argmax(axis=1)].tolist()
        assert "columns that the network does not know are ignored: number\n" in said.err
        assert f"1 of {len(rows)} rows hold levels of 'job' that no training row had: violet\n" in said.err
        assert "'whole' (" in said.err or file.suffix == ".parquet"


def test_recorded_predictions_come_back(record: Any, tmp_path: Path) -> None:
    """Of the file that was trained on, at the rows of predictions.parquet; written as CSV and Parquet alike."""
    for out in ("made/out.csv", "out.parquet"):
        assert predicting(record, tmp_path / "my.csv", "--out", tmp_path / out, "--proba").code in (0, None)
    one, other = (
        pd.read_csv(tmp_path / "made/out.csv", dtype={"prediction": str}),
        pd.read_parquet(tmp_path / "out.parquet"),
    )
    pd.testing.assert_frame_equal(one, other.astype({"prediction": one["prediction"].dtype}))
    recorded = pd.read_parquet(record / "predictions.parquet")
    made = other.iloc[recorded["row"]]
    assert made["prediction"].tolist() == recorded["prediction"].astype(str).tolist()
    np.testing.assert_allclose(made.iloc[:, 1:].to_numpy(), recorded.iloc[:, 4:].to_numpy(), atol=1e-6)


def test_settings_say_how_rows_are_written(record: Any, table: Any, tmp_path: Path) -> None:
    """A semicolon, a decimal comma and a word for missing values give the same predictions."""
    table.to_csv(tmp_path / "eu.csv", index=False, sep=";", decimal=",", na_rep="fehlt")
    settings = ["dataset.sep=;", 'dataset.decimal=","', "dataset.missing=[fehlt,-999]"]
    said = predicting(record, tmp_path / "eu.csv", *settings)
    assert said.out == predicting(record, tmp_path / "my.csv").out
    wrong = predicting(record, tmp_path / "eu.csv", "dataset.drop=[x]")
    assert (wrong.code, wrong.err.count("\n")) == (2, 1)
    assert "dataset.drop=[x] does not say how ROWS is written. Set dataset.missing," in wrong.err
    sign = predicting(record, tmp_path / "my.csv", "dataset.sep=,")
    assert sign.code == 2
    assert "dataset.sep=, cannot be read as YAML. Quote signs, as in 'dataset.sep=\",\"'." in sign.err


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_no_movement_within_the_radius_changes_the_class(
    made: Any, saved_as: Any, network: Any, table: Any, kind: str
) -> None:
    """The steepest descent of the margin, as far as the radius in every input, leaves each prediction as it is."""
    task = made(kind)
    saved = saved_as(network("pnet", len(task.feature_names), task.num_outputs), task)
    columns, words = bounds_of(saved, table)
    assert (list(columns), "as scaled" in words) == (["certified_radius"], True)
    radius = columns["certified_radius"]
    x = torch.as_tensor(np.asarray(saved.preprocessing.transform(table))).requires_grad_()
    logits = saved.network(x)
    both = torch.cat([torch.zeros_like(logits), logits], dim=1) if kind == "binary" else logits
    best = both.argmax(dim=1)
    top = both.topk(2, dim=1).values
    (slope,) = torch.autograd.grad((top[:, 0] - top[:, 1]).sum(), x)
    moved = saved.network(x - 0.999 * torch.as_tensor(radius)[:, None] * slope.sign())
    after = torch.cat([torch.zeros_like(moved), moved], dim=1) if kind == "binary" else moved
    assert torch.equal(after.argmax(dim=1), best)
    margin = (top[:, 0] - top[:, 1]).detach().numpy()
    by_all = margin / saved.network.lipschitz_bound().item()  # of two logits by the bound of all
    assert (radius >= by_all * (1 - 1e-9)).all()
    assert (radius > 1.05 * by_all).any() == (kind == "multiclass")


def test_the_slope_of_a_regression_bounds_its_differences(made: Any, saved_as: Any, network: Any, table: Any) -> None:
    """Between any two rows, in units of the target."""
    task = made("regression")
    saved = saved_as(network("pnet", len(task.feature_names), 1), task)
    both = predicted(saved, table, proba=False, bounds=True)
    x = np.asarray(saved.preprocessing.transform(table))
    far = np.abs(x[:, None] - x[None]).max(axis=2)
    y = both.table["prediction"].to_numpy()
    assert (np.abs(y[:, None] - y[None]) <= both.table["slope_bound"].to_numpy()[:, None] * far + 1e-9).all()
    assert "units of 'number'" in both.notes[-1]


@pytest.mark.parametrize(("kind", "certificate"), [("pnet", "pairwise"), ("plain", "crown"), ("smooth", "pairwise")])
def test_no_movement_leaves_the_interval(
    made: Any, saved_as: Any, network: Any, table: Any, kind: str, certificate: str
) -> None:
    """In units of the target, of a network in float32 and targets far from 0; it holds the prediction itself."""
    task, activation = made("regression"), "tanh" if kind == "smooth" else "relu"
    model = network("snet" if kind == "smooth" else kind, len(task.feature_names), 1, activation=activation)
    saved = saved_as(model.float(), task)
    metrics: dict[str, Any] = {"radii": [1e-9, 0.1], "certificate": certificate}
    columns, words = bounds_of(saved, table, metrics)
    assert list(columns) == ["slope_bound", *(f"{end}/{r}" for r in ("1e-09", "0.1") for end in ("lower", "upper"))]
    assert "stays between" in words
    x = saved.network_inputs(table)
    target = saved.task["target"]
    for radius in metrics["radii"]:
        lower, upper = (columns[f"{end}/{radius:g}"] for end in ("lower", "upper"))
        assert (lower < upper).all()
        assert (upper - lower <= 2 * columns["slope_bound"] * radius + 1e-3 * target["scale"]).all()
        for _ in range(50):
            moved = x + radius * (1 - 1e-6) * torch.randn_like(x).sign()
            with torch.no_grad():
                y = target["center"] + target["scale"] * saved.network(moved).double().numpy()[:, 0]
            assert ((lower <= y) & (y <= upper)).all()


def test_a_regression_is_predicted_with_its_intervals(finished: Any, tmp_path: Path) -> None:
    """At the radii of the run."""
    record = finished("dataset=diabetes", "metrics.radii=[0.5]", "metrics.certificate=crown")
    frame = load_diabetes(as_frame=True, scaled=False).data.head(9)
    frame.to_csv(tmp_path / "rows.csv", index=False)
    said = predicting(record.folder, tmp_path / "rows.csv", "--bounds")
    made = pd.read_csv(io.StringIO(said.out))
    assert list(made) == ["prediction", "slope_bound", "lower/0.5", "upper/0.5"]
    assert made["prediction"].between(made["lower/0.5"], made["upper/0.5"]).all()


def test_bundled_data_compact_networks_and_ensembles(finished: Any, tmp_path: Path) -> None:
    """Columns by the names of features; the smaller network predicts the same; an ensemble is the mean of members."""
    from psilon_bench.report.ensemble import make_ensembles
    from psilon_bench.report.metric import Metric
    from psilon_bench.report.report import make

    pruned = ("pruner=magnitude", "pruner.amount=0.9", "dataset.split_seed=0")
    folders = [finished("dataset=wine", *pruned, f"seed={seed}").folder for seed in (0, 1)]
    frame = load_wine(as_frame=True).data
    frame.to_csv(tmp_path / "wine.csv", index=False)
    small = read(predicting(folders[0], tmp_path / "wine.csv", "--proba", "--which", "compact").out)
    right = load(folders[0], "pruned").predict(frame)
    np.testing.assert_allclose(small.iloc[:, 1:].to_numpy(), right, rtol=1e-6)
    make_ensembles(make([folders[0].parent], Metric("val/loss", "min")).choices, folders[0].parent)
    ensemble = ensemble_folder(folders[0].parent, "wine")
    made = json.loads((ensemble / "ensemble.json").read_text())
    mean = sum(one["weight"] * load(ensemble / one["record"], "pruned").predict(frame) for one in made["members"])
    mean = softmax(np.log(mean) / made["temperature"], axis=1)
    np.testing.assert_allclose(
        read(predicting(ensemble, tmp_path / "wine.csv", "--proba").out).iloc[:, 1:], mean, rtol=1e-9
    )
    for option in ("--bounds", "--which=compact"):
        assert "but RUN is an ensemble" in predicting(ensemble, tmp_path / "wine.csv", option).err
    best = predicting(folders[0].parent, tmp_path / "wine.csv")
    losses = {folder: json.loads((folder / "run.json").read_text())["metrics"]["val/loss"] for folder in folders}
    chosen = min(folders, key=lambda folder: losses[folder])
    assert f"{chosen.name} is the best of 2 finished runs: pnet pathnorm magnitude" in best.err
    assert best.out == predicting(chosen, tmp_path / "wine.csv").out


def test_what_is_wrong_is_one_line(record: Any, table: Any, tmp_path: Path) -> None:
    """The rule, what was found and the remedy; exit code 2, and nothing on stdout."""
    table.drop(columns=["age", "job"]).to_csv(tmp_path / "short.csv", index=False)
    table.head(3).assign(age="many").to_csv(tmp_path / "words.csv", index=False)
    table.head(3).assign(age=[20, 1e300, 20]).to_csv(tmp_path / "huge.csv", index=False)
    (tmp_path / "closed").write_text("a file")
    file = tmp_path / "my.csv"
    cases: list[tuple[list[Any], str]] = [
        ([tmp_path / "no", file], "RUN must be the folder of a run or of a sweep, but .*no is none"),
        ([record, tmp_path / "no.csv"], "ROWS must be a file, but .*no.csv is not"),
        ([record, tmp_path / "closed"], r"ROWS must end in \.csv, .* but it is closed"),
        (
            [record, tmp_path / "short.csv"],
            r"columns of the data, but age, job are not in short\.csv\. It has: in come,",
        ),
        ([record, tmp_path / "words.csv"], "Column 'age' holds numbers, but 'many' is none"),
        (
            [record, tmp_path / "huge.csv", "--bounds"],
            r"stay finite .*, but column 'age' holds 1e\+300 in row 2\.",
        ),
        (
            [record, file, "--out", tmp_path / "closed/out.csv"],
            r"--out .*closed/out\.csv cannot be written: .*Name a file",
        ),
        (
            [record, file, "--out", tmp_path / "out.xlsx"],
            r"--out must end in \.csv or \.parquet, but it is .*out\.xlsx",
        ),
        ([record, file, "--out", tmp_path], "--out must end in"),
        ([record, file, "--which", "compact"], r"--which compact needs compact\.pt, .* has none\. Take --which full"),
    ]
    for arguments, message in cases:
        said = predicting(*arguments)
        assert (said.code, said.out, said.err.splitlines()[-1:]) == (2, "", said.err.splitlines()), said.err
        assert pd.Series(said.err).str.contains(message).all(), said.err


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"status": "killed"}, 2, r"RUN must be a finished run, but .* is killed"),
        ({"code_version": "ab" * 8}, None, r"another version of the code \(version abababab -> "),
        ({"versions": {"psilon-bench": "0.0.9"}}, None, "trained by psilon-bench 0.0.9, and this is "),
    ],
)
def test_the_record_is_looked_at(finished: Any, tmp_path: Path, changes: Any, code: Any, message: str) -> None:
    """A run that did not finish is refused, another version is said."""
    folder = finished("dataset=wine").folder
    load_wine(as_frame=True).data.head(2).to_csv(tmp_path / "wine.csv", index=False)
    run = json.loads((folder / "run.json").read_text()) | changes
    (folder / "run.json").write_text(json.dumps(run))
    said = predicting(folder, tmp_path / "wine.csv")
    assert said.code in (code, code or 0)
    assert pd.Series(said.err).str.contains(message).all()


@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
def test_inputs_and_outputs_are_finite(made: Any, saved_as: Any, network: Any, table: Any, precision: Any) -> None:
    """Also where the certificate computes in float64, where the sum overflows, and of pixels."""
    task = made("multiclass")
    saved = saved_as(network("pnet", len(task.feature_names), task.num_outputs).to(precision), task)
    huge = table.assign(age=np.where(np.arange(len(table)) == 4, 1e300, 20.0))
    for call in (saved.predict, lambda rows: bounds_of(saved, rows)):
        with pytest.raises(UsageError, match=r"^Numbers must stay finite .* 'age' holds 1e\+300 in row 5\. "):
            call(huge)
    with torch.no_grad():
        for parameter in saved.network.parameters():
            parameter.mul_(torch.finfo(precision).max ** 0.5)
    with pytest.raises(UsageError, match=r"^The outputs of a network must be finite, but those of row 1 are not: its "):
        saved.predict(table)
    images = SavedNetwork(torch.nn.Flatten(), ImageScaler(shape=(1, 1, 2), mean=(0.5,), std=(1.0,)), None, task={})
    images.network.register_parameter("one", torch.nn.Parameter(torch.ones(1)))
    assert images.logits(np.array([[0, 255]])).tolist() == [[-0.5, 0.5]]
    for pixel in (np.nan, np.inf, 1e300):
        with pytest.raises(UsageError, match=rf"but input 1 of row 2 holds {pixel:g}\. ".replace("+", r"\+")):
            images.logits(np.array([[0, 255], [0, pixel]]))
