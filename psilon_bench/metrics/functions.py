"""Metrics of your own: the functions that `metrics.functions` names, of predictions or of a network.

    def margin(logits: Tensor, y: Tensor) -> Tensor: ...     recorded as val/margin and test/margin
    def largest_weight(model: nn.Module) -> Tensor: ...      recorded as largest_weight

A function sees one network and returns a scalar tensor. A sweep calls it under `torch.func.vmap` for all networks of a
stack, or for one network at a time where it branches on values.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

MetricFunction = Callable[..., Tensor]


def values(functions: Sequence[MetricFunction], *arguments: Any) -> dict[str, Tensor]:
    """Return by name what those functions give that take as many arguments: (logits, y), or (model) alone."""
    fitting = [one for one in functions if len(inspect.signature(one).parameters) == len(arguments)]
    return {one.__name__: one(*arguments) for one in fitting}
