"""The name of a metric: whether more of it is better, its unit, and how an axis calls it."""

from dataclasses import dataclass
from typing import Literal

from psilon_bench.errors import UsageError
from psilon_bench.metrics.choosing import instead_of, is_of_test_rows

Direction = Literal["min", "max"]

# by the last words of the name, without a trailing number (test/certified_accuracy/0.1)
HIGHER = ("accuracy", "auc", "roc_auc", "average_precision", "precision", "recall", "f1", "r2", "sparsity", "support")
LOWER = (
    *("loss", "objective", "error", "rmse", "mse", "mae", "nll", "crossentropy", "ece", "brier"),
    *("norm", "bound", "local", "original", "max", "nonzero", "parameters", "fit_s", "step_ms"),
    *("width", "set_size", "num_undecided"),
)
WORDS = {
    "train/loss": "training loss",
    "val/loss": "validation loss",
    "test/loss": "test loss",
    "train/objective": "training objective",
    "val/accuracy": "validation accuracy",
    "test/accuracy": "test accuracy",
    "test/certified_accuracy": "certified test accuracy",
    "test/attacked_accuracy": "test accuracy under attack",
    "test/num_undecided": "test rows left undecided",
    "test/certified_mae": "certified mean absolute error",
    "test/attacked_mae": "mean absolute error under attack",
    "test/certified_width": "mean width of certified intervals",
    "val/error": "validation error",
    "test/error": "test error",
    "path_norm": "1-path-norm",
    "lipschitz_bound": "certified Lipschitz bound",
    "lipschitz_local": "local Lipschitz constant",
    "near_sparsity": "near-sparsity",
    "weight_sparsity": "fraction of weights that are 0",
    "unit_sparsity": "fraction of units that are dead",
    "wd_objective": "weight decay objective, balanced",
    "wd_objective_raw": "weight decay objective",
    "time/fit_s": "training time (s)",
    "time/step_ms": "time per step (ms)",
    "step": "step",
    "reg.lam": "lambda",
    "optimizer.lr": "learning rate",
}
SPLITS = {"val": "validation", "test": "test"}
SCORES = {
    "rmse": "RMSE (units of the target)",
    "mae": "mean absolute error (units of the target)",
    "r2": "R²",
    "roc_auc": "ROC AUC",
    "average_precision": "average precision",
    "f1": "F1 (mean over classes)",
    "balanced_accuracy": "balanced accuracy",
    "brier": "Brier score",
    "ece": "expected calibration error",
    "calibrated_loss": "calibrated loss (cross-entropy, nats)",
    "calibrated_brier": "Brier score, calibrated",
    "calibrated_ece": "expected calibration error, calibrated",
    "coverage": "coverage",
    "interval_width": "width of the interval (units of the target)",
    "set_size": "size of the set of classes",
}


@dataclass(frozen=True)
class Metric:
    """The validation metric that settings are chosen by; `sign` x value is to be small."""

    name: str
    direction: Direction

    @property
    def sign(self) -> int:
        """Return 1 where less is better, else -1."""
        return 1 if self.direction == "min" else -1

    @property
    def test(self) -> str:
        """Return the metric of the same name on the test rows."""
        return self.name.replace("val/", "test/", 1)


def chosen_by(name: str, direction: Direction | None) -> Metric:
    """Return the metric to choose by.

    Raises UsageError for a metric of the test rows, and for an unknown direction that is not given.
    """
    if is_of_test_rows(name):
        raise UsageError(
            f"--metric {name} is measured on the test rows, which are read once, after the choice. "
            f"Take --metric {instead_of(name)}."
        )
    return Metric(name, direction or direction_of(name))


def direction_of(name: str) -> Direction:
    """Return min or max by the name alone; UsageError for a name that does not say it."""
    found = known_direction(name)
    if found is None:
        raise UsageError(f"Whether more or less of {name} is better is not known. Say --direction min or max.")
    return found


def known_direction(name: str) -> Direction | None:
    """Return min or max by the name alone; None for a name that does not say it."""
    parts = [part for part in name.lower().split("/") if not is_number_word(part)]
    word = parts[-1] if parts else ""
    if word.endswith(HIGHER):
        return "max"
    return "min" if word.endswith(LOWER) else None


def is_number_word(word: str) -> bool:
    """Tell whether a part of a name is a value, as 0.1 in test/certified_accuracy/0.1."""
    try:
        float(word)
    except ValueError:
        return False
    return True


def label(name: str, kind: str | None = None) -> str:
    """Return the words and unit of an axis; the unit of a loss depends on the kind of task."""
    split, _, score = name.partition("/")
    words = f"{SPLITS[split]} {SCORES[score]}" if split in SPLITS and score in SCORES else WORDS.get(name, name)
    if name.endswith("/loss") and kind == "regression":
        return f"{words} (RMSE, target in IQR/2)"
    if name.endswith("/loss") and kind in ("binary", "multiclass"):
        return f"{words} (cross-entropy, nats)"
    return words


def title(name: str) -> str:
    """Return a label with a capital letter, for the start of a line."""
    words = label(name)
    return words[:1].upper() + words[1:]
