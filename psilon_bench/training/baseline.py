"""Fits a baseline as a whole: what Fit is to networks, without steps, for one model."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from psilon_bench.data.task import Split
from psilon_bench.machine.signals import at_once
from psilon_bench.metrics import prediction
from psilon_bench.metrics.certificate import certified_accuracies
from psilon_bench.metrics.network import final_measures
from psilon_bench.models.baselines import Ridge
from psilon_bench.records.record import Record
from psilon_bench.run.outcome import export, scored
from psilon_bench.training.member import Member
from psilon_bench.training.trainer import Progress, Row


class WholeFit:
    """A history of one row. Nothing of a fit that is stopped can be kept, so signals end it at once."""

    def __init__(self, member: Member) -> None:
        self.member, self.task, self.model = member, member.task, member.model
        self.test, self.extra_tests = self.task.test, self.task.extra_tests
        self.members = [Progress()]
        self.seconds = 0.0  # of the fit alone
        self.precision = "float64"

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
            self.model.fit(self.task.kind, self.task.train, self.member.config.seed)
        self.seconds = time.perf_counter() - started
        (train,), (val,) = self.measure(self.task.train, "train"), self.measure(self.task.val, "val")
        row = {"epoch": 1, "step": 1, "train/loss": train["train/loss"]} | val
        on_row(0, row)
        self.members = [Progress("finished", last_row=row)]

    def measure(self, rows: Split, split: str, of_model: Any = None, radii: Sequence[float] = ()) -> list[Row]:
        """Scores on a split, named `split/...`; the certified accuracy where there are classes and a bound."""
        kind, y = self.task.kind, rows.y if self.task.kind == "multiclass" else rows.y.double()
        logits = self.model.logits(kind, rows.x)
        scores = prediction.scores(kind, logits, y, self.member.config.metrics.located)
        if kind != "regression" and isinstance(self.model, Ridge):
            scores |= certified_accuracies(kind, logits, y, self.model.lipschitz_bound(), radii)
        return [{f"{split}/{name}": value.item() for name, value in scores.items()}]

    def finish(self, records: Sequence[Record]) -> None:
        """Close the one record; the estimator alone is kept, so that skops.io.load needs scikit-learn alone."""
        (record,) = records
        record.restore()
        metrics = self.member.config.metrics
        (test,) = scored(self, metrics.radii)
        record.save_object("estimator.skops", self.model.estimator)
        record.save_object("preprocessing.skops", self.task.preprocessing)
        own = {name: value.item() for name, value in final_measures(self.model, metrics.unit_threshold).items()}
        own |= export(self.model, self.member, record) | {"time/fit_s": self.seconds}
        record.run["diverged"] = False
        record.finish("finished", self.members[0].last_row | test | own)

    def state(self) -> dict[str, Any]:
        """A fit that was stopped begins again."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """See state."""
