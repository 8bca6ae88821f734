"""What a network may offer beside its forward pass: one base class for each offer, with the shapes it promises.

A network is an ordinary `torch.nn.Module` that makes logits (batch, outputs) of inputs. Regularizers, pruners, metrics
and the runner ask it for more with `isinstance`, and a network answers yes by naming the offer among its bases:

    class MyNetwork(nn.Module, HasWeights):
        def weights(self) -> list[Tensor]: ...

The names of attributes decide nothing. A network with a list `weights`, a number `q` or a method `fit` of another
meaning is a network without offers. The classes are abstract: Python refuses to build a network that names an offer
and lacks a method of it.

The shapes are those of ONE network; in a stack, `torch.func.vmap` adds the members. The words for dimensions are
`batch`, `input` (features of a row), `output`, `unit` (rows of a weight matrix) and `fan_in` (its columns). A word
behind an underscore may differ between the tensors of a list.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal, NamedTuple

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from psilon_bench.data.task import Kind
from psilon_bench.models.linear import NormLinear
from psilon_bench.models.slopes import SlopeLayer

Bound = Literal["improved", "original", "tight"]


class Pair(NamedTuple):
    """Two layers and the units between them, behind a homogeneous activation.

    Unit k has the incoming weights w_k = incoming.weight[k], a bias, and the outgoing weights
    v_k = outgoing.weight[:, k]; a unit of convolutions is a channel with all its weights. Multiplying w_k and the bias
    by c > 0 and v_k by 1 / c leaves the function of the network as it is.
    """

    incoming: Any  # nn.Linear or nn.Conv2d
    outgoing: Any


class HasWeights(ABC):
    """A network that gives its effective weights, on which sparsity is measured."""

    @abstractmethod
    def weights(self) -> list[Float[Tensor, "_unit _fan_in *_kernel"]]:
        """Return the weights W_1 ... W_K that the layers multiply with, in the order of application, without biases.

        Row j of a matrix holds what unit j reads. A convolution has (out, in, height, width).
        """


class HasPowerSum(ABC):
    """A network that sums the powers of its effective weights, for the p-norms that regularizers penalise."""

    @abstractmethod
    def power_sum(self, p: float) -> Float[Tensor, ""]:
        """Return sum |w|^p over the weights of all layers, without biases and without a factor 1 / p."""


class HasPathNorm(ABC):
    """A network that has a 1-path-norm: the sum over all paths of the product of absolute weights.

    The path norm bounds the Lipschitz constant from L_inf inputs to L1 outputs where the slope of the activation is at
    most 1 (Biswas 2024; Neyshabur et al. 2015).
    """

    @property
    @abstractmethod
    def bounds(self) -> tuple[Bound, ...]:
        """Return the bounds that `path_norm` knows; networks without residual blocks know `improved` alone."""

    @property
    @abstractmethod
    def lipschitz_activation(self) -> float:
        """Return the Lipschitz constant of the activation, 1 for ReLU."""

    @abstractmethod
    def path_norm(self, bound: Bound = "improved") -> Float[Tensor, ""]:
        """Return the 1-path-norm by one of `bounds`, without biases.

        `original` is that of the network as drawn. `improved` and `tight` are smaller bounds for residual networks;
        without residual blocks, `improved` is the path norm itself.
        """


class HasLipschitzBound(ABC):
    """A network with a certificate of how much its outputs can move."""

    @abstractmethod
    def lipschitz_bound(self) -> Float[Tensor, ""]:
        """Return a bound B with |f(x) - f(y)|_1 <= B |x - y|_inf for all inputs x and y, as scaled for the network."""


class HasInputBounds(HasLipschitzBound):
    """A network whose Lipschitz bound is a sum over its inputs."""

    @abstractmethod
    def input_bounds(self) -> Float[Tensor, " input"]:
        """Return how far the outputs move at most (L1) when one input moves by 1; the sum is `lipschitz_bound`.

        A bound of 0 says that the network does not read the input.
        """


class HasSlopes(HasLipschitzBound):
    """A network whose layers tell their two slopes, from which the margin of each pair of logits is bounded."""

    @abstractmethod
    def slope_layers(self) -> list[SlopeLayer]:
        """Return the layers in the order of application, with the effective weights in the precision of the network."""

    @property
    @abstractmethod
    def piecewise_linear(self) -> bool:
        """Return whether the layers are the network itself; else its slopes only lie between the two of each."""


class HasUnits(ABC):
    """A network that says which of its layers are pairs with homogeneous units between them.

    From the first layer of the first pair to the last layer of the last pair there is nothing but these layers,
    activations and pooling. All other layers lie before or behind them.
    """

    @property
    @abstractmethod
    def homogeneous(self) -> bool:
        """Return whether activation(c x) = c activation(x) for every c > 0."""

    @abstractmethod
    def units(self) -> list[Pair]:
        """Return the pairs in the order of application; none where the network as configured has no such pair."""

    @abstractmethod
    def unpaired(self) -> list[nn.Module]:
        """Return the layers with weights that belong to no pair."""


class HasWeightNorm(ABC):
    """A network that may be weight-normalised: W_j = g_j v_j / ||v_j||_q, so the directions v_j have no size.

    `q` is the norm that weight vectors are divided by, and None where the network as configured has plain weights.
    """

    q: Literal[1, 2] | None


class HasPlain(ABC):
    """A network that can be written with plain layers, in which a pruner may set weights to 0."""

    @abstractmethod
    def plain(self) -> nn.Module:
        """Return a network of plain layers that computes the same function; the parameters are copies."""


class HasNormLayers(HasWeightNorm, HasPlain):
    """A network whose weight-normalised layers can be projected onto the probability simplex."""

    @abstractmethod
    def norm_layers(self) -> list[NormLinear]:
        """Return the weight-normalised layers in the order of application; none where the network is plain."""


class HasAliveUnits(HasWeights):
    """A network of hidden layers one after the other, whose `weights` are (unit, units of the layer before)."""

    @abstractmethod
    def alive_units(self) -> list[Bool[Tensor, " _unit"]]:
        """Return a mask for each hidden layer: the units on a path of nonzero weights from an input to an output."""


class HasCompact(HasPlain, HasWeights):
    """A network that can be made smaller where weights are exact zeros."""

    @abstractmethod
    def compact(self) -> tuple[Any, Int[Tensor, " input"] | None]:
        """Return a plain network without dead units that gives the same outputs, and the inputs that it takes.

        The inputs are indices of columns; None says that the network takes whole inputs, as those for images do. The
        small network offers its `weights` too.
        """


class HasMeasures(ABC):
    """A network with measures of its own, which are recorded beside the common ones at every evaluation."""

    @abstractmethod
    def measures(self) -> dict[str, Float[Tensor, ""]]:
        """Return the measures by the names they have in the history."""


class HasTaskKinds(ABC):  # noqa: B024 - it has an attribute alone
    """A network or baseline that says for which kinds of tasks it is; all others are for those of the default."""

    kinds: ClassVar[tuple[Kind, ...]] = ("regression", "binary", "multiclass")


class HasStackableArguments(ABC):  # noqa: B024 - it has an attribute alone
    """A network that keeps some of its arguments in buffers, so that the members of a stack may differ in them."""

    stackable: ClassVar[tuple[str, ...]] = ()


def unclaimed(model: Any) -> list[str]:
    """Return a note for each offer whose methods a network has without naming it among its bases.

    Such a method may have another meaning, and counts for nothing; whoever meant the offer reads here what is missing.
    """
    missing = [offer for offer in OFFERS if not isinstance(model, offer) and has_methods(type(model), offer)]
    return [
        f"{type(model).__name__} has {' and '.join(sorted(offer.__abstractmethods__))}, but not {offer.__name__} among "
        "its bases: the method counts for nothing"
        for offer in missing
    ]


def has_methods(network: type, offer: type[ABC]) -> bool:
    """Return whether a class of networks has all abstract methods and properties of an offer, by their names."""
    return all(hasattr(network, name) for name in offer.__abstractmethods__)


OFFERS: tuple[type[ABC], ...] = (HasWeights, HasPathNorm, HasLipschitzBound, HasUnits, HasPlain, HasMeasures)
