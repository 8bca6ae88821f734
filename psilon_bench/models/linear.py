"""Linear layers, plain and weight-normalised, with the sums of weight powers that regularizers ask for."""

from typing import Annotated, Literal, Self

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from psilon_bench.models import simplex

Init = Literal["orthogonal", "kaiming", "uniform"]
Depth = Annotated[int, Field(gt=0, le=1000)]  # layers are built one by one


class Linear(nn.Linear):
    """z = x W^T + b with b = 0 at the start.

    init: `orthogonal` (PSiLON), `kaiming`: normal with variance 2 / fan_in (He et al. 2015, equation 10), or `uniform`:
    uniform in +-1 / sqrt(fan_in), b too, as torch's own layers start.
    """

    def __init__(self, in_features: PositiveInt, out_features: PositiveInt, init: Init = "orthogonal") -> None:
        self.init: Init = init
        super().__init__(in_features, out_features)

    def reset_parameters(self) -> None:
        """Draw W anew, and set b to 0 or draw it as well."""
        start(self.weight, self.init)
        if self.init == "uniform":
            nn.init.uniform_(self.bias, -(self.in_features**-0.5), self.in_features**-0.5)
        else:
            nn.init.zeros_(self.bias)

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor) -> Self:
        """The layer with these parameters."""
        layer = cls(1, 1)
        layer.out_features, layer.in_features = weight.shape
        layer.weight, layer.bias = nn.Parameter(weight.detach().clone()), nn.Parameter(bias.detach().clone())
        return layer

    def plain(self) -> "Linear":
        """A copy."""
        return Linear.of(self.weight, self.bias)

    def power_sum(self, p: float) -> Tensor:
        """sum_ij |W_ij|^p, the bias excluded."""
        return powers(self.weight, p).sum()


