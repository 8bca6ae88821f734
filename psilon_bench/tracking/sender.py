"""The parent's side of a process that keeps MLflow up to date with the records while they are made.

It imports MLflow while the run imports torch, and sends while the run trains; neither an outage of the tracking server
nor a sender that hangs ever holds a training step. The two speak in lines of JSON: the parent tells where to, then the
folder of each record; the child answers. Every wait for an answer has an end.
"""

import contextlib
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from psilon_bench.config.addresses import redacted
from psilon_bench.errors import UsageError
from psilon_bench.tracking.progress_line import progress_line
from psilon_bench.tracking.state import is_sent

SILENT_FOR_S = 120.0  # then the sender hangs: while it sends it tells how many are left
ENDS_WITHIN_S = 5.0  # after its last answer
SENDING_REST = "psilon-run: {} records are being sent to MLflow; Ctrl-C leaves them to psilon-sync"
LATER = "they are whole, and psilon-sync sends them later"


class Sender:
    """The process that sends to MLflow: `open` it before the first record, `follow` each record, `close` it."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "psilon_bench.tracking.sender_process"]
        pipe = subprocess.PIPE
        # a session of its own: Ctrl-C on the terminal is for the run, which then tells us how it ended
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, start_new_session=True)
        self.uri: str | None = None
        self.followed: set[Path] = set()
        self.lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.answers: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        # so that neither a pipe that is full nor one that is empty holds anybody
        self.threads = [threading.Thread(target=work, daemon=True) for work in (self.write, self.read)]
        for thread in self.threads:
            thread.start()

    def open(self, uri: str, experiment: str, results_dir: str, name: str | None = None) -> None:
        """Connect, creating database and experiment where they are missing; UsageError where that cannot be.

        Records that earlier runs in results_dir/name left unsent are sent too.
        """
        if self.uri is not None:
            return
        earlier = str(Path(results_dir, name).absolute()) if name else None
        self.tell({"uri": uri, "experiment": experiment, "results_dir": results_dir, "earlier": earlier})
        answer = self.answer()
        if answer is None:
            raise UsageError(f"{self.silence()}, and MLflow at {redacted(uri)} is not reached. Set tracking=none.")
        if answer["problem"]:
            raise UsageError(answer["problem"])
        self.uri = uri

    def follow(self, folder: Path) -> None:
        """Mirror this record from now on."""
        self.followed.add(folder)
        self.tell(str(folder))

    def close(self, show_left: Callable[[int], None] = lambda _: None) -> str | None:
        """Wait until all is sent, as long as that goes on; return what is wrong where it could not be."""
        self.lines.put(None)
        answer = None
        try:
            if self.uri is None:
                return None
            answer = self.answer(show_left)
            return answer["problem"] if answer is not None else self.unsent(redacted(self.uri))
        finally:
            self.end(at_once=answer is None)

    def end(self, at_once: bool) -> None:
        """End the process, so that none is left behind."""
        if at_once:
            self.process.kill()
        try:
            self.process.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
        for thread in self.threads:
            thread.join(ENDS_WITHIN_S)

    def unsent(self, uri: str) -> str | None:
        """Return a line that says how many records the ended process has not sent; None where it has sent all."""
        left = sum(not is_sent(folder, uri) for folder in self.followed)
        return f"MLflow at {uri}: {self.silence()}. {left} records are not sent; {LATER}." if left else None

    def silence(self) -> str:
        """Return the reason why there is no answer."""
        if self.process.poll() is not None:
            return "the process that sends to MLflow ended"
        return f"the process that sends to MLflow has said nothing for {SILENT_FOR_S:.0f} s"

    def tell(self, what: Any) -> None:
        """Send a line without waiting; if the child is gone, `answer` shows it."""
        self.lines.put(json.dumps(what))

    def answer(self, show_left: Callable[[int], None] = lambda _: None) -> dict[str, Any] | None:
        """Return what the child answers, after its lines on progress; None where it ends or stays silent."""
        with contextlib.suppress(queue.Empty):
            while (answer := self.answers.get(timeout=SILENT_FOR_S)) is not None and "left" in answer:
                show_left(answer["left"])
            return answer
        return None

    def write(self) -> None:
        """Write `lines` to the child, and close its input after them; runs in a thread."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError), self.process.stdin as pipe:
            for line in iter(self.lines.get, None):
                pipe.write(line + "\n")
                pipe.flush()

    def read(self) -> None:
        """Put what the child says into `answers`, and None at its end; runs in a thread."""
        assert self.process.stdout is not None
        with contextlib.suppress(ValueError), self.process.stdout as pipe:
            for line in pipe:
                self.answers.put(json.loads(line))
        self.answers.put(None)


@contextlib.contextmanager
def sending(wanted: bool) -> Iterator[Sender | None]:
    """Yield a sender, started at once and closed at the end, with a line on stderr where records are unsent."""
    sender = Sender() if wanted else None
    try:
        yield sender
    finally:
        if sender is not None:
            with progress_line(SENDING_REST) as show_left:
                problem = sender.close(show_left)
            if problem:
                print(f"psilon-run: {problem}", file=sys.stderr)


def wants_mlflow(cfg: DictConfig) -> bool:
    """Return whether records are to go to MLflow, as a configuration says that is not yet checked."""
    return OmegaConf.select(cfg, "tracking.name", throw_on_resolution_failure=False) == "mlflow"
