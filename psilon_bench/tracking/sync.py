"""psilon-sync: bring MLflow up to date with the records, whenever its server is there."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from psilon_bench.config.addresses import database_of, redacted, resolved
from psilon_bench.errors import UsageError
from psilon_bench.machine.process import is_gone
from psilon_bench.records.run_files import read_run, run_files
from psilon_bench.tracking.lacking import lacking_of
from psilon_bench.tracking.mirror import Mirror
from psilon_bench.tracking.place import connect
from psilon_bench.tracking.rounds import send_all
from psilon_bench.tracking.server import check_server, default_uri, reason_of
from psilon_bench.tracking.state import state_of
from psilon_bench.tracking.sweep_run import update_parents
from psilon_bench.tracking.waiting import waiting

Say = Callable[[str], None]
Target = tuple[str, str, Path]  # address, experiment, results_dir
Records = dict[Path, str]  # folders, with the names of their sweeps


def sync(folder: Path, uri: str | None, rebuild: bool, say: Say) -> bool:
    """Send every record below `folder` that MLflow has not got whole; True where nothing is left to send.

    `uri` is where to; without it each record goes where it was to go. MLflow is asked which runs it has: what it lost
    is sent again, with `rebuild` what it has as well. Records that are still being computed are left to their process.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder. Call psilon-sync <results_dir>.")
    targets: dict[Target, Records] = {}
    running = 0
    for path in run_files(folder.absolute()):
        run = read_run(path.parent)
        if run is None:
            say(f"{path} cannot be used and is left out.")
        elif run["status"] == "running" and not is_gone(run):
            running += 1
        else:
            targets.setdefault(target_of(path.parent, run, uri), {})[path.parent] = run["params"]["name"]
    if running:
        say(f"{running} records are still being computed and are sent by their own process.")
    elif not targets:
        say(f"{folder} holds no record of a run (a folder with run.json).")
        return True
    left = [send(target, records, rebuild, say) for target, records in targets.items()]
    if not any(left):
        say(f"MLflow has all{' other' if running else ''} records of {folder}.")
    return not any(left)


def target_of(record: Path, run: dict[str, Any], uri: str | None) -> Target:
    """Where the record went, or was to go; a database that is there no more has moved with the folder, or is lost."""
    params, results = run["params"], record.parents[1]
    if uri is None:
        state = state_of(record)
        uri = params.get("tracking.uri") or default_uri(results)
        if state is not None and not is_lost(state.uri):
            uri = state.uri
    return resolved(uri), params["tracking.experiment"], results


def is_lost(uri: str) -> bool:
    """Whether it names a file that is not there."""
    file = database_of(uri) if uri.startswith("sqlite") else None
    return file is not None and not file.exists()


def send(target: Target, records: Records, rebuild: bool, say: Say) -> int:
    """Send what lacks there of these records; how many are left."""
    uri, experiment, results = target
    shown = redacted(uri)
    try:
        check_server(uri)
        place = connect(uri, experiment, str(results))
        with waiting("psilon-sync: MLflow is asked what it has of {} records") as still:
            still(len(records))
            lacking = lacking_of(place, records, rebuild)
        if not lacking:
            return 0
        with waiting("psilon-sync: {} records are being sent; Ctrl-C leaves the rest to the next psilon-sync") as still:
            left, problem = send_all(place, {record: Mirror(place, record) for record in lacking}, True, still)
    except UsageError as error:
        say(f"{len(records)} records are not sent, or not compared: {error}")
        return len(records)
    except Exception as error:  # whatever a server, a proxy or a database may raise
        say(f"{len(records)} records are not compared with MLflow at {shown}: {reason_of(error)}.")
        return len(records)
    with contextlib.suppress(Exception):  # a summary of what is there already; the next sweep mends it
        update_parents(place, {record.parent for record in lacking if record not in left})
    say(f"{len(lacking) - len(left)} of {len(lacking)} records sent to {shown}{': ' + problem if problem else ''}")
    return len(left)
