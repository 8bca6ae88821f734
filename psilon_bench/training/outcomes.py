"""What comes of trained networks: tested, pruned, certified, in the forms in which they are kept."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor, nn

from psilon_bench.data.task import Task
from psilon_bench.metrics.lipschitz import entries_sum, spectral_norm
from psilon_bench.metrics.network import final_measures, num_parameters
from psilon_bench.models.offers import HasAliveUnits, HasCompact, HasInputBounds, HasSlopes, HasWeights
from psilon_bench.training.certified import Certified, certified_networks
from psilon_bench.training.engine import Outcome, Row
from psilon_bench.training.evaluation import Evaluation
from psilon_bench.training.final_scores import add_predictions, constant_scores
from psilon_bench.training.promise import kept_on, promise_of
from psilon_bench.training.stack import Stack

if TYPE_CHECKING:
    from psilon_bench.training.trainer import Trainer

States = dict[str, dict[str, Tensor]]  # state_dicts of a network: model, best or last, pruned, compact


def trained_states(trainer: "Trainer") -> list[States]:
    """Return what training gave, unpruned, of each member: `model` is what was selected, `best` or `last` the other.

    The selected parameters are to be in the stack; see Trainer.select.
    """
    other, values = ("last", trainer.last) if trainer.recipe.settings.select == "best" else ("best", trainer.best)
    stack = trainer.stack
    states = [{"model": stack.state(index)} for index in range(stack.size)]
    if trainer.evaluation.val is not None:  # no network is the best by validation where there are no rows for it
        states = [state | {other: stack.state(index, values)} for index, state in enumerate(states)]
    return states


def pruned_networks(trainer: "Trainer") -> tuple[list[nn.Module], list[Row]]:
    """Return plain networks with exact zeros in the place of those in the stack, and what the pruner promises."""
    selected: list[Any] = [trainer.stack.network(index) for index in range(trainer.stack.size)]
    networks, promises = [network.plain() for network in selected], []
    for trained, network, task in zip(selected, networks, trainer.recipe.tasks, strict=True):
        promise = trainer.recipe.pruner.prune(network, task.train.x)
        promises.append(promise_of(promise["change"], trained, network, task) if promise else {})
    return networks, promises


def outcomes(trainer: "Trainer", unpruned: list[States] | None = None) -> Iterator[Outcome]:
    """Test the selected networks, pruned where the recipe says so, and yield what came of each member.

    unpruned: what training gave before it was pruned, where this trainer only fine-tuned what was left.
    """
    trainer.select()
    recipe, stack = trainer.recipe, trainer.stack
    pruned = recipe.pruner.prunes or unpruned is not None
    promises: list[Row] = [{} for _ in recipe.tasks]
    if unpruned is None:
        unpruned = trained_states(trainer)
        if recipe.pruner.prunes:
            networks, promises = pruned_networks(trainer)
            stack = Stack(networks)
    evaluation = trainer.evaluation.of(stack)
    metrics = final_metrics(trainer, evaluation)
    logits = {} if recipe.kind == "recovery" else evaluation.logits_by_split()
    jacobians = evaluation.jacobians(recipe.metrics.lipschitz_points)
    if any(promises):
        promises = tested_promises(trainer, promises, logits["test"])
    constant = constant_scores(recipe.tasks)
    certified = certified_members(trainer, stack, logits.get("test"))
    for index, (progress, task) in enumerate(zip(trainer.members, recipe.tasks, strict=True)):
        local = spectral_norm(jacobians[index])
        outcome = Outcome("failed" if progress.status == "failed" else "finished", progress.reason, {})
        outcome.tensors |= unpruned[index]
        outcome.preprocessing = task.preprocessing
        outcome.details["lipschitz_local_values"] = local.tolist() if local.isfinite().all() else None
        finished = outcome.status == "finished"
        chosen = progress.best_row if recipe.settings.select == "best" and finished else progress.last_row
        outcome.metrics |= chosen
        if finished:
            outcome.metrics |= metrics[index]
            if logits:
                of_member = {split: values[index, : len(getattr(task, split))] for split, values in logits.items()}
                add_predictions(outcome, task, of_member, recipe.metrics, constant[index])
            own = next(certified)
            outcome.metrics |= own.scores
            export(outcome, own, task, pruned)
            outcome.details |= {"promise": promises[index]} if promises[index] else {}
            outcome.metrics |= local_measures(local, jacobians[index], outcome.metrics.get("lipschitz_bound"))
        seconds = trainer.seconds / stack.size  # its share of the stack's time
        outcome.metrics |= {
            "num_parameters": recipe.num_parameters[index],
            **({f"best/{key}": progress.best_row[key] for key in ("val/loss", "step")} if progress.best_row else {}),
            "time/fit_s": seconds,
            "time/step_ms": 1000 * seconds / trainer.step,
        }
        yield outcome


def certified_members(trainer: "Trainer", stack: Stack, logits: Tensor | None) -> Iterator[Certified]:
    """Yield what is certified of the members of the stack that did not diverge; see certified_networks."""
    members = [index for index, progress in enumerate(trainer.members) if progress.status != "failed"]
    networks, tasks = (stack.network(index) for index in members), [trainer.recipe.tasks[index] for index in members]
    made = (None if logits is None else logits[index] for index in members)
    return certified_networks(networks, tasks, trainer.recipe.metrics, made)


def tested_promises(trainer: "Trainer", promises: Sequence[Row], after: Tensor) -> list[Row]:
    """Return the promises with how they fare on the test rows; after: their logits (members, rows, out)."""
    assert trainer.evaluation.test is not None
    before = trainer.evaluation.logits(trainer.evaluation.test)
    values = zip(promises, trainer.recipe.tasks, before, after, strict=True)
    return [promise | kept_on(task, *logits) for promise, task, *logits in values]


def final_metrics(trainer: "Trainer", evaluation: Evaluation) -> list[Row]:
    """Return scores, bounds and sparsities of every member, and the scores that it had before it was pruned."""
    metrics = trainer.recipe.metrics
    of_network = partial(final_measures, unit_threshold=metrics.unit_threshold, functions=metrics.located)
    val = evaluation.validation("val", of_network)
    test = test_scores(evaluation.scores, evaluation.test, evaluation.extra_tests)
    before: Sequence[Row] = trainer.unpruned or [{} for _ in val]
    return [first | then | earlier for first, then, earlier in zip(val, test, before, strict=True)]


def test_scores(scores: Callable[..., list[Row]], test: Any, extra_tests: Mapping[str, Any]) -> list[Row]:
    """Return scores on the test rows, on each extra test set (`test/fog/loss`), and their mean (`test/extra/loss`).

    scores(rows, split) gives a dictionary for each member.
    """
    found: list[Row] = scores(test, "test")
    extra = [scores(rows, f"test/{name}") for name, rows in extra_tests.items()]
    for index, row in enumerate(found):
        for score in ("loss", "accuracy"):
            values = [v for sets in extra for key, v in sets[index].items() if key.endswith(f"/{score}")]
            if values:
                row[f"test/extra/{score}"] = sum(values) / len(values)
        for sets in extra:
            row.update(sets[index])
    return found


def local_measures(local: Tensor, jacobians: Tensor, bound: float | None) -> Row:
    """Return how steep a network is at test rows (points,), and how far above that its certificate lies."""
    steepest = entries_sum(jacobians).max().item()
    gap = {} if bound is None else {"lipschitz_gap": bound / steepest if steepest else float("inf")}
    return {"lipschitz_local": local.mean().item(), "lipschitz_local/max": local.max().item()} | gap


def export(outcome: Outcome, certified: Certified, task: Task, pruned: bool) -> None:
    """Add the plain pruned network, the compact one where it is smaller, what inputs are worth, which units are dead.

    `num_units/layer1` ... count the units that the compact network has left.
    """
    network, bounds = certified.network, certified.input_bounds
    if pruned:
        outcome.tensors["pruned"] = state_of(network)
    if isinstance(network, HasInputBounds) and bounds is not None:
        add_inputs(outcome, input_table(task, bounds))
    if isinstance(network, HasSlopes) and bounds is not None:
        outcome.metrics["lipschitz_bound"] = bounds.sum().item()
    if isinstance(network, HasAliveUnits):
        alive = network.alive_units()
        if not all(own.all() for own in alive):
            outcome.tables["units"] = unit_table(network.weights(), alive)
    if isinstance(network, HasCompact):
        add_compact(outcome, network)


def add_inputs(outcome: Outcome, bounds: pd.DataFrame) -> None:
    """Add the table of input_table, and which columns of the user's the network reads where that is not all of them."""
    outcome.tables["inputs"] = bounds
    outcome.metrics["lipschitz_bound/raw"] = bounds["bound_raw"].sum()
    read = bounds["bound"] > 0
    columns = bounds["column"][read].unique().tolist()
    outcome.metrics |= {"num_inputs": int(read.sum()), "num_columns": len(columns)}
    if len(columns) < bounds["column"].nunique():
        outcome.details["inputs_kept"] = columns


