"""A process beside the run that keeps MLflow up to date with its records.

It imports MLflow while the run imports torch, sends while the run trains, and an outage of the tracking server never
holds a training step. Parent and child speak in lines: the parent sends where to, then the folder of each record; the
child answers `ready` or what is wrong; the end of the parent, however it comes, is the end of its lines.
"""

import contextlib
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from psilon_bench import garbage
from psilon_bench.errors import UsageError
from psilon_bench.parents import update_parents
from psilon_bench.process import is_gone
from psilon_bench.tracking import Mirror, check_server, connect, is_sent, quiet, read_run, state_of

SEND_EVERY_S = 3.0


class Sender:
    """The parent's side: `open` before the first record, `follow` for each record, `close` at the end."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "psilon_bench.sender"]
        pipe = subprocess.PIPE
        # a session of its own: Ctrl-C on the terminal is for the run, which then tells us how it ended
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, start_new_session=True)
        self.uri: str | None = None

    def open(self, uri: str, experiment: str, results_dir: str, name: str | None = None) -> None:
        """Connect, creating database and experiment where they are missing; UsageError where that cannot be.

        What earlier runs in results_dir/name left unsent is sent too.
        """
        if self.uri is not None:
            return
        earlier = str(Path(results_dir, name).absolute()) if name else None
        self.tell(json.dumps({"uri": uri, "experiment": experiment, "results_dir": results_dir, "earlier": earlier}))
        problem = self.answer()
        if problem:
            raise UsageError(problem)
        self.uri = uri

    def follow(self, folder: Path) -> None:
        """Mirror this record from now on."""
        self.tell(str(folder))

    def close(self) -> str | None:
        """Wait until all is sent; what is wrong where it could not be."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        if self.uri is None:
            self.process.kill()
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        problem = self.answer() if self.uri is not None else None
        self.process.wait()
        self.process.stdout.close()
        return problem

    def tell(self, line: str) -> None:
        """Send a line; that the child is gone shows in its answer."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()

    def answer(self) -> str | None:
        """The child's next answer: None for success, else what is wrong."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        return json.loads(line) if line else "the process that sends to MLflow ended"


@contextlib.contextmanager
def sending(wanted: bool) -> Iterator[Sender | None]:
    """A sender that is started at once, and closed at the end with a word on stderr where it could not send all."""
    sender = Sender() if wanted else None
    try:
        yield sender
    finally:
        problem = sender.close() if sender is not None else None
        if problem:
            print(f"psilon-run: {problem}", file=sys.stderr)


def wants_mlflow(cfg: DictConfig) -> bool:
    """Whether a record is to go to MLflow, of a configuration that is not yet checked."""
    return OmegaConf.select(cfg, "tracking.name", throw_on_resolution_failure=False) == "mlflow"


def main() -> None:
    """The child's side."""
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=read_lines, args=(lines,), daemon=True).start()
    quiet()
    garbage.hold()
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401  (the slow part, while the parent imports torch)

    garbage.release()

    where = lines.get()
    if where is None:
        return
    place = json.loads(where)
    earlier = place.pop("earlier")
    try:
        client, experiment_id = connect(**place)
    except UsageError as error:
        say(str(error))
        return
    say(None)
    mirrors = {
        folder: Mirror(client, experiment_id, place["uri"], folder)
        for folder in (unsent(Path(earlier), place["uri"]) if earlier else [])
    }
    sweeps = {folder.parent for folder in mirrors}
    problem = None
    at_end = False
    while not at_end:
        folders, at_end = received(lines)
        for folder in folders:
            mirrors[folder] = Mirror(client, experiment_id, place["uri"], folder)
            sweeps.add(folder.parent)
        left, problem = send_all(list(mirrors.values()), place["uri"], at_end)
        mirrors = {mirror.folder: mirror for mirror in left}
    if not problem:
        with contextlib.suppress(Exception):  # a summary of what is there already; the next sweep mends it
            update_parents(client, place["uri"], sweeps)
    later = "they are whole, and psilon-sync sends them later"
    say(problem and f"MLflow at {place['uri']}: {problem}. {len(mirrors)} records are not sent; {later}.")


def received(lines: "queue.SimpleQueue[str | None]") -> tuple[list[Path], bool]:
    """The folders that came in since the last call, waiting a while for the first; whether it was the end."""
    folders = []
    with contextlib.suppress(queue.Empty):
        line = lines.get(timeout=SEND_EVERY_S)
        while line is not None:
            folders.append(Path(line))
            line = lines.get_nowait()
        return folders, True
    return folders, False


def unsent(folder: Path, uri: str) -> list[Path]:
    """The records of this folder that MLflow at `uri` should have and has not, but for those still being computed."""
    records = (path.parent for path in sorted(folder.glob("*/run.json")))
    return [record for record in records if (run := read_run(record)) and is_unsent(record, run, uri)]


def is_unsent(record: Path, run: dict[str, Any], uri: str) -> bool:
    """Whether a record was to go to `uri`, is not there whole, and its process has gone."""
    wanted = run["params"]["tracking.name"] == "mlflow" and state_of(record).get("uri", uri) == uri
    return wanted and is_gone(run) and not is_sent(record, uri)


def send_all(mirrors: list[Mirror], uri: str, at_end: bool) -> tuple[list[Mirror], str | None]:
    """Bring all up to date. Those still to be sent, and the first problem; where the server is out, the others wait."""
    left, problem = list(mirrors), None
    for mirror in mirrors:
        try:
            if mirror.send(at_end):
                left.remove(mirror)
        except Exception as error:  # whatever a server, a proxy or a database may raise
            problem = problem or " ".join(str(error).split())[:200]
            if not answers(uri):
                break
    return left, problem


def answers(uri: str) -> bool:
    """Whether the tracking server does."""
    try:
        check_server(uri)
    except UsageError:
        return False
    return True


def read_lines(lines: "queue.SimpleQueue[str | None]") -> None:
    """stdin into a queue, None at its end."""
    for line in sys.stdin:
        lines.put(line.rstrip("\n"))
    lines.put(None)


def say(problem: str | None) -> None:
    """Answer the parent, who may be gone."""
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(problem), flush=True, file=sys.__stdout__)


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):  # what libraries print is no answer
        main()
