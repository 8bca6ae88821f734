"""psilon-sync: bring MLflow up to date with the records, whenever its server is there."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from psilon_bench.errors import UsageError
from psilon_bench.parents import update_parents
from psilon_bench.process import is_gone
from psilon_bench.sender import send_all
from psilon_bench.tracking import Mirror, check_server, connect, is_sent, read_run, state_of


def sync(folder: Path, uri: str | None, say: Callable[[str], None]) -> bool:
    """Send every record below `folder` that MLflow has not got whole; True where nothing is left to send.

    `uri` is where to; without it each record goes where it was to go. Records that are still being computed are left
    to their own process.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder. Call psilon-sync <results_dir>.")
    places: dict[tuple[str, str, Path], list[Path]] = {}
    running = 0
    for record, run in records(folder):
        target = uri or state_of(record).get("uri") or own_uri(record, run)
        if is_sent(record, target):
            continue
        if run["status"] == "running" and not is_gone(run):
            running += 1
            continue
        places.setdefault((target, run["params"]["tracking.experiment"], record.parents[1]), []).append(record)
    if running:
        say(f"{running} records are still being computed and are sent by their own process.")
    results = [send(*place, found, say) for place, found in places.items()]
    if not places:
        say(f"MLflow has all records of {folder}.")
    return all(results)


def records(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every record below a folder, with its run.json."""
    for path in sorted(folder.absolute().rglob("run.json")):
        run = read_run(path.parent)
        if run is not None:
            yield path.parent, run


def own_uri(record: Path, run: dict[str, Any]) -> str:
    """Where the run's configuration sends it: tracking.uri, or the database of its results_dir."""
    return run["params"]["tracking.uri"] or f"sqlite:///{record.parents[1] / 'mlflow.db'}"


def send(uri: str, experiment: str, results_dir: Path, found: list[Path], say: Callable[[str], None]) -> bool:
    """Send these records there; True where all arrived."""
    try:
        check_server(uri)
        client, experiment_id = connect(uri, experiment, str(results_dir))
    except UsageError as error:
        say(f"{len(found)} records are not sent: {error}")
        return False
    left, problem = send_all([Mirror(client, experiment_id, uri, record) for record in found], uri, at_end=True)
    if not left:
        with contextlib.suppress(Exception):  # a summary of what is there already; the next sweep mends it
            update_parents(client, uri, {record.parent for record in found})
    say(f"{len(found) - len(left)} of {len(found)} records sent to {uri}{': ' + problem if problem else ''}")
    return not left
