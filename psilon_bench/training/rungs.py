"""The rungs of a race, and the losses that a run which is done had at each of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from psilon_bench.config.schema import Config
from psilon_bench.config.sections import TrainerSection
from psilon_bench.config.settings import replicate_of, setting_of, setting_title
from psilon_bench.training.engine import Row

RUNGS = (0.25, 0.5, 0.75)  # shares of the epochs, before any fine-tuning


def rung_epoch(settings: TrainerSection, share: float) -> int:
    """Return the last epoch with an evaluation at or before this share of the epochs; 0 where there is none."""
    return int(share * settings.epochs) // settings.eval_every * settings.eval_every


@dataclass(frozen=True)
class Rival:
    """A run that is done and takes part in comparisons; losses: val/loss at each rung, None where it had none."""

    setting: str
    title: str
    replicate: str
    losses: list[float | None]

    @classmethod
    def of(cls, config: Config, is_finished: bool, rows: Sequence[Row]) -> "Rival":
        """Return the rival of a run with this history; is_finished: whether it went on to its end."""
        epochs = [rung_epoch(config.trainer, share) for share in RUNGS]
        losses = [loss_at(rows, epoch, config.trainer.select == "best", is_finished) for epoch in epochs]
        return cls(setting_of(config), setting_title(config), replicate_of(config), losses)


def loss_at(rows: Sequence[Row], epoch: int, best: bool, is_finished: bool) -> float | None:
    """Return the validation loss that a history has at an epoch, the lowest up to it for `best`.

    A run that stopped early keeps its loss; one that diverged or was raced out before the epoch has none.
    """
    losses = [row["val/loss"] for row in rows if row["epoch"] <= epoch]
    was_there = is_finished or any(row["epoch"] == epoch for row in rows)
    if not losses or not was_there:
        return None
    return min(losses) if best else losses[-1]
