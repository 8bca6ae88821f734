"""PathProx: proximal gradient descent for weight decay, by way of the unit path norm."""

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from psilon_bench.errors import UsageError
from psilon_bench.models.offers import Pair
from psilon_bench.models.units import (
    half_squares,
    outgoing_squares,
    scale_bias,
    scale_outgoing,
)
from psilon_bench.regularizers.unit_regularizer import UnitRegularizer, or_one, to_unit_norm


class PathProx(UnitRegularizer):
    r"""Three changes after each gradient step, for the pairs g of layers (A_g, a_g), (B_g, b_g) and their units k:

    normalise  w_k <- w_k / ||w_k||
    shrink     v_k <- v_k max(0, 1 - step / ||v_k||)
    balance    B_g <- c_g B_g, b_g <- c_1 ... c_g b_g, a_(g+1) <- c_1 ... c_g a_(g+1) with c_g as in `balancing`

    `step` is the learning rate times lambda, norms are 2-norms. Yang et al. 2022, algorithm 1, arXiv 2210.03069.
    Normalising is a projection: v_k is not multiplied by ||w_k||. On unit vectors w_k the path norm is sum_k ||v_k||,
    whose prox argmin_u step ||u|| + 1/2 ||u - v_k||^2 is the second line. The balance (an option) leaves the function
    as it is. It comes last, where a minimum of F_pn is balanced already; the authors have it first. A dead unit w_k = 0
    or v_k = 0 stays as it is; the gradient can revive a unit with v_k = 0.

    `start`: `compensated` brings w_k to unit norm before the first step and leaves the function as it is, with
    v_k <- ||w_k|| v_k and a_k <- a_k / ||w_k||; `authors` leaves that to the first projection, which changes it.
    `bias`: `kept` leaves a_k in the projection, so that fixed points are stationary points of F_pn; `divided` is
    a_k <- a_k / ||w_k|| as the authors have it: at a fixed point lam ||v_k|| a_k / (1 + a_k^2) pulls on a_k, although
    F_pn has no such term.
    """

    def __init__(
        self, start: Literal["compensated", "authors"], balance: bool, bias: Literal["kept", "divided"]
    ) -> None:
        self.start, self.balance, self.bias = start, balance, bias

    def check_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        """Raise a UsageError unless steps are plain gradient steps; after others, fixed points are no minima of F_pn.

        At a fixed point the optimizer moves v_k by step * v_k / ||v_k||. Plain gradient descent moves it by -lr times
        the gradient, so F_pn is stationary. Momentum moves it by -lr / (1 - momentum) times the gradient, so F_pn with
        (1 - momentum) lam is stationary. Adam moves each weight at a rate of its own, so no such objective is. Both
        also remember gradients of weights of another scale.
        """
        defaults = optimizer.defaults
        plain = isinstance(optimizer, torch.optim.SGD) and not defaults["momentum"] and not defaults["weight_decay"]
        if not plain:
            raise UsageError(
                "its prox belongs to plain gradient steps: after those of momentum or Adam it would minimise another "
                "objective (take optimizer=sgd with optimizer.momentum=0)"
            )

    @override
    def penalty(self, model: Any, **own: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """Return 1/2 sum w^2 over the layers in no pair, which plain gradients decay."""
        return super().penalty(model) + half_squares(model.unpaired())

    @override
    def at_start(self, model: Any, **own: Float[Tensor, ""]) -> None:
        """Bring w_k to unit norm without a change of the function, where `start` says so."""
        for pair in model.units() if self.start == "compensated" else []:
            norms, factors = to_unit_norm(pair)
            scale_bias(pair.incoming, factors)
            scale_outgoing(pair, or_one(norms))

    @override
    def after_step(
        self, model: Any, step: Float[Tensor, ""], before: dict[str, Tensor], **own: Float[Tensor, ""]
    ) -> None:
        """Normalise, shrink and balance in place; the units of all pairs are one vector, for speed."""
        pairs = model.units()
        units = [len(pair.incoming.weight) for pair in pairs]
        incoming = [self.normalise(pair) for pair in pairs]
        outgoing = torch.cat([outgoing_squares(pair) for pair in pairs]).sqrt()
        kept = (1 - step / outgoing.clamp_min(torch.finfo(step.dtype).tiny)).clamp_min(0)
        if self.balance:
            sizes = (torch.cat(incoming) * kept * outgoing).split(units)
            factors = balancing(torch.stack([size.sum() for size in sizes]))
            so_far = factors.cumprod(0)  # 1 behind the last pair
        for g, (pair, shrunk) in enumerate(zip(pairs, kept.split(units), strict=True)):
            scale_outgoing(pair, factors[g] * shrunk if self.balance else shrunk)
            if self.balance and g:
                scale_bias(pair.incoming, so_far[g - 1])
            if self.balance and g + 1 < len(pairs):
                scale_bias(pair.outgoing, so_far[g])

    def normalise(self, pair: Pair) -> Float[Tensor, " unit"]:
        """Bring w_k to unit norm in place, and return the norms after that: 1 but for dead units."""
        norms, factors = to_unit_norm(pair)
        if self.bias == "divided":
            scale_bias(pair.incoming, factors)
        return norms * factors


def balancing(path_norms: Float[Tensor, " pair"]) -> Float[Tensor, " pair"]:
    r"""Return c_g = G / P_g for the path norms P_g = sum_k ||w_k|| ||v_k|| of the pairs and their geometric mean G.

    The product of the c_g is 1, and all c_g P_g are equal: by the inequality of the means, no other factors of product
    1 have a smaller sum of c_g P_g. The factors are all 1 where a P_g is about 0, for no factor makes that G.
    """
    alive = path_norms.amin() > torch.finfo(path_norms.dtype).eps * path_norms.amax()
    logarithms = torch.where(alive, path_norms, 1).log()
    return (logarithms.mean() - logarithms).exp()
