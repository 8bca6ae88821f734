"""The projection onto the probability simplex: as the package finds its thresholds, and by sorting."""

import torch
from torch import Tensor

from psilon_bench.models.simplex import thresholds_near


def project(lengths: Tensor) -> Tensor:
    """max(u - tau, 0) of every row u, with the package's thresholds; without a derivative."""
    start = torch.full_like(lengths[:, :1], -torch.inf)
    return (lengths - thresholds_near(lengths, torch.ones_like(start), start)[0]).clamp_min(0)


def tau_by_sorting(lengths: Tensor) -> Tensor:
    """Duchi et al. 2008, figure 1: the last (sum of the k largest - 1) / k below the k-th largest; autograd follows."""
    down = lengths.sort(dim=1, descending=True).values
    taus = (down.cumsum(dim=1) - 1) / torch.arange(1, down.shape[1] + 1)
    count = (down > taus).sum(dim=1, keepdim=True)
    return taus.gather(1, count - 1)


def project_by_sorting(lengths: Tensor) -> Tensor:
    """The same projection."""
    return (lengths - tau_by_sorting(lengths)).clamp_min(0)
