"""Loads trained networks from records, with the preprocessing that new rows need."""

import itertools
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
import yaml
from torch import Tensor, nn

from psilon_bench.config.components import BASELINE, derives, locate
from psilon_bench.config.schema import ModelSection
from psilon_bench.data import checks, overflow
from psilon_bench.data.image_scaler import ImageScaler
from psilon_bench.data.preprocessing import Preprocessing
from psilon_bench.data.store import file_sha256
from psilon_bench.errors import UsageError
from psilon_bench.metrics.conformal import prediction_sets
from psilon_bench.metrics.prediction import probabilities
from psilon_bench.metrics.temperature import tempered
from psilon_bench.models.monotone import MonotoneInputs
from psilon_bench.records import places, run_json
from psilon_bench.records.ensemble_json import read_ensemble
from psilon_bench.records.preprocessing_json import read_preprocessing

Which = Literal["model", "best", "last", "pruned", "compact"]
SAVED_PLAIN = ("pruned", "compact")  # saved as plain weights of any sizes


@dataclass(frozen=True)
class Calibration:
    """What a run fitted to its validation rows, by metrics.calibrate and metrics.coverage; None where it did not."""

    temperature: float | None = None
    halfwidth: float | None = None  # of the interval around a prediction, in units of the target
    threshold: float | None = None  # the classes with 1 - probability up to it are in the set

    @classmethod
    def of(cls, metrics: Mapping[str, float]) -> "Calibration":
        """Return the calibration among the metrics of a run."""
        names = ("temperature", "conformal_halfwidth", "conformal_threshold")
        return cls(*(metrics.get(name) for name in names))


@dataclass(frozen=True)
class SavedNetwork:
    """A trained network with its preprocessing; `inputs` are the columns it takes, all of them unless it is compact."""

    network: nn.Module
    preprocessing: Preprocessing | ImageScaler | None
    inputs: Tensor | None
    task: dict[str, Any]  # as in run.json
    calibration: Calibration = Calibration()

    def predict(self, rows: Any) -> np.ndarray:
        """Return predictions for raw rows as the data set had them: a DataFrame, or pixels.

        For a regression an array (rows,) in units of the target; for classes probabilities (rows, classes), of logits
        that are divided by the temperature where the run fitted one. Warns of levels that no training row had.
        """
        warn_of_unseen(self.unseen_levels(rows), rows)
        return self.predictions(rows)

    def predictions(self, rows: Any) -> np.ndarray:
        """Return what `predict` does, without a warning."""
        logits = self._logits(rows)
        if self.task["kind"] == "regression":
            target = self.task["target"]
            return np.asarray(target["center"] + target["scale"] * logits.squeeze(1))
        temperature = self.calibration.temperature
        return np.asarray(probabilities(self.task["kind"], logits if temperature is None else logits / temperature))

    def predict_interval(self, rows: Any) -> np.ndarray:
        """Return the lower and the upper end of each row's interval, (rows, 2), in units of the target.

        The target lies in it with the probability metrics.coverage; UsageError where the run fitted none, and for
        classes.
        """
        half = self._fitted(self.calibration.halfwidth, "predict_interval", "a regression")
        return self.predict(rows)[:, None] + np.array([-half, half])

    def predict_set(self, rows: Any) -> np.ndarray:
        """Return whether each class is in the set of a row, bool (rows, classes); a set may be empty.

        The right class is in it with the probability metrics.coverage; UsageError where the run fitted none, and for a
        regression.
        """
        limit = self._fitted(self.calibration.threshold, "predict_set", "classes")
        return prediction_sets(self.predict(rows), limit)

    def _fitted(self, value: float | None, method: str, kind: str) -> float:
        """Return what a run fitted to its validation rows; UsageError where it did not."""
        if value is None:
            raise UsageError(
                f"{method} needs the tested network (pruned or compact where it was pruned) of a run on {kind} with "
                "metrics.coverage, and this is none. Train with metrics.coverage=0.9."
            )
        return value

    def logits(self, rows: Any) -> Tensor:
        """Return what the network makes of raw rows, float64 (rows, outputs); of a regression the scaled target.

        Raises UsageError for columns that are not there, and for inputs or outputs that are not finite. Warns of levels
        that no training row had.
        """
        warn_of_unseen(self.unseen_levels(rows), rows)
        return self._logits(rows)

    @torch.no_grad()
    def _logits(self, rows: Any) -> Tensor:
        x = self._transformed(rows)
        outputs = self.network(self._read(x)).double()
        overflow.check_outputs(outputs, x, self.preprocessing, rows)
        return outputs

    def network_inputs(self, rows: Any) -> Tensor:
        """Return what the network is given of raw rows, in the precision of its parameters, (rows, ...).

        Raises UsageError for columns that are not there, and for inputs that are not finite. Warns of levels that no
        training row had.
        """
        warn_of_unseen(self.unseen_levels(rows), rows)
        return self._read(self._transformed(rows))

    def _transformed(self, rows: Any) -> Tensor:
        """Return all inputs that the preprocessing makes of raw rows, (rows, ...)."""
        if self.preprocessing is None:
            raise UsageError("The network recovers a vector from measurements, and predicts no rows. Take another run.")
        parameter = next(self.network.parameters())
        x = torch.as_tensor(self.preprocessing.transform(rows), dtype=parameter.dtype)
        overflow.check_new_inputs(x, self.preprocessing, rows)
        return x

    def _read(self, x: Tensor) -> Tensor:
        """Return the inputs that the network reads, of all (rows, ...)."""
        return x if self.inputs is None else x.flatten(1)[:, self.inputs]

    def unseen_levels(self, rows: Any) -> dict[str, list[str]]:
        """Return by column the levels that no training row had, one for each row; UsageError for missing columns."""
        if not (isinstance(self.preprocessing, Preprocessing) and isinstance(rows, pd.DataFrame)):
            return {}
        absent = self.preprocessing.missing_columns(rows)
        if absent:
            raise UsageError(
                f"New rows must have the columns of the data, but {checks.name_list(absent)} are not there."
            )
        return self.preprocessing.unseen_levels(rows)


