"""The checks before a run: what can be asked for wrongly of data, network and training, before anything is written."""

from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from psilon_bench.config.conf_folder import option_files
from psilon_bench.config.identity import difference
from psilon_bench.config.options import options
from psilon_bench.config.schema import Config
from psilon_bench.config.sections import TrainerSection
from psilon_bench.data.task import Task
from psilon_bench.data.tasks import load_task
from psilon_bench.errors import UsageError, in_brief
from psilon_bench.machine.device import device_settings
from psilon_bench.machine.torch_internals import lean
from psilon_bench.metrics.network import num_parameters
from psilon_bench.models.baselines import Baseline
from psilon_bench.models.offers import HasTaskKinds
from psilon_bench.pruning.pruner import Pruner
from psilon_bench.regularizers.regularizer import Regularizer, saves_another_form
from psilon_bench.run.calibration_checks import check_coverage, check_temperature
from psilon_bench.run.certificate_checks import check_certificate
from psilon_bench.run.metric_checks import check_metrics
from psilon_bench.run.monotone_checks import set_directions
from psilon_bench.run.teacher_checks import check_teacher
from psilon_bench.training.batches import per_epoch
from psilon_bench.training.dry_run import parameters_of, problem
from psilon_bench.training.footprint import check_parameters, check_room, one_row
from psilon_bench.training.member import Member
from psilon_bench.training.optimizer import dims_of


def prepare(config: Config) -> Member:
    """Return the configuration with its data and its network; UsageError where any of it does not fit the others."""
    device_settings(config.hardware)  # a device that is not there is told before any data are read
    task = load_task(config.dataset.text())
    return member_of(with_data(config, task), task)


def member_of(config: Config, task: Task) -> Member:
    """Return the configuration with these data and a fresh network; UsageError where any of it does not fit.

    The section of the data set is not read.
    """
    where = device_settings(config.hardware)
    check_parameters(config, task)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        model = build_model(config, task)
        set_directions(config, task, model)
        if isinstance(model, nn.Module):
            check_outputs(config, task, model)
    if isinstance(model, Baseline):
        check_seed(config, model)
        check_packages(config, model)
    check_regularizer(config, model)
    check_pruner(config, model, task)
    check_pruned_form(config)
    check_finetuning(config)
    check_task_kind(config, task, model)
    check_temperature(config, task)
    check_coverage(config, task)
    check_weights(config, task, model)
    check_teacher(config, task, model)
    check_certificate(config, task, model)
    if isinstance(model, Baseline):
        return Member(config, task, model)
    check_metrics(config, task, model)
    check_validation(config, task)
    check_batches(config, task)
    check_schedule(config, task)
    check_optimizer(config, task, model)
    return Member(config, task, model.to(where.device, where.dtype))


def build_model(config: Config, task: Task) -> Any:
    """Return a new network (or baseline) for this task; UsageError where its code fails."""
    try:
        return config.model.build(
            num_features=task.num_features,
            num_outputs=task.num_outputs,
            input_shape=task.input_shape,
            rows=task.train.x,
        )
    except UsageError:
        raise
    except Exception as error:  # whatever a class of yours may raise
        raise UsageError(f"model={config.model.name} cannot be built for {task.name}: {in_brief(error)}.") from error


def with_data(config: Config, task: Task) -> Config:
    """Return the configuration with the checksum of its data; UsageError where data or code differ from the plan."""
    found = config.with_data(task.checksum)
    if config.data is not None and config.identity != found.identity:
        what = difference(config.identity, found.identity)
        raise UsageError(f"{task.name}: {what} the sweep was planned. The same command goes on with what is there now.")
    return found


def check_weights(config: Config, task: Task, model: Any) -> None:
    """Raise UsageError for weights of classes where there are none, or of rows that a baseline cannot take."""
    class_weight = config.trainer.class_weight
    if class_weight is not None and task.kind not in ("binary", "multiclass"):
        raise UsageError(
            f"trainer.class_weight={class_weight} weighs classes, and {task.name} is a task of {task.kind}. "
            "Set trainer.class_weight=null."
        )
    weighted = class_weight is not None or task.train.weights is not None
    if weighted and isinstance(model, Baseline):
        from sklearn.utils.validation import has_fit_parameter  # a second, which networks do not spend

        estimator = model.unfitted(task.kind, config.seed)
        if not has_fit_parameter(estimator, "sample_weight"):
            key = "dataset.weights" if class_weight is None else "trainer.class_weight"
            raise UsageError(
                f"{key} weighs rows, and {type(estimator).__name__} of model={config.model.name} takes no weights. "
                f"Set {key}=null."
            )


