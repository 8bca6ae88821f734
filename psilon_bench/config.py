"""The typed schema of a run, the check of a composed configuration against it, and the run's fingerprint."""

import hashlib
import inspect
import json
import os
import typing
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
)

from psilon_bench.arguments import check_signs, first_line, signature_schema
from psilon_bench.bounds import check_values
from psilon_bench.components import check_kind, locate
from psilon_bench.conf_folder import CONF
from psilon_bench.errors import UsageError

Finite = Field(allow_inf_nan=False)
MOST_THREADS = max(256, os.cpu_count() or 1)
Threads = Annotated[int, Field(gt=0, le=MOST_THREADS)]
Name = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]{0,99}$",
        description="letters, digits and . _ + -, at most 100 (it names a folder)",
    ),
]


class Section(BaseModel):
    """A part of the configuration: strict types, no unknown keys, immutable."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Component(Section):
    """A section that names the class or function it is made by; the other keys are that one's arguments."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)
    name: Name
    target: str = Field(alias="_target_")

    @property
    def arguments(self) -> dict[str, Any]:
        """The keys that are not the schema's own."""
        return dict(self.__pydantic_extra__ or {})

    @property
    def stackable(self) -> tuple[str, ...]:
        """The arguments in which the members of a stack may differ, as the target says."""
        return getattr(locate(self.target), "stackable", None) or ()

    @property
    def tuned(self) -> dict[str, Any]:
        """The arguments that tell the runs of a baseline apart, by the names they have in a title."""
        words = getattr(locate(self.target), "tuned", {})
        return {word: self.arguments[name] for name, word in words.items()}

    @property
    def is_baseline(self) -> bool:
        """Whether the target is fitted as a whole, by a method of its own: optimizer, trainer and reg do nothing."""
        return hasattr(locate(self.target), "fit")

    def build(self, *args: Any, **extra: Any) -> Any:
        """Call the target with the section's arguments and `extra`."""
        return locate(self.target)(*args, **self.arguments, **extra)


class Dataset(Component):
    """A source of data. Its function gets `name` too."""


class Model(Component):
    """A network. Its target is given what it names of SUPPLIED."""

    def build(self, *args: Any, **extra: Any) -> Any:
        """Call the target with the section's arguments and with those of `extra` that it has parameters for.

        A class of yours that takes **anything is given the numbers of features and outputs.
        """
        parameters = inspect.signature(locate(self.target)).parameters
        anything = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
        named = {*parameters, *(("num_features", "num_outputs") if anything else ())}
        return super().build(*args, **{key: value for key, value in extra.items() if key in named})

    def is_told_by(self, override: str) -> bool:
        """Whether an override tells baselines apart that have this name and these `tuned` arguments."""
        key = override.partition("=")[0]
        words = getattr(locate(self.target), "tuned", {})
        return key.startswith(("dataset.", "model.")) and key.removeprefix("model.") not in words


class Regularizer(Component):
    """A penalty and the one lambda in front of it."""

    lam: Annotated[float, Field(ge=0), Finite]


class Optimizer(Component):
    """One of torch's, with its (peak) learning rate."""

    lr: Annotated[float, Field(gt=0), Finite]


class Trainer(Section):
    """How long, in which batches, when to look and when to stop. Lengths are in epochs, of a schedule as it says."""

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

    @property
    def all_epochs(self) -> int:
        """Those of the training and of the fine-tuning after it."""
        return self.epochs + (self.prune_then_finetune or 0)


class Metrics(Section):
    """What is measured of the finished network beyond its scores."""

    radii: list[Annotated[float, Field(gt=0), Finite]]
    lipschitz_points: PositiveInt
    unit_threshold: Annotated[float, Field(ge=0), Finite]


class Hardware(Section):
    """Where and in what precision; of these the precision alone determines the numbers."""

    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$", description="auto, cpu, mps, cuda or cuda:1")]
    threads: Threads | None
    plan: Literal["auto", "stacked", "serial", "processes"]
    stack_size: Literal["auto"] | PositiveInt
    workers: Threads | None
    precision: Literal["float32", "tf32", "float64", "bfloat16", "auto"]
    compile: bool


class Tracking(Section):
    """Where MLflow's view of the record goes."""

    name: Literal["mlflow", "none"]
    uri: str | None
    experiment: Annotated[str, Field(min_length=1, max_length=250)]


