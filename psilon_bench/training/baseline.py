"""Fits a baseline as a whole, without steps: what Trainer is to networks, for one model."""

import time
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

from psilon_bench.config.sections import HardwareSection
from psilon_bench.data.task import Split
from psilon_bench.machine.signals import at_once
from psilon_bench.metrics import prediction
from psilon_bench.metrics.network import final_measures
from psilon_bench.training.certified import certified_together
from psilon_bench.training.class_weight import training_splits
from psilon_bench.training.engine import OnRow, Outcome, Progress, Row
from psilon_bench.training.final_scores import add_predictions, constant_scores
from psilon_bench.training.member import Member
from psilon_bench.training.outcomes import export, test_scores


class BaselineFit:
    """A history of one row. Nothing of a fit that is stopped can be kept, so signals end it at once."""

    device = "cpu"
    epochs = 1
    at_work = (0,)

    def __init__(self, member: Member) -> None:
        self.member, self.task, self.model = member, member.task, member.model
        self.precision = self.model.precision
        (self.train,) = training_splits([self.task], member.config.trainer.class_weight)
        self.members = [Progress()]
        self.seconds = 0.0  # of the fit alone

    def tune(self, hardware: HardwareSection) -> str | None:
        """Compile nothing, for there are no steps."""
        return None

    def run(
        self,
        on_row: OnRow,
        on_epoch: Callable[[int], None] = lambda _: None,
        safe_point: Callable[[], None] = lambda: None,
    ) -> None:
        """Fit and evaluate."""
        safe_point()
        kind, seed = self.task.kind, self.member.config.seed
        with at_once():
            self.model.unfitted(kind, seed)  # imports its library, in seconds that are not the fit's
            started = time.perf_counter()
            self.model.fit(kind, self.train, seed)
            self.seconds = time.perf_counter() - started
        (train,) = self.scores(self.train, "train")
        (val,) = self.scores(self.task.val, "val") if len(self.task.val) else [{}]  # a refit has no such rows
        row = {"epoch": 1, "step": 1, "train/loss": train["train/loss"]} | val
        on_row(0, row)
        self.members = [Progress("finished", last_row=row)]

    def scores(self, rows: Split, split: str) -> list[Row]:
        """Return scores on a split, named `split/...`."""
        kind, y = self.task.kind, rows.y if self.task.kind == "multiclass" else rows.y.double()
        logits = self.model.logits(kind, rows.x)
        shares = rows.shares
        scores = prediction.scores(kind, logits, y, self.member.config.metrics.located, shares)
        return [{f"{split}/{name}": value.item() for name, value in scores.items()}]

    def outcomes(self) -> Iterator[Outcome]:
        """Yield the one outcome; the estimator alone is kept, so that skops.io.load needs scikit-learn alone."""
        metrics = self.member.config.metrics
        (test,) = test_scores(self.scores, self.task.test, self.task.extra_tests)
        measures = final_measures(self.model, metrics.unit_threshold)
        outcome = Outcome("finished", None, self.members[0].last_row | test)
        outcome.metrics |= {name: value.item() for name, value in measures.items()}
        outcome.preprocessing = self.task.preprocessing
        outcome.estimator = self.model.estimator if self.model.keeps_estimator else None
        logits = {} if self.task.kind == "recovery" else self.logits_by_split()
        if logits:
            add_predictions(outcome, self.task, logits, metrics, *constant_scores([self.task]))
        (certified,) = certified_together([(self.model, self.task, logits.get("test"))], metrics)
        outcome.metrics |= certified.scores
        export(outcome, certified, self.task, pruned=False)
        outcome.metrics["time/fit_s"] = self.seconds
        yield outcome

    def logits_by_split(self) -> dict[str, Tensor]:
        """Return the outputs (rows, outputs) on the validation rows, where there are any, and the test rows."""
        splits = {"val": self.task.val, "test": self.task.test}
        return {name: self.model.logits(self.task.kind, split.x) for name, split in splits.items() if len(split)}

    def state(self) -> dict[str, Any]:
        """Return nothing: a fit that was stopped begins again."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Begin again."""
