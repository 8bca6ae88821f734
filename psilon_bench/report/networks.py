"""Networks of records for figures, rebuilt without running code that a record names: anybody may have written it.

A network is made by a class that a YAML file names, of this package or of a folder that the command line names, and its
weights are read as tensors alone. The preprocessing is fitted again to the data, which a figure needs in any case.
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
    """A record asks for code that is neither of this package nor of a folder that the command line names."""


class Changed(Exception):
    """The data are not those that the network was trained on."""


def network(run: Run, which: Which) -> SavedNetwork:
    """Return the network of a record, without preprocessing; Foreign unless its class is of this package."""
    check_own(section(run, "model"), "model")
    loaded, inputs, task = load_network(run.folder, which)
    return SavedNetwork(loaded, None, inputs, task)


def task(run: Run) -> Task:
    """Return the task of a record, whose data are read or drawn again.

    Raises Foreign unless the source is of this package, Changed for other data, and UsageError where data are missing.
    """
    values = section(run, "dataset")
    check_own(values, "dataset")
    made = DatasetSection.model_validate(values)
    task: Task = made.build(name=made.name)
    if task.checksum != run.checksum and not is_drawn(run):
        raise Changed(f"the data have changed (checksum {run.checksum[:8]} -> {task.checksum[:8]})")
    return task


def section(run: Run, name: str) -> Any:
    """Return a section of the record's configuration, read as plain values."""
    return yaml.safe_load((run.folder / places.CONFIG).read_text(encoding="utf-8"))[name]


def check_own(values: dict[str, Any], group: str) -> None:
    """Raise Foreign unless the target is one that the package names for this group; nothing is imported to find out."""
    if values["_target_"] not in own_targets(group):
        raise Foreign(
            f"{group}._target_={values['_target_']} is not of this package, and a report runs no other code "
            "(--config-dir names a folder of yours)"
        )


@cache
def own_targets(group: str) -> frozenset[str | None]:
    """Return the targets of the options of the package, and of the folders that the command line names."""
    return frozenset(option.target for option in options(group).values())
