"""A configuration in code, from the files of conf/ alone: what Hydra makes of a command line, without Hydra."""

import functools
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from psilon_bench.config.check import check
from psilon_bench.config.conf_folder import CONF
from psilon_bench.config.option_file import read_option
from psilon_bench.config.schema import Config


def compose(options: Mapping[str, str], values: Mapping[str, Any]) -> Config:
    """Return the checked configuration with these options, by group, and these values, by dotted key.

    It is that of the command line `group=option ... key=value ...`. UsageError for the first value that is wrong,
    FileNotFoundError for an option that does not exist.
    """
    cfg = composed(tuple(sorted(options.items()))).copy()
    for key, value in values.items():
        OmegaConf.update(cfg, key, value)
    return check(cfg)


@functools.cache
def composed(options: tuple[tuple[str, str], ...]) -> DictConfig:
    """Return the values of conf/config.yaml over those of its options, or of these in their place."""
    whole = OmegaConf.load(CONF / "config.yaml")
    assert isinstance(whole, DictConfig)
    del whole["hydra"]
    usual = [entry for entry in whole.pop("defaults") if isinstance(entry, DictConfig)]
    chosen = {str(group): option for entry in usual for group, option in entry.items() if "override" not in str(group)}
    groups = {group: read_option(CONF / group / f"{name}.yaml") for group, name in (chosen | dict(options)).items()}
    merged = OmegaConf.merge(groups, whole)
    assert isinstance(merged, DictConfig)
    return merged
