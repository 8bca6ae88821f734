"""Training, then pruning, then fine-tuning of the weights that are left."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from psilon_bench.config.options import options
from psilon_bench.config.schema import RegularizerSection
from psilon_bench.records.record import Record
from psilon_bench.regularizers.regularizer import Regularizer
from psilon_bench.run.outcome import Trained, finish, pruned, trained
from psilon_bench.training.member import Member
from psilon_bench.training.trainer import Fit, Progress, Row


class KeepZeros(Regularizer):
    """No penalty; a weight that is 0 before a step is exactly 0 after it. Biases and gains are not weights."""

    def before_step(self, model: Any, step: Tensor, **own: Tensor) -> dict[str, Tensor]:
        """Where the weights are not 0, by name."""
        return {name: weight != 0 for name, weight in model.named_parameters() if weight.dim() > 1}

    def after_step(self, model: Any, step: Tensor, before: dict[str, Tensor], **own: Tensor) -> None:
        """Put the zeros back."""
        for name, weight in model.named_parameters():
            if name in before:
                weight.mul_(before[name])


class FineTuned:
    """What Fit is to training alone: the same, then `trainer.prune_then_finetune` epochs on the loss of what is left.

    The selected networks are pruned and become plain ones. Their fine-tuning has no regularizer, an optimizer that
    begins anew at the learning rate of the last epoch, and the batches of the first ones (Han et al. 2015; Renda et
    al. 2020). `unpruned/val/*` are the scores before the pruner acts, `pruned/val/*` those before the fine-tuning.
    """

    def __init__(self, members: Sequence[Member], build: Callable[[Sequence[Member]], Fit]) -> None:
        self.prepared, self.build = members, build
        self.fit = build(members)
        self.trained: Trained | None = None  # once they are pruned

    @property
    def members(self) -> list[Progress]:
        """What became of each network so far."""
        return self.fit.members

    @property
    def precision(self) -> str:
        """As Fit has it."""
        return self.fit.precision

    def run(
        self,
        on_row: Callable[[int, Row], None],
        on_epoch: Callable[[int], None] = lambda epoch: None,
        safe_point: Callable[[], None] = lambda: None,
    ) -> None:
        """As Fit has it; the epochs are counted on."""
        if self.trained is None:
            self.fit.run(on_row, on_epoch, safe_point)
            self.prune()
        self.fit.run(on_row, on_epoch, safe_point)

    def prune(self) -> None:
        """Go over to the fine-tuning, with all members that did not diverge."""
        before = self.fit
        before.select()
        self.trained = trained(before)
        self.fit = self.build(self.tuning(pruned(before), before.optimizer.param_groups[0]["lr"]))
        self.fit.epoch, self.fit.step, self.fit.seconds = before.epoch, before.step, before.seconds
        self.fit.members = [
            replace(member) if member.status == "failed" else Progress(last_row=member.last_row)
            for member in before.members
        ]
        scores = self.fit.measure(self.fit.val, "pruned/val", lambda model: {})
        earlier: list[Row] = before.unpruned or [{} for _ in scores]
        self.fit.unpruned = [first | then for first, then in zip(earlier, scores, strict=True)]

    def tuning(self, networks: Sequence[nn.Module], lr: float) -> list[Member]:
        """The same runs without regularizer and pruner, at a constant rate, on to the last epoch."""
        config = self.prepared[0].config
        changes = {
            "reg": RegularizerSection.model_validate(
                {"name": "none", "_target_": f"{__name__}.{KeepZeros.__name__}", "lam": 0.0}
            ),
            "optimizer": config.optimizer.model_copy(update={"lr": lr}),
            "scheduler": options("scheduler")["constant"],
            "pruner": options("pruner")["none"],
            "trainer": config.trainer.model_copy(update={"epochs": config.trainer.all_epochs}),
        }
        return [
            replace(member, config=member.config.model_copy(update=changes), model=network)
            for member, network in zip(self.prepared, networks, strict=True)
        ]

    def finish(self, records: Sequence[Record]) -> None:
        """Test what came out of it and close the records."""
        finish(self.fit, self.prepared, records, self.trained)

    def state(self) -> dict[str, Any]:
        """As Fit has it."""
        return self.fit.state() | {"trained": self.trained}

    def load_state(self, state: dict[str, Any]) -> None:
        """As Fit has it; of the fine-tuning only what the networks are made of is there to be filled."""
        self.trained = state["trained"]
        if self.trained is not None:
            plain = [member.model.plain() for member in self.prepared]
            self.fit = self.build(self.tuning(plain, self.prepared[0].config.optimizer.lr))
        self.fit.load_state(state)