def check_batches(config: Config, task: Task) -> None:
    """Raise UsageError where the training rows do not fill the batches."""
    trainer, rows = config.trainer, len(task.train)
    key, value = ("batch_size", trainer.batch_size) if trainer.batch_size else ("num_batches", trainer.num_batches)
    if value > rows:
        raise UsageError(
            f"trainer.{key}={value} is more than the {rows} training rows of {task.name}. "
            f"Set trainer.{key} to at most {rows}."
        )


def check_validation(config: Config, task: Task) -> None:
    """Raise UsageError where the trainer is to look at validation rows and there are none."""
    trainer = config.trainer
    wants = {"early_stopping": trainer.early_stopping is not None, "select": trainer.select == "best"}
    for key, usual in (("early_stopping", "null"), ("select", "last")):
        if wants[key] and not len(task.val):
            raise UsageError(
                f"trainer.{key}={getattr(trainer, key)} needs validation rows, and dataset.fold=all leaves none. "
                f"Set trainer.{key}={usual}."
            )


def training_steps(trainer: TrainerSection, task: Task) -> int:
    """Return how many steps the optimizer takes before any fine-tuning."""
    return trainer.epochs * per_epoch(len(task.train), trainer.num_batches, trainer.batch_size)


def check_schedule(config: Config, task: Task) -> None:
    """Raise UsageError where a schedule is over before the run; cosine may swing back up by epochs."""
    trainer = config.trainer
    steps = training_steps(trainer, task)
    for key in ("total_steps", "T_max"):
        length = config.scheduler.arguments.get(key, steps)
        if trainer.schedule == "step" and length < steps:
            raise UsageError(
                f"trainer.schedule=step needs lengths in steps, but scheduler.{key}={length} and the run has {steps}. "
                f"Set scheduler.{key}={steps}."
            )
    length = config.scheduler.arguments.get("total_steps", trainer.epochs)
    if length < trainer.epochs:
        raise UsageError(
            f"scheduler.total_steps={length} is less than the run's {trainer.epochs} epochs. "
            f"Set scheduler.total_steps={trainer.epochs}."
        )


def check_regularizer(config: Config, model: nn.Module) -> None:
    """Raise UsageError that says why reg does not fit the network, and which regularizers do."""
    try:
        check_fit(config.reg, model)
    except UsageError as error:
        fitting = [name for name, reg in options("reg").items() if fits(reg, model)]
        raise UsageError(
            f"reg={config.reg.name} does not fit model={config.model.name}: {error}. Take reg={', '.join(fitting)}."
        ) from error


def check_pruner(config: Config, model: nn.Module, task: Task) -> None:
    """Raise UsageError that says why the pruner does not fit the network or the length of the run."""
    try:
        config.pruner.build().check(model, config.trainer, training_steps(config.trainer, task))
    except UsageError as error:
        raise UsageError(f"pruner={config.pruner.name} does not fit model={config.model.name}: {error}.") from error


def check_pruned_form(config: Config) -> None:
    """Raise UsageError where the pruner would change parameters in training that are not there."""
    pruner, acts = config.pruner.build(), Pruner.after_step
    if saves_another_form(config.reg.build()) and type(pruner).after_step is not acts:
        raise UsageError(
            f"pruner={config.pruner.name} changes weights after each step, and reg={config.reg.name} trains factors in "
            "their place. Take a pruner that acts after training, such as pruner=units or magnitude."
        )


