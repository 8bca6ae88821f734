"""Sections of the configuration that name no component: training, hardware and tracking."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt

from psilon_bench.config.addresses import TrackingUri
from psilon_bench.config.code_version import digest_of

Finite = Field(allow_inf_nan=False)
MOST_THREADS = max(256, os.cpu_count() or 1)
TEACHER = "teacher.parquet"  # in the folder of an ensemble: see psilon_bench.data.teacher
Threads = Annotated[int, Field(gt=0, le=MOST_THREADS)]


def spelled(value: Any) -> Any:
    """Return a whole number as text: name=2026 is a name, which YAML takes for a number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class Section(BaseModel):
    """A part of the configuration: strict types, no unknown keys, immutable."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class TrainerSection(Section):
    """How long a run trains, in which batches, when it is evaluated and when it stops.

    Lengths are in epochs; those of a schedule are in epochs or steps, as `schedule` says.
    """

    epochs: PositiveInt
    num_batches: PositiveInt
    batch_size: PositiveInt | None
    eval_every: PositiveInt
    checkpoint_every: PositiveInt | None
    early_stopping: PositiveInt | None
    target_loss: Annotated[float, Field(gt=0), Finite] | None
    schedule: Literal["epoch", "step"]
    select: Literal["last", "best"]
    prune_then_finetune: PositiveInt | None
    class_weight: Literal["balanced"] | None
    teacher: Annotated[str, Field(min_length=1)] | None = Field(description="the folder of an ensemble, or null")
    teacher_weight: Annotated[float, Field(ge=0, le=1), Finite]

    def determining(self) -> dict[str, Any]:
        """Return what determines numbers: batch_size takes the place of num_batches, and checkpoints change nothing."""
        unused = {"checkpoint_every", "num_batches" if self.batch_size else "batch_size"}
        unused |= {"class_weight", "teacher", "teacher_weight"}
        return self.model_dump(exclude=unused) | self.weighting() | self.teaching()

    def weighting(self) -> dict[str, Any]:
        """Return the weights of classes, which baselines take too; nothing without them, as before there were any."""
        return {} if self.class_weight is None else {"class_weight": self.class_weight}

    def teaching(self) -> dict[str, Any]:
        """Return the content of the teacher's file and its weight; nothing without one, as before there were any."""
        if self.teacher is None:
            return {}
        file = Path(self.teacher, TEACHER)
        content = digest_of([file], file.parent) if file.is_file() else "no file"
        return {"teacher": content, "teacher_weight": self.teacher_weight}

    @property
    def all_epochs(self) -> int:
        """Return the epochs of the training and of the fine-tuning after it."""
        return self.epochs + (self.prune_then_finetune or 0)


class HardwareSection(Section):
    """The device, the precision and the plan of a run; the precision alone determines the numbers."""

    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$", description="auto, cpu, mps, cuda or cuda:1")]
    threads: Literal["auto"] | Threads | None
    plan: Literal["auto", "stacked", "serial", "processes"]
    stack_size: Literal["auto"] | PositiveInt
    workers: Threads | None
    precision: Literal["float32", "tf32", "float64", "bfloat16", "auto"]
    compile: Literal["auto"] | bool


class TrackingSection(Section):
    """The place of the record's view in MLflow."""

    name: Literal["mlflow", "none"]
    uri: TrackingUri | None
    experiment: Annotated[str, BeforeValidator(spelled), Field(min_length=1, max_length=250, description="a name")]
    registered_name: Annotated[str, Field(pattern=r"^[^/:]*[^/:\s.][^/:]*$", max_length=250)] | None = Field(
        alias="register", description="a name without / and :"
    )
