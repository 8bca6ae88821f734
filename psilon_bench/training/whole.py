"""Fits a baseline as a whole: what Fit is to networks, without steps, for one model."""

import time
from collections.abc import Callable
from typing import Any

from psilon_bench.data.task import Task
from psilon_bench.errors import UsageError
from psilon_bench.interrupt import at_once
from psilon_bench.metrics import prediction
from psilon_bench.metrics.network import final_measures
from psilon_bench.models.baselines import Baseline
from psilon_bench.record import Record
from psilon_bench.regularizers.regularizer import Regularizer
from psilon_bench.training.trainer import Member, Row


def check_steps(regularizer: Regularizer, model: Any) -> None:
    """UsageError, as a clause, for a regularizer of a model that takes no steps."""
    if isinstance(model, Baseline) and type(regularizer) is not Regularizer:
        raise UsageError(f"{type(model).__name__} is fitted as a whole, without the steps that a regularizer joins")


class WholeFit:
    """A history of one row. Nothing of a fit that is stopped can be kept, so signals end it at once."""

    def __init__(self, model: Baseline, task: Task, seed: int) -> None:
        self.model, self.task, self.seed = model, task, seed
        self.test: Any = task.test  # Fit has Rows here
        self.extra_tests: dict[str, Any] = dict(task.extra_tests)
        self.members = [Member()]
        self.seconds = 0.0  # of the fit alone

    def run(
        self,
        on_row: Callable[[int, Row], None],
        on_epoch: Callable[[int], None] = lambda epoch: None,
        safe_point: Callable[[], None] = lambda: None,
    ) -> None:
        """Fit and evaluate."""
        safe_point()
        started = time.perf_counter()
        with at_once():
            self.model.fit(self.task.kind, self.task.train, self.seed)
        self.seconds = time.perf_counter() - started
        (train,), (val,) = self.measure(self.task.train, "train"), self.measure(self.task.val, "val")
        row = {"epoch": 1, "step": 1, "train/loss": train["train/loss"]} | val
        on_row(0, row)
        self.members = [Member("finished", last_row=row)]

    def measure(self, rows: Any, split: str, *rest: Any) -> list[dict[str, float]]:
        """Scores on a split, named `split/...`."""
        y = rows.y if self.task.kind == "multiclass" else rows.y.double()
        scores = prediction.scores(self.task.kind, self.model.logits(self.task.kind, rows.x), y)
        return [{f"{split}/{name}": value.item() for name, value in scores.items()}]

    def finish(self, record: Record, test: dict[str, float]) -> None:
        """Close the record; the estimator alone is kept, so that joblib.load needs scikit-learn and nothing of ours."""
        record.save_object("estimator.joblib", self.model.estimator)
        record.save_object("preprocessing.joblib", self.task.preprocessing)
        own = {name: value.item() for name, value in final_measures(self.model).items()}
        record.run["diverged"] = False
        record.finish("finished", self.members[0].last_row | test | own | {"time/fit_s": self.seconds})

    def state(self) -> dict[str, Any]:
        """A fit that was stopped begins again."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """See state."""
