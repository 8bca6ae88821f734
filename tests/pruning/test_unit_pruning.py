"""Pruning of units: exact zeros, the same outputs from a smaller network, and back from the record."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_images import write_mnist
from rich.console import Console
from sklearn.datasets import load_wine
from unit_networks import KINDS, unit_network

from psilon_bench.errors import UsageError
from psilon_bench.metrics.network import num_parameters
from psilon_bench.models.vgg import VGG
from psilon_bench.pruning.units import Units
from psilon_bench.records.networks import load
from psilon_bench.run import run as runner
from psilon_bench.run.checks import prepare
from psilon_bench.run.display import Display
from psilon_bench.training import engines
from psilon_bench.training.member import Member


def unit_sizes_with_bias(pair: Any) -> Any:
    """||(w_k, a_k)|| ||v_k|| of every unit."""
    rows = torch.cat([pair.incoming.weight.flatten(1), pair.incoming.bias[:, None]], dim=1)
    return torch.stack([row.norm() * pair.outgoing.weight[:, k].norm() for k, row in enumerate(rows)])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("threshold", [0.0, 0.3, 1e9])
def test_the_compact_network_has_the_same_outputs(kind: Any, threshold: Any) -> None:
    """Dead units are 0 in weights and bias; without them the network is smaller and gives the same, even if all are."""
    model, x = unit_network(kind)
    with torch.no_grad():
        model.units()[0].outgoing.weight[:, 1] = 0
        model.units()[1].incoming.weight[2] = 0
        model.units()[1].incoming.bias[2] = 0
    before, sizes = model(x), [unit_sizes_with_bias(pair) for pair in model.units()]
    pruned = model.plain()
    Units(threshold).prune(pruned, x)
    for pair, own in zip(pruned.units(), sizes, strict=True):
        for dead, k in zip(own <= threshold, range(len(own)), strict=True):
            gone = [pair.incoming.weight[k], pair.incoming.bias[k], pair.outgoing.weight[:, k]]
            assert all(bool((part == 0).all()) is bool(dead) for part in gone)
    if threshold == 0:
        torch.testing.assert_close(pruned(x), before, rtol=1e-13, atol=0)
    compact, inputs = pruned.compact()
    torch.testing.assert_close(compact(x if inputs is None else x.flatten(1)[:, inputs]), pruned(x))
    assert num_parameters(compact) < num_parameters(model)


def test_a_constant_channel_stays() -> None:
    """A channel that reads nothing and has a positive bias is no bias of the next: the image's border is 0."""
    model, x = unit_network("vgg")
    assert isinstance(model, VGG)
    with torch.no_grad():
        model.convolutions[1].weight[0] = 0
        for bias, channels in ((2.0, 4), (-2.0, 3)):
            model.convolutions[1].bias[0] = bias
            compact, _ = model.compact()
            assert len(compact.convolutions[1].weight) == channels
            torch.testing.assert_close(compact(x), model(x))


@pytest.mark.parametrize("model", ["mlp", "mlp_factorized", "vgg_tiny"])
def test_a_pruned_run_comes_back(config: Any, tmp_path: Path, model: Any) -> None:
    """PathProx, pruned: compact.pt is smaller than pruned.pt and predicts the same from raw rows, images included."""
    images = model == "vgg_tiny"
    data = write_mnist(tmp_path, 8, (60, 20)) if images else ("dataset=wine",)
    size = "model.blocks=[[6],[6]]" if images else "model.hidden=20"
    prox = ("reg=pathprox", "reg.lam=0.3", "optimizer=sgd", "optimizer.lr=0.2", "scheduler=constant", "pruner=units")
    run = config(f"model={model}", *data, *prox, "trainer.epochs=5", "tracking=none", size)
    record = runner.run_alone(run, Display(Console(file=io.StringIO())))
    raw = np.random.default_rng(0).integers(0, 255, (5, 1, 8, 8)) if images else load_wine(as_frame=True).data
    pruned, compact = load(record.folder, "pruned"), load(record.folder, "compact")
    np.testing.assert_allclose(compact.predict(raw), pruned.predict(raw), atol=1e-6)
    assert record.run["metrics"]["unit_sparsity"] > 0
    assert record.run["metrics"]["compact/num_parameters"] == num_parameters(compact.network)
    assert num_parameters(compact.network) < num_parameters(pruned.network)


def zeros_over_a_run(members: list[Member]) -> list[list[float]]:
    """Units that are exact zeros in each row of each member."""
    rows: list[list[float]] = [[] for _ in members]
    engines.build_trainer(members).run(lambda member, row: rows[member].append(row["units/zero"]))
    return rows


def test_a_unit_that_is_out_in_training_stays_out(config: Any) -> None:
    """Without a prox, weight decay alone: the number of exact zeros never falls, each member of a stack as alone."""
    run: tuple[str, ...] = ("model=mlp_factorized", "model.hidden=9", "dataset=wine", "tracking=none", "reg=l2")
    run += ("optimizer=sgd", "optimizer.lr=0.1", "scheduler=constant", "reg.lam=0.03")
    run += ("trainer.epochs=8", "trainer.eval_every=1")
    during = ("pruner=units_during", "pruner.threshold=0.2")
    members = [prepare(config(*run, *during, f"seed={seed}")) for seed in (0, 1)]
    counts = []
    for some in (members, members[:1], members[1:]):
        counts += zeros_over_a_run(some)
    assert counts[:2] == counts[2:]
    for own in counts:
        assert own == sorted(own)
        assert 0 < own[0] < own[-1] < 27


def test_networks_without_units_are_refused(config: Any) -> None:
    """One line before anything is written."""
    with pytest.raises(UsageError, match=r"pruner=units does not fit model=pnet: it needs pairs of plain layers"):
        prepare(config("pruner=units", "model=pnet"))
