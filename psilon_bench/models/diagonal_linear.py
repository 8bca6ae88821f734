"""Diagonal linear networks, in which gradient descent finds sparse vectors, with and without weight normalisation."""

from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from psilon_bench.models.offers import HasMeasures, HasStackableArguments, HasTaskKinds, HasWeightNorm, HasWeights

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class DiagonalLinear(nn.Module, HasWeights, HasWeightNorm, HasMeasures, HasTaskKinds, HasStackableArguments):
    r"""A network A -> A x with x = u^L elementwise or, where `signed`, x = u^L - w^L, without a bias.

    The rows of the measurement matrix A are the inputs; `power` is L; each output has an x of its own. With
    `normalization` 2, u (or (u, w) as one vector) is g v / ||v||_2, and the learning rate of the lengths g is `ratio`
    times that of the directions v. Every entry of u and w starts at alpha, with ||v||_2 = 1. Chou, Rauhut & Ward 2023,
    arXiv 2305.05448 (WN-GD).

    The parameters are u (output, input), with w beside it (output, 2 input); or v of that shape and g (output,), which
    is the length divided by sqrt(ratio): descent on both with one rate is descent on the lengths with `ratio` times it.

    `rows` are the training inputs, from which `invariant` learns the row space of A where they do not span everything.
    """

    stackable = ("alpha", "ratio")
    kinds = ("regression", "binary", "multiclass", "recovery")
    row_space: Tensor | None
    alpha: Tensor
    ratio: Tensor

    def __init__(
        self,
        num_features: int,
        num_outputs: int,
        alpha: Positive,
        power: Annotated[int, Field(ge=2)],
        signed: bool,
        normalization: Literal[2] | None,
        ratio: Positive,
        rows: Float[Tensor, " batch *input"] | None = None,
    ) -> None:
        super().__init__()
        self.power, self.signed, self.q = power, signed, normalization
        self.register_buffer("alpha", torch.tensor(alpha, dtype=torch.float64))
        self.register_buffer("ratio", torch.tensor(ratio, dtype=torch.float64))
        self.register_buffer("row_space", row_space(rows, signed), persistent=False)
        size = num_features * (1 + signed)
        if normalization is None:
            self.u = nn.Parameter(torch.full((num_outputs, size), alpha, dtype=torch.float64))
        else:
            self.v = nn.Parameter(torch.full((num_outputs, size), size**-0.5, dtype=torch.float64))
            self.g = nn.Parameter(torch.full((num_outputs,), alpha * (size / ratio) ** 0.5, dtype=torch.float64))

    def factors(self) -> Float[Tensor, "output factor"]:
        """Return u and, where the network is signed, w beside it."""
        if self.q is None:
            return self.u
        return self.v * (self.ratio.sqrt() * self.g / torch.linalg.vector_norm(self.v, dim=1))[:, None]

    def vectors(self) -> Float[Tensor, "output input"]:
        """Return the vectors x."""
        factors = self.factors()
        powers = factors.square() if self.power == 2 else factors**self.power
        if not self.signed:
            return powers
        plus, minus = powers.chunk(2, dim=1)
        return plus - minus

    def forward(self, rows: Float[Tensor, " batch *input"]) -> Float[Tensor, "batch output"]:
        """Return A x for the rows of A."""
        return (self.vectors() @ rows.flatten(1).T).T  # in a stack twice as fast as the other way round

    def weights(self) -> list[Float[Tensor, "output input"]]:
        """Return the effective weights, which are the vectors x."""
        return [self.vectors()]

    def measures(self) -> dict[str, Float[Tensor, ""]]:
        """Return ||x||_1 as `norm1` and, where the row space is known, `invariant`, which gradient flow leaves at 0."""
        own = {"norm1": self.vectors().abs().sum()}
        return own if self.row_space is None else own | {"invariant": self.invariant()}

    def invariant(self) -> Float[Tensor, ""]:
        r"""Return the share of the move h - h_0 that lies outside the row space of A; the mean over outputs.

        h = s^(2-L), or log s for L = 2, where s is u or, with normalisation, v / ||v|| exp(||u||^2 / (2 ratio)); for u
        and w the row space is that of [A, -A]. Gradient flow on a loss of A x moves h within the row space alone, so
        the share is 0; steps of finite length leave the row space. It follows from d/dt u^(2-L) / (2-L) = -L A^T z,
        where z is the slope in A x; with u = g theta, from
        d/dt theta^(2-L) / (2-L) = -L g^L A^T z - theta^(2-L) d/dt g^2 / (2 ratio).
        """
        assert self.row_space is not None
        now = self.logarithms(self.factors())
        start = self.logarithms(torch.ones_like(now) * self.alpha)
        if self.power > 2:
            now, start = (2 - self.power) * now, (2 - self.power) * start
            largest = torch.maximum(now.amax(1, keepdim=True), start.amax(1, keepdim=True))
            now, start = (now - largest).exp(), (start - largest).exp()
        move = now - start
        outside = move - move @ self.row_space @ self.row_space.T
        size = torch.linalg.vector_norm(move, dim=1).clamp_min(torch.finfo(move.dtype).tiny)
        return (torch.linalg.vector_norm(outside, dim=1) / size).mean()

    def logarithms(self, factors: Float[Tensor, "output factor"]) -> Float[Tensor, "output factor"]:
        """Return log s, for the s of `invariant`."""
        if self.q is None:
            return factors.abs().log()
        length = torch.linalg.vector_norm(factors, dim=1, keepdim=True)
        return (factors.abs() / length).log() + length.square() / (2 * self.ratio)


def row_space(rows: Float[Tensor, " batch *input"] | None, signed: bool) -> Float[Tensor, "factor dimension"] | None:
    """Return an orthonormal basis of the row space of A or, where signed, of [A, -A]; None where it is not needed.

    The basis vectors are columns. Rows that may span the whole space, and rows that are not vectors, need no basis.
    """
    if rows is None or rows.dim() != 2 or len(rows) >= rows.shape[1]:
        return None
    basis = torch.linalg.qr(rows.double().T)[0]
    return torch.cat([basis, -basis]) / 2**0.5 if signed else basis
