"""A finished run, to be predicted with or exported: its record is checked, and what a reader should doubt is said."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from psilon_bench.config.code_version import code_version
from psilon_bench.data.preprocessing import Preprocessing
from psilon_bench.errors import UsageError
from psilon_bench.records import places, run_json
from psilon_bench.records.networks import SavedNetwork, Which, load
from psilon_bench.records.record import versions
from psilon_bench.records.run_json import RunJson

NetworkSize = Literal["full", "compact"]


@dataclass(frozen=True)
class FinishedRun:
    """The record of a finished run: its folder, run.json, and config.yaml as plain values."""

    folder: Path
    about: RunJson
    config: dict[str, Any]

    def weights(self, size: NetworkSize) -> Which:
        """Return which network this is: `full` is the network whose test scores are recorded, pruned or as trained.

        Raises UsageError where no smaller network was kept.
        """
        if size == "full":
            return places.tested_network(self.folder)
        if self.smallest() == "full":
            raise UsageError(
                f"--which compact needs compact.pt, which a run leaves whose network has dead units or inputs, but "
                f"{self.folder} has none. Take --which full, or train with pruner=l1_projection."
            )
        return "compact"

    def smallest(self) -> NetworkSize:
        """Return the smaller size that is there."""
        return "compact" if "compact" in places.weights_there(self.folder) else "full"

    def load(self, size: NetworkSize) -> SavedNetwork:
        """Return the network with its preprocessing."""
        if self.about.task.kind == "recovery":
            raise UsageError(f"{self.folder} recovered a vector from measurements, which predicts no rows.")
        return load(self.folder, self.weights(size))

    def other_versions(self) -> Iterator[str]:
        """Yield a note where the run is of another version of the package's numerics than this one."""
        before, now = self.about.versions.get("psilon-bench"), versions()["psilon-bench"]
        if before is not None and before != now:
            yield f"{self.folder} was trained by psilon-bench {before}, and this is {now}: predictions may differ"
        elif self.about.code_version not in (None, code_version([])) and not self._has_foreign_parts():
            was = str(self.about.code_version)[:8]
            yield (
                f"{self.folder} was trained by another version of the code (version {was} -> {code_version([])[:8]}): "
                "predictions may differ"
            )

    def _has_foreign_parts(self) -> bool:
        """Return whether code of the user's own is part of the run's code version."""
        targets = [part["_target_"] for part in self.config.values() if isinstance(part, dict) and "_target_" in part]
        functions = self.config.get("metrics", {}).get("functions", [])
        return bool(functions) or any(
            str(target).partition(".")[0] not in ("psilon_bench", "torch") for target in targets
        )


def finished_run(folder: Path) -> FinishedRun:
    """Return the run in a folder; UsageError, in one line, where there is none or it did not end well."""
    try:
        about = run_json.read_run_json(folder / places.RUN_JSON)
    except run_json.Unreadable as error:
        raise UsageError(f"RUN must be the folder of a run, but {error}. Take one of results/NAME.") from error
    if about.status != "finished":
        raise UsageError(
            f"RUN must be a finished run, but {folder} is {about.status}. Train it to its end, or take another."
        )
    config = yaml.safe_load((folder / places.CONFIG).read_text(encoding="utf-8"))
    return FinishedRun(folder, about, config)


def is_ensemble(folder: Path) -> bool:
    """Return whether the folder holds an ensemble of several networks."""
    return (folder / places.ENSEMBLE_JSON).exists()


def roles_of(saved: SavedNetwork, folder: Path) -> dict[str, str]:
    """Return the columns of raw rows with what each holds; UsageError where the network does not read a table."""
    if not isinstance(saved.preprocessing, Preprocessing):
        raise UsageError(
            f"{folder} was trained on images or drawn numbers, not on a table with columns. Take another run."
        )
    return dict(saved.preprocessing.roles)
