"""MLflow's models: what is loaded from there is the network of the record, once, ranked, registered and served."""

import io
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow_server import free_port, wait_for
from rich.console import Console

from psilon_bench.cli.registration import register_choice
from psilon_bench.errors import UsageError
from psilon_bench.records.networks import load
from psilon_bench.report.best_run import best_run
from psilon_bench.run.display import Display
from psilon_bench.run.run import run_alone
from psilon_bench.tracking.experiment import Experiment, connect
from psilon_bench.tracking.mirror import Mirror
from psilon_bench.tracking.registry import register
from psilon_bench.tracking.server import answers, default_uri

pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy:DeprecationWarning",  # in MLflow itself
    "ignore:.*type hint is inferred as AnyType",  # in MLflow itself
    "ignore:.*that no training row had",
)
COLUMNS = ["age", "job", "when"]


def table() -> pd.DataFrame:
    """Numbers and levels, of which some are missing, and days."""
    draw = np.random.default_rng(5)
    frame = pd.DataFrame({"age": draw.integers(18, 80, 60).astype(float), "job": draw.choice(["cook", "é", "7"], 60)})
    frame["when"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(draw.integers(0, 500, 60), unit="D")
    frame["two"] = np.where(frame["age"] + draw.normal(size=60) > 50, "old", "young")
    frame["number"] = 100 * frame["age"] + draw.normal(size=60)
    frame.loc[draw.random(60) < 0.2, "job"] = None
    return frame


@pytest.fixture
def record(finished: Callable[..., Any]) -> Callable[..., Path]:
    """record("two", "seed=3"): the record of a run on the table with this target."""
    table().to_csv("t.csv", index=False)

    def record(target: str, *more: str) -> Path:
        other = "number" if target == "two" else "two"
        data = ("dataset=table", "dataset.path=t.csv", f"dataset.target={target}", f"dataset.drop=[{other}]")
        return Path(finished(*data, *more).folder)

    return record


def model_of(experiment: Experiment, mirror: Mirror) -> Any:
    """The one LoggedModel of a record that was sent."""
    (model,) = experiment.client.search_logged_models([experiment.experiment_id], f"source_run_id = '{mirror.run_id}'")
    return model


def sent(experiment: Experiment, folder: Path) -> Mirror:
    mirror = Mirror(experiment, folder)
    assert mirror.send()
    return mirror


def loaded(experiment: Experiment, mirror: Mirror) -> Any:
    from mlflow import pyfunc

    return pyfunc.load_model(model_of(experiment, mirror).artifact_location)


def test_a_finished_run_has_one_model(experiment: Experiment, record: Any) -> None:
    """It is ready, the run's output, and has the last values of what says something of the network; sent twice, too."""
    folder = record("two")
    for mirror in (sent(experiment, folder), sent(experiment, folder)):
        model = model_of(experiment, mirror)
        assert model.status == "READY"
        assert model.name == "t-pnet-pathnorm"
        assert model.params["reg.lam"] == "0.001"
        assert model.params["dataset.scaling"] == "standard"
        run = experiment.client.get_run(mirror.run_id)
        assert [output.model_id for output in run.outputs.model_outputs] == [model.model_id]
        recorded = json.loads((folder / "run.json").read_text())["metrics"]
        metrics = {metric.key: metric.value for metric in model.metrics}
        assert {"val/loss", "test/brier", "lipschitz_bound", "path_norm"} <= metrics.keys()
        assert not {"epoch", "time/fit_s", "constant/val/loss"} & metrics.keys()
        assert metrics == {key: recorded[key] for key in metrics}
        (data,) = run.inputs.dataset_inputs
        assert {(metric.dataset_name, metric.dataset_digest) for metric in model.metrics} == {
            (data.dataset.name, data.dataset.digest)
        }
        assert [column["name"] for column in json.loads(data.dataset.schema)["mlflow_colspec"]] == COLUMNS
        history = experiment.client.get_metric_history(mirror.run_id, "val/loss")
        assert len({metric.step for metric in history}) == len(history)


@pytest.mark.parametrize(("target", "more"), [("two", ()), ("number", ("metrics.coverage=0.5",))])
def test_the_model_predicts_as_the_record_does(target: str, more: Any, experiment: Any, record: Any) -> None:
    """Raw rows with missing values, unseen levels and cells of any type."""
    folder = record(target, *more)
    model = loaded(experiment, sent(experiment, folder))
    rows = table()[["when", "job", "age"]]
    rows.loc[[0, 1], "job"] = ["unseen", None]
    rows.loc[2, "age"] = np.nan
    made = model.predict(rows)
    expected = load(folder).predict(rows)
    if target == "number":
        np.testing.assert_allclose(made["prediction"], expected)
    else:
        np.testing.assert_allclose(made[["probability/old", "probability/young"]], expected)
        assert made["prediction"].tolist() == np.array(["old", "young"])[expected.argmax(axis=1)].tolist()
    forms = pd.DataFrame({"age": ["44", "?"], "job": [7, "cook"], "when": ["2020-03-01", None], "more": [1, 2]})
    np.testing.assert_allclose(
        model.predict(forms).select_dtypes("number"), np.reshape(load(folder).predict(forms), (2, -1))
    )


def test_columns_that_were_never_missing_are_required(experiment: Experiment, record: Any) -> None:
    from mlflow.exceptions import MlflowException

    model = loaded(experiment, sent(experiment, record("two")))
    model.predict(table()[["age", "when"]])
    with pytest.raises(MlflowException, match=r"missing inputs \['age'\]"):
        model.predict(table()[["job", "when"]])


def test_models_are_ranked_on_a_data_set(experiment: Experiment, record: Any) -> None:
    """As MLflow's own search ranks them, by the loss on this data set."""
    for seed in range(3):
        sent(experiment, record("number", f"seed={seed}", "reg.lam=0.3"))
    dataset = json.loads((record("number") / "run.json").read_text())["task"]
    wanted = {"field_name": "metrics.val/loss", "ascending": True}
    data = {"dataset_name": dataset["name"], "dataset_digest": dataset["checksum"][:12]}
    found = experiment.client.search_logged_models(
        [experiment.experiment_id], "params.`reg.lam` = '0.3'", order_by=[wanted | data]
    )
    losses = [next(m.value for m in model.metrics if m.key == "val/loss") for model in found]
    assert len(losses) == 3
    assert losses == sorted(losses)


@pytest.mark.slow
def test_what_predicts_no_rows_of_a_table_has_no_model(experiment: Any, record: Any, config: Any) -> None:
    """Baselines, of which no network is kept, recovered vectors, and what was stopped."""
    stopped, short = record("two"), ("tracking=none", "reg=none", "trainer.epochs=2")
    kinds = (("model=random_forest", "dataset=wine"), ("dataset=sparse_recovery", "model=diagonal_linear"))
    shown = Display(Console(file=io.StringIO()))
    others = [run_alone(config(*kind, *short), shown).folder for kind in kinds]
    run = json.loads((stopped / "run.json").read_text())
    (stopped / "run.json").write_text(json.dumps(run | {"status": "killed"}))
    for folder in (*others, stopped):
        mirror = sent(experiment, folder)
        with pytest.raises(ValueError, match="not enough values"):
            model_of(experiment, mirror)


def test_a_network_is_registered_once(experiment: Experiment, record: Any) -> None:
    folder, other = record("two"), record("two", "seed=1")
    with pytest.raises(UsageError, match=r"^tracking.register=best needs the model of .* Try psilon-sync"):
        register(experiment, folder, "best", "why")
    sent(experiment, folder)
    sent(experiment, other)
    assert [register(experiment, one, "best", "it is") for one in (folder, other, folder)] == ["1", "2", "1"]
    version = experiment.client.get_model_version("best", "1")
    assert version.description == "it is"
    assert version.source.startswith("file://")
    assert not Path("mlflow.db").exists()


@pytest.mark.slow
def test_the_choice_of_a_sweep_is_registered(config: Any, record: Any, capsys: Any) -> None:
    """That of psilon-report among all runs in the folder: the seed with the lowest loss of the best setting."""
    settings = config("results_dir=results", "tracking.register=chosen")
    experiment = connect(default_uri(Path("results").absolute()), settings.tracking.experiment, "results")
    for values in ((0.001, 0), (0.001, 1), (10.0, 0), (10.0, 1)):
        sent(experiment, record("two", "reg.lam={}".format(*values), "seed={1}".format(*values)))
    register_choice(settings, Path("results/runs"))
    best, _ = best_run(Path("results/runs"))
    version = experiment.client.get_model_version("chosen", "1")
    assert version.run_id == json.loads((best / "mlflow.json").read_text())["run_id"]
    assert capsys.readouterr().err.startswith("psilon-run: chosen version 1 of MLflow's registry: ")


@pytest.mark.slow
def test_a_server_of_mlflows_serves_a_registered_model(experiment: Experiment, record: Any) -> None:
    """`mlflow models serve` answers rows as JSON, with missing values and an unseen level."""
    folder = record("two")
    sent(experiment, folder)
    version = register(experiment, folder, "served", "it is")
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", f"models:/served/{version}"]
    where = {"MLFLOW_TRACKING_URI": experiment.uri, "MLFLOW_DISABLE_TELEMETRY": "true"}
    where["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # MLflow calls uvicorn
    process = subprocess.Popen(
        [*command, "--env-manager", "local", "--port", str(port), "--host", "127.0.0.1"],
        env=os.environ | where,
        start_new_session=True,
    )
    try:
        wait_for(lambda: answers(f"http://127.0.0.1:{port}"), 90)
        rows = {"columns": COLUMNS, "data": [[33, None, "2020-05-05"], [None, "unseen", "2021-01-01"]]}
        asked = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations",
            json.dumps({"dataframe_split": rows}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(asked, timeout=60) as answer:
            made = pd.DataFrame(json.load(answer)["predictions"])
        expected = load(folder).predict(pd.DataFrame(rows["data"], columns=COLUMNS))
        np.testing.assert_allclose(made[["probability/old", "probability/young"]], expected)
    finally:
        os.killpg(process.pid, 9)
        process.wait()
