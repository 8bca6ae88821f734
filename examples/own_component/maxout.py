"""A network of your own: one hidden layer of maxout units."""

from torch import Tensor, nn

from psilon_bench.models.offers import HasWeights


class Maxout(nn.Module, HasWeights):
    r"""f(x) = W max_p (V_p x + c_p) + b: each of `hidden` units is the largest of `pieces` linear functions.

    Inputs (batch, features) give logits (batch, outputs). Goodfellow et al. 2013.
    """

    def __init__(self, num_features: int, num_outputs: int, hidden: int, pieces: int) -> None:
        super().__init__()
        self.shape = (hidden, pieces)
        self.linear = nn.Linear(num_features, hidden * pieces)
        self.output = nn.Linear(hidden, num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        units = self.linear(x).unflatten(-1, self.shape).amax(dim=-1)
        logits: Tensor = self.output(units)
        return logits

    def weights(self) -> list[Tensor]:
        """Return the two weight matrices: what sparsity is measured of, and what penalties of weights need."""
        return [self.linear.weight, self.output.weight]
