"""Weight decay for every p-norm, decoupled from the gradient; for p < 2 it gives exact zeros without a prox."""

import math
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from psilon_bench.errors import UsageError
from psilon_bench.regularizers.regularizer import Regularizer
from psilon_bench.regularizers.shrunk import Group, clause_against, shrunk

Exponent = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def factor(weight: Float[Tensor, "*shape"], p: Float[Tensor, ""], step: Float[Tensor, ""]) -> Float[Tensor, "*shape"]:
    r"""Return s / (s + p step) with s = |w|^(2-p), elementwise, as the sigmoid of (2 - p) log|w| - log(p step).

    In this form no power under- or overflows, and there is no 0/0. The limits are exact: the factor is 1 for step = 0;
    at w = 0 it is 0 for p < 2 and 1 for p > 2; for p = 2 it is 1 / (1 + 2 step) everywhere. A w below the smallest
    normal number counts as 0.
    """
    tiny = torch.finfo(weight.dtype).tiny
    exponent = (2 - p) * (step != 0)
    # torch's log takes eight times as long where it meets 0, so log 0 = -1e30 is put in afterwards: finite, for 0 log 0
    size = F.threshold(weight.abs().clamp_min_(tiny).log_(), math.log(tiny) + 1e-3, -1e30, inplace=True)
    return size.mul_(exponent).sub_((p * step).log()).sigmoid_()


class PNormDecay(Regularizer):
    r"""The decay w <- w' s / (s + p step), s = |w|^(2-p), with w before and w' after the optimizer's step.

    `step` is the learning rate lr times lambda (Outmezguine & Levi 2024, arXiv 2404.10824). It decays lam sum |w|^p,
    without a factor 1/p: w rests where the optimizer's move u = w' - w, divided by lr, is p lam |w|^(p-1) sign w. It is
    the prox of the quadratic that touches lam |w|^p at w from above; that is lam |w|^p itself for p = 2 alone, which is
    AdamW with weight_decay = 2 lam and learning rate lr / (1 + 2 lr lam). For p < 2 a weight that is 0 stays 0, so
    tensors that start at 0 are refused. Without a force, w reaches 0 once p (2 - p) lam times the sum of the learning
    rates exceeds |w|^(2-p).

    `p_end` is p in the last epoch, and `schedule` says how p gets there, epoch by epoch; None keeps p. `exclude` names
    the groups of parameters beside the weights that are not decayed: `biases`, `gains`, `norms` (see `shrunk`).
    """

    stackable = ("p", "p_end")

    def __init__(
        self, p: Exponent, p_end: Exponent | None, schedule: Literal["linear", "cosine"], exclude: list[Group]
    ) -> None:
        self.p, self.p_end, self.schedule, self.exclude = p, p if p_end is None else p_end, schedule, exclude

    def check(self, model: nn.Module) -> None:
        """Raise a UsageError where the sizes of single weights mean nothing, or where weights would be 0 for ever."""
        if clause := clause_against(model, self.exclude):
            raise UsageError(clause)
        dead = [name for name, weight in shrunk(model, self.exclude).items() if not weight.any()]
        if dead and self.p < 2:
            raise UsageError(
                f"with p={self.p:g} a weight that is 0 stays 0, and {dead[0]} starts at 0 (see reg.exclude)"
            )

    def values(self, progress: float) -> dict[str, float]:
        """Return p at a share of the run, from 0 to 1."""
        share = progress if self.schedule == "linear" else (1 - math.cos(math.pi * progress)) / 2
        return {"p": self.p + (self.p_end - self.p) * share}

    def before_step(self, model: nn.Module, step: Float[Tensor, ""], **own: Float[Tensor, ""]) -> dict[str, Tensor]:
        """Return the factors by the names of parameters; they need the weights before the step."""
        return {name: factor(weight, own["p"], step) for name, weight in shrunk(model, self.exclude).items()}

    @override
    def after_step(
        self, model: nn.Module, step: Float[Tensor, ""], before: dict[str, Tensor], **own: Float[Tensor, ""]
    ) -> None:
        """Multiply the weights by the factors, in place."""
        for name, weight in shrunk(model, self.exclude).items():
            weight.mul_(before[name])
