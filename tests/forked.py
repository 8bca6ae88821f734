"""psilon-run, one command after the other, each in a fork of a process that has imported everything already.

The server speaks in lines of JSON. In: {"do": "start", ...} begins a command and answers with its process id;
{"do": "wait", "pid": ..., "seconds": ...} answers with its exit code, or null where it has not ended by then.
"""

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

# what a sweep imports on its way: a fork finds it imported
IMPORTED = (
    "psilon_bench.sweep.sweep",
    "psilon_bench.training.race",
    "pyarrow.csv",
    "pyarrow.parquet",
    "pyarrow.feather",
    "charset_normalizer",
    "scipy.stats",
    "sklearn.datasets",
    "hydra.core.plugins",
)


class Said(NamedTuple):
    """What became of a command; code None: it was ended, for it took too long."""

    code: int | None
    out: str
    err: str


class Started:
    """A command under way: what subprocess.Popen offers of one."""

    def __init__(self, server: "Forked", pid: int, files: Sequence[Path]) -> None:
        self.server, self.pid, self.files = server, pid, files
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, minus the signal's number where one ended it; None while it runs."""
        return self.wait(0)

    def wait(self, seconds: float) -> int | None:
        """Return the exit code as soon as there is one, and None after so many seconds."""
        if self.returncode is None:
            self.returncode = self.server.ask(do="wait", pid=self.pid, seconds=seconds)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal to the process alone, if it has not ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def said(self) -> list[str]:
        """Return what is in its files: of standard output and of standard error."""
        return [path.read_bytes().decode(errors="backslashreplace") for path in self.files]

    def communicate(self, timeout: float = 240) -> list[str]:
        """Wait for its end; return all that it said, as subprocess does."""
        if self.wait(timeout) is None:
            raise subprocess.TimeoutExpired("psilon-run", timeout)
        return self.said()


class Forked:
    """The parent's side."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process, self.folder = process, folder

    def ask(self, **what: Any) -> Any:
        """One line there, one line back."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def start(self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> Started:
        """Begin a command in this folder; environment: in the place of the server's."""
        files = [Path(tempfile.mkstemp(suffix=f".{name}", dir=self.folder)[1]) for name in ("out", "err")]
        own = environment and dict(environment)
        pid = self.ask(
            do="start", arguments=[*arguments], folder=str(folder), environment=own, files=[*map(str, files)]
        )
        return Started(self, pid, files)

    def __call__(
        self,
        arguments: Sequence[str],
        folder: Path,
        seconds: float = 60.0,
        environment: Mapping[str, str] | None = None,
    ) -> Said:
        """Run one command to its end, and end what it left."""
        started = self.start(arguments, folder, environment)
        code = started.wait(seconds)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        if code is None:
            started.wait(60)
        return Said(code, *started.said())


@contextlib.contextmanager
def forked(**environment: str) -> Iterator[Forked]:
    """The server, on one thread, for as long as it is needed."""
    pipe = subprocess.PIPE
    own = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1", "PYTHONUTF8": "1", **environment}
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen([sys.executable, __file__], stdin=pipe, stdout=pipe, env=own, text=True) as process,
    ):
        try:
            yield Forked(process, Path(folder))
        finally:
            process.stdin.close()  # type: ignore[union-attr]


def serve() -> None:
    """The child's side."""
    for module in IMPORTED:
        importlib.import_module(module)

    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        asked = json.loads(line)
        answer = start(**asked) if asked.pop("do") == "start" else wait(**asked)
        print(json.dumps(answer), file=answers, flush=True)


def start(arguments: list[str], folder: str, environment: dict[str, str] | None, files: list[str]) -> int:
    """Fork a process that becomes the command; return its id, which is that of its group, too."""
    child = os.fork()
    if not child:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, file in enumerate(files, 1):
            os.dup2(os.open(file, os.O_WRONLY | os.O_APPEND), number)
        os.chdir(folder)
        if environment is not None:
            os.environ.clear()
            os.environ.update(environment)
        become(arguments)
    return child


def wait(pid: int, seconds: float) -> int | None:
    """Return the exit code of a child, or None where it has not ended within so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended or time.monotonic() >= deadline:
            return os.waitstatus_to_exitcode(status) if ended else None
        time.sleep(0.005)


def become(arguments: list[str]) -> None:
    """psilon-run with these arguments, to its exit code."""
    from psilon_bench.cli.run import main

    sys.argv = ["psilon-run", *arguments]
    code: Any = 99
    try:
        main()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 99
    except BaseException:  # what our own main lets through
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
