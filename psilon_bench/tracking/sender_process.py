"""The child's side of the sender: a process of its own that mirrors the records that it is told of."""

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
from psilon_bench.machine.process import is_gone
from psilon_bench.records.run_files import read_run
from psilon_bench.tracking.lacking import lacking_of
from psilon_bench.tracking.mirror import Mirror
from psilon_bench.tracking.place import connect, quiet
from psilon_bench.tracking.rounds import send_all
from psilon_bench.tracking.sender import LATER
from psilon_bench.tracking.server import reason_of
from psilon_bench.tracking.state import is_sent, state_of
from psilon_bench.tracking.sweep_run import update_parents

SEND_EVERY_S = 3.0
Lines = queue.SimpleQueue[str | None]


def main() -> None:
    """Connect, send, and say how it went; the end of the parent, however it comes, is the end of its lines."""
    lines: Lines = queue.SimpleQueue()
    threading.Thread(target=read_lines, args=(lines,), daemon=True).start()
    quiet()
    garbage.hold()
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401  (the slow part, while the parent imports torch)

    garbage.release()
    where = lines.get()
    if where is None:
        return
    asked = json.loads(where)
    try:
        place = connect(asked["uri"], asked["experiment"], asked["results_dir"])
    except UsageError as error:
        say({"problem": str(error)})
        return
    say({"problem": None})
    mirrors: dict[Path, Mirror] = {}
    with contextlib.suppress(Exception):  # a server that went away again: psilon-sync sends what earlier runs left
        mirrors = {folder: Mirror(place, folder) for folder in lacking_of(place, unsent(asked["earlier"], place.uri))}
    sweeps = {folder.parent for folder in mirrors}
    at_end = False
    while not at_end:
        folders, at_end = received(lines)
        mirrors |= {folder: Mirror(place, folder) for folder in folders}
        sweeps |= {folder.parent for folder in folders}
        mirrors, problem = send_all(place, mirrors, at_end, lambda left: say({"left": left}))
    if not problem:
        with contextlib.suppress(Exception):  # a summary of what is there already; the next sweep mends it
            update_parents(place, sweeps)
    what = f"MLflow at {place.uri}: {problem}. {len(mirrors)} records are not sent; {LATER}."
    say({"problem": what if problem else None})


def received(lines: Lines) -> tuple[list[Path], bool]:
    """The folders that come in within a while, for what is sent together costs less; whether it was the end."""
    folders, until = [], time.monotonic() + SEND_EVERY_S
    with contextlib.suppress(queue.Empty):
        while (line := lines.get(timeout=max(0.0, until - time.monotonic()))) is not None:
            folders.append(Path(json.loads(line)))
        return folders, True
    return folders, False


def unsent(folder: str | None, uri: str) -> dict[Path, str]:
    """The records of this folder that MLflow at `uri` should have and has not, but for those still being computed."""
    records = (path.parent for path in sorted(Path(folder).glob("*/run.json"))) if folder is not None else ()
    runs = ((record, read_run(record)) for record in records)
    return {record: run["params"]["name"] for record, run in runs if run is not None and is_unsent(record, run, uri)}


def is_unsent(record: Path, run: dict[str, Any], uri: str) -> bool:
    """Whether a record was to go to `uri`, is not there whole, and its process has gone."""
    state = state_of(record)
    wanted = run["params"].get("tracking.name") == "mlflow" and (state is None or state.uri == uri)
    return wanted and is_gone(run) and not is_sent(record, uri)


def read_lines(lines: Lines) -> None:
    """A thread: stdin into a queue, None at its end."""
    for line in sys.stdin:
        lines.put(line)
    lines.put(None)


def say(what: dict[str, Any]) -> None:
    """Tell the parent, who may be gone."""
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(what), flush=True, file=sys.__stdout__)


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):  # what libraries print is no answer
        try:
            main()
        except Exception as error:
            say({"problem": f"The process that sends to MLflow ended: {reason_of(error)}. Set tracking=none to go on."})
