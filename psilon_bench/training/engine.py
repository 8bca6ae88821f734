"""The contract of engines: what trains a stack of networks or fits a baseline returns values and writes nothing."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import pandas as pd
import pyarrow as pa
from torch import Tensor

from psilon_bench.config.sections import HardwareSection
from psilon_bench.data.image_scaler import ImageScaler
from psilon_bench.data.preprocessing import Preprocessing

Row = dict[str, float]  # numbers by the names of metrics
Ended = Literal["finished", "failed", "raced out"]
OnRow = Callable[[int, Row], None]


@dataclass
class Progress:
    """How far one member of a stack has come."""

    status: Literal["running"] | Ended = "running"
    reason: str | None = None
    last_row: Row = field(default_factory=dict)
    best_row: Row = field(default_factory=dict)
    waited: int = 0  # evaluations since the best

    @property
    def is_best(self) -> bool:
        """Return whether the last row has the lowest validation loss so far; without validation rows no row has."""
        best = self.best_row.get("val/loss", float("inf"))
        return self.last_row.get("val/loss", float("inf")) < best


@dataclass
class Outcome:
    """All that came of one member; the keys say what the values are, such as `model` or `inputs`."""

    status: Ended
    reason: str | None
    metrics: Row
    tensors: dict[str, dict[str, Tensor]] = field(default_factory=dict)  # state_dicts, on the CPU
    preprocessing: Preprocessing | ImageScaler | None = None  # that of the task
    estimator: object = None  # of scikit-learn's or this package's; None of a network
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    predictions: pa.Table | None = None  # of validation and test rows; None of what is no prediction, or has failed
    details: dict[str, Any] = field(default_factory=dict)  # what run.json has beside the metrics

    @property
    def diverged(self) -> bool:
        """Return whether the member failed by its own numbers, as it would again."""
        return self.status == "failed"


class Engine(Protocol):
    """What trains the members of a stack, or fits one baseline."""

    @property
    def members(self) -> Sequence[Progress]:
        """Return how far each member has come."""
        ...

    @property
    def precision(self) -> str:
        """Return the type in which steps multiply matrices, such as float32."""
        ...

    @property
    def device(self) -> str:
        """Return where the members are, such as cpu or cuda:0."""
        ...

    @property
    def epochs(self) -> int:
        """Return how many epochs `run` counts to its end."""
        ...

    @property
    def at_work(self) -> Sequence[int]:
        """Return the members that train at the moment: those to blame where `run` raises."""
        ...

    def tune(self, hardware: HardwareSection) -> str | None:
        """Choose threads, compile the training step as `hardware` asks for, and return a sentence about it, if any."""
        ...

    def run(self, on_row: OnRow, on_epoch: Callable[[int], None], safe_point: Callable[[], None]) -> None:
        """Train to the end. on_row(member, row) gets each row of a history as soon as it exists.

        safe_point is called between steps, on_epoch(epoch) after epochs; where they raise, `state` is whole.
        """
        ...

    def state(self) -> dict[str, Any]:
        """Return all that decides the rest of the run; empty for what cannot be stopped on its way."""
        ...

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on, bit for bit, from the `state` of an engine that was built of the same members."""
        ...

    def outcomes(self) -> Iterator[Outcome]:
        """Test what `run` has left, and yield what came of each member, in their order."""
        ...


class RaceableEngine(Engine, Protocol):
    """An engine that can be stopped after an epoch, so that some of its members may leave."""

    def advance(
        self, until: int, on_row: OnRow, on_epoch: Callable[[int], None], safe_point: Callable[[], None]
    ) -> None:
        """Train up to the end of this epoch, at which an evaluation is due; `run` goes on from there."""
        ...