class NormLinear(nn.Module):
    r"""Weight-normalised linear layer, W_j = g_j v_j / ||v_j||_q, rows w_j; z = x W^T + b.

    q = 1 with one shared g is PSiLON's layer (Biswas 2024), q = 2 with one g per row is weight
    normalisation (Salimans & Kingma 2016). Start: V as `init` says, g = 1, b = 0. W is never built in the forward
    pass: scaling the output columns, (x V^T) * (g / ||V||_q) + b, is the same and needs O(batch x out) work.

    Parameters: v (out, in), g (1,) if `share` else (out,), bias (out,). A row v_j = 0 has no direction: its weights
    are 0, never 0/0, and so are those of a row too short to be divided by (1e-19 in float32), up to that size.

    A pruner sets `blend` = a: then W_j = g_j ((1 - a) v_j / ||v_j||_1 + a p_j) with p_j the projection of |v_j| onto
    the probability simplex, signs put back. For q = 1 both have 1-norm 1 and the same signs, so ||W_j||_1 is |g_j| at
    every a; at a = 1 many weights are exact zeros (Biswas 2024). `strength`: a 1-norm that v_j is brought to before.
    """

    def __init__(
        self,
        in_features: PositiveInt,
        out_features: PositiveInt,
        q: Literal[1, 2],
        share: bool,
        init: Init = "orthogonal",
    ) -> None:
        super().__init__()
        self.q, self.share, self.init = q, share, init
        self.blend = 0.0
        self.strength: float | None = None
        self.v = nn.Parameter(torch.empty(out_features, in_features))
        self.g = nn.Parameter(torch.empty(1 if share else out_features))
        self.bias = nn.Parameter(torch.empty(out_features))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw V anew, set g to 1 and b to 0."""
        start(self.v, self.init)
        nn.init.ones_(self.g)
        nn.init.zeros_(self.bias)

    def sizes(self) -> Tensor:
        """What is normalised and projected: |V|, shape (out, in)."""
        return self.v.abs()

    def row_norms(self) -> Tensor:
        """||v_j||_q, shape (out,)."""
        # sum() is five times as fast as vector_norm of order 1
        return self.sizes().sum(dim=1) if self.q == 1 else torch.linalg.vector_norm(self.v, dim=1)

    def scale(self, norms: Tensor) -> Tensor:
        """g_j / ||v_j||_q of every row, shape (out,); g_j where ||v_j||_q = 0, so that no gradient is infinite."""
        return self.g / norms.masked_fill(norms < torch.finfo(norms.dtype).tiny ** 0.5, 1)

    def direction(self) -> tuple[Tensor, Tensor]:
        """D (out, in) and the norms (out,) with W_j = g_j / ||v_j||_q D_j: v itself, or blended with its projection."""
        if not self.blend:
            return self.v, self.row_norms()
        shrunk, norms = self.shrunk()
        if self.strength is None:
            shrunk = shrunk * norms[:, None]
        weight = self.blend * (1.0 if self.strength is None else self.strength)
        return torch.add(self.v * (1 - self.blend), shrunk, alpha=weight), norms

    def shrunk(self) -> tuple[Tensor, Tensor]:
        """V with the sizes of each row less their threshold, (out, in), and the 1-norms of V's rows, (out,).

        Brought to the 1-norm s first and then projected, a row is max(s u / ||u||_1 - tau, 0) = s / ||u||_1
        max(u - tau', 0), with tau' such that the sum of the last is ||u||_1 / s.
        """
        sizes = self.sizes()
        norms = sizes.sum(dim=1)
        total = torch.ones_like(norms) if self.strength is None else norms / self.strength
        return simplex.shrink(self.v, simplex.threshold(sizes, total[:, None])), norms

    @property
    def weight(self) -> Tensor:
        """The effective weights W, shape (out, in)."""
        direction, norms = self.direction()
        return direction * self.scale(norms)[:, None]

    def projected(self) -> Tensor:
        """V with every row of its sizes projected onto the probability simplex, signs put back; shape (out, in)."""
        shrunk, norms = self.shrunk()
        if self.strength is None:
            return shrunk
        return shrunk * (self.strength / norms.masked_fill(norms == 0, 1))[:, None]

    def plain(self) -> nn.Module:
        """The layer with weights of its own that does the same."""
        return Linear.of(self.weight, self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in) -> (batch, out)."""
        direction, norms = self.direction()
        z = F.linear(x, direction)
        return torch.addcmul(self.bias.to(z.dtype), z, self.scale(norms).to(z.dtype))

    def power_sum(self, p: float) -> Tensor:
        """sum_ij |W_ij|^p = sum_j (|g_j| / ||v_j||_q)^p ||v_j||_p^p.

        For p = q this is sum_j |g_j|^q, no V in it: a row v_j = 0 counts as if it had a direction.
        """
        if p == self.q:
            return powers(self.g.expand(len(self.v)), p).sum()
        return self.power_sum_of_weights(p)

    def power_sum_of_weights(self, p: float) -> Tensor:
        """The sum itself, from the rows of V."""
        if self.blend:
            return powers(self.weight, p).sum()
        return (powers(self.scale(self.row_norms()), p) * powers(self.v, p).sum(dim=1)).sum()

    def extra_repr(self) -> str:
        return f"{self.v.shape[1]}, {self.v.shape[0]}, q={self.q}, share={self.share}"


def start(weight: Tensor, init: Init) -> None:
    """Fill `weight` in place from torch's global generator."""
    if init == "orthogonal":
        nn.init.orthogonal_(weight)
    elif init == "kaiming":
        nn.init.kaiming_normal_(weight, nonlinearity="relu")
    else:
        bound = weight[0].numel() ** -0.5
        nn.init.uniform_(weight, -bound, bound)


def powers(x: Tensor, p: float) -> Tensor:
    """|x|^p elementwise, the squares and absolute values without a call of pow; the gradient at 0 is 0 for every p."""
    if p == 2:
        return x.square()
    if p < 1:
        zero = x == 0  # where the slope of |x|^p is infinite
        return x.abs().masked_fill(zero, 1).pow(p).masked_fill(zero, 0)
    return x.abs() if p == 1 else x.abs().pow(p)
