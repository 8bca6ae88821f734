"""The LoggedModel of a run in MLflow: created, filled, and linked to the run's metrics and to the data set."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from psilon_bench.tracking.content import dataset_of, dataset_tag
from psilon_bench.tracking.experiment import Experiment
from psilon_bench.tracking.mlflow_internals import last_values, latest_metrics
from psilon_bench.tracking.model_folder import RawColumn, ServedNetwork, of_the_model


def send_model(experiment: Experiment, run_id: str, served: ServedNetwork, final: list[Any], created: bool) -> None:
    """Bring the model of a finished run and its `final` metrics into MLflow, whole and once.

    However often this is interrupted and repeated; `created` says that the run was new to MLflow, and has no model.
    The run has the metrics of its history there already.
    """
    client = experiment.client
    model = None if created else found(experiment, run_id)
    model = model or client.create_logged_model(
        experiment.experiment_id, served.name, run_id, params=served.params, model_type=served.kind
    )
    with tempfile.TemporaryDirectory(prefix="psilon_") as made:
        served.write(Path(made), run_id, model.model_id)
        client.log_model_artifacts(model.model_id, made)
    client.finalize_logged_model(model.model_id, "READY")
    link(experiment, run_id, model.model_id, served, final)


def dataset_input(task: dict[str, Any], columns: Sequence[RawColumn]) -> Any:
    """Return the task of a run.json as MLflow's input, with its raw columns."""
    from mlflow.entities import DatasetInput

    return DatasetInput(dataset_of(task, columns), [dataset_tag()])


def found(experiment: Experiment, run_id: str) -> Any | None:
    """Return the LoggedModel of a run, if MLflow has one."""
    wanted = f"source_run_id = '{run_id}'"
    return next(iter(experiment.client.search_logged_models([experiment.experiment_id], wanted, max_results=1)), None)


def link(experiment: Experiment, run_id: str, model_id: str, served: ServedNetwork, final: list[Any]) -> None:
    """Make the model the output of its run, and send what the run ended with as metrics of the run and the model.

    A metric that ended with a row of the history is sent again, on its own: MLflow finds those that it has one by one.
    """
    from mlflow.entities import LoggedModelOutput

    there = experiment.client.get_run(run_id)
    if model_id not in [output.model_id for output in there.outputs.model_outputs]:
        experiment.client.log_outputs(run_id, [LoggedModelOutput(model_id, 0)])
    latest = list(latest_metrics([*last_values(there), *final]))
    linked = {metric.key: metric for metric in model_metrics(latest, model_id, run_id, served)}
    last = [linked.pop(metric.key, metric) if metric in latest else metric for metric in final]
    for batch in (last, list(linked.values())):
        if batch:
            experiment.client.log_batch(run_id, metrics=batch)


def model_metrics(metrics: list[Any], model_id: str, run_id: str, served: ServedNetwork) -> list[Any]:
    """Return the last metrics of a run that say something of its network, as metrics of the model on the data set."""
    from mlflow.entities import Metric

    dataset = dataset_of(served.run["task"], served.columns)
    return [
        Metric(
            metric.key,
            metric.value,
            metric.timestamp,
            metric.step,
            model_id=model_id,
            dataset_name=dataset.name,
            dataset_digest=dataset.digest,
            run_id=run_id,
        )
        for metric in metrics
        if of_the_model(metric.key)
    ]
