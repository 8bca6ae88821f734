"""A configuration with its data and its fresh network or baseline, which is what engines are built of."""

from dataclasses import dataclass
from typing import Any

from psilon_bench.config.schema import Config
from psilon_bench.data.task import Task


@dataclass(frozen=True)
class Member:
    """A configuration with its data and its fresh network (or baseline)."""

    config: Config
    task: Task
    model: Any
