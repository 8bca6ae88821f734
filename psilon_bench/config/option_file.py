"""The file of one option, GROUP/OPTION.yaml, together with the options of the same group that it builds on."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from psilon_bench.config.conf_folder import CONF
from psilon_bench.errors import UsageError


def read_option(path: Path) -> dict[str, Any]:
    """Return the keys and values of an option, as Hydra composes them; `${...}` stays as it is written.

    The names in a file's `defaults` are options of the same group, beside the file or in conf/. The file takes their
    values, a later option's over an earlier one's, and puts its own values over all of them. Other groups, packages
    and another place of `_self_` than the last are Hydra's alone. FileNotFoundError where no such option is.
    """
    values = OmegaConf.to_container(_merged(path))
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def _merged(path: Path) -> DictConfig:
    """Return the file's values over those of the options that its defaults list names."""
    values = OmegaConf.load(path)
    if not isinstance(values, DictConfig):
        raise UsageError(f"{path} holds a list. An option is keys and their values.")
    names = [name for name in values.pop("defaults", []) if name != "_self_"]
    merged = OmegaConf.merge(*(_merged(base_option(path.parent, name)) for name in names), values)
    assert isinstance(merged, DictConfig)
    return merged


def base_option(folder: Path, name: str) -> Path:
    """Return the file of an option of the folder's group: in this folder where it is, else in conf/."""
    beside = folder / f"{name}.yaml"
    return beside if beside.exists() else CONF / folder.name / f"{name}.yaml"
