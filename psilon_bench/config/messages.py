"""Hydra's messages in one line: the rule, the value, the nearest names."""

import contextlib
import re
from collections.abc import Sequence
from typing import Any, cast

from hydra.errors import CompactHydraException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from psilon_bench.config.conf_folder import CONF, option_files
from psilon_bench.config.identity import leaves
from psilon_bench.config.option_file import read_option
from psilon_bench.config.signature import nearest
from psilon_bench.errors import UsageError, in_one_line, short


def one_line(error: BaseException, overrides: Sequence[str]) -> str | None:
    """Return the message for an error of Hydra's about these overrides; None for any other error."""
    if isinstance(error, MissingConfigException) and error.options is not None and error.missing_cfg_file:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        return f"{group}={short(option)} is not an option of the group {group}.{nearest(option, error.options)}"
    if isinstance(error, OverrideParseException):
        from psilon_bench.config.overrides import unreadable

        return unreadable(error.override, error)
    if not isinstance(error, CompactHydraException):
        return None
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    unknown = re.match(r"Could not override '([^'@]+)", lines[0])
    if unknown and option_files(unknown[1]):
        return f"{unknown[1]} is a group of presets, which are added to a configuration: +{unknown[1]}=<preset>."
    if unknown and (owners := options_with(unknown[1])):
        group = unknown[1].partition(".")[0]
        which = f"{group}={', '.join(owners)}"
        return f"{unknown[1]} is not a known key here: it is one of {which}. Choose such a {group}."
    if unknown:
        return f"{short(unknown[1])} is not a known key.{remedy(unknown[1], known_keys(overrides))}"
    if isinstance(error.__cause__, OmegaConfBaseException):
        lines.append(f"({in_one_line(error.__cause__)})")
    return " ".join(lines)


def options_with(key: str) -> list[str]:
    """Return the options of a group that have a key: a value was set for one that another option must be chosen for."""
    group, _, name = key.partition(".")
    found = []
    for option, file in sorted(option_files(group).items()):
        with contextlib.suppress(UsageError, YAMLError, OmegaConfBaseException, OSError):  # a file of yours, no option
            found += [option] if name in read_option(file) else []
    return found


def remedy(unknown: str, known: Sequence[str]) -> str:
    """Return the nearest of the known keys: of the same section where there is one, else by their last words."""
    section, _, name = unknown.rpartition(".")
    same = [key for key in known if section and key.rpartition(".")[0] == section]
    whole = {key.rpartition(".")[2]: key for key in reversed(same or known)}
    return nearest(name, whole, whole)


def known_keys(overrides: Sequence[str]) -> list[str]:
    """Return all dotted keys of the configuration with the groups' options that are chosen, and its sections."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    choices = [one for one in overrides if re.match(r"\+?(\w+|hydra\.searchpath)=[^,]*$", one)]
    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        try:
            composed = compose("config", choices)
        except (HydraException, UsageError):
            composed = compose("config")
    values = cast(dict[str, Any], OmegaConf.to_container(composed))
    return [*values, *(key for key, _ in leaves(values))]
