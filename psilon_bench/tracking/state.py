"""What is written beside the records about MLflow: mlflow.json of a record, and the file of a sweep's folder."""

import json
import sys
from functools import cache
from pathlib import Path
from typing import Annotated, Self

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from psilon_bench.records.atomic_files import write_text
from psilon_bench.records.places import MLFLOW_STATE, RUN_JSON, mlflow_lock

RunId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
LOCKED_FOR_S = 100  # then the one that holds the lock hangs


class JsonFile(BaseModel):
    """A JSON file that anything may have happened to: one of another shape counts as absent, which is told once."""

    model_config = ConfigDict(strict=True, frozen=True)

    @classmethod
    def read(cls, file: Path) -> Self | None:
        """Return the file's content; None where there is none that can be used."""
        try:
            return cls.model_validate_json(file.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.strerror
            tell_once(f"{file} cannot be used and counts as absent: {reason}.")
            return None

    def write(self, file: Path) -> None:
        """Write the file whole or not at all."""
        write_text(file, json.dumps(self.model_dump(exclude_none=True)) + "\n", flushed=False)


class MirrorState(JsonFile):
    """mlflow.json: the MLflow run that mirrors the record, and whether it has all of the record."""

    uri: str
    run_id: RunId | None = None
    done: bool
    token: str | None = None  # of the mirror that sends; where it is another one's, that one has sent since


class ParentRun(JsonFile):
    """.mlflow-parent.json: the MLflow run that stands for the sweep of this folder."""

    uri: str
    run_id: RunId


@cache
def tell_once(line: str) -> None:
    """Print a line on stderr, once for each text."""
    print(f"psilon: {line}", file=sys.stderr)


def mirror_state(record: Path) -> MirrorState | None:
    """Return mlflow.json of a record; None where there is none that can be used."""
    return MirrorState.read(record / MLFLOW_STATE)


def is_sent(record: Path, uri: str) -> bool:
    """Return whether MLflow at `uri` has all of this record, as it is now."""
    state = mirror_state(record)
    if state is None or state.uri != uri or not state.done:
        return False
    return (record / MLFLOW_STATE).stat().st_mtime >= (record / RUN_JSON).stat().st_mtime


def sending_lock(folder: Path) -> FileLock:
    """Return the lock that is held while records of a sweep's folder, or its parent run, are sent.

    The file stays after the lock is released, for others may wait for it.
    """
    return FileLock(mlflow_lock(folder), timeout=LOCKED_FOR_S)
