"""The typed schema of a run: sections of the configuration, the configuration as a whole, and its fingerprint."""

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, NonNegativeInt, PositiveInt
from typing_extensions import override

from psilon_bench.config.code_version import code_version, digest_of, files_of
from psilon_bench.config.components import BASELINE, STACKABLE, derives, locate
from psilon_bench.config.identity import Identity, digest, leaves
from psilon_bench.config.marks import file_arguments, settled
from psilon_bench.config.repeated import FOLDS, INPUTS, REFIT, fold_words, without_repeated
from psilon_bench.config.sections import Finite, HardwareSection, Section, TrackingSection, TrainerSection, spelled
from psilon_bench.config.signature import without_bool

Name = Annotated[
    str,
    BeforeValidator(spelled),
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]{0,99}$",
        description="letters, digits and . _ + -, at most 100 (it names a folder)",
    ),
]


class ComponentSection(Section):
    """A section that names the class or function it is made by; its other keys are the arguments of that target."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)
    name: Name
    target: str = Field(alias="_target_")

    @property
    def arguments(self) -> dict[str, Any]:
        """Return the keys that are the target's arguments."""
        return dict(self.__pydantic_extra__ or {})

    @property
    def stackable(self) -> tuple[str, ...]:
        """Return the arguments in which the members of a stack may differ, as the target says."""
        found: Any = locate(self.target)
        return found.stackable if derives(found, *STACKABLE) else ()

    @property
    def tuned(self) -> dict[str, Any]:
        """Return the arguments that tell the runs of a baseline apart, by the names they have in a title."""
        baseline: Any = locate(self.target)
        return {word: self.arguments[name] for name, word in baseline.tuned.items()}

    @property
    def is_baseline(self) -> bool:
        """Return whether the target is a baseline, fitted as a whole: optimizer, trainer and reg do nothing."""
        return derives(locate(self.target), BASELINE)

    def determining(self) -> dict[str, Any]:
        """Return what of the section determines numbers: name, class or function (not where it lives), arguments."""
        target = locate(self.target)
        made_by = target.__qualname__ if inspect.isclass(target) else f"{self.target.split('.')[-2]}.{target.__name__}"
        return {"name": self.name, "made by": made_by} | self.numbers() | settled(target, self.arguments, self.content)

    def content(self, path: str) -> str:
        """Return what stands for a file in the fingerprint: its checksum."""
        return digest_of(files_of(Path(path)), Path(path).parent) if Path(path).exists() else "no file"

    def numbers(self) -> dict[str, Any]:
        """Return the values of the schema's own keys that determine numbers."""
        return {key: getattr(self, key) for key in type(self).model_fields if key not in ("name", "target")}

    def resolved(self) -> dict[str, Any]:
        """Return the arguments that name files as absolute paths, without `..` and `~`."""
        files = file_arguments(locate(self.target), self.arguments) if self.target else {}
        return {name: absolute(path) for name, path in files.items() if path}

    def build(self, *args: Any, **extra: Any) -> Any:
        """Call the target with the section's arguments and `extra`."""
        return locate(self.target)(*args, **self.arguments, **extra)


class DatasetSection(ComponentSection):
    """The section of a data source, whose function gets `name` as an argument, too."""

    @override
    def content(self, path: str) -> str:
        """Return a word in the place of a file: the checksum of the task counts beside the fingerprint."""
        return "a file"

    def text(self) -> str:
        """Return the whole section as JSON, which is the key of the task cache."""
        return self.model_dump_json(by_alias=True)

    def source(self) -> str:
        """Return a hash of all that the splits of one data set have in common."""
        return digest(without_repeated(self.model_dump(by_alias=True)))

    def rows(self) -> str:
        """Return a hash of what the splits of the same rows have in common, however inputs are made of them."""
        values = without_repeated(self.model_dump(by_alias=True))
        return digest({key: value for key, value in values.items() if key not in INPUTS})

    @property
    def is_refit(self) -> bool:
        """Return whether all rows but those of the test are trained on, and none is left for validation."""
        return self.arguments.get("fold") == REFIT

    @property
    def fold_key(self) -> tuple[Any, ...]:
        """Return what tells the folds of one data set apart, whatever the seed of the split."""
        return tuple(self.arguments.get(key) for key in FOLDS)


