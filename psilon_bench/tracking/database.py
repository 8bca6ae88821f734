"""MLflow's inside (3.17.2), and nobody else's business: its sqlite file, opened and written without its client.

MlflowClient takes one run at a time, in some 25 transactions that cost 30 to 45 ms of CPU; here many runs are a few
statements of one transaction. The rows are those that the client would write: a test compares all tables, and fails
when MLflow changes any of them.
"""

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psilon_bench.config.addresses import database_of


@dataclass
class Whole:
    """A run with all that belongs to it, in MLflow's own entities."""

    run_id: str
    name: str
    status: str
    began: int
    ended: int
    tags: dict[str, str]
    params: list[Any]
    metrics: list[Any]
    dataset: Any


def prepare(uri: str) -> None:
    """Open the sqlite file in MLflow's stead.

    It would make the file's folder by an address that it has not unquoted, and try for 100 s to open what cannot be
    opened (create_sqlalchemy_engine_with_retry in mlflow/store/db/utils.py).
    """
    from mlflow.store.db.utils import create_sqlalchemy_engine
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    file = database_of(uri)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
    if uri not in SqlAlchemyStore._engine_map:
        SqlAlchemyStore._engine_map[uri] = create_sqlalchemy_engine(uri)


def checked(one: Whole) -> Whole:
    """The same run; MlflowException where the client would refuse a name or a length of it."""
    from mlflow.entities import RunTag
    from mlflow.utils.validation import _validate_batch_log_data

    tags = [RunTag(key, value) for key, value in one.tags.items()]
    one.metrics, one.params, tags = _validate_batch_log_data(one.metrics, one.params, tags)
    one.tags = {tag.key: tag.value for tag in tags}
    return one


def artifacts_uri(location: str, run_id: str) -> str:
    """Where an experiment that keeps its artifacts there keeps those of a run."""
    from mlflow.utils.uri import append_to_uri_path

    return append_to_uri_path(location, run_id, "artifacts")


def artifacts_folder(location: str, run_id: str) -> Path:
    """The folder of file://..."""
    from mlflow.utils.file_utils import local_file_uri_to_path

    return Path(local_file_uri_to_path(artifacts_uri(location, run_id)))


def insert(client: Any, experiment_id: str, location: str, runs: list[Whole]) -> None:
    """All of these runs, or none. The first statement writes, so that the transaction waits for others at its start."""
    import sqlalchemy
    from mlflow.store.tracking.dbmodels import models

    tables = {
        models.SqlRun: [run_row(one, experiment_id, location) for one in runs],
        models.SqlTag: [own(one, key=key, value=value) for one in runs for key, value in named(one)],
        models.SqlParam: [own(one, key=param.key, value=param.value) for one in runs for param in one.params],
        models.SqlMetric: [own(one, **values(metric)) for one in runs for metric in dict.fromkeys(one.metrics)],
        models.SqlLatestMetric: [own(one, **values(metric)) for one in runs for metric in latest(one.metrics)],
    }
    with client._tracking_client.store.ManagedSessionMaker(read_only=False) as session:
        for table, rows in tables.items():
            if rows:
                session.execute(sqlalchemy.insert(table), rows)
        insert_datasets(session, experiment_id, runs)


def insert_datasets(session: Any, experiment_id: str, runs: list[Whole]) -> None:
    """Each data set once in an experiment, and which run had which."""
    import sqlalchemy
    from mlflow.store.tracking.dbmodels.models import SqlDataset, SqlInput

    known = {
        (one.name, one.digest): one.dataset_uuid
        for one in session.query(SqlDataset).filter(SqlDataset.experiment_id == int(experiment_id))
    }
    for dataset in (one.dataset for one in runs):
        if (dataset.name, dataset.digest) not in known:
            known[dataset.name, dataset.digest] = uuid.uuid4().hex
            session.add(dataset_row(dataset, experiment_id, known[dataset.name, dataset.digest]))
    inputs = [
        {
            "input_uuid": uuid.uuid4().hex,
            "source_type": "DATASET",
            "source_id": known[one.dataset.name, one.dataset.digest],
            "destination_type": "RUN",
            "destination_id": one.run_id,
        }
        for one in runs
    ]
    session.execute(sqlalchemy.insert(SqlInput), inputs)


def run_row(one: Whole, experiment_id: str, location: str) -> dict[str, Any]:
    """As SqlAlchemyStore.create_run and update_run_info would leave it."""
    return own(
        one,
        name=one.name,
        artifact_uri=artifacts_uri(location, one.run_id),
        experiment_id=int(experiment_id),
        source_type="UNKNOWN",
        source_name="",
        entry_point_name="",
        source_version="",
        user_id=one.tags["mlflow.user"],
        status=one.status,
        start_time=one.began,
        end_time=one.ended,
        lifecycle_stage="active",
    )


def dataset_row(dataset: Any, experiment_id: str, key: str) -> Any:
    """As SqlAlchemyStore.log_inputs would add it."""
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


def own(one: Whole, **more: Any) -> dict[str, Any]:
    """A row of this run."""
    return {"run_uuid": one.run_id, **more}


def named(one: Whole) -> Iterable[tuple[str, str]]:
    """The tags, and the one that MLflow adds."""
    return [*one.tags.items(), ("mlflow.runName", one.name)]


def values(metric: Any) -> dict[str, Any]:
    """Those of a metric, which is finite."""
    return {
        "key": metric.key,
        "value": metric.value,
        "timestamp": metric.timestamp,
        "step": metric.step,
        "is_nan": False,
    }


def latest(metrics: list[Any]) -> Iterator[Any]:
    """Of each name the one with the greatest step, time and value, as MLflow shows it beside the run."""
    last: dict[str, Any] = {}
    for metric in metrics:
        known = last.setdefault(metric.key, metric)
        if (metric.step, metric.timestamp, metric.value) > (known.step, known.timestamp, known.value):
            last[metric.key] = metric
    yield from last.values()