def warn_of_unseen(unseen: Mapping[str, list[str]], rows: Any) -> None:
    """Warn, where the caller of a public method stands, of levels that no training row had."""
    for column, found in unseen.items():
        if not found:
            continue
        shown = checks.name_list(list(dict.fromkeys(found)), most=3)
        warnings.warn(
            f"{len(found)} of {len(rows)} rows hold levels of {column!r} that no training row had: {shown}",
            stacklevel=3,
        )


@dataclass(frozen=True)
class SavedEnsemble:
    """Trained networks with the weights of their predictions in a mean, which sum to 1, and the mean's temperature."""

    members: list[SavedNetwork]
    weights: list[float]
    temperature: float | None = None

    def predict(self, rows: Any) -> np.ndarray:
        """Return the mean of the members' predictions, as SavedNetwork has them; probabilities by the temperature.

        Warns of levels that no training row had of any member that reads the column.
        """
        by_column: dict[str, list[list[str]]] = {}
        for member in self.members:
            for name, found in member.unseen_levels(rows).items():
                by_column.setdefault(name, []).append(found)
        unseen = {}
        for name, lists in by_column.items():
            by_all = set.intersection(*map(set, lists))
            unseen[name] = [level for level in lists[0] if level in by_all]
        warn_of_unseen(unseen, rows)
        pairs = zip(self.weights, self.members, strict=True)
        mean = np.asarray(sum(weight * member.predictions(rows) for weight, member in pairs))
        return mean if self.temperature is None else tempered(mean, self.temperature)


def load_ensemble(folder: str | Path) -> SavedEnsemble:
    """Return the networks of an ensemble as one; UsageError where a file of theirs is not the one that was chosen."""
    folder = Path(folder)
    made = read_ensemble(folder)
    members = made.members
    for member in members:
        path = folder / member.record / places.weights_name(member.which)
        if not path.exists() or file_sha256(path) != member.sha256:
            what = "was changed since" if path.exists() else "is not there"
            raise UsageError(f"{path}, of the ensemble in {folder}, {what}. Choose again: psilon-report --ensemble.")
    networks = [load(folder / member.record, member.which) for member in members]
    return SavedEnsemble(networks, [member.weight for member in members], made.temperature)


