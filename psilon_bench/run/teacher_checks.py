"""The checks of trainer.teacher before a run: who can be taught, and whether the ensemble is of the same rows."""

from pathlib import Path
from typing import Any

from psilon_bench.config.schema import Config
from psilon_bench.data.task import Task
from psilon_bench.data.teacher import check_same_rows, read_teacher, teacher_targets
from psilon_bench.errors import UsageError
from psilon_bench.models.baselines import Baseline


def check_teacher(config: Config, task: Task, model: Any) -> None:
    """Raise UsageError where a teacher is asked for that cannot teach this model on these rows."""
    if config.trainer.teacher is None:
        return
    if isinstance(model, Baseline):
        raise UsageError(
            f"trainer.teacher changes what networks are trained on, and model={config.model.name} is fitted to the "
            "labels as a whole. Set trainer.teacher=null."
        )
    teacher = read_teacher(Path(config.trainer.teacher))
    check_same_rows(teacher, task)
    teacher_targets(teacher, task)
