"""The commands in this process: psilon-predict and psilon-export with what they print and their exit code."""

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from psilon_bench.cli import export, predict


class Said:
    """What a command printed, and its exit code."""

    def __init__(self, main: Callable[[], Any], name: str, arguments: tuple[Any, ...]) -> None:
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            patch.setattr("sys.argv", [name, *map(str, arguments)])
            with pytest.raises(SystemExit) as ended:
                main()
        self.code, self.out, self.err = ended.value.code, out.getvalue(), err.getvalue()


def predicting(*arguments: str | Path) -> Said:
    """psilon-predict with these arguments."""
    return Said(predict.main, "psilon-predict", arguments)


def exporting(*arguments: str | Path) -> Said:
    """psilon-export with these arguments."""
    return Said(export.main, "psilon-export", arguments)