def check_finetuning(config: Config) -> None:
    """Raise UsageError where there is nothing to fine-tune, or no telling when."""
    trainer = config.trainer
    if trainer.prune_then_finetune is None:
        return
    asked = f"trainer.prune_then_finetune={trainer.prune_then_finetune}"
    if not config.pruner.build().prunes:
        others = [name for name in option_files("pruner") if name != config.pruner.name]
        raise UsageError(
            f"{asked} trains what a pruner leaves, and pruner={config.pruner.name} prunes nothing. "
            f"Take pruner={', '.join(others)}, or trainer.prune_then_finetune=null."
        )
    for key in ("early_stopping", "target_loss"):
        if getattr(trainer, key) is not None:
            raise UsageError(f"{asked} begins after the last epoch, before which trainer.{key} may stop. Set it null.")


def check_optimizer(config: Config, task: Task, model: nn.Module) -> None:
    """Raise UsageError where torch refuses the values of optimizer or schedule, or reg does not take its steps."""
    where, trainer = device_settings(config.hardware), config.trainer
    steps = training_steps(trainer, task) if trainer.schedule == "step" else trainer.epochs
    sections = (section.model_dump_json(by_alias=True) for section in (config.optimizer, config.scheduler))
    found = problem(*sections, dims_of(model), steps, trainer.schedule, where.device, where.dtype)
    if found is not None:
        raise UsageError(found)
    optimizer = lean(config.optimizer.make, parameters_of(dims_of(model), where.device, where.dtype))
    try:
        config.reg.build().check_optimizer(optimizer)
    except UsageError as error:
        raise UsageError(f"reg={config.reg.name} does not fit optimizer={config.optimizer.name}: {error}.") from error


def fits(section: Any, model: nn.Module) -> bool:
    """Return whether the regularizer of an option accepts the network."""
    try:
        check_fit(section, model)
    except UsageError:
        return False
    return True


def check_task_kind(config: Config, task: Task, model: Any) -> None:
    """Raise UsageError where there is nothing to predict, or nothing to recover."""
    name, kinds = config.dataset.name, (model if isinstance(model, HasTaskKinds) else HasTaskKinds).kinds
    if task.kind in kinds:
        return
    if task.kind == "recovery":
        raise UsageError(
            f"dataset={name} has one solution to recover and no rows to predict. "
            "Take model=diagonal_linear or basis_pursuit."
        )
    raise UsageError(
        f"model={config.model.name} recovers x from A x = b, but dataset={name} is a table for {task.kind}. "
        "Take dataset=sparse_recovery."
    )


def check_seed(config: Config, model: Baseline) -> None:
    """Raise UsageError for a seed that is too large for the library of a baseline."""
    if config.seed >= 2**model.seed_bits:
        raise UsageError(
            f"seed={config.seed} is too large for model={config.model.name}, which takes seeds below "
            f"2^{model.seed_bits}."
        )


def check_packages(config: Config, model: Baseline) -> None:
    """Raise UsageError, with the command that installs it, where a package that a baseline needs is missing."""
    for package, module in model.packages.items():
        if find_spec(module) is None:
            raise UsageError(
                f"model={config.model.name} needs {package}, which is not installed. "
                "Install it: pip install 'psilon-bench[peers]'."
            )


def check_outputs(config: Config, task: Task, model: nn.Module) -> None:
    """Raise UsageError unless the network has parameters, and room, and gives a row of outputs for a row of inputs."""
    if next(model.parameters(), None) is None:
        name = f"model={config.model.name} ({config.model.target})"
        raise UsageError(f"{name} has no parameters to train. Take another, such as model=pnet.")
    try:
        outputs, activations = one_row(model, task)
    except Exception as error:  # whatever a class of yours may raise
        raise UsageError(f"model={config.model.name} fails on a row of {task.name}: {in_brief(error)}.") from error
    if (shape := tuple(outputs.shape)) != (1, task.num_outputs):
        raise UsageError(
            f"model={config.model.name} makes outputs of shape {shape} of one row of {task.name}; "
            f"they should have the shape (1, {task.num_outputs})."
        )
    check_room(config, task, num_parameters(model), activations)


def check_fit(section: Any, model: nn.Module) -> None:
    """Raise UsageError, as a clause, where the regularizer does not fit the network, or where that takes no steps."""
    regularizer = section.build()
    if isinstance(model, Baseline) and type(regularizer) is not Regularizer:
        raise UsageError(f"{type(model).__name__} is fitted as a whole, without the steps that a regularizer joins")
    regularizer.check(model)
