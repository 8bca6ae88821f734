"""psilon-run as a process, and the records it leaves."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

PROGRAM = Path(sys.executable).with_name("psilon-run")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}


class Said(NamedTuple):
    code: int
    out: str
    err: str


def start(*arguments: str, folder: Path) -> subprocess.Popen[str]:
    """The command in a process of its own."""
    pipe = subprocess.PIPE
    return subprocess.Popen([PROGRAM, *arguments], cwd=folder, env=ENVIRONMENT, stdout=pipe, stderr=pipe, text=True)


def end(process: Any) -> Said:
    """What became of a command that `start`, or the server of forked.py, began."""
    out, err = process.communicate(timeout=120)
    return Said(process.returncode, out, err)


def records(folder: Path) -> list[Path]:
    """The folders of all records below results/."""
    return sorted(path.parent for path in folder.glob("results/*/*/run.json"))


def run_json(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run.json").read_text())