class Config(Section):
    """One run, whole. Values live in conf/, none here."""

    name: Name
    seed: NonNegativeInt
    dataset: Dataset
    model: Model
    reg: Regularizer
    optimizer: Optimizer
    scheduler: Component
    trainer: Trainer
    pruner: Component
    metrics: Metrics
    hardware: Hardware
    tracking: Tracking
    results_dir: Annotated[str, Field(min_length=1)]
    plan: bool
    rerun: bool
    retries: NonNegativeInt
    _told_apart: str = ""  # in a sweep, the other values in which its runs differ; no part of the values, for titles

    def told_apart(self, overrides: str) -> "Config":
        """The same run, with these overrides in its title."""
        config = self.model_copy()
        config._told_apart = overrides and f" {overrides}"
        return config

    @property
    def title(self) -> str:
        """What a person calls the run: `pnet pathnorm lam=0.001 seed=0`, `ridge alpha=1 seed=0`."""
        if self.model.is_baseline:
            tuned = [f"{word}={value}" for word, value in self.model.tuned.items()]
            told = [one for one in self._told_apart.split() if self.model.is_told_by(one)]
            return " ".join([self.model.name, *tuned, f"seed={self.seed}", *told])
        lam = f" lam={self.reg.lam:g}" if self.reg.lam else ""
        return f"{self.model.name} {self.reg.name}{lam} seed={self.seed}{self._told_apart}"

    def nested(self) -> dict[str, Any]:
        """Plain containers, as config.yaml holds them."""
        return self.model_dump(by_alias=True)

    def flat(self) -> dict[str, Any]:
        """Dotted keys to leaves: {'reg.lam': 0.001, ...}."""
        return dict(leaves(self.nested()))

    def fingerprint(self) -> str:
        """Hash of what determines the numbers: not names, places, devices or tracking. 16 hex digits."""
        values = self.nested()
        if self.model.is_baseline:
            return digest({key: values[key] for key in ("seed", "dataset", "model", "metrics")})
        for key in ("name", "results_dir", "tracking", "plan", "rerun", "retries"):
            del values[key]
        del values["trainer"]["checkpoint_every"]
        values["hardware"] = {"precision": self.hardware.precision}
        return digest(values)

    def structure(self) -> str:
        """Hash of all but the values in which the members of a stack may differ."""
        values = self.nested()
        del values["seed"], values["reg"]["lam"]
        values["dataset"].pop("split_seed", None)
        for section, component in (("model", self.model), ("reg", self.reg)):
            for name in component.stackable:
                values[section].pop(name, None)
        return digest(values)


def check(cfg: DictConfig) -> Config:
    """The typed configuration, or a UsageError that names the first key that is wrong. Loads no data."""
    try:
        values = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise UsageError(f"{error.full_key}: {str(error).splitlines()[0]}") from error
    check_values(typing.cast(dict[str, Any], values))
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        raise UsageError(first_line(error, "", Config)) from error
    for section in ("dataset", "model", "reg", "optimizer", "scheduler", "pruner"):
        check_arguments(section, getattr(config, section))
    return config


# what the runner adds to the arguments of a section's target
SUPPLIED = {
    "model": {"num_features", "num_outputs", "input_shape", "rows"},
    "optimizer": {"params"},
    "scheduler": {"optimizer"},
}


def check_arguments(section: str, component: Component) -> None:
    """UsageError unless the target is of its section's kind and the keys fit its signature, types and ranges included.

    What the target's annotations leave open has bounds of its own: bounds.check_values, arguments.check_signs.
    """
    check_kind(section, component.target)
    target = locate(component.target)
    arguments = component.arguments
    if isinstance(component, Dataset):
        arguments["name"] = component.name
    if isinstance(component, Optimizer):
        arguments["lr"] = component.lr
    schema = signature_schema(target, frozenset(SUPPLIED.get(section, set())))
    try:
        schema.model_validate(arguments)
    except ValidationError as error:
        raise UsageError(first_line(error, section, schema)) from error
    if section in ("optimizer", "scheduler"):
        check_signs(section, target, arguments)


def options(group: str) -> dict[str, Component]:
    """The options of a group, from conf/GROUP/*.yaml; values that refer to other sections stay as they are written."""
    sections = {
        path.stem: OmegaConf.to_container(OmegaConf.load(path)) for path in sorted((CONF / group).glob("*.yaml"))
    }
    schema = typing.cast(type[Component], Config.model_fields[group].annotation)
    return {name: schema.model_validate(section) for name, section in sections.items()}


def digest(values: Any) -> str:
    """16 hex digits that stand for these values, whatever their order."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def leaves(values: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """(dotted key, leaf) of nested dictionaries."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
