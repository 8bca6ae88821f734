"""The child's side of the sender: a process that mirrors the records that it is told of."""

import contextlib
import json
import queue
import sys
import threading
import time
from pathlib import Path
from typing import Any

from psilon_bench.errors import UsageError
from psilon_bench.machine import garbage
from psilon_bench.machine.mlflow_environment import set_up_mlflow
from psilon_bench.machine.process import is_gone
from psilon_bench.records.places import records_in
from psilon_bench.records.run_json import read_run
from psilon_bench.tracking.comparison import missing_records
from psilon_bench.tracking.experiment import connect
from psilon_bench.tracking.mirror import Mirror
from psilon_bench.tracking.mlflow_internals import import_store
from psilon_bench.tracking.sender import LATER
from psilon_bench.tracking.server import ANSWER_WITHIN_S, short_reason
from psilon_bench.tracking.state import is_sent, mirror_state
from psilon_bench.tracking.sweep_run import update_parents
from psilon_bench.tracking.upload import send_all

SEND_EVERY_S = 3.0
Lines = queue.SimpleQueue[str | None]


def main() -> None:
    """Connect, send, and reply how it went; the end of the parent, however it comes, is the end of its lines."""
    lines: Lines = queue.SimpleQueue()
    threading.Thread(target=read_lines, args=(lines,), daemon=True).start()
    set_up_mlflow(ANSWER_WITHIN_S)
    garbage.pause()
    import_store()  # while the parent imports torch

    garbage.resume()
    where = lines.get()
    if where is None:
        return
    asked = json.loads(where)
    try:
        experiment = connect(asked["uri"], asked["experiment"], asked["results_dir"])
    except UsageError as error:
        reply({"problem": str(error)})
        return
    reply({"problem": None})
    mirrors: dict[Path, Mirror] = {}
    with contextlib.suppress(Exception):  # a server that went away again: psilon-sync sends what earlier runs left
        earlier = unsent(asked["earlier"], experiment.uri)
        mirrors = {folder: Mirror(experiment, folder) for folder in missing_records(experiment, earlier)}
    sweeps = {folder.parent for folder in mirrors}
    at_end = False
    while not at_end:
        folders, at_end = received(lines)
        mirrors |= {folder: Mirror(experiment, folder) for folder in folders}
        sweeps |= {folder.parent for folder in folders}
        mirrors, problem = send_all(experiment, mirrors, at_end, lambda left: reply({"left": left}))
    if not problem:
        with contextlib.suppress(Exception):  # a summary of what is there already; the next sweep mends it
            update_parents(experiment, sweeps)
    what = f"MLflow at {experiment.uri}: {problem}. {len(mirrors)} records are not sent; {LATER}."
    reply({"problem": what if problem else None})


def received(lines: Lines) -> tuple[list[Path], bool]:
    """Return the folders that come in within SEND_EVERY_S, and whether that is the end.

    Records that are sent together cost less.
    """
    folders, until = [], time.monotonic() + SEND_EVERY_S
    with contextlib.suppress(queue.Empty):
        while (line := lines.get(timeout=max(0.0, until - time.monotonic()))) is not None:
            folders.append(Path(json.loads(line)))
        return folders, True
    return folders, False


def unsent(folder: str | None, uri: str) -> dict[Path, str]:
    """Return the records of this folder that MLflow should have and has not, but for those still being computed."""
    records = sorted(records_in(Path(folder))) if folder is not None else []
    runs = ((record, read_run(record)) for record in records)
    return {record: run["params"]["name"] for record, run in runs if run is not None and is_unsent(record, run, uri)}


def is_unsent(record: Path, run: dict[str, Any], uri: str) -> bool:
    """Return whether a record was to go to `uri`, is not there whole, and its process has gone."""
    state = mirror_state(record)
    wanted = run["params"].get("tracking.name") == "mlflow" and (state is None or state.uri == uri)
    return wanted and is_gone(run) and not is_sent(record, uri)


def read_lines(lines: Lines) -> None:
    """Put the lines of stdin into a queue, and None at their end; runs in a thread."""
    for line in sys.stdin:
        lines.put(line)
    lines.put(None)


def reply(what: dict[str, Any]) -> None:
    """Send an answer to the parent, who may be gone."""
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(what), flush=True, file=sys.__stdout__)


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):  # what libraries print is no answer
        try:
            main()
        except Exception as error:
            ended = f"The process that sends to MLflow ended: {short_reason(error)}"
            reply({"problem": f"{ended}. Set tracking=none to go on."})
