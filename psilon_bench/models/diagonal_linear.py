"""Diagonal linear networks, whose gradient descent finds sparse vectors, with and without weight normalisation."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class DiagonalLinear(nn.Module):
    r"""rows -> rows x with x = u^L, or u^L - w^L where `signed`, elementwise; (n, N) -> (n, outputs), no bias.

    Each output has an x of its own. normalization = 2: u = g v / ||v||_2, and w likewise; the learning rate lr is that
    of v, g has lr x ratio. Start: every entry of u and w is alpha, ||v||_2 = 1. Chou, Rauhut & Ward 2023 (WN-GD).

    Parameters: u (1 or 2, outputs, N) with w in u[1]; or v, of that shape, and g (1 or 2, outputs), the lengths by
    sqrt(ratio): one rate for g and v is lr x ratio for the lengths.

    rows: the training inputs (n, N); where n < N they tell `invariant` what it needs.
    """

    stackable = ("alpha", "ratio")
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
        self.power, self.q = power, normalization
        self.register_buffer("alpha", torch.tensor(alpha, dtype=torch.float64))
        self.register_buffer("ratio", torch.tensor(ratio, dtype=torch.float64))
        shape = (1 + signed, num_outputs, num_features)
        if normalization is None:
            self.u = nn.Parameter(torch.full(shape, alpha, dtype=torch.float64))
        else:
            self.v = nn.Parameter(torch.full(shape, num_features**-0.5, dtype=torch.float64))
            self.g = nn.Parameter(torch.full(shape[:2], alpha * (num_features / ratio) ** 0.5, dtype=torch.float64))
        basis = None if rows is None or len(rows) >= num_features else torch.linalg.qr(rows.double().T)[0]
        self.register_buffer("row_space", basis, persistent=False)

    def factors(self) -> Tensor:
        """u and w, (1 or 2, outputs, N)."""
        if self.q is None:
            return self.u
        return self.v * (self.ratio.sqrt() * self.g / torch.linalg.vector_norm(self.v, dim=2))[..., None]

    def vectors(self) -> Tensor:
        """x, (outputs, N)."""
        factors = self.factors()
        powers = factors.square() if self.power == 2 else factors**self.power
        return powers[0] - powers[1] if len(powers) == 2 else powers[0]

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
        r"""||h - h_0||, without its part in the row space of A, by ||h - h_0|| itself: the mean over u and w, a scalar.

        h = s^(2-L), or log s for L = 2, with s = u; with normalisation s = v / ||v|| exp(|u|^2 / (2 ratio)). Under
        gradient flow on a loss of A x, h moves in the row space of A alone, so this is 0; steps of finite length leave
        it. Both follow from d/dt u^(2-L) / (2 - L) = -L A^T z and, with theta = v / ||v|| of length g,
        d/dt theta^(2-L) / (2 - L) = -L g^L A^T z - theta^(2-L) d/dt (g^2 / (2 ratio)).
        """
        assert self.row_space is not None
        now = self.logarithms(self.factors())
        start = self.logarithms(torch.ones_like(self.factors()) * self.alpha)
        if self.power > 2:
            now, start = (2 - self.power) * now, (2 - self.power) * start
            largest = torch.maximum(now.amax(-1, keepdim=True), start.amax(-1, keepdim=True))
            now, start = (now - largest).exp(), (start - largest).exp()
        move = now - start
        inside = move @ self.row_space
        outside = torch.linalg.vector_norm(move - inside @ self.row_space.T, dim=-1)
        return (outside / torch.linalg.vector_norm(move, dim=-1).clamp_min(torch.finfo(move.dtype).tiny)).mean()

    def logarithms(self, factors: Tensor) -> Tensor:
        """log s of `invariant`."""
        if self.q is None:
            return factors.abs().log()
        length = torch.linalg.vector_norm(factors, dim=-1, keepdim=True)
        return (factors.abs() / length).log() + length.square() / (2 * self.ratio)
