"""Claims on Lipschitz constants of a network, with their proofs: what psilon-certify prints and writes."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from psilon_bench.errors import UsageError
from psilon_bench.metrics.exact_network import exact_network
from psilon_bench.metrics.lipschitz_program import Maximum, largest_slope
from psilon_bench.metrics.slope_bounds import SlopeNetwork
from psilon_bench.models.offers import HasSlopes
from psilon_bench.models.slopes import SlopeLayer

MOST_UNITS = 1000


@dataclass(frozen=True)
class Claim:
    """What is bounded in words, the network with one output whose slope it is, and what was found."""

    of: str
    layers: list[SlopeLayer]
    path_norm: float
    found: Maximum

    def as_json(self) -> dict[str, Any]:
        """Return the claim as check_certificate.py reads it."""
        parts = ("positive", "negative")
        return {
            "of": self.of,
            "lower": self.found.lower,
            "proved": self.found.proved,
            "layers": [{part: getattr(layer, part).tolist() for part in parts} for layer in self.layers],
            "pattern": self.found.pattern.tolist(),
            "tree": self.found.tree,
            "proofs": self.found.proofs,
        }


def claims_of(network: Any, names: Sequence[str], seconds: float) -> Iterator[Claim]:
    """Yield the bounds for all outputs together (L1), in half of the time where there are several, and then for each.

    Time that one leaves is that of those after it.
    UsageError where the network has no layers of two slopes, or more units than a search over patterns can settle.
    """
    if not isinstance(network, HasSlopes) or not network.piecewise_linear:
        raise UsageError(
            "--exact searches patterns of units with two slopes each, and this network has a smooth activation or "
            "unknown layers. Leave it out (lipschitz_bound holds for any), or train with relu or leaky_relu."
        )
    layers = [own.slopes for own in exact_network(network, "regression").layers]
    units = sum(len(own.bias) for own in layers[:-1])
    if units > MOST_UNITS:
        raise UsageError(
            f"--exact searches patterns of at most {MOST_UNITS} units, and this network has {units}. Prune it "
            "(pruner=l1_projection), train a narrower one, or take its lipschitz_bound."
        )
    networks = {"all outputs (L1)": l1_layers(layers)}
    if len(layers[-1].bias) > 1:
        networks |= {f"output {name}": one_output(layers, k) for k, name in enumerate(names)}
    ends = time.monotonic() + seconds
    for done, (of, own) in enumerate(networks.items()):
        net, shares = SlopeNetwork.of(own), len(networks) - done if done else min(2, len(networks))
        with threadpool_limits(1):  # nodes are small matrices, over which threads wait for each other
            found = largest_slope(net, max(0.0, ends - time.monotonic()) / shares)
        yield Claim(of, own, net.path_norm, found)


def one_output(layers: Sequence[SlopeLayer], output: int) -> list[SlopeLayer]:
    """Return the network with this output alone."""
    last, rows = layers[-1], slice(output, output + 1)
    own = SlopeLayer(last.positive[rows], last.negative[rows], last.bias[rows], last.magnitude[rows], last.roundings)
    return [*layers[:-1], own]


def l1_layers(layers: Sequence[SlopeLayer]) -> list[SlopeLayer]:
    """Return the network with one output, the sum of the sizes of all: a layer of the slopes 1 and -1 behind them.

    With one output the network is its own.
    """
    last = layers[-1]
    if len(last.bias) == 1:
        return list(layers)
    ones = torch.ones(1, len(last.bias), dtype=last.bias.dtype)
    return [*layers, SlopeLayer(ones, -ones, torch.zeros_like(ones[0, :1]), ones, len(last.bias))]
