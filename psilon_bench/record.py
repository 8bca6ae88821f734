"""The local record of a run: a folder of its own that holds everything about it, whatever else fails."""

import json
import math
import os
import platform
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch
from omegaconf import OmegaConf

from psilon_bench import trusted
from psilon_bench.config import Config
from psilon_bench.errors import UsageError
from psilon_bench.history import append_row, cut_after
from psilon_bench.process import this_process
from psilon_bench.writable import probe

Status = Literal["running", "finished", "failed", "killed"]
Run = dict[str, Any]  # run.json
PACKAGES = ("psilon-bench", "torch", "numpy", "pandas", "scikit-learn", "hydra-core", "mlflow")


class Record:
    """config.yaml, history.csv, run.json, and model.pt of one run, in results_dir/name/<time>_<model>_<reg>_<id>.

    The folder is made on construction and shared with no other run. run.json says `running` until `finish`; a run
    that vanished without a word is one that still says so. Files are written whole under another name and renamed,
    but for history.csv, which grows by whole lines.
    """

    def __init__(self, config: Config, about: dict[str, Any]) -> None:
        """about: what is known before training and belongs into run.json (the task, the command)."""
        now = datetime.now(UTC).astimezone()
        stem = f"{now:%Y-%m-%d_%H-%M-%S}_{config.model.name}_{config.reg.name}_{uuid.uuid4().hex[:8]}"
        self.folder = Path(config.results_dir, config.name, stem).absolute()
        self.folder.mkdir(parents=True)
        self.write("config.yaml", OmegaConf.to_yaml(OmegaConf.create(config.nested())))
        self.run: Run = {
            "status": "running",
            "reason": None,
            "title": config.title,
            "metrics": {},
            "params": config.flat(),
            "fingerprint": config.fingerprint(),
            "seed": config.seed,
            "git_commit": git_commit(),
            "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
            "hardware": hardware(),
            "times": {"started": now_text(), "ended": None},
            "process": this_process(),
        } | about
        self.save()

    @classmethod
    def reopen(cls, folder: Path, last_epoch: float) -> "Record":
        """Go on with the record of a run that was stopped, from the row of this epoch."""
        record = cls.__new__(cls)
        record.folder, record.run = folder, json.loads((folder / "run.json").read_text())
        if not record.closed:
            cut_after(folder / "history.csv", last_epoch)
            record.run |= {"status": "running", "reason": None, "process": this_process()}
            record.run["times"].setdefault("resumed", []).append(now_text())
            record.save()
        return record

    @property
    def closed(self) -> bool:
        """Whether the run has ended for good."""
        return is_closed(self.run)

    def add_row(self, row: dict[str, float]) -> None:
        """Append one evaluation to history.csv."""
        append_row(self.folder / "history.csv", row)

    def finish(self, status: Status, metrics: dict[str, float] | None = None, reason: str | None = None) -> None:
        """The run's last word. Metrics that are not finite are left out: JSON has no word for them."""
        finite = {name: value for name, value in (metrics or {}).items() if math.isfinite(value)}
        self.run |= {"status": status, "reason": reason, "metrics": finite}
        self.run["times"]["ended"] = now_text()
        self.save()

    def save(self) -> None:
        """Write run.json."""
        self.write("run.json", json.dumps(self.run, indent=2) + "\n")

    def save_tensors(self, name: str, state: dict[str, torch.Tensor]) -> None:
        """A state_dict that torch.load(..., weights_only=True) reads."""
        part = self.folder / f".{name}.part"
        torch.save(state, part)
        part.replace(self.folder / name)

    def save_object(self, name: str, value: object) -> None:
        """A fitted transformer or estimator of scikit-learn's or our own, without a pickle; see trusted.load."""
        part = self.folder / f".{name}.part"
        trusted.dump(value, part)
        part.replace(self.folder / name)

    def write(self, name: str, text: str) -> None:
        """Write a text file whole or not at all."""
        part = self.folder / f".{name}.part"
        part.write_text(text)
        part.replace(self.folder / name)


def is_closed(run: Run) -> bool:
    """Whether the run of this run.json has ended for good: finished, or diverged, as it would again."""
    return run["status"] == "finished" or run.get("diverged", False)


def now_text() -> str:
    """ISO 8601 with the local offset."""
    return datetime.now(UTC).astimezone().isoformat(timespec="milliseconds")


def check_writable(results_dir: str) -> None:
    """UsageError unless records can be written there; leaves nothing behind."""
    try:
        probe(Path(results_dir))
    except OSError as error:
        raise UsageError(
            f"results_dir={results_dir} cannot be written: {error.strerror}. Set results_dir=<a folder of yours>."
        ) from error


def git_commit() -> str | None:
    """The commit of the source tree the package runs from, with + where it has changes; None when installed."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:  # an installed package may lie inside somebody's repository without being of it
        subprocess.run([*git, "ls-files", "--error-unmatch", "record.py"], capture_output=True, timeout=5, check=True)
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True)
        changes = subprocess.run([*git, "diff", "--quiet", "HEAD"], capture_output=True, timeout=5, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return commit.stdout.strip() + ("+" if changes.returncode else "")


def hardware() -> dict[str, Any]:
    """Processor, cores, threads used, GPU."""
    return {
        "processor": processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def processor() -> str:
    """The processor's name as far as the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def command_line() -> list[str]:
    """As typed, the program by its name alone."""
    return [Path(sys.argv[0]).name, *sys.argv[1:]]
