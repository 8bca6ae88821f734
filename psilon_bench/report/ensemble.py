"""Ensembles of the networks of a sweep, one for each data set, chosen on validation rows and tested once.

Candidates are the finished networks, by their predictions of the same validation rows. Of a cross-validation they are
the settings that have all folds, by their out-of-fold predictions, means over seeds; the members are the networks of
the folds, which share the weight of their setting, as in bagging by cross-validation (Parmanto, Munro & Doyle 1996).
Baselines take no part: their trees cannot be loaded from a record that a stranger may have written.

The mean of probabilities is less sure than its members, and is calibrated by one temperature, fitted to the validation
rows (psilon_bench.metrics.temperature). Rows with weights leave it as it is, for the fit would count them alike.

What it predicts of the validation rows is written beside it, for students: see psilon_bench.data.teacher.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from psilon_bench.data.store import file_sha256
from psilon_bench.errors import UsageError
from psilon_bench.metrics.temperature import fit_temperature, logs_of, tempered
from psilon_bench.records import places, run_json
from psilon_bench.records.ensemble_json import EnsembleJson, EnsembleMember, write_ensemble
from psilon_bench.records.predictions import Part
from psilon_bench.report.ensemble_rows import likely_and_right, mean_of, replicates, rows_of_part
from psilon_bench.report.ensemble_scores import mean_scores
from psilon_bench.report.ensemble_selection import Loss, cross_entropy, greedy_picks, root_mean_square, weights_of
from psilon_bench.report.grouping import RunGroup
from psilon_bench.report.records import Run
from psilon_bench.report.selection import Choice
from psilon_bench.report.table import Cell, Table
from psilon_bench.report.teacher import teacher_table, write_teacher

SHOWN = ("test/accuracy", "test/rmse")  # the latter in units of the target


Candidate = list[Run]  # what an ensemble may take: a network, of a cross-validation those of all folds of a setting


@dataclass(frozen=True)
class Predictions:
    """What each candidate makes of the same rows, (candidates, rows), as greedy_picks has it, and the loss of means."""

    values: np.ndarray
    loss: Loss

    def loss_with(self, weights: np.ndarray) -> float:
        """Return the loss of the weighted mean; weights: (candidates,)."""
        return float(self.loss(weights @ self.values))


def make_ensembles(choices: Sequence[Choice], folder: Path, least: int = 2) -> tuple[Table, list[str]]:
    """Write an ensemble for each data set to the folder of a report's records.

    Returns the table that shows them, and a note for each data set that has none: it has fewer than `least` networks,
    or runs whose rows differ. UsageError where all of them have none.
    """
    rows: list[list[Cell]] = []
    problems: list[str] = []
    groups = [choice.group for choice in choices if choice.group.runs]
    for dataset in dict.fromkeys(group.dataset for group in groups):
        own = [group for group in groups if group.dataset == dataset]
        try:
            rows += make_ensemble(dataset, own, places.ensemble_folder(folder, dataset), least)
        except UsageError as error:
            problems.append(str(error))
    if problems and not rows:
        raise UsageError(problems[0])
    note = (
        "Greedy selection with replacement on validation rows (Caruana et al. 2004), of a cross-validation on "
        "out-of-fold predictions; the weights are those of a mean of predictions. The test rows were read after it."
    )
    columns = ["data set", "network", "weight", "val/loss", "test/loss", *SHOWN]
    return Table("ensemble", "Ensembles", columns, rows, note), problems


def make_ensemble(dataset: str, groups: Sequence[RunGroup], folder: Path, least: int) -> list[list[Cell]]:
    """Write the ensemble of one data set, and return its rows of the table."""
    candidates = checked([one for group in groups for one in candidates_of(group)], dataset, least)
    kind = groups[0].kind
    judged = compared(candidates, "val", kind, dataset)
    picks = greedy_picks(judged.values, judged.loss)
    weights = weights_of(picks, len(candidates))
    alone = judged.loss(judged.values)
    single = np.eye(len(candidates))[int(alone.argmin())]
    parts: dict[Part, Predictions] = {"val": judged, "test": compared(candidates, "test", kind, dataset)}
    means = {part: mean_of(candidates, weights, part) for part in parts}
    temperature = temperature_of(means["val"], kind)
    first = candidates[0][0]
    taught = teacher_table(means["val"], means["test"].index, temperature, first.checksum)
    made = EnsembleJson(
        task=run_json.read_raw(first.folder)["task"],
        data=first.checksum,
        members=[
            member
            for one, weight, loss in zip(candidates, weights, alone, strict=True)
            if weight
            for member in members_of(one, float(weight), float(loss), folder)
        ],
        picks=len(picks),
        candidates=len(candidates),
        temperature=temperature,
        loss={
            part: rows.loss_with(weights) if temperature is None else tempered_loss(means[part], temperature)
            for part, rows in parts.items()
        },
        loss_of_best={part: rows.loss_with(single) for part, rows in parts.items()},
    )
    write_ensemble(folder, made)
    write_teacher(folder, taught)
    return list(rows_of(dataset, made, mean_scores(means["test"], made.task, temperature)))


def rows_of(dataset: str, made: EnsembleJson, scores: Mapping[str, float]) -> Iterator[list[Cell]]:
    """Yield the rows of an ensemble: its members, the best candidate alone, all together with its test scores."""
    none: list[Cell] = [None] * len(SHOWN)
    for member in made.members:
        yield [dataset, member.title, member.weight, member.loss, None, *none]
    best = made.loss_of_best
    yield [dataset, f"best of {made.candidates} alone", None, best["val"], best["test"], *none]
    own = [scores.get(name) for name in SHOWN]
    yield [dataset, f"ensemble (picks: {made.picks})", 1.0, made.loss["val"], made.loss["test"], *own]


def members_of(candidate: Candidate, weight: float, loss: float, folder: Path) -> Iterator[EnsembleMember]:
    """Yield the networks of a candidate, which share its weight; where one was pruned, that is what was tested."""
    for run in candidate:
        which = places.tested_network(run.folder)
        yield EnsembleMember(
            record=os.path.relpath(run.folder, folder),
            title=run.title,
            which=which,
            weight=weight / len(candidate),
            loss=loss,
            sha256=file_sha256(weights_file(run, which)),
        )


def candidates_of(group: RunGroup) -> Iterator[Candidate]:
    """Yield the candidates of one method: runs, of a cross-validation settings that have all folds."""
    for setting in group.settings:
        if not group.is_cross_validated:
            yield from ([run] for run in setting.runs if is_usable(run))
        elif group.validation(setting, "val/loss") and all(map(is_usable, setting.runs)):
            yield setting.runs


def is_usable(run: Run) -> bool:
    """Tell whether a run left a network and predictions; refits without folds have no validation rows."""
    return all(path.exists() for path in (weights_file(run, "model"), run.folder / places.PREDICTIONS))


def weights_file(run: Run, which: str) -> Path:
    """Return the file of a network of a run."""
    return run.folder / places.weights_name(which)


def checked(candidates: list[Candidate], dataset: str, least: int) -> list[Candidate]:
    """Return the candidates; UsageError where they have fewer than `least` networks."""
    if sum(map(len, candidates)) >= least:
        return candidates
    what = "one network" if candidates else "no network with its predictions"
    raise UsageError(
        f"--ensemble chooses among networks by their {places.PREDICTIONS}, and {dataset} has {what} to take. "
        "Train more of them: the sweep's command with reg.lam=1e-4,1e-3,1e-2, say."
    )


def compared(candidates: Sequence[Candidate], part: Part, kind: str, dataset: str) -> Predictions:
    """Return the predictions of candidates for one part of the data; UsageError where they are of different rows.

    A loss of a regression is in units of the scaled target, by the root of the mean square of the scales of all runs.
    """
    frames = [[frame_of(runs, part, kind) for runs in replicates(runs, part)] for runs in candidates]
    first, far = frames[0][0], max(abs(run.target_center) for runs in candidates for run in runs)
    for runs, own in zip(candidates, frames, strict=True):
        if not all(frame.index.equals(first.index) and is_same(frame["target"], first["target"], far) for frame in own):
            words = {"val": "validation", "test": "test"}[part]
            raise UsageError(
                f"--ensemble compares networks on the same {words} rows, and those of {candidates[0][0].title} and "
                f"{runs[0].title} on {dataset} differ. Train with dataset.split_seed=0, and cv=5 for folds."
            )
    values = np.stack([np.mean([frame["value"].to_numpy() for frame in own], axis=0) for own in frames])
    weights = first["weight"].to_numpy() if "weight" in first else None
    if kind != "regression":
        return Predictions(values, partial(cross_entropy, weights=weights))
    scale = np.sqrt(np.mean([run.target_scale**2 for runs in candidates for run in runs]))
    return Predictions(values / scale, partial(root_mean_square, weights=weights))


def is_same(targets: pd.Series, others: pd.Series, far: float) -> bool:
    """Tell whether the targets of two runs are equal, numbers up to rounding.

    Folds scale them differently, in float32, and a number near 0 has the rounding of its distance from their centres,
    which are up to `far` from 0: what counts as equal is relative to the largest of these and the targets.
    """
    if pd.api.types.is_numeric_dtype(targets):
        near = 1e-6 * max(far, others.abs().max())
        return len(targets) == len(others) and bool(np.allclose(targets, others, rtol=1e-5, atol=near))
    return list(targets) == list(others)


def temperature_of(mean: pd.DataFrame, kind: str) -> float | None:
    """Return the temperature of the mean on validation rows; None for a regression and for weighted rows."""
    if kind == "regression" or "weight" in mean:
        return None
    likely, right = likely_and_right(mean)
    return fit_temperature("multiclass", logs_of(likely), torch.from_numpy(right))


def tempered_loss(mean: pd.DataFrame, temperature: float) -> float:
    """Return the cross-entropy of the mean of probabilities at a temperature."""
    likely, right = likely_and_right(mean)
    return float(cross_entropy(tempered(likely, temperature)[np.arange(len(right)), right]))


def frame_of(runs: Sequence[Run], part: Part, kind: str) -> pd.DataFrame:
    """Return for each row of these runs, by its number, target, value (see greedy_picks) and, if any, weight."""
    frame = rows_of_part(runs, part)
    if kind == "regression":
        frame["value"] = frame["prediction"] - frame["target"]
    else:
        likely, right = likely_and_right(frame)
        frame["value"] = likely[np.arange(len(frame)), right]
        frame["target"] = frame["target"].astype(str)
    return frame[[name for name in ("target", "value", "weight") if name in frame]]
