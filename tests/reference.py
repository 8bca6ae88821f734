"""Slow, obvious oracles: loops over rows, paths and steps, to hold the fast code against."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy.optimize import linprog
from torch import Tensor
from torch.nn import functional as F

from psilon_bench.config.sections import TrainerSection
from psilon_bench.data.task import Split, Task
from psilon_bench.metrics.exact_network import ExactNetwork
from psilon_bench.metrics.robustness import Certificate, robust_accuracies
from psilon_bench.models.linear import NormLinear
from psilon_bench.models.mlp import MLP
from psilon_bench.training.batches import generator

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "binary": F.binary_cross_entropy_with_logits,
    "multiclass": F.cross_entropy,
    "regression": F.mse_loss,
}


def row_norm(row: Tensor, q: int) -> Tensor:
    """||row||_q by its definition, q = 1 or 2."""
    return sum(x.abs() for x in row) if q == 1 else sum(x * x for x in row).sqrt()


def weight_of(layer: torch.nn.Module) -> Tensor:
    """W of a layer, row by row: g_j v_j / ||v_j||_q, a row of zeros for v_j = 0."""
    if not isinstance(layer, NormLinear):
        assert isinstance(layer.weight, Tensor)
        return layer.weight
    lengths = layer.g.expand(len(layer.v))
    rows = [
        g * v / row_norm(v, layer.q) if v.count_nonzero() else torch.zeros_like(v)
        for g, v in zip(lengths, layer.v, strict=True)
    ]
    return torch.stack(rows)


def forward(model: MLP, x: Tensor) -> Tensor:
    """The network's output from built weights."""
    for layer in model.layers[:-1]:
        x = model.activation(x @ weight_of(layer).T + layer.bias)
    return x @ weight_of(model.layers[-1]).T + model.layers[-1].bias


def path_norm_by_paths(weights: Sequence[Tensor]) -> float:
    """The sum over all paths from an input to an output of the product of |w| along the path."""

    def below(layer: int, unit: int) -> float:
        """All paths that end in this unit."""
        if layer < 0:
            return 1.0
        return sum(abs(w) * below(layer - 1, source) for source, w in enumerate(weights[layer][unit].tolist()))

    return sum(below(len(weights) - 1, output) for output in range(len(weights[-1])))


def path_norm_by_product(weights: Sequence[Tensor]) -> Tensor:
    """1^T |W_K| ... |W_1| 1, the whole product built."""
    product = weights[0].abs()
    for weight in weights[1:]:
        product = weight.abs() @ product
    return product.sum()


def near_sparsity(row: Sequence[float]) -> float:
    """1 - exp(H(p)) / d of one vector, 1 for a vector of zeros."""
    total = sum(abs(x) for x in row)
    if total == 0:
        return 1.0
    p = [abs(x) / total for x in row if x != 0]
    return 1 - math.exp(-sum(x * math.log(x) for x in p)) / len(row)


