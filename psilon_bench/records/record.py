"""The local record of a run: a folder that holds everything about it, whatever else fails."""

import functools
import json
import math
import os
import platform
import sys
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from psilon_bench.config.addresses import redacted
from psilon_bench.config.code_version import git_commit
from psilon_bench.config.schema import Config
from psilon_bench.errors import UsageError
from psilon_bench.machine.process import this_process
from psilon_bench.records import places, run_json
from psilon_bench.records.atomic_files import atomic_write, flush, write_tensors, write_text
from psilon_bench.records.config_yaml import config_text
from psilon_bench.records.history import append_row, write_rows
from psilon_bench.records.run_json import ENDED_WELL, RunDict, Status
from psilon_bench.records.writable import probe

if TYPE_CHECKING:
    import pyarrow as pa

PACKAGES = ("psilon-bench", "torch", "numpy", "pandas", "scikit-learn", "hydra-core", "mlflow")


class Record:
    """The record of one run: a folder with config.yaml, history.csv, run.json, model.pt and more; see places.py.

    The folder is made on construction and shared with no other run. run.json says `running` until `finish`; a run
    that vanished without a word is one that still says so. Files are written whole under another name and renamed,
    but for history.csv, which grows by whole lines. All of them are on the disk before run.json says `finished`.

    A row of history.csv that cannot be written (disk full, folder gone) stops no training: `rows` has it, and `finish`
    writes them all.
    """

    def __init__(self, config: Config, about: dict[str, Any]) -> None:
        """Make the folder; `about` is what run.json is to say beside the configuration (the task, the command)."""
        now = datetime.now(UTC).astimezone()
        self.folder = places.new_record_folder(config, now)
        self.folder.mkdir(parents=True)
        self.configuration = config_text(config.nested())
        self.rows: list[dict[str, float]] = []
        self.unwritten: OSError | None = None  # why history.csv lacks rows
        self.write(places.CONFIG, self.configuration)
        self.run: RunDict = {
            "status": "running",
            "reason": None,
            "title": config.title,
            "metrics": {},
            "params": config.flat(),
            "fingerprint": config.fingerprint(),
            "seed": config.seed,
            "git_commit": git_commit(),
            "versions": versions(),
            "hardware": hardware(),
            "times": {"started": now_text(), "ended": None},
            "process": this_process(),
        } | about
        if config.data is not None:
            self.run |= {"identity": config.identity.key, "code_version": config.identity.code}
        self.save()

    @classmethod
    def reopen(cls, folder: Path, rows: Sequence[dict[str, float]] | None = None) -> "Record":
        """Return the record of a run that was stopped or has failed, to be continued after these rows."""
        record = cls.__new__(cls)
        record.folder, record.run = folder, run_json.read_raw(folder)
        record.configuration = (folder / places.CONFIG).read_text(encoding="utf-8")
        record.rows, record.unwritten = list(rows or []), None
        if not record.closed:
            (folder / places.ERROR).unlink(missing_ok=True)  # of the try that failed
            write_rows(folder / places.HISTORY, record.rows)
            record.run |= {"status": "running", "reason": None, "process": this_process()}
            record.run["times"].setdefault("resumed", []).append(now_text())
            record.save()
        return record

    @property
    def closed(self) -> bool:
        """Return whether the run has ended for good: its record never changes again."""
        return is_closed(self.run)

    def add_row(self, row: dict[str, float]) -> None:
        """Append one evaluation to history.csv."""
        self.rows.append(row)
        try:
            append_row(self.folder / places.HISTORY, row)
        except OSError as error:
            self.unwritten = error

    def finish(self, status: Status, metrics: dict[str, float] | None = None, reason: str | None = None) -> None:
        """Write how the run ended. Metrics that are not finite are left out: JSON has no word for them."""
        finite = {name: value for name, value in (metrics or {}).items() if math.isfinite(value)}
        self.run |= {"status": status, "reason": reason, "metrics": finite}
        self.run["times"]["ended"] = now_text()
        self.restore()
        for path in sorted(self.folder.iterdir()):
            if path.is_file() and path.name != places.RUN_JSON and not path.name.startswith("."):
                flush(path)
        self.save(flushed=True)

    def restore(self) -> None:
        """Write again what could not be written, or what is gone because the folder was deleted in the meantime."""
        if self.unwritten is None and (self.folder / places.CONFIG).exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self.write(places.CONFIG, self.configuration)
        write_rows(self.folder / places.HISTORY, self.rows)
        self.save()
        self.unwritten = None

    def save(self, flushed: bool = False) -> None:
        """Write run.json."""
        write_text(self.folder / places.RUN_JSON, json.dumps(self.run, indent=2) + "\n", flushed)

    def save_tensors(self, name: str, state: dict[str, torch.Tensor]) -> None:
        """Write a state_dict that torch.load(..., weights_only=True) reads."""
        write_tensors(self.folder / name, state, flushed=False)

    def save_estimator(self, estimator: object) -> None:
        """Write a fitted estimator of scikit-learn's or this package's, which skops.io.load reads without a pickle."""
        import skops.io  # seconds

        with atomic_write(self.folder / places.ESTIMATOR, flushed=False) as part:
            skops.io.dump(estimator, part, compression=zipfile.ZIP_DEFLATED)

    def save_parquet(self, name: str, table: "pa.Table") -> None:
        """Write a table of Arrow."""
        import pyarrow.parquet as pq

        with atomic_write(self.folder / name, flushed=False) as part:
            pq.write_table(table, part, compression="zstd")

    def write(self, name: str, text: str) -> None:
        """Write a text file whole or not at all."""
        write_text(self.folder / name, text, flushed=False)


def is_closed(run: RunDict) -> bool:
    """Return whether the record of this run.json is complete: finished, raced out, or diverged, as it would again."""
    return run["status"] in ENDED_WELL or run.get("diverged", False)


def now_text() -> str:
    """Return the time now as ISO 8601 text with the local offset."""
    return datetime.now(UTC).astimezone().isoformat(timespec="milliseconds")


def check_writable(results_dir: str) -> None:
    """Raise UsageError unless records can be written there; leave nothing behind."""
    try:
        probe(Path(results_dir))
    except OSError as error:
        raise UsageError(
            f"results_dir={results_dir} cannot be written: {error.strerror}. Set results_dir=<a folder of yours>."
        ) from error


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions of what computes."""
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def hardware() -> dict[str, Any]:
    """Return processor, cores, threads used and GPU."""
    return {
        "processor": processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


@functools.cache
def processor() -> str:
    """Return the processor's name as far as the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def command_line() -> list[str]:
    """Return the command line as typed, the program by its name alone, without passwords."""
    return [Path(sys.argv[0]).name, *map(redacted, sys.argv[1:])]
