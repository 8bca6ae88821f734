"""Names of MLflow (3.17.2) that are not part of its documented interface: its sqlite file, written without its client.

MlflowClient takes one run at a time, in 25 transactions that cost 30 to 45 ms of CPU; here many are a few statements of
one. The rows are those that the client would write: a test compares all tables, and fails when MLflow changes them.
"""

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psilon_bench.config.addresses import database_of


@dataclass
class ModelContent:
    """A model that a run has made, with the metrics of its own; `name` and `kind` as MLflow's name and model type."""

    model_id: str
    name: str
    kind: str
    params: dict[str, str]
    metrics: list[Any]


@dataclass
class RunContent:
    """A run with all that belongs to it, in MLflow's own entities; times are in milliseconds since the epoch."""

    run_id: str
    name: str
    status: str
    began: int
    ended: int
    tags: dict[str, str]
    params: list[Any]
    metrics: list[Any]
    dataset: Any
    dataset_tag: Any
    model: ModelContent | None = None


def import_store() -> None:
    """Import the slow part of MLflow, its store for databases, which it would import with the first request."""
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401


def open_database(uri: str) -> None:
    """Open the sqlite file in MLflow's stead.

    MLflow makes the file's folder by an address that it has not unquoted, and tries for 100 s to open what cannot be
    opened (create_sqlalchemy_engine_with_retry in
    https://github.com/mlflow/mlflow/blob/v3.17.2/mlflow/store/db/utils.py). Its store keeps engines by their addresses
    in `SqlAlchemyStore._engine_map`, and takes the one that is there.
    """
    from mlflow.store.db.utils import create_sqlalchemy_engine
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    file = database_of(uri)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
    if uri not in SqlAlchemyStore._engine_map:
        SqlAlchemyStore._engine_map[uri] = create_sqlalchemy_engine(uri)


def validated(run: RunContent) -> RunContent:
    """Return the same run; MlflowException where the client would refuse a name or a length of it.

    `_validate_batch_log_data` is what MlflowClient.log_batch calls on the server's side
    (https://github.com/mlflow/mlflow/blob/v3.17.2/mlflow/utils/validation.py); it also cuts values that are too long.
    """
    from mlflow.entities import RunTag
    from mlflow.utils.validation import _validate_batch_log_data

    tags = [RunTag(key, value) for key, value in run.tags.items()]
    run.metrics, run.params, tags = _validate_batch_log_data(run.metrics, run.params, tags)
    run.tags = {tag.key: tag.value for tag in tags}
    return run


def artifacts_uri(location: str, run_id: str) -> str:
    """Return where an experiment with artifacts at `location` keeps those of a run."""
    from mlflow.utils.uri import append_to_uri_path

    return append_to_uri_path(location, run_id, "artifacts")


def model_uri(location: str, model_id: str) -> str:
    """Return where an experiment with artifacts at `location` keeps a model, as SqlAlchemyStore.create_logged_model."""
    from mlflow.utils.uri import append_to_uri_path

    return append_to_uri_path(location, "models", model_id, "artifacts")


def folder_of(uri: str) -> Path:
    """Return the folder of artifacts at file://..."""
    from mlflow.utils.file_utils import local_file_uri_to_path

    return Path(local_file_uri_to_path(uri))


def insert_runs(client: Any, experiment_id: str, location: str, runs: list[RunContent]) -> None:
    """Insert all of these runs, or none, with the tables of MLflow's own models.

    The first statement writes, so that the transaction waits for others at its start. The store behind the client is
    reached by `_tracking_client`, for its `ManagedSessionMaker`
    (https://github.com/mlflow/mlflow/blob/v3.17.2/mlflow/store/tracking/sqlalchemy_store.py).
    """
    import sqlalchemy
    from mlflow.store.tracking.dbmodels import models

    tables = {
        models.SqlRun: [run_row(run, experiment_id, location) for run in runs],
        models.SqlTag: [row_of_run(run, key=key, value=value) for run in runs for key, value in all_tags(run)],
        models.SqlParam: [row_of_run(run, key=param.key, value=param.value) for run in runs for param in run.params],
        models.SqlMetric: [
            row_of_run(run, **metric_values(metric)) for run in runs for metric in dict.fromkeys(run.metrics)
        ],
        models.SqlLatestMetric: [
            row_of_run(run, **metric_values(metric)) for run in runs for metric in latest_metrics(run.metrics)
        ],
    }
    with client._tracking_client.store.ManagedSessionMaker(read_only=False) as session:
        for table, rows in tables.items():
            if rows:
                session.execute(sqlalchemy.insert(table), rows)
        insert_datasets(session, experiment_id, runs)
        insert_models(session, experiment_id, location, [run for run in runs if run.model is not None])


def insert_datasets(session: Any, experiment_id: str, runs: list[RunContent]) -> None:
    """Insert each data set once in an experiment, and which run had which."""
    import sqlalchemy
    from mlflow.store.tracking.dbmodels.models import SqlDataset, SqlInput, SqlInputTag

    known = {
        (dataset.name, dataset.digest): dataset.dataset_uuid
        for dataset in session.query(SqlDataset).filter(SqlDataset.experiment_id == int(experiment_id))
    }
    for dataset in (run.dataset for run in runs):
        if (dataset.name, dataset.digest) not in known:
            known[dataset.name, dataset.digest] = uuid.uuid4().hex
            session.add(dataset_row(dataset, experiment_id, known[dataset.name, dataset.digest]))
    inputs = [
        {
            "input_uuid": uuid.uuid4().hex,
            "source_type": "DATASET",
            "source_id": known[run.dataset.name, run.dataset.digest],
            "destination_type": "RUN",
            "destination_id": run.run_id,
        }
        for run in runs
    ]
    session.execute(sqlalchemy.insert(SqlInput), inputs)
    tags = [
        {"input_uuid": row["input_uuid"], "name": run.dataset_tag.key, "value": run.dataset_tag.value}
        for row, run in zip(inputs, runs, strict=True)
    ]
    session.execute(sqlalchemy.insert(SqlInputTag), tags)


