"""The usual way: what a script of one's own does. DataLoader, normalised W built in forward, Adam as it comes."""

import importlib.util
import itertools
import logging
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from contest import Step
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from psilon_bench.data.task import Task

LAM = 1e-3


class BuiltLinear(nn.Module):
    """W = g v / ||v||_q built at every call; one g (share) or one a row."""

    def __init__(self, fan_in: int, fan_out: int, q: int, share: bool) -> None:
        super().__init__()
        self.q = q
        self.v = nn.Parameter(nn.init.orthogonal_(torch.empty(fan_out, fan_in)))
        self.g = nn.Parameter(torch.ones(1 if share else fan_out))
        self.bias = nn.Parameter(torch.zeros(fan_out))

    @property
    def weight(self) -> Tensor:
        """W."""
        return self.g[:, None] * self.v / self.v.norm(p=self.q, dim=1, keepdim=True)

    def forward(self, x: Tensor) -> Tensor:
        """x W^T + b."""
        return F.linear(x, self.weight, self.bias)


class BuiltMLP(nn.Sequential):
    """P-Net (q = 1) or S-Net (q = 2) with its penalty: the path norm in closed form, or the squares."""

    def __init__(self, widths: list[int], q: int) -> None:
        last = len(widths) - 2
        layers = [BuiltLinear(a, b, q, q == 1 and k < last) for k, (a, b) in enumerate(itertools.pairwise(widths))]
        super().__init__(*[part for layer in layers[:-1] for part in (layer, nn.ReLU())], layers[-1])
        self.q, self.linear = q, layers

    def penalty(self) -> Tensor:
        """Of the objective."""
        if self.q == 2:
            return sum((layer.weight.square().sum() for layer in self.linear), start=torch.zeros(()))
        lengths = torch.cat([layer.g for layer in self.linear[:-1]])
        return lengths.abs().prod() * self.linear[-1].g.abs().sum()


class BuiltResNet(nn.Module):
    """PSiLON's CReLU residual net: rows of (W+, W-) share the 1-norm of max(|W+|, |W-|)."""

    def __init__(self, features: int, outputs: int, hidden: int, depth: int) -> None:
        super().__init__()
        self.first = BuiltLinear(features, hidden, 1, True)
        blocks = [BuiltLinear(2 * hidden, hidden, 1, True) for _ in range(depth - 1)]
        self.blocks: Any = nn.ModuleList(blocks)
        self.last = BuiltLinear(2 * hidden, outputs, 1, False)
        for block in blocks:
            nn.init.constant_(block.g, 0.1)

    def built(self, layer: Any) -> Tensor:
        """W of both parts."""
        positive, negative = layer.v.chunk(2, dim=1)
        size = torch.maximum(positive.abs(), negative.abs()).sum(dim=1, keepdim=True)
        return layer.g[:, None] * layer.v / size

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        h = self.first(x)
        for block in self.blocks:
            h = h + F.linear(torch.cat([h.relu(), -(-h).relu()], dim=1), self.built(block), block.bias)
        return F.linear(torch.cat([h.relu(), -(-h).relu()], dim=1), self.built(self.last), self.last.bias)

    def penalty(self) -> Tensor:
        """The improved bound in closed form."""
        blocks = torch.stack([1 + block.g.abs().squeeze() for block in self.blocks])
        return self.first.g.abs().squeeze() * blocks.prod() * self.last.g.abs().sum()


def objective(net: Any, x: Tensor, y: Tensor) -> Tensor:
    """loss + lam * penalty."""
    loss = F.cross_entropy(net(x), y) if y.dim() == 1 else F.binary_cross_entropy_with_logits(net(x), y)
    return loss + LAM * net.penalty()


def loader(task: Task, batch: int) -> "DataLoader[tuple[Tensor, ...]]":
    """Shuffled batches."""
    return DataLoader(TensorDataset(task.train.x, task.train.y), batch_size=batch, shuffle=True)


def script(build: Callable[[], Any], task: Task, batch: int) -> Step:
    """A step of a plain script."""
    net = build()
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    batches = itertools.chain.from_iterable(itertools.repeat(loader(task, batch)))

    def step() -> None:
        optimizer.zero_grad()
        objective(net, *next(batches)).backward()
        optimizer.step()

    return step


def with_lightning() -> bool:
    """Whether lightning is installed."""
    return importlib.util.find_spec("lightning") is not None


def lightning_ms(net: Any, task: Task, batch: int, epochs: int) -> float:
    """Milliseconds a step of Lightning's loop, its start and its first epoch not counted."""
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = net
            self.marks: list[float] = []

        def training_step(self, batch: tuple[Tensor, Tensor], _index: int) -> Tensor:
            return objective(self.net, *batch)

        def on_train_epoch_end(self) -> None:
            self.marks.append(time.perf_counter())

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=2e-3)

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    module, batches = Module(), loader(task, batch)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lightning.Trainer(
            max_epochs=epochs + 1,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=folder,
        ).fit(module, batches)
    return 1000 * (module.marks[-1] - module.marks[0]) / epochs / len(batches)
