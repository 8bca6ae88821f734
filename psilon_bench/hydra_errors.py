"""Hydra's messages in one line: the rule, the value, the nearest names."""

import re
from typing import Any, cast

from hydra.errors import CompactHydraException, MissingConfigException
from omegaconf import OmegaConf

from psilon_bench.arguments import nearest
from psilon_bench.config import CONF, leaves


def one_line(error: BaseException) -> str | None:
    """The message for an error of Hydra's about what was asked; None for any other error."""
    if isinstance(error, MissingConfigException) and error.options is not None and error.missing_cfg_file:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        return f"{group}={option} is not an option of the group {group}.{nearest(option, error.options)}"
    if not isinstance(error, CompactHydraException):
        return None
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    unknown = re.match(r"Could not override '([^'@]+)", lines[0])
    if unknown:
        return f"{unknown[1]} is not a known key.{nearest(unknown[1], known_keys())}"
    return " ".join(lines)


def known_keys() -> list[str]:
    """All dotted keys of the default configuration, and its groups."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        values = cast(dict[str, Any], OmegaConf.to_container(compose("config")))
    return [*values, *(key for key, _ in leaves(values))]
