"""Puts the network that a run or a sweep has chosen into MLflow's registry of models."""

import contextlib
from pathlib import Path

from psilon_bench.errors import UsageError
from psilon_bench.tracking.experiment import Experiment
from psilon_bench.tracking.logged_model import found
from psilon_bench.tracking.state import mirror_state


def register(experiment: Experiment, record: Path, name: str, why: str) -> str:
    """Register the model of this record under a name; return the version, an old one where it is there already.

    `why` is the description of the version. UsageError where MLflow has no model of the record.
    """
    from mlflow.exceptions import MlflowException

    client, state = experiment.client, mirror_state(record)
    model = None if state is None or state.run_id is None else found(experiment, state.run_id)
    if model is None:
        raise UsageError(
            f"tracking.register={name} needs the model of {record} in MLflow, which has none: it is not sent yet, or "
            "no network on a table. Try psilon-sync and the same command."
        )
    with contextlib.suppress(MlflowException):  # it is there; what else is wrong the next call tells
        client.create_registered_model(name)
    for version in client.search_model_versions(f"name = '{name}'"):
        if version.source == model.artifact_location:
            return str(version.version)
    # not models:/<id>, which the client would look for where MLFLOW_TRACKING_URI says
    made = client.create_model_version(
        name, model.artifact_location, model.source_run_id, description=why, model_id=model.model_id
    )
    return str(made.version)
