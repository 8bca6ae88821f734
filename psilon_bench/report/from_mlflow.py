"""Records fetched back from MLflow, for a report where results_dir is out of reach."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psilon_bench.errors import UsageError
from psilon_bench.tracking import check_server, quiet

if TYPE_CHECKING:
    from mlflow import MlflowClient

FILES = {"run.json", "history.csv"}  # what a report reads


def fetch(experiment: str, uri: str, folder: Path, say: Callable[[str], None]) -> None:
    """The records of an experiment into folder/<sweep>/<run id>; UsageError where there is no such experiment."""
    check_server(uri)
    quiet()
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    if found is None:
        names = ", ".join(one.name for one in client.search_experiments()) or "none"
        raise UsageError(f"--mlflow {experiment} is no experiment at {uri}. There are: {names}.")
    lacking = [run.info.run_name for run in runs(client, found.experiment_id) if not fetch_run(client, run, folder)]
    if lacking:
        say(
            f"{len(lacking)} runs have no whole record in MLflow (still running, or not sent): {', '.join(lacking[:3])}"
        )


def runs(client: "MlflowClient", experiment_id: str) -> Iterator[Any]:
    """All that mirror a record, so not the parents."""
    token = None
    while token != "":
        page = client.search_runs([experiment_id], "tags.fingerprint != ''", max_results=1000, page_token=token)
        yield from page
        token = page.token or ""


def fetch_run(client: "MlflowClient", run: Any, folder: Path) -> bool:
    """Whether MLflow has its run.json."""
    there = FILES & {file.path for file in client.list_artifacts(run.info.run_id)}
    if "run.json" not in there:
        return False
    record = folder / run.data.tags["sweep"] / run.info.run_id
    record.mkdir(parents=True)
    for name in sorted(there):
        client.download_artifacts(run.info.run_id, name, str(record))
    return True
