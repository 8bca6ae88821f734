"""Weight decay for any p-norm, decoupled from the gradient: exact zeros for p < 2 without a proximal operator."""

import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from psilon_bench.errors import UsageError
from psilon_bench.regularizers.regularizer import Regularizer
from psilon_bench.regularizers.shrunk import Group, clause_against, shrunk

Exponent = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def factor(weight: Tensor, p: Tensor, step: Tensor) -> Tensor:
    r"""s / (s + p step) with s = |w|^(2-p), elementwise: the sigmoid of (2 - p) log|w| - log(p step).

    So there is no power that under- or overflows and no 0/0. The limits are exact: 1 for step = 0; at w = 0 it is 0 for
    p < 2 and 1 for p > 2; for p = 2 it is 1 / (1 + 2 step) everywhere. A w below the smallest normal number is 0.
    """
    tiny = torch.finfo(weight.dtype).tiny
    exponent = (2 - p) * (step != 0)
    # torch's log takes eight times as long where it meets 0, so log 0 = -1e30 is put in afterwards: finite, for 0 log 0
    size = F.threshold(weight.abs().clamp_min_(tiny).log_(), math.log(tiny) + 1e-3, -1e30, inplace=True)
    return size.mul_(exponent).sub_((p * step).log()).sigmoid_()


class PNormDecay(Regularizer):
    r"""w <- w' s / (s + p step), s = |w|^(2-p), with w before and w' after the optimizer's step; step = lr x lam.

    Outmezguine & Levi 2024 (arXiv 2404.10824). lam sum |w|^p, no factor 1/p, is what it decays: w' rests where the
    optimizer's own move u = w' - w per learning rate is p lam |w|^(p-1) sign w. It is the prox of the quadratic that
    touches lam |w|^p at w from above, of |w|^p itself for p = 2 alone; p = 2 is AdamW with weight_decay = 2 lam and
    learning rate lr / (1 + 2 lr lam). For p < 2 a weight that is 0 stays 0, so tensors that start at 0 are refused.
    With no force, w reaches 0 once p (2 - p) lam x (the sum of the learning rates) exceeds |w|^(2-p).

    p_end: what p is in the last epoch, `schedule` how it gets there (epoch by epoch); None keeps p.
    exclude: what is not decayed beside the weights: `biases`, `gains`, `norms` (see `shrunk`).
    """

    stackable = ("p", "p_end")

    def __init__(
        self, p: Exponent, p_end: Exponent | None, schedule: Literal["linear", "cosine"], exclude: list[Group]
    ) -> None:
        self.p, self.p_end, self.schedule, self.exclude = p, p if p_end is None else p_end, schedule, exclude

    def check(self, model: nn.Module) -> None:
        """UsageError for weights that have no size, or that would be 0 for ever."""
        if clause := clause_against(model, self.exclude):
            raise UsageError(clause)
        dead = [name for name, weight in shrunk(model, self.exclude).items() if not weight.any()]
        if dead and self.p < 2:
            raise UsageError(
                f"with p={self.p:g} a weight that is 0 stays 0, and {dead[0]} starts at 0 (see reg.exclude)"
            )

    def values(self, progress: float) -> dict[str, float]:
        """p at this share of the run."""
        share = progress if self.schedule == "linear" else (1 - math.cos(math.pi * progress)) / 2
        return {"p": self.p + (self.p_end - self.p) * share}

    def before_step(self, model: nn.Module, step: Tensor, **own: Tensor) -> dict[str, Tensor]:
        """The factors, which need the weights of now."""
        return {name: factor(weight, own["p"], step) for name, weight in shrunk(model, self.exclude).items()}

    def after_step(self, model: nn.Module, step: Tensor, before: dict[str, Tensor], **own: Tensor) -> None:
        """Multiply by them."""
        for name, weight in shrunk(model, self.exclude).items():
            weight.mul_(before[name])
