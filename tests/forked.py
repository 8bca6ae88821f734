"""psilon-run, one command after the other, each in a fork of a process that has imported everything already.

Speaks in lines of JSON: [arguments, folder, seconds, environment] in, {code, out, err} out; the code of a command that
took longer than its seconds is null.
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


class Forked:
    """The parent's side."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def __call__(
        self,
        arguments: Sequence[str],
        folder: Path,
        seconds: float = 60.0,
        environment: Mapping[str, str] | None = None,
    ) -> Said:
        """Run one command in this folder; environment: in the place of the server's."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(
            json.dumps([list(arguments), str(folder), seconds, environment and dict(environment)]) + "\n"
        )
        self.process.stdin.flush()
        return Said(**json.loads(self.process.stdout.readline()))


@contextlib.contextmanager
def forked(**environment: str) -> Iterator[Forked]:
    """The server, on one thread, for as long as it is needed."""
    pipe = subprocess.PIPE
    own = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1", "PYTHONUTF8": "1", **environment}
    with subprocess.Popen([sys.executable, __file__], stdin=pipe, stdout=pipe, env=own, text=True) as process:
        try:
            yield Forked(process)
        finally:
            process.stdin.close()  # type: ignore[union-attr]


def serve() -> None:
    """The child's side."""
    for module in IMPORTED:
        importlib.import_module(module)

    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        print(json.dumps(answer(*json.loads(line))), file=answers, flush=True)


def answer(arguments: list[str], folder: str, seconds: float, environment: dict[str, str] | None) -> dict[str, Any]:
    """Run one command."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if not child:
            os.setsid()
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            os.chdir(folder)
            if environment is not None:
                os.environ.clear()
                os.environ.update(environment)
            become(arguments)
        deadline = time.monotonic() + seconds
        code = None
        while code is None and time.monotonic() < deadline:
            ended, status = os.waitpid(child, os.WNOHANG)
            code = os.waitstatus_to_exitcode(status) if ended else None
            time.sleep(0.005)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        if code is None:
            os.waitpid(child, 0)
        said = []
        for file in (out, err):
            file.seek(0)
            said.append(file.read().decode(errors="backslashreplace"))
        return {"code": code, "out": said[0], "err": said[1]}


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
