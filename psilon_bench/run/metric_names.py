"""The names of the metrics that a finished run will have, known before it begins."""

import torch

from psilon_bench.metrics.network import curve_measures, final_measures
from psilon_bench.metrics.prediction import scores
from psilon_bench.models.baselines import Baseline
from psilon_bench.models.offers import HasCompact, HasInputBounds, HasLipschitzBound
from psilon_bench.models.units import pairs_of
from psilon_bench.pruning.pruner import Pruner
from psilon_bench.training.final_scores import score_names
from psilon_bench.training.member import Member

ROWS = 2
OF_VALIDATION = ("val/", "best/")
OF_FIT = {"epoch", "step", "train/loss", "time/fit_s"}
OF_TRAINING = OF_FIT | {
    *("lr", "train/objective", "time/step_ms", "num_parameters"),
    *("best/val/loss", "best/step", "lipschitz_local", "lipschitz_local/max"),
}


@torch.no_grad()
def metric_names(member: Member) -> set[str]:
    """Return the names of what a run records but for test scores, scores before pruning and counts of units.

    Those of the constant prediction are left out too, for they are the same whatever is trained. Of baselines, which
    are measured once they are fitted, only scores, the training loss and the time. A run without validation rows has no
    score of them.
    """
    names = names_with_validation(member)
    return names if len(member.task.val) else {name for name in names if not name.startswith(OF_VALIDATION)}


def names_with_validation(member: Member) -> set[str]:
    """Return the names as they are where there are validation rows."""
    if isinstance(member.model, Baseline):
        classes = {"val/accuracy"} if member.task.kind in ("binary", "multiclass") else set()
        return OF_FIT | {"val/loss"} | classes | of_predictions(member)
    config, task, model = member.config, member.task, member.model
    parameter = next(model.parameters())
    logits = model.eval()(task.val.x[:ROWS].to(parameter.device, parameter.dtype))
    functions, threshold = config.metrics.located, config.metrics.unit_threshold
    of_rows = {f"val/{name}" for name in scores(task.kind, logits, task.val.y[:ROWS].to(parameter.device), functions)}
    prunes = type(config.pruner.build()) is not Pruner
    kept = model.plain() if prunes else model
    measures = {*curve_measures(model, threshold, functions), *final_measures(kept, threshold, functions)}
    return OF_TRAINING | of_rows | measures | exported(kept) | of_weight_decay(member) | of_predictions(member)


def of_predictions(member: Member) -> set[str]:
    """Return the names of the scores of finished predictions, as far as they are defined on the validation rows."""
    names = score_names(member.task, member.config.metrics)
    return {name for name in names if not name.startswith(("test/", "constant/"))}


def exported(network: object) -> set[str]:
    """Return the names of what is measured of a network when it is exported."""
    names = {"lipschitz_gap"} if isinstance(network, HasLipschitzBound) else set()
    names |= {"lipschitz_bound/raw", "num_inputs", "num_columns"} if isinstance(network, HasInputBounds) else set()
    return names | ({"compact/num_parameters"} if isinstance(network, HasCompact) else set())


def of_weight_decay(member: Member) -> set[str]:
    """Return the names of the objectives of weight decay, where there are any."""
    defined = member.config.reg.build().weight_decay and pairs_of(member.model)
    return {"wd_objective", "wd_objective_raw"} if defined else set()