def batches(split: Split, seed: int, num_batches: int, epochs: int) -> list[list[tuple[Tensor, Tensor]]]:
    """The batches of each epoch: the rows dealt from one shuffled deck, the first `rows % num_batches` get one more."""
    deck, result = generator(seed, 1), []
    for _ in range(epochs):
        order = torch.randperm(len(split), generator=deck).tolist()
        sizes = [len(split) // num_batches + (i < len(split) % num_batches) for i in range(num_batches)]
        starts = [sum(sizes[:i]) for i in range(num_batches)]
        rows = [order[start : start + size] for start, size in zip(starts, sizes, strict=True)]
        result.append([(split.x[index].double(), as_double(split.y[index])) for index in rows])
    return result


def unit_measures(model: MLP) -> dict[str, float]:
    """Sizes ||w_k|| ||v_k|| of the hidden units between layers (1, 2), (3, 4), ..., counted one by one."""
    if isinstance(model.layers[0], NormLinear):
        return {}
    result: dict[str, float] = {}
    every: list[float] = []
    for g in range(len(model.layers) // 2):
        first, second = model.layers[2 * g].weight, model.layers[2 * g + 1].weight
        sizes = [row_norm(w, 2).item() * row_norm(v, 2).item() for w, v in zip(first, second.T, strict=True)]
        result[f"units/active/{g + 1}"] = sum(size > 1e-3 for size in sizes)
        every += sizes
    result["unit_path_norm"] = sum(every)
    result["unit_sparsity"] = sum(size <= 1e-3 for size in every) / len(every)
    result["units/zero"] = every.count(0.0)
    return result


def as_double(y: Tensor) -> Tensor:
    """Targets in float64, classes as they are."""
    return y.double() if y.is_floating_point() else y


def train(
    model: MLP,
    task: Task,
    lam: float,
    penalty: Callable[[list[Tensor]], Tensor],
    seed: int,
    settings: TrainerSection,
    optimizer: torch.optim.Optimizer,
    rates: Sequence[float],
) -> tuple[list[dict[str, float]], list[float]]:
    """A row per epoch and the objective of every step; `rates` are the learning rates of the epochs.

    Trains the network it is given, weights built in every forward pass, until the objective is not finite.
    """
    rows: list[dict[str, float]] = []
    objectives: list[float] = []
    loss_of = LOSSES[task.kind]
    for epoch, parts in enumerate(batches(task.train, seed, settings.num_batches, settings.epochs)):
        optimizer.param_groups[0]["lr"] = rates[epoch]
        losses, totals = [], []
        for x, y in parts:
            loss = loss_of(forward(model, x), y)
            objective = loss + lam * penalty([weight_of(layer) for layer in model.layers])
            objectives.append(objective.item())
            if not math.isfinite(objective.item()):
                return rows, objectives
            optimizer.zero_grad()
            objective.backward()
            optimizer.step()
            losses.append(loss.item())
            totals.append(objective.item())
        rows.append(row(model, task, epoch + 1, len(objectives), rates[epoch], losses, totals))
    return rows, objectives


@torch.no_grad()
def row(
    model: MLP, task: Task, epoch: int, step: int, rate: float, losses: Sequence[float], totals: Sequence[float]
) -> dict[str, float]:
    """One row of the history, as history.csv names it."""
    logits, y = forward(model, task.val.x.double()), as_double(task.val.y)
    weights = [weight_of(layer) for layer in model.layers]
    vectors = [near_sparsity(vector.tolist()) for weight in weights for vector in weight]
    shown = math.sqrt if task.kind == "regression" else float
    result = {
        "epoch": epoch,
        "step": step,
        "lr": rate,
        "train/loss": shown(sum(losses) / len(losses)),
        "train/objective": sum(totals) / len(totals),
        "val/loss": shown(LOSSES[task.kind](logits, y).item()),
        "path_norm": path_norm_by_product(weights).item(),
        "near_sparsity": sum(vectors) / len(vectors),
        **unit_measures(model),
    }
    if task.kind != "regression":
        guesses = logits.argmax(1) if task.kind == "multiclass" else (logits > 0).double()
        result["val/accuracy"] = sum(int(a == b) for a, b in zip(guesses, y, strict=True)) / len(y)
    return result


def basis_pursuit(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """argmin sum t subject to A x = b, -t <= x <= t: another linear program than the package's, by another solver."""
    rows, size = a.shape
    eye = np.eye(size)
    found = linprog(
        np.r_[np.zeros(size), np.ones(size)],
        A_ub=np.block([[eye, -eye], [-eye, -eye]]),
        b_ub=np.zeros(2 * size),
        A_eq=np.hstack([a, np.zeros((rows, size))]),
        b_eq=b,
        bounds=(None, None),
        method="highs-ipm",
    )
    assert found.success
    return found.x[:size]


def descend(
    a: np.ndarray, b: np.ndarray, alpha: float, power: int, signed: bool, ratio: float | None, lr: float, steps: int
) -> np.ndarray:
    """x after so many steps on 1/2 ||A x - b||^2, gradients by hand; with a ratio u = g v / ||v||.

    x = u^L - w^L is that of a matrix [A, -A].
    """
    if signed:
        both = descend(np.hstack([a, -a]), b, alpha, power, False, ratio, lr, steps)
        return both[: a.shape[1]] - both[a.shape[1] :]
    size = a.shape[1]
    u, g, v = np.full(size, alpha), alpha * size**0.5, np.full(size, size**-0.5)
    for _ in range(steps):
        slope = power * u ** (power - 1) * (a.T @ (a @ u**power - b))
        if ratio is None:
            u = u - lr * slope
            continue
        norm = np.linalg.norm(v)
        along = v @ slope / norm
        g, v = g - lr * ratio * along, v - lr * g / norm * (slope - along * v / norm)
        u = g * v / np.linalg.norm(v)
    return u**power


def accuracies_of(
    net: ExactNetwork,
    x: Tensor,
    y: Tensor,
    radii: Sequence[float],
    certificate: Certificate,
    steps: int,
    shares: Tensor | None = None,
    seconds: float = math.inf,
) -> dict[str, Tensor]:
    """What `robust_accuracies` gives one network by itself."""
    (found,) = robust_accuracies([net], x[None], y[None], radii, certificate, steps, [shares], seconds)
    return found
