"""What calibration and conformal prediction need of the data, before anything is written."""

from psilon_bench.config.schema import Config
from psilon_bench.data.task import Task
from psilon_bench.errors import UsageError
from psilon_bench.metrics.conformal import rows_needed


def check_temperature(config: Config, task: Task) -> None:
    """Raise UsageError where metrics.calibrate asks for probabilities that there are not, or has no validation rows."""
    if config.metrics.calibrate == "none":
        return
    asked = f"metrics.calibrate={config.metrics.calibrate}"
    if task.kind not in ("binary", "multiclass"):
        raise UsageError(
            f"{asked} is for probabilities of classes, and {task.name} is a {task.kind}. Set metrics.calibrate=none."
        )
    check_unweighted(config, asked)
    if not len(task.val):
        raise UsageError(
            f"{asked} is fitted to validation rows, and {words_for_rows(config, task)}. Set metrics.calibrate=none "
            "(with cv, too), or train on a split that has such rows."
        )


def check_coverage(config: Config, task: Task) -> None:
    """Raise UsageError where metrics.coverage has nothing to cover, or fewer validation rows than it needs."""
    coverage = config.metrics.coverage
    if coverage is None:
        return
    if task.kind == "recovery":
        raise UsageError(
            f"metrics.coverage={coverage} is for predictions, and {task.name} has none. Set metrics.coverage=null."
        )
    check_unweighted(config, f"metrics.coverage={coverage}")
    if len(task.val) < (needed := rows_needed(coverage)):
        raise UsageError(
            f"metrics.coverage={coverage} needs {needed} validation rows or more, and {words_for_rows(config, task)}. "
            "Set metrics.coverage=null (with cv, too) or a smaller one, or train on a split that has more such rows."
        )


def check_unweighted(config: Config, asked: str) -> None:
    """Raise UsageError where rows have weights, which neither calibration nor conformal prediction knows."""
    column = config.dataset.arguments.get("weights")
    if column is not None:
        raise UsageError(
            f"{asked} counts all rows alike, and dataset.weights={column} does not. Leave one of them out."
        )


def words_for_rows(config: Config, task: Task) -> str:
    """Return how many validation rows there are, as the end of a sentence."""
    return "dataset.fold=all leaves none" if config.dataset.is_refit else f"{task.name} has {len(task.val)}"