def load(folder: str | Path, which: Which = "model") -> SavedNetwork:
    """Return the network of a finished run: as trained and selected, the other one (best or last), pruned, or compact.

    The network that was tested, and the compact one, which is the same function, have the calibration of the run.
    UsageError where the folder holds no such file, such as that of an ensemble, which `load_ensemble` loads.
    """
    folder = Path(folder)
    if (folder / places.ENSEMBLE_JSON).exists():
        raise UsageError(f"{folder} is an ensemble of several networks. Take load_ensemble in place of load.")
    network, inputs, task = load_network(folder, which)
    return SavedNetwork(network, read_preprocessing(folder), inputs, task, calibration_of(folder, which))


def calibration_of(folder: Path, which: Which) -> Calibration:
    """Return what was fitted for this network: nothing for one that was not tested, whose outputs differ."""
    if which not in (places.tested_network(folder), "compact"):
        return Calibration()
    return Calibration.of(run_json.read_raw(folder)["metrics"])


def load_network(folder: Path, which: Which) -> tuple[nn.Module, Tensor | None, dict[str, Any]]:
    """Return the network, the columns it takes, and the task of run.json; nothing that needs a pickle is read."""
    weights = folder / places.weights_name(which)
    if (folder / places.ESTIMATOR).exists():
        raise UsageError(
            f"{folder} is the run of a baseline, an estimator and no network: it is in {places.ESTIMATOR} "
            f"(skops.io.load), its predictions of the test rows in {places.PREDICTIONS}. Name the run of a network."
        )
    if not weights.exists():
        if (folder / places.CONFIG).exists():
            check_is_network(folder, model_section(folder))
        there = ", ".join(places.weights_there(folder)) or "none"
        raise UsageError(f"{weights} is not there. Networks in this folder: {there}.")
    try:
        run = run_json.read_raw(folder)
    except run_json.Unreadable as error:
        raise UsageError(str(error)) from error
    model = model_section(folder)
    check_is_network(folder, model)
    shapes = {key: run["task"][key] for key in ("num_features", "num_outputs", "input_shape")}
    network = model.build(**shapes)
    state = torch.load(weights, weights_only=True)
    inputs = state.pop("inputs", None)
    if isinstance(network, MonotoneInputs) and "directions" in state:
        network.directions = torch.zeros(network.input_bounds().shape)
    if which in SAVED_PLAIN:
        network = network.plain()
        fit_shapes(network, state)
    network.to(next(value.dtype for value in state.values() if value.is_floating_point()))
    network.load_state_dict(state)
    return network.eval(), inputs, run["task"]


def model_section(folder: Path) -> ModelSection:
    """Return the section `model` of a record; the rest of its configuration may be of an earlier version."""
    return ModelSection.model_validate(yaml.safe_load((folder / places.CONFIG).read_text(encoding="utf-8"))["model"])


def check_is_network(folder: Path, model: ModelSection) -> None:
    """Raise UsageError where a record names something else than a network, to be called by this process."""
    try:
        found = locate(str(model.target))
    except ImportError as error:
        raise UsageError(f"model._target_={model.target!r} of the record cannot be imported: {error}.") from error
    if derives(found, BASELINE):
        raise UsageError(
            f"{folder} is the run of model={model.name}, a baseline whose estimator is not kept; its predictions of "
            f"the test rows are in {places.PREDICTIONS}. Name the run of a network."
        )
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise UsageError(f"model._target_={model.target!r} of the record is no network. Use records of your own.")


def fit_shapes(network: nn.Module, state: dict[str, Tensor]) -> None:
    """Give every parameter and buffer the shape it has in `state`."""
    for name, value in itertools.chain(network.named_parameters(), network.named_buffers()):
        value.data = value.new_empty(state[name].shape)
