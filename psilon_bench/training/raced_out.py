"""What is known of a run that left its race."""

from dataclasses import dataclass
from typing import Any

from psilon_bench.config.sections import TrainerSection
from psilon_bench.training.engine import Outcome, Progress, Row


@dataclass(frozen=True)
class RacedOut:
    """How a run left: its latest and its best row, its share of the time in seconds, and the comparison that it lost.

    numbers: rung (its share of the epochs), epoch, and those of an Elimination, with the title of the best setting.
    """

    last_row: Row
    best_row: Row
    seconds: float
    numbers: dict[str, Any]

    @property
    def reason(self) -> str:
        """Return in words why the run left."""
        epoch, difference, t, p, pairs, best = (
            self.numbers[key] for key in ("epoch", "difference", "t", "p", "pairs", "best")
        )
        t_text = "infinite" if t is None else f"{t:.3g}"
        return (
            f"raced out at epoch {epoch}: its val/loss is {difference:.3g} above that of {best} "
            f"on average over {pairs} pairs (t = {t_text}, one-sided p = {p:.2g})"
        )

    @property
    def progress(self) -> Progress:
        """Return how far the run came."""
        return Progress("raced out", self.reason, self.last_row, self.best_row)

    def outcome(self, settings: TrainerSection) -> Outcome:
        """Return what came of the run: the scores it had, and why; its test rows stay unread."""
        row = self.best_row if settings.select == "best" else self.last_row
        best = {"best/val/loss": self.best_row["val/loss"], "best/step": self.best_row["step"]}
        return Outcome(
            "raced out", self.reason, row | best | {"time/fit_s": self.seconds}, details={"race": self.numbers}
        )