class ModelSection(ComponentSection):
    """The section of a network, whose target is given those values of check.SUPPLIED that it has parameters for.

    monotone: by names of raw columns, 1 where the only output is to rise with it, -1 where it is to fall.
    """

    monotone: dict[str, Annotated[Literal[-1, 1], BeforeValidator(without_bool)]] | None = None

    def numbers(self) -> dict[str, Any]:
        """Return the columns of `monotone`, where there are any: a run without is the run it was before the key."""
        return {"monotone": self.monotone} if self.monotone else {}

    def build(self, *args: Any, **extra: Any) -> Any:
        """Call the target with the section's arguments and with those of `extra` that it has parameters for.

        A class of yours that takes **anything is given the numbers of features and outputs.
        """
        parameters = inspect.signature(locate(self.target)).parameters
        anything = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
        named = {*parameters, *(("num_features", "num_outputs") if anything else ())}
        return super().build(*args, **{key: value for key, value in extra.items() if key in named})

    def is_told_by(self, override: str) -> bool:
        """Return whether an override tells baselines apart that have this name and these `tuned` arguments."""
        key = override.partition("=")[0]
        baseline: Any = locate(self.target)
        return (
            key.startswith(("dataset.", "model.", "trainer.class_weight"))
            and key.removeprefix("model.") not in baseline.tuned
        )


class RegularizerSection(ComponentSection):
    """The section of a penalty, with the one lambda in front of it."""

    lam: Annotated[float, Field(ge=0), Finite]


class OptimizerSection(ComponentSection):
    """The section of one of torch's optimizers, with its (peak) learning rate."""

    lr: Annotated[float, Field(gt=0), Finite]

    def make(self, parameters: list[Any], lr: float | None = None) -> Any:
        """Return the optimizer of these parameters, at the section's learning rate or at this one."""
        return self.build(parameters, lr=self.lr if lr is None else lr)


class MetricsSection(Section):
    """What is measured of the finished network beyond its scores."""

    radii: list[Annotated[float, Field(gt=0), Finite]]
    certificate: Literal["pairwise", "crown", "exact"]
    exact_seconds: Annotated[float, Field(gt=0), Finite]
    attack_steps: NonNegativeInt
    lipschitz_points: PositiveInt
    unit_threshold: Annotated[float, Field(ge=0), Finite]
    functions: Annotated[list[str], Field(description="a list of functions, such as [module.function]")]
    calibrate: Literal["none", "temperature"]
    coverage: Annotated[float, Field(gt=0, lt=1)] | None

    @property
    def located(self) -> list[Callable[..., Any]]:
        """Return the metrics of your own, imported."""
        return [locate(name) for name in self.functions]

    def determining(self) -> dict[str, Any]:
        """Return what determines numbers; a function counts by its module and name, its code by the code version."""
        functions = {"functions": [".".join(name.split(".")[-2:]) for name in self.functions]} if self.functions else {}
        left_out = {"functions"} if self.certificate == "exact" else {"functions", "exact_seconds"}
        return self.model_dump(exclude=left_out) | functions


