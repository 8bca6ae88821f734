"""The names of MLflow that are not documented: a new version that changes one of them fails here, with the name."""

import ast
import inspect
from pathlib import Path
from typing import Any

import pytest

import psilon_bench
from psilon_bench.config.addresses import sqlite_uri
from psilon_bench.tracking import mlflow_internals
from psilon_bench.tracking.client import client_of

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")  # in MLflow itself


def parameters(function: object) -> list[str]:
    return list(inspect.signature(function).parameters)  # type: ignore[arg-type]


def test_the_store_takes_the_engine_that_is_there(tmp_path: Path) -> None:
    """The engine that `open_database` makes is the one behind the client, and its folder is made unquoted."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    uri = sqlite_uri(tmp_path / "a b%20c" / "x.db")
    client = client_of(uri)
    client.search_experiments()
    store = client._tracking_client.store
    assert isinstance(store, SqlAlchemyStore)
    assert store.engine is SqlAlchemyStore._engine_map[uri]
    assert [path.name for path in tmp_path.iterdir()] == ["a b%20c"]
    with store.ManagedSessionMaker(read_only=False) as session:
        assert session.get_bind() is store.engine


def test_signatures() -> None:
    """What is called has the parameters that it is called with."""
    from mlflow.store.db.utils import create_sqlalchemy_engine
    from mlflow.utils.file_utils import local_file_uri_to_path
    from mlflow.utils.uri import append_to_uri_path
    from mlflow.utils.validation import _validate_batch_log_data

    assert parameters(create_sqlalchemy_engine)[:1] == ["db_uri"]
    assert parameters(_validate_batch_log_data) == ["metrics", "params", "tags"]
    assert parameters(append_to_uri_path) == ["uri", "paths"]
    assert local_file_uri_to_path("file:///a/b") == "/a/b"


def has_default(column: Any) -> bool:
    return column.default is not None or column.server_default is not None


def test_tables_have_the_columns_that_are_written() -> None:
    """All columns that `insert_runs` names, and none that is required beside them."""
    from mlflow.entities import Metric
    from mlflow.store.tracking.dbmodels import models

    run = mlflow_internals.RunContent("r", "n", "FINISHED", 1, 2, {"mlflow.user": "u"}, [], [], None, None)
    model = mlflow_internals.ModelContent("m", "n", "pnet", {}, [])
    metric = Metric("a", 1, 2, 3, model_id="m", dataset_name="d", dataset_digest="e", run_id="r")
    written = {
        models.SqlRun: set(mlflow_internals.run_row(run, "0", "file:///x")),
        models.SqlTag: {"run_uuid", "key", "value"},
        models.SqlParam: {"run_uuid", "key", "value"},
        models.SqlMetric: {"run_uuid", "key", "value", "timestamp", "step", "is_nan"},
        models.SqlLatestMetric: {"run_uuid", "key", "value", "timestamp", "step", "is_nan"},
        models.SqlLoggedModel: set(mlflow_internals.model_row(run, model, "0", "file:///x")),
        models.SqlLoggedModelParam: {"model_id", "experiment_id", "param_key", "param_value"},
        models.SqlLoggedModelMetric: {"model_id", "experiment_id", "run_id"}
        | set(mlflow_internals.model_metric_values(metric)),
        models.SqlInputTag: {"input_uuid", "name", "value"},
        models.SqlInput: {"input_uuid", "source_type", "source_id", "destination_type", "destination_id"},
    }
    for table, names in written.items():
        columns = {column.name: column for column in table.__table__.columns}
        assert names <= set(columns), table
        required = {name for name, column in columns.items() if not column.nullable and not has_default(column)}
        assert required <= names, table


def test_no_other_file_uses_them() -> None:
    """Neither mlflow.store nor mlflow.utils, nor an attribute of MLflow's with an underscore."""
    package = Path(psilon_bench.__file__).parent
    for file in package.rglob("*.py"):
        if file.name == "mlflow_internals.py":
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not any(name.startswith(("mlflow.store", "mlflow.utils")) for name in names), file
            assert not (isinstance(node, ast.Attribute) and node.attr in ("_tracking_client", "_engine_map")), file
