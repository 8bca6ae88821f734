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

from psilon_bench.errors import UsageError
from psilon_bench.tracking import Mirror, connect, quiet

SEND_EVERY_S = 3.0


class Sender:
    """The parent's side: `open` before the first record, `follow` for each record, `close` at the end."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "psilon_bench.sender"]
        pipe = subprocess.PIPE
        # a session of its own: Ctrl-C on the terminal is for the run, which then tells us how it ended
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, start_new_session=True)
        self.uri: str | None = None

    def open(self, uri: str, experiment: str, results_dir: str) -> None:
        """Connect, creating database and experiment where they are missing; UsageError where that cannot be."""
        if self.uri is not None:
            return
        self.tell(json.dumps({"uri": uri, "experiment": experiment, "results_dir": results_dir}))
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


def main() -> None:
    """The child's side."""
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=read_lines, args=(lines,), daemon=True).start()
    quiet()
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401  (the slow part, while the parent imports torch)

    where = lines.get()
    if where is None:
        return
    place = json.loads(where)
    try:
        client, experiment_id = connect(**place)
    except UsageError as error:
        say(str(error))
        return
    say(None)
    mirrors: list[Mirror] = []
    problem = None
    at_end = False
    while not at_end:
        with contextlib.suppress(queue.Empty):
            folder = lines.get(timeout=SEND_EVERY_S)
            at_end = folder is None
            if folder is not None:
                mirrors.append(Mirror(client, experiment_id, place["uri"], Path(folder)))
        mirrors, problem = send_all(mirrors, at_end)
    say(problem and f"MLflow at {place['uri']}: {problem}. {len(mirrors)} records are not sent; they are whole.")


def send_all(mirrors: list[Mirror], at_end: bool) -> tuple[list[Mirror], str | None]:
    """Bring all up to date. Those still to be sent, and the first problem: after it the others wait."""
    left = list(mirrors)
    for mirror in mirrors:
        try:
            if mirror.send(at_end):
                left.remove(mirror)
        except Exception as error:  # whatever a server, a proxy or a database may raise
            return left, " ".join(str(error).split())[:200]
    return left, None


def read_lines(lines: "queue.SimpleQueue[str | None]") -> None:
    """stdin into a queue, None at its end."""
    for line in sys.stdin:
        lines.put(line.rstrip("\n"))
    lines.put(None)


def say(problem: str | None) -> None:
    """Answer the parent, who may be gone."""
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(problem), flush=True)


if __name__ == "__main__":
    main()
