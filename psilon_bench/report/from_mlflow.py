"""Records fetched back from MLflow, for a report where results_dir cannot be reached."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from psilon_bench.config.addresses import redacted, resolved
from psilon_bench.config.schema import Name
from psilon_bench.errors import UsageError
from psilon_bench.records import places
from psilon_bench.tracking.client import client_of, unusable
from psilon_bench.tracking.experiment import Experiment
from psilon_bench.tracking.server import check_server
from psilon_bench.tracking.state import RunId

if TYPE_CHECKING:
    from mlflow import MlflowClient

FILES = {places.RUN_JSON, places.HISTORY}  # what a report reads
NAME, RUN_ID = TypeAdapter(Name), TypeAdapter(RunId)


def fetch_records(experiment: str, uri: str, folder: Path, say: Callable[[str], None]) -> None:
    """Write the records of an experiment to folder/SWEEP/RUN_ID.

    `say` gets a line on runs that are left out. Raises UsageError where the experiment or the server does not exist.
    """
    uri = resolved(uri)
    check_server(uri, writes=False)
    try:
        place = opened(experiment, uri)
        runs = list(place.runs("tags.fingerprint != ''"))  # those that mirror a record, so not the parents
        whole = [run for run in runs if is_named_well(run, say)]
        lacking = [run.info.run_name for run in whole if not fetch_run(place.client, run, folder)]
    except UsageError:
        raise
    except Exception as error:  # whatever a server, a proxy or a database may raise
        raise unusable(uri, error) from error
    if lacking:
        say(
            f"{len(lacking)} runs have no whole record in MLflow (still running, or not sent): {', '.join(lacking[:3])}"
        )


def opened(experiment: str, uri: str) -> Experiment:
    """Return the experiment of this name; UsageError that lists the others where it does not exist."""
    client = client_of(uri)
    found = client.get_experiment_by_name(experiment)
    if found is None:
        names = ", ".join(one.name for one in client.search_experiments()) or "none"
        raise UsageError(f"--mlflow {experiment} is no experiment at {redacted(uri)}. There are: {names}.")
    return Experiment(client, found.experiment_id, redacted(uri), found.artifact_location)


def is_named_well(run: Any, say: Callable[[str], None]) -> bool:
    """Tell whether a run's sweep and id are valid names: they become folders, and a server may say anything."""
    try:
        NAME.validate_python(run.data.tags.get("sweep"))
        RUN_ID.validate_python(run.info.run_id)
    except ValidationError:
        sweep = repr(run.data.tags.get("sweep"))[:80]
        say(f"the run {run.info.run_id[:40]!r} is left out: its tag sweep={sweep} is no name of a sweep.")
        return False
    return True


def fetch_run(client: "MlflowClient", run: Any, folder: Path) -> bool:
    """Write the files of one record, and tell whether MLflow has its run.json."""
    there = FILES & {file.path for file in client.list_artifacts(run.info.run_id)}
    if places.RUN_JSON not in there:
        return False
    record = folder / run.data.tags["sweep"] / run.info.run_id
    record.mkdir(parents=True)
    for name in sorted(there):
        client.download_artifacts(run.info.run_id, name, str(record))
    return True