class Config(Section):
    """The configuration of one run as a whole; values live in conf/, none in this class."""

    name: Name
    seed: NonNegativeInt
    dataset: DatasetSection
    model: ModelSection
    reg: RegularizerSection
    optimizer: OptimizerSection
    scheduler: ComponentSection
    trainer: TrainerSection
    pruner: ComponentSection
    metrics: MetricsSection
    hardware: HardwareSection
    tracking: TrackingSection
    results_dir: Annotated[str, BeforeValidator(spelled), Field(min_length=1)]
    plan: bool
    rerun: bool
    race: bool
    race_keep: PositiveInt
    cv: Annotated[int, Field(ge=2)] | None
    cv_refit: PositiveInt
    ensemble: bool
    retries: NonNegativeInt
    _identity: Identity | None = None  # once the data were looked at; a copy for other hardware keeps it
    _told_apart: str = ""  # in a sweep, the other values in which its runs differ; no part of the values, for titles

    def told_apart(self, overrides: str) -> "Config":
        """Return the same run, with these overrides in its title."""
        config = self.model_copy()
        config._told_apart = overrides and f" {overrides}"  # noqa: SLF001  (its own class)
        return config

    @property
    def title(self) -> str:
        """Return what a person calls the run: `pnet pathnorm lam=0.001 seed=0 fold=2`, `ridge alpha=1 seed=0`."""
        seed = " ".join([f"seed={self.seed}", *fold_words(self.dataset.arguments)])
        if self.model.is_baseline:
            tuned = [f"{word}={value}" for word, value in self.model.tuned.items()]
            told = [one for one in self._told_apart.split() if self.model.is_told_by(one)]
            return " ".join([self.model.name, *tuned, seed, *told])
        lam = f" lam={self.reg.lam:g}" if self.reg.lam else ""
        return f"{self.model.name} {self.reg.name}{lam} {seed}{self._told_apart}"

    def nested(self) -> dict[str, Any]:
        """Return the configuration in plain containers, as config.yaml holds it."""
        return self.model_dump(by_alias=True)

    def flat(self) -> dict[str, Any]:
        """Return dotted keys to leaves: {'reg.lam': 0.001, ...}."""
        return dict(leaves(self.nested()))

    def determining(self) -> dict[str, Any]:
        """Return what determines the numbers: not names of places, devices or tracking, nor what something overrides.

        The content of files counts beside it, as the checksum of the data; see psilon_bench.config.identity.
        """
        values: dict[str, Any] = {"seed": self.seed, "metrics": self.metrics.determining()}
        values |= {section: getattr(self, section).determining() for section in ("dataset", "model")}
        if self.model.is_baseline:
            return values | self.trainer.weighting()
        sections = ("reg", "optimizer", "scheduler", "pruner", "trainer")
        values |= {section: getattr(self, section).determining() for section in sections}
        return values | {"precision": self.hardware.precision}

    def fingerprint(self) -> str:
        """Return the hash of what determines the numbers in this configuration, 16 hex digits."""
        return digest(self.determining())

    def with_data(self, checksum: str) -> "Config":
        """Return the same run, which is to be of data with this checksum."""
        config = self.model_copy()
        targets = [*(locate(one.target) for one in self.components if one.target), *self.metrics.located]
        config._identity = Identity(self.fingerprint(), checksum, code_version(targets))  # noqa: SLF001  (its own class)
        return config

    @property
    def settings_kept(self) -> int | None:
        """Return how many settings of a data set a race keeps at least; None without a race."""
        if not self.race:
            return None
        return self.race_keep if self.cv is None else max(self.race_keep, self.cv_refit)

    @property
    def data(self) -> str | None:
        """Return the checksum that the data had when the run was planned; None before anybody looked at them."""
        return None if self._identity is None else self._identity.data

    @property
    def identity(self) -> Identity:
        """Return what is computed: configuration, data and code."""
        assert self._identity is not None, "the data have not been looked at"
        return self._identity

    @property
    def components(self) -> list[ComponentSection]:
        """Return the sections that name a class or function."""
        return [self.dataset, self.model, self.reg, self.optimizer, self.scheduler, self.pruner]

    def structure(self) -> str:
        """Return a hash of all but the values in which the members of a stack may differ."""
        values = self.nested()
        del values["seed"], values["reg"]["lam"]
        values["dataset"] = without_repeated(values["dataset"]) | {"is_refit": self.dataset.is_refit}
        for section, component in (("model", self.model), ("reg", self.reg)):
            for name in component.stackable:
                values[section].pop(name, None)
        return digest(values)


def absolute(path: str) -> str:
    """Return the path as seen from the working folder of now, without `~`, `.` and `..`; links are not followed."""
    return os.path.abspath(os.path.expanduser(path))
