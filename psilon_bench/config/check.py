"""The check of a composed configuration against the schema and the signatures of its components."""

import typing
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from psilon_bench.config.bounds import check_values
from psilon_bench.config.components import check_metric_function, check_target, locate
from psilon_bench.config.marks import check_together
from psilon_bench.config.schema import ComponentSection, Config, DatasetSection, OptimizerSection, absolute
from psilon_bench.config.signature import check_signs, first_line, signature_schema
from psilon_bench.errors import UsageError


def check(cfg: DictConfig) -> Config:
    """Return the typed configuration; UsageError that names the first key that is wrong. No data are loaded."""
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
    for name in config.metrics.functions:
        check_metric_function(name)
    found = with_absolute_paths(config)
    check_values(found.model_dump(by_alias=True))  # the working folder's name may be no text, or too long
    return found


def with_absolute_paths(config: Config) -> Config:
    """Return the configuration with all paths absolute, whatever the working folder becomes later."""
    changes: dict[str, Any] = {"results_dir": absolute(config.results_dir)}
    if config.trainer.teacher is not None:
        changes["trainer"] = config.trainer.model_copy(update={"teacher": absolute(config.trainer.teacher)})
    for section in ("dataset", "model", "reg", "optimizer", "scheduler", "pruner"):
        component = getattr(config, section)
        if paths := component.resolved():
            changes[section] = component.model_copy(update=paths)
    return config.model_copy(update=changes)


# what the runner adds to the arguments of a section's target
SUPPLIED = {
    "model": {"num_features", "num_outputs", "input_shape", "rows"},
    "optimizer": {"params"},
    "scheduler": {"optimizer"},
}


def check_arguments(section: str, component: ComponentSection) -> None:
    """Raise UsageError unless the target is of its section's kind and the keys fit its signature and its types.

    What the target's annotations leave open has bounds elsewhere: bounds.check_values and signature.check_signs.
    """
    check_target(section, component.target)
    target = locate(component.target)
    arguments = component.arguments
    if isinstance(component, DatasetSection):
        arguments["name"] = component.name
    if isinstance(component, OptimizerSection):
        arguments["lr"] = component.lr
    schema = signature_schema(target, frozenset(SUPPLIED.get(section, set())))
    try:
        schema.model_validate(arguments)
    except ValidationError as error:
        raise UsageError(first_line(error, section, schema)) from error
    check_together(target, arguments)
    if section in ("optimizer", "scheduler"):
        check_signs(section, target, arguments)
