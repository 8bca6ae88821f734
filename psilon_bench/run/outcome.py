"""The end of a run: test the selected networks, prune, certify, export, close the records."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from psilon_bench.config.schema import Config
from psilon_bench.data.task import Task
from psilon_bench.metrics.lipschitz import entries_sum, spectral_norm
from psilon_bench.metrics.network import final_measures, num_parameters
from psilon_bench.records import places
from psilon_bench.records.record import Record, Status
from psilon_bench.training.member import Member
from psilon_bench.training.stack import Stack
from psilon_bench.training.trainer import Fit, Row

Trained = list[dict[str, dict[str, Tensor]]]  # of every member the parameters for each file: model.pt, and the other


def trained(fit: Fit) -> Trained:
    """What training gave, unpruned, when the selected networks are in the stack."""
    other = "last" if fit.settings.select == "best" else "best"
    return [
        {places.MODEL: fit.stack.state(index), places.weights_name(other): fit.stack.state(index, getattr(fit, other))}
        for index in range(fit.stack.size)
    ]


def finish(fit: Fit, members: Sequence[Member], records: Sequence[Record], unpruned: Trained | None = None) -> None:
    """Test the selected networks and close the records. unpruned: where `fit` fine-tuned what was pruned before it."""
    fit.select()
    if unpruned is None:
        unpruned = trained(fit)
        if members[0].config.pruner.name != "none":
            fit.stack = Stack(pruned(fit))
    metrics, jacobians = measured(fit, members[0].config), fit.jacobians(members[0].config.metrics.lipschitz_points)
    for index, (outcome, record, member) in enumerate(zip(fit.members, records, members, strict=True)):
        if record.closed:
            continue
        record.restore()
        for name, parameters in unpruned[index].items():
            record.save_tensors(name, parameters)
        record.save_object(places.PREPROCESSING, member.task.preprocessing)
        status: Status = "failed" if outcome.status == "failed" else "finished"
        local = spectral_norm(jacobians[index])
        record.run["lipschitz_local_values"] = local.tolist() if local.isfinite().all() else None
        own: Row = {}
        if status == "finished":
            own = metrics[index] | export(fit.stack.network(index), member, record)
            own |= local_measures(local, jacobians[index], own.get("lipschitz_bound"))
        own |= {
            "num_parameters": num_parameters(member.model),
            "best/val/loss": outcome.best_row.get("val/loss", float("nan")),
            "best/step": outcome.best_row.get("step", 0),
            "time/fit_s": fit.seconds / fit.stack.size,  # its share of the stack's time
            "time/step_ms": 1000 * fit.seconds / fit.stack.size / fit.step,
        }
        chosen = outcome.best_row if fit.settings.select == "best" and status == "finished" else outcome.last_row
        record.run["diverged"] = outcome.status == "failed"
        record.finish(status, chosen | own, outcome.reason)


def pruned(fit: Fit) -> list[nn.Module]:
    """Plain networks with exact zeros in the place of those in the stack."""
    selected: list[Any] = [fit.stack.network(index) for index in range(fit.stack.size)]
    networks = [network.plain() for network in selected]
    for network in networks:
        fit.pruner.prune(network)
    return networks


def measured(fit: Fit, config: Config) -> list[Row]:
    """Scores, certificates and local Lipschitz constants of every member."""
    of_network = partial(final_measures, unit_threshold=config.metrics.unit_threshold)
    val = fit.measure(fit.val, "val", of_network)
    test = scored(fit, config.metrics.radii)
    rows = [own | scores for own, scores in zip(val, test, strict=True)]
    for row, before in zip(rows, fit.unpruned, strict=False):
        row.update(before)
    return rows


def local_measures(local: Tensor, jacobians: Tensor, bound: float | None) -> Row:
    """How steep a network is at test rows, and how far above that its certificate lies."""
    steepest = entries_sum(jacobians).max().item()
    gap = {} if bound is None else {"lipschitz_gap": bound / steepest if steepest else float("inf")}
    return {"lipschitz_local": local.mean().item(), "lipschitz_local/max": local.max().item()} | gap


def scored(fit: Any, radii: Sequence[float] = ()) -> list[Row]:
    """Scores on the test rows, and on each extra test set (`test/fog/loss`) and their mean (`test/extra/loss`)."""
    scores: list[Row] = fit.measure(fit.test, "test", lambda model: {}, radii)
    extra = [fit.measure(rows, f"test/{name}", lambda model: {}) for name, rows in fit.extra_tests.items()]
    for index, own in enumerate(scores):
        for score in ("loss", "accuracy"):
            values = [v for sets in extra for key, v in sets[index].items() if key.endswith(f"/{score}")]
            if values:
                own[f"test/extra/{score}"] = sum(values) / len(values)
        for sets in extra:
            own.update(sets[index])
    return scores


def export(network: Any, member: Member, record: Record) -> Row:
    """Write the plain pruned network, the compact one where it is smaller, what inputs are worth, which units are dead.

    `num_units/layer1` ... count the units that the compact network has left.
    """
    if member.config.pruner.name != "none":
        record.save_tensors(places.PRUNED, state_of(network))
    result: Row = {}
    if hasattr(network, "input_bounds"):
        bounds = input_table(member.task, network.input_bounds())
        record.write(places.INPUT_TABLE, bounds.to_csv(index=False))
        result["lipschitz_bound/raw"] = bounds["bound_raw"].sum()
        read = bounds["bound"] > 0
        result["num_inputs"] = int(read.sum())
        if not read.all():
            record.run["inputs_kept"] = bounds["input"][read].tolist()
    if hasattr(network, "alive_units"):
        units = unit_table(network)
        if not units["alive"].all():
            record.write(places.UNIT_TABLE, units.to_csv(index=False))
    if hasattr(network, "compact"):
        compact, inputs = network.compact()
        result["compact/num_parameters"] = num_parameters(compact)
        if hasattr(network, "weights"):
            result |= {f"num_units/layer{k}": len(w) for k, w in enumerate(compact.weights()[:-1], start=1)}
        if num_parameters(compact) < num_parameters(network.plain()):
            taken = {} if inputs is None else {"inputs": inputs.cpu()}
            record.save_tensors(places.COMPACT, taken | state_of(compact))
    return result


def state_of(network: nn.Module) -> dict[str, Tensor]:
    """The state_dict on the CPU."""
    return {name: value.detach().cpu() for name, value in network.state_dict().items()}


def input_table(task: Task, bounds: Tensor) -> pd.DataFrame:
    """A row an input: how far the outputs (L1) move at most when it moves by one, as scaled and in raw units.

    Raw outputs of a regression are in units of the target. A bound of 0: the network does not read that input.
    """
    own = bounds.detach().double().cpu()
    scales = torch.tensor(task.input_scales or [1.0] * len(own), dtype=torch.float64)
    raw = own / scales * task.target_scale
    return pd.DataFrame({"input": task.feature_names, "bound": own, "scale": scales, "bound_raw": raw})


def unit_table(network: Any) -> pd.DataFrame:
    """A row a hidden unit: whether it is alive, how many weights other than 0 it reads with, and is read with."""
    there = [(weight != 0).cpu() for weight in network.weights()]
    layers = [
        {"layer": k, "unit": range(len(alive)), "alive": alive.cpu(), "reads": own.sum(dim=1), "read": after.sum(dim=0)}
        for k, (alive, own, after) in enumerate(zip(network.alive_units(), there[:-1], there[1:], strict=True), start=1)
    ]
    return pd.concat([pd.DataFrame(layer) for layer in layers], ignore_index=True)
