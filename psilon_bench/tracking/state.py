"""What is written down of MLflow beside the records: mlflow.json of a record, and the file of a sweep's folder."""

import json
import sys
from functools import cache
from pathlib import Path
from typing import Annotated, Self

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, ValidationError

RunId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
STATE = "mlflow.json"
LOCKED_FOR_S = 100  # then the one that holds the lock hangs
PARENT = ".mlflow-parent.json"


class Written(BaseModel):
    """A file of JSON that anything may have happened to: one of another shape counts as absent, which is told once."""

    model_config = ConfigDict(strict=True, frozen=True)

    @classmethod
    def read(cls, file: Path) -> Self | None:
        """The file's content; None where there is none that can be used."""
        try:
            return cls.model_validate_json(file.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.strerror
            tell_once(f"{file} cannot be used and counts as absent: {reason}.")
            return None

    def write(self, file: Path) -> None:
        """Whole or not at all."""
        part = file.with_name(f".{file.name.lstrip('.')}.part")
        part.write_text(json.dumps(self.model_dump(exclude_none=True)) + "\n", encoding="utf-8")
        part.replace(file)


class State(Written):
    """mlflow.json: which MLflow run mirrors the record, and whether it has all of it."""

    uri: str
    run_id: RunId | None = None
    done: bool
    token: str | None = None  # of the mirror that sends: another one has sent since where it is another


class Parent(Written):
    """.mlflow-parent.json: which MLflow run stands for the sweep of this folder."""

    uri: str
    run_id: RunId


@cache
def tell_once(line: str) -> None:
    """A line beside what the command says."""
    print(f"psilon: {line}", file=sys.stderr)


def state_of(record: Path) -> State | None:
    """mlflow.json of a record; None where there is none that can be used."""
    return State.read(record / STATE)


def is_sent(record: Path, uri: str) -> bool:
    """Whether MLflow at `uri` has all of this record, as it is now."""
    state = state_of(record)
    if state is None or state.uri != uri or not state.done:
        return False
    return (record / STATE).stat().st_mtime >= (record / "run.json").stat().st_mtime


def sending_lock(sweep: Path) -> FileLock:
    """Held by the one that sends records of this folder, or its parent run; the file stays, for others may wait."""
    return FileLock(sweep / ".mlflow.lock", timeout=LOCKED_FOR_S)
