"""Brings MLflow up to date with the records, for psilon-sync."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from psilon_bench.config.addresses import database_of, redacted, resolved
from psilon_bench.errors import UsageError
from psilon_bench.machine.process import is_gone
from psilon_bench.records.places import run_json_files
from psilon_bench.records.run_json import read_run
from psilon_bench.tracking.comparison import missing_records
from psilon_bench.tracking.experiment import connect
from psilon_bench.tracking.mirror import Mirror
from psilon_bench.tracking.progress_line import progress_line
from psilon_bench.tracking.server import check_server, default_uri, short_reason
from psilon_bench.tracking.state import mirror_state
from psilon_bench.tracking.sweep_run import update_parents
from psilon_bench.tracking.upload import send_all

Print = Callable[[str], None]
Destination = tuple[str, str, Path]  # address, experiment, results_dir
SweepNames = dict[Path, str]  # folders of records, with the names of their sweeps
SENDING = "psilon-sync: {} records are being sent; Ctrl-C leaves the rest to the next psilon-sync"


def send_records(folder: Path, uri: str | None, rebuild: bool, say: Print) -> bool:
    """Send every record below `folder` that MLflow has not got whole; return whether nothing is left to send.

    `uri` is where to; without it each record goes where it was to go. MLflow is asked which runs it has: what it lost
    is sent again, with `rebuild` what it has as well. Records that are still being computed are left to their process.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder. Call psilon-sync <results_dir>.")
    destinations: dict[Destination, SweepNames] = {}
    running = 0
    for path in run_json_files(folder.absolute()):
        run = read_run(path.parent)
        if run is None:
            say(f"{path} cannot be used and is left out.")
        elif run["status"] == "running" and not is_gone(run):
            running += 1
        else:
            destinations.setdefault(destination_of(path.parent, run, uri), {})[path.parent] = run["params"]["name"]
    if running:
        say(f"{running} records are still being computed and are sent by their own process.")
    elif not destinations:
        say(f"{folder} holds no record of a run (a folder with run.json).")
        return True
    left = [send_to(destination, records, rebuild, say) for destination, records in destinations.items()]
    if not any(left):
        say(f"MLflow has all{' other' if running else ''} records of {folder}.")
    return not any(left)


def destination_of(record: Path, run: dict[str, Any], uri: str | None) -> Destination:
    """Return where a record went, or was to go; a database that is gone has moved with the folder, or is lost."""
    params, results = run["params"], record.parents[1]
    if uri is None:
        state = mirror_state(record)
        uri = params.get("tracking.uri") or default_uri(results)
        if state is not None and not is_lost(state.uri):
            uri = state.uri
    return resolved(uri), params["tracking.experiment"], results


def is_lost(uri: str) -> bool:
    """Return whether the address names a file that is not there."""
    file = database_of(uri) if uri.startswith("sqlite") else None
    return file is not None and not file.exists()


def send_to(destination: Destination, records: SweepNames, rebuild: bool, say: Print) -> int:
    """Send what is missing there of these records, and return how many are left."""
    uri, name, results = destination
    shown = redacted(uri)
    try:
        check_server(uri)
        experiment = connect(uri, name, str(results))
        with progress_line("psilon-sync: MLflow is asked what it has of {} records") as show:
            show(len(records))
            missing = missing_records(experiment, records, rebuild)
        if not missing:
            return 0
        with progress_line(SENDING) as show:
            left, problem = send_all(experiment, {record: Mirror(experiment, record) for record in missing}, True, show)
    except UsageError as error:
        say(f"{len(records)} records are not sent, or not compared: {error}")
        return len(records)
    except Exception as error:  # whatever a server, a proxy or a database may raise
        say(f"{len(records)} records are not compared with MLflow at {shown}: {short_reason(error)}.")
        return len(records)
    with contextlib.suppress(Exception):  # a summary of what is there already; the next sweep mends it
        update_parents(experiment, {record.parent for record in missing if record not in left})
    say(f"{len(missing) - len(left)} of {len(missing)} records sent to {shown}{': ' + problem if problem else ''}")
    return len(left)
