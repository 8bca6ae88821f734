"""Linear layers, plain and weight-normalised, with the sums of weight powers that regularizers ask for."""

from typing import Annotated, Literal, TypeVar

import torch
from jaxtyping import Float
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from psilon_bench.models.blended import Rows, blend

Init = Literal["orthogonal", "kaiming", "uniform"]
Depth = Annotated[int, Field(gt=0, le=1000)]  # layers are built one by one
Layer = TypeVar("Layer", bound="Linear")
# of a row that is divided by its norm: 1e-19, whose square float32 holds. In all precisions it is the same, so that a
# network in float64, in which certificates are computed, is the same function
SHORTEST = torch.finfo(torch.float32).tiny ** 0.5


class Linear(nn.Linear):
    """A linear layer z = x W^T + b with parameters weight (unit, fan_in) and bias (unit,).

    `init` says how it starts. `orthogonal` (PSiLON) and `kaiming`, normal with variance 2 / fan_in (He et al. 2015,
    equation 10), have b = 0; `uniform` draws W and b from +-1 / sqrt(fan_in), as torch's own layers do.
    """

    def __init__(self, in_features: PositiveInt, out_features: PositiveInt, init: Init = "orthogonal") -> None:
        self.init: Init = init
        super().__init__(in_features, out_features)

    def reset_parameters(self) -> None:
        """Draw W anew, and set b to 0 or draw it as well, as `init` says."""
        start(self.weight, self.init)
        if self.init == "uniform":
            nn.init.uniform_(self.bias, -(self.in_features**-0.5), self.in_features**-0.5)
        else:
            nn.init.zeros_(self.bias)

    @classmethod
    def of(cls: type[Layer], weight: Float[Tensor, "unit fan_in"], bias: Float[Tensor, " unit"]) -> Layer:
        """Return the layer with copies of these parameters."""
        layer = cls(1, 1)
        layer.out_features, layer.in_features = weight.shape
        layer.weight, layer.bias = nn.Parameter(weight.detach().clone()), nn.Parameter(bias.detach().clone())
        return layer

    def plain(self) -> "Linear":
        """Return a copy of the layer."""
        return Linear.of(self.weight, self.bias)

    def power_sum(self, p: float) -> Float[Tensor, ""]:
        """Return sum_ij |W_ij|^p, without the bias and without a factor 1 / p."""
        return powers(self.weight, p).sum()