def insert_models(session: Any, experiment_id: str, location: str, runs: list[RunContent]) -> None:
    """Insert the models of these runs as create_logged_model, finalize_logged_model and log_outputs leave them."""
    import sqlalchemy
    from mlflow.store.tracking.dbmodels import models as tables

    made = [(run, run.model) for run in runs if run.model is not None]
    rows: dict[Any, list[dict[str, Any]]] = {
        tables.SqlLoggedModel: [model_row(run, model, experiment_id, location) for run, model in made],
        tables.SqlLoggedModelParam: [
            row_of_model(model, experiment_id, param_key=key, param_value=value)
            for _, model in made
            for key, value in model.params.items()
        ],
        tables.SqlLoggedModelMetric: [
            row_of_model(model, experiment_id, run_id=run.run_id, **model_metric_values(metric))
            for run, model in made
            for metric in model.metrics
        ],
        tables.SqlInput: [
            {
                "input_uuid": uuid.uuid4().hex,
                "source_type": "RUN_OUTPUT",
                "source_id": run.run_id,
                "destination_type": "MODEL_OUTPUT",
                "destination_id": model.model_id,
            }
            for run, model in made
        ],
    }
    for table, values in rows.items():
        if values:
            session.execute(sqlalchemy.insert(table), values)


def run_row(run: RunContent, experiment_id: str, location: str) -> dict[str, Any]:
    """Return the row of a run as SqlAlchemyStore.create_run and update_run_info would leave it."""
    return row_of_run(
        run,
        name=run.name,
        artifact_uri=artifacts_uri(location, run.run_id),
        experiment_id=int(experiment_id),
        source_type="UNKNOWN",
        source_name="",
        entry_point_name="",
        source_version="",
        user_id=run.tags["mlflow.user"],
        status=run.status,
        start_time=run.began,
        end_time=run.ended,
        lifecycle_stage="active",
    )


def dataset_row(dataset: Any, experiment_id: str, key: str) -> Any:
    """Return the row of a data set as SqlAlchemyStore.log_inputs would add it."""
    from mlflow.store.tracking.dbmodels.models import SqlDataset

    return SqlDataset(
        dataset_uuid=key,
        experiment_id=int(experiment_id),
        name=dataset.name,
        digest=dataset.digest,
        dataset_source_type=dataset.source_type,
        dataset_source=dataset.source,
        dataset_schema=dataset.schema,
        dataset_profile=dataset.profile,
    )


def model_row(run: RunContent, model: ModelContent, experiment_id: str, location: str) -> dict[str, Any]:
    """Return the row of a model that is ready."""
    from mlflow.entities import LoggedModelStatus

    return row_of_model(
        model,
        experiment_id,
        name=model.name,
        artifact_location=model_uri(location, model.model_id),
        creation_timestamp_ms=run.ended,
        last_updated_timestamp_ms=run.ended,
        status=LoggedModelStatus.READY.to_int(),
        lifecycle_stage="active",
        model_type=model.kind,
        source_run_id=run.run_id,
    )


def row_of_model(model: ModelContent, experiment_id: str, **values: Any) -> dict[str, Any]:
    """Return a row that belongs to this model."""
    return {"model_id": model.model_id, "experiment_id": int(experiment_id), **values}


def model_metric_values(metric: Any) -> dict[str, Any]:
    """Return the values of a model's metric, which is finite, by the columns of its row."""
    return {
        "metric_name": metric.key,
        "metric_value": metric.value,
        "metric_timestamp_ms": metric.timestamp,
        "metric_step": metric.step,
        "dataset_name": metric.dataset_name,
        "dataset_digest": metric.dataset_digest,
    }


def last_values(run: Any) -> list[Any]:
    """Return of each metric of an MLflow run the last value, with its step and time, which `run.data.metrics` lacks."""
    return list(run.data._metric_objs)


def row_of_run(run: RunContent, **values: Any) -> dict[str, Any]:
    """Return a row that belongs to this run."""
    return {"run_uuid": run.run_id, **values}


def all_tags(run: RunContent) -> Iterable[tuple[str, str]]:
    """Return the tags of a run, and the one that MLflow adds."""
    return [*run.tags.items(), ("mlflow.runName", run.name)]


def metric_values(metric: Any) -> dict[str, Any]:
    """Return the values of a metric, which is finite, by the columns of its row."""
    return {
        "key": metric.key,
        "value": metric.value,
        "timestamp": metric.timestamp,
        "step": metric.step,
        "is_nan": False,
    }


def latest_metrics(metrics: list[Any]) -> Iterator[Any]:
    """Yield for each name the metric with the greatest step, time and value, which MLflow shows beside the run."""
    last: dict[str, Any] = {}
    for metric in metrics:
        known = last.setdefault(metric.key, metric)
        if (metric.step, metric.timestamp, metric.value) > (known.step, known.timestamp, known.value):
            last[metric.key] = metric
    yield from last.values()
