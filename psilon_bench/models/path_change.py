r"""How far the outputs move at most when weights of a network change: the bound by the path metric, layer by layer.

Let f and f' be networks of equal shape, h and h' their values before a layer, P, N, b and P', N', b' its slopes and
biases (see `SlopeLayer`), and |x_i| <= r_i for each input. With u = r and d = 0 for the inputs, and

    u <- max(|P|, |N|) u + |b|
    d <- max(|P - P'|, |N - N'|) u + max(|P'|, |N'|) d + |b - b'|

at each layer, |h| <= u and |h - h'| <= d, so that |f(x) - f'(x)|_1 is at most the sum of the last d. Proof:

    z - z' = (P - P') max(h, 0) + (N - N') min(h, 0) + b - b' + g(h) - g(h'),   g(h) = P' max(h, 0) + N' min(h, 0).

Of max(h, 0) and min(h, 0) one is 0, in each entry; and from h' to h each column of the slope of g is one of P' or N',
or a mean of them where the sign changes.

Where a layer is W act(h) + b, with act(0) = 0 and slopes of act from 0 to 1, and |W'| <= |W| has the same signs,
|W - W'| = |W| - |W'|. Then d = u - u' by induction, so that |f - f'|_1 <= Phi - Phi', where Phi is the sum over all
paths of the product of absolute weights; a path starts at an input, which counts r_i, or at a bias, which counts 1.
This is the bound of Gonon et al. (ICML 2025, arXiv 2405.15006), who have max(1, |x|_inf) in the place of all r_i. Paths
must start at biases, too: without them Phi stays where weights behind a constant unit go. For CReLU residual networks
the difference of path norms is no bound: max(|W+|, |W-|) stays where the smaller of the two goes, and d does not.

Outside of the ranges the bound holds times c = max_i |x_i| / r_i, for u and d grow no faster than the r_i.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from psilon_bench.models.slopes import SlopeLayer


def steepest(layer: SlopeLayer) -> Float[Tensor, "unit fan_in"]:
    """Return max(|P|, |N|), elementwise, which no absolute Jacobian of the layer is above."""
    return torch.maximum(layer.positive.abs(), layer.negative.abs())


def largest_inputs(x: Float[Tensor, " row *input"]) -> Float[Tensor, " input"]:
    """Return the ranges of rows in float64, max |x_i| over them; 1 for an input that is 0 in all of them."""
    largest = x.flatten(1).abs().amax(dim=0).double()
    return torch.where(largest > 0, largest, 1)


def largest_sizes(layers: Sequence[SlopeLayer], ranges: Float[Tensor, " input"]) -> list[Float[Tensor, " _unit"]]:
    """Return u before each layer and behind the last: how large values get at most where |x_i| <= ranges_i."""
    sizes = [ranges]
    for layer in layers:
        sizes.append(steepest(layer) @ sizes[-1] + layer.bias.abs())
    return sizes


def path_change(
    before: Sequence[SlopeLayer], after: Sequence[SlopeLayer], ranges: Float[Tensor, " input"]
) -> Float[Tensor, ""]:
    """Return d, summed over the outputs: |f(x) - f'(x)|_1 is at most that where |x_i| <= ranges_i."""
    sizes = largest_sizes(before, ranges)
    change = torch.zeros_like(sizes[0])
    for old, new, size in zip(before, after, sizes, strict=False):
        moved = torch.maximum((old.positive - new.positive).abs(), (old.negative - new.negative).abs())
        change = moved @ size + steepest(new) @ change + (old.bias - new.bias).abs()
    return change.sum()


def path_change_slack(before: Sequence[SlopeLayer], ranges: Float[Tensor, " input"]) -> float:
    """Return by how much `path_change` may be too small where it is computed in float64 and no weight has grown.

    It is a sum of products of numbers at least 0, each of which has as many roundings behind it as there are in all
    layers; the largest such sum is that of the magnitudes, which stand for what cancels in P - P'.
    """
    size = ranges
    for layer in before:
        size = layer.magnitude @ size + layer.bias.abs()
    roundings = sum(layer.roundings + layer.positive.shape[1] for layer in before)
    return 4 * roundings * torch.finfo(torch.float64).eps * len(before) * size.sum().item()


def changes_of_entries(
    layers: Sequence[SlopeLayer], ranges: Float[Tensor, " input"]
) -> list[Float[Tensor, "_unit _fan_in"]]:
    """Return s_i u_j for each layer: how far the outputs move at most when entry (i, j) alone moves by 1.

    s is 1^T max(|P|, |N|) ... of the layers behind it. Times |w| it is the sum of the paths through w, |w| dPhi/d|w|,
    which stays as it is when units are rescaled.
    """
    sizes = largest_sizes(layers, ranges)
    behind = torch.ones_like(layers[-1].bias)
    found: list[Tensor] = []
    for layer, size in zip(reversed(layers), reversed(sizes[:-1]), strict=True):
        found.insert(0, torch.outer(behind, size))
        behind = behind @ steepest(layer)
    return found