class NormLinear(nn.Module):
    r"""A weight-normalised linear layer z = x W^T + b with rows W_j = g_j v_j / ||v_j||_q.

    With q = 1 and one shared g it is PSiLON's layer (Biswas 2024), with q = 2 and one g per row weight normalisation
    (Salimans & Kingma 2016). It starts with V as `init` says, g = 1 and b = 0. The forward pass never builds W: scaling
    the columns of the output, (x V^T) * (g / ||V||_q) + b, is the same and needs O(batch x unit) work.

    The parameters are the directions v (unit, fan_in), the lengths g, (1,) if `share` else (unit,), and bias (unit,).
    A row v_j = 0 has no direction: its weights are 0, never 0/0. A row shorter than SHORTEST is not divided, and has
    weights up to that size.

    A pruner sets `blend` = a. Then W_j = g_j ((1 - a) v_j / ||v_j||_1 + a p_j), where p_j is the projection of |v_j|
    onto the probability simplex with the signs put back. For q = 1 both parts have 1-norm 1 and the same signs, so
    ||W_j||_1 is |g_j| at every a; at a = 1 many weights are exact zeros (Biswas 2024). The pruner may also set
    `strength`, a 1-norm that v_j is brought to before it is projected.
    """

    pairs = False  # whether a row is [v+, v-], of sizes max(|v+|, |v-|)

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
        self.tau: Tensor  # thresholds of the last pruned step, from which the search for the next begins
        self.register_buffer("tau", torch.zeros(out_features, 1), persistent=False)
        self.v = nn.Parameter(torch.empty(out_features, in_features))
        self.g = nn.Parameter(torch.empty(1 if share else out_features))
        self.bias = nn.Parameter(torch.empty(out_features))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw V anew, set g to 1 and b to 0."""
        start(self.v, self.init)
        nn.init.ones_(self.g)
        nn.init.zeros_(self.bias)

    def sizes(self) -> Float[Tensor, "unit entry"]:
        """Return |V|, which is what is normalised and projected."""
        return self.v.abs()

    def row_norms(self) -> Float[Tensor, " unit"]:
        """Return ||v_j||_q of every row."""
        # sum() is five times as fast as vector_norm of order 1
        return self.sizes().sum(dim=1) if self.q == 1 else torch.linalg.vector_norm(self.v, dim=1)

    def scale(self, norms: Float[Tensor, " unit"]) -> Float[Tensor, " unit"]:
        """Return g_j / ||v_j||_q of every row, and g_j where ||v_j||_q is below SHORTEST: no gradient is infinite."""
        return self.g / norms.masked_fill(norms < SHORTEST, 1)

    def direction(self) -> tuple[Float[Tensor, "unit fan_in"], Float[Tensor, " unit"]]:
        """Return D and the norms ||v_j||_q with W_j = g_j / ||v_j||_q D_j: D is V, or V blended with its projection."""
        if not self.blend:
            return self.v, self.row_norms()
        rows = self.blended(self.blend)
        if self.training:
            with torch.no_grad():
                self.tau.copy_(rows.tau)
        return rows.direction, rows.norms[..., 0]

    def blended(self, a: float) -> Rows:
        """Return the rows of V blended with their projections of the same 1-norms."""
        return blend(self.v, self.tau, a, self.strength, self.pairs)

    @property
    def weight(self) -> Float[Tensor, "unit fan_in"]:
        """Return the effective weights W."""
        direction, norms = self.direction()
        return direction * self.scale(norms)[:, None]

    def projected(self) -> Float[Tensor, "unit fan_in"]:
        """Return V with the sizes of every row projected onto the probability simplex and the signs put back."""
        rows = self.blended(1.0)
        return rows.direction / rows.norms.masked_fill(rows.norms == 0, 1)

    def plain(self) -> nn.Module:
        """Return a layer with plain weights that computes the same function."""
        return Linear.of(self.weight, self.bias)

    def forward(self, x: Float[Tensor, "batch fan_in"]) -> Float[Tensor, "batch unit"]:
        """Return x W^T + b."""
        direction, norms = self.direction()
        z = F.linear(x, direction)
        return torch.addcmul(self.bias.to(z.dtype), z, self.scale(norms).to(z.dtype))

    def power_sum(self, p: float) -> Float[Tensor, ""]:
        """Return sum_ij |W_ij|^p = sum_j (|g_j| / ||v_j||_q)^p ||v_j||_p^p, without the bias.

        For p = q this is sum_j |g_j|^q, in which V does not occur: a row v_j = 0 counts as if it had a direction.
        """
        if p == self.q:
            return powers(self.g.expand(len(self.v)), p).sum()
        return self.power_sum_of_weights(p)

    def power_sum_of_weights(self, p: float) -> Float[Tensor, ""]:
        """Return sum_ij |W_ij|^p from the rows of V, without the short cut for p = q."""
        if self.blend:
            return powers(self.weight, p).sum()
        return (powers(self.scale(self.row_norms()), p) * powers(self.v, p).sum(dim=1)).sum()

    def extra_repr(self) -> str:
        return f"{self.v.shape[1]}, {self.v.shape[0]}, q={self.q}, share={self.share}"


def start(weight: Float[Tensor, "unit fan_in *kernel"], init: Init) -> None:
    """Fill the weight (unit, fan_in, ...) in place as `init` says, from torch's global generator."""
    if init == "orthogonal":
        nn.init.orthogonal_(weight)
    elif init == "kaiming":
        nn.init.kaiming_normal_(weight, nonlinearity="relu")
    else:
        bound = weight[0].numel() ** -0.5
        nn.init.uniform_(weight, -bound, bound)


def powers(x: Float[Tensor, "*shape"], p: float) -> Float[Tensor, "*shape"]:
    """Return |x|^p elementwise; the gradient at 0 is 0 for every p, and p = 1 and 2 are computed without `pow`."""
    if p == 2:
        return x.square()
    if p < 1:
        zero = x == 0  # where the slope of |x|^p is infinite
        return x.abs().masked_fill(zero, 1).pow(p).masked_fill(zero, 0)
    return x.abs() if p == 1 else x.abs().pow(p)
