"""Networks of records for figures, rebuilt without running anything that a record says: it may be a stranger's.

A network is made by a class that a YAML file of this package names, and its weights are read as tensors alone. The
preprocessing of a record is a pickle, which could run anything, and is not read.
"""

from functools import cache
from typing import Any

import yaml

from psilon_bench.config.options import options
from psilon_bench.config.schema import DatasetSection
from psilon_bench.data.task import Task
from psilon_bench.records import places
from psilon_bench.records.networks import SavedNetwork, Which, load_network
from psilon_bench.report.datasets import is_drawn
from psilon_bench.report.records import Run


class Foreign(Exception):
    """A record asks for code that is not of this package."""


class Changed(Exception):
    """The data are not what they were when the network was trained."""


def network(run: Run, which: Which) -> SavedNetwork:
    """The network of a record, without preprocessing; Foreign unless this package made it."""
    check_own(section(run, "model"), "model")
    loaded, inputs, task = load_network(run.folder, which)
    return SavedNetwork(loaded, None, inputs, task)


def task(run: Run) -> Task:
    """The data set of a record, read or drawn again; Foreign unless this package does it, UsageError without data."""
    values = section(run, "dataset")
    check_own(values, "dataset")
    made = DatasetSection.model_validate(values)
    task: Task = made.build(name=made.name)
    if task.checksum != run.checksum and not is_drawn(run):
        raise Changed(f"the data have changed (checksum {run.checksum[:8]} -> {task.checksum[:8]})")
    return task


def section(run: Run, name: str) -> Any:
    """A section of the configuration, read as plain values."""
    return yaml.safe_load((run.folder / places.CONFIG).read_text(encoding="utf-8"))[name]


def check_own(values: dict[str, Any], group: str) -> None:
    """Foreign unless the target is one that the package names for this group; nothing is imported to find out."""
    if values["_target_"] not in own_targets(group):
        raise Foreign(f"{group}._target_={values['_target_']} is not of this package, and a report runs no other code")


@cache
def own_targets(group: str) -> frozenset[str | None]:
    """The targets of the package's own options."""
    return frozenset(option.target for option in options(group).values())
