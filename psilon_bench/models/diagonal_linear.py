"""Diagonal linear networks, whose gradient descent finds sparse vectors, with and without weight normalisation."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from psilon_bench.models.offers import HasMeasures, HasStackableArguments, HasTaskKinds, HasWeightNorm, HasWeights

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class DiagonalLinear(nn.Module, HasWeights, HasWeightNorm, HasMeasures, HasTaskKinds, HasStackableArguments):
    r"""A -> A x with x = u^L elementwise or, where `signed`, u^L - w^L; (n, N) -> (n, outputs), no bias.

    power is L. Each output has an x of its own. normalization = 2: u, or (u, w) as one vector, is g v / ||v||_2; the
    learning rate is that of v, times `ratio` that of g. Start: every entry of u and w is alpha, ||v||_2 = 1. Chou,
    Rauhut & Ward 2023, arXiv 2305.05448 (WN-GD).

    Parameters: u (outputs, N), w beside it (outputs, 2 N); or v of that shape and g (outputs,), the lengths by
    sqrt(ratio): descent on both with one rate is descent on the lengths with `ratio` times it.

    rows: the training inputs (n, N); where n < N they tell `invariant` what it needs.
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
        rows: Tensor | None = None,
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

    def factors(self) -> Tensor:
        """u, and w beside it."""
        if self.q is None:
            return self.u
        return self.v * (self.ratio.sqrt() * self.g / torch.linalg.vector_norm(self.v, dim=1))[:, None]

    def vectors(self) -> Tensor:
        """x, (outputs, N)."""
        factors = self.factors()
        powers = factors.square() if self.power == 2 else factors**self.power
        if not self.signed:
            return powers
        plus, minus = powers.chunk(2, dim=1)
        return plus - minus

    def forward(self, rows: Tensor) -> Tensor:
        """(n, N) -> (n, outputs)."""
        return (self.vectors() @ rows.flatten(1).T).T  # in a stack twice as fast as the other way round

    def weights(self) -> list[Tensor]:
        """The effective weights, x."""
        return [self.vectors()]

    def measures(self) -> dict[str, Tensor]:
        """Numbers worth a curve: ||x||_1, and what gradient flow would leave at 0."""
        own = {"norm1": self.vectors().abs().sum()}
        return own if self.row_space is None else own | {"invariant": self.invariant()}

    def invariant(self) -> Tensor:
        r"""||h - h_0|| without its part in the row space of A (of [A, -A] for u, w), by ||h - h_0||; a scalar.

        h = s^(2-L), log s for L = 2, where s is u or, with normalisation, v / ||v|| exp(||u||^2 / (2 ratio)). Gradient
        flow on a loss of A x moves h in the row space of A alone, so this is 0; steps of finite length leave it. It
        follows from d/dt u^(2-L) / (2-L) = -L A^T z, z the slope in A x; with u = g theta from
        d/dt theta^(2-L) / (2-L) = -L g^L A^T z - theta^(2-L) d/dt g^2 / (2 ratio). The mean over outputs.
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

    def logarithms(self, factors: Tensor) -> Tensor:
        """log s of `invariant`."""
        if self.q is None:
            return factors.abs().log()
        length = torch.linalg.vector_norm(factors, dim=1, keepdim=True)
        return (factors.abs() / length).log() + length.square() / (2 * self.ratio)


def row_space(rows: Tensor | None, signed: bool) -> Tensor | None:
    """An orthonormal basis of the row space of A, or of [A, -A], in columns; None where it is everything or unknown."""
    if rows is None or rows.dim() != 2 or len(rows) >= rows.shape[1]:
        return None
    basis = torch.linalg.qr(rows.double().T)[0]
    return torch.cat([basis, -basis]) / 2**0.5 if signed else basis