def add_compact(outcome: Outcome, network: Any) -> None:
    """Add the network without what is dead where that is smaller, and its sizes."""
    compact, inputs = network.compact()
    outcome.metrics["compact/num_parameters"] = num_parameters(compact)
    if isinstance(network, HasWeights):
        outcome.metrics |= {f"num_units/layer{k}": len(w) for k, w in enumerate(compact.weights()[:-1], start=1)}
    if num_parameters(compact) < num_parameters(network.plain()):
        taken = {} if inputs is None else {"inputs": inputs.cpu()}
        outcome.tensors["compact"] = taken | state_of(compact)


def state_of(network: nn.Module) -> dict[str, Tensor]:
    """Return the state_dict on the CPU."""
    return {name: value.detach().cpu() for name, value in network.state_dict().items()}


def input_table(task: Task, bounds: Tensor) -> pd.DataFrame:
    """Return a row an input: how far the outputs (L1) move at most when it moves by one, as scaled and in raw units.

    bounds: (inputs,). Raw outputs of a regression are in units of the target. A bound of 0: the network does not read
    that input. `column` is that of the table that it is made of. A value that becomes missing is no bounded move, which
    `becoming_missing` says: its input jumps to the median, and another one may go from 0 to 1.
    """
    bound = bounds.detach().double().cpu()
    scales = torch.tensor(task.input_scales or [1.0] * len(bound), dtype=torch.float64)
    raw = bound / scales * task.target_scale
    names = {"input": task.feature_names, "column": task.input_columns}
    numbers = {"bound": bound, "scale": scales, "bound_raw": raw}
    return pd.DataFrame(names | numbers | {"becoming_missing": "no bounded move"})


def unit_table(weights: Sequence[Tensor], alive_units: Sequence[Tensor]) -> pd.DataFrame:
    """Return a row a hidden unit: whether it is alive, with how many weights other than 0 it reads and is read."""
    nonzero = [(weight != 0).cpu() for weight in weights]
    layers = [
        {"layer": k, "unit": range(len(alive)), "alive": alive.cpu(), "reads": ins.sum(dim=1), "read": outs.sum(dim=0)}
        for k, (alive, ins, outs) in enumerate(zip(alive_units, nonzero[:-1], nonzero[1:], strict=True), start=1)
    ]
    return pd.concat([pd.DataFrame(layer) for layer in layers], ignore_index=True)
