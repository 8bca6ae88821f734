"""The options of a group, with those of your own folders."""

import typing
from pathlib import Path

from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError
from yaml import YAMLError

from psilon_bench.config.conf_folder import option_files
from psilon_bench.config.option_file import read_option
from psilon_bench.config.schema import ComponentSection, Config
from psilon_bench.errors import UsageError


def options(group: str) -> dict[str, ComponentSection]:
    """Return the sections of a group's options by name; values that refer to other sections stay as they are written.

    An option of yours is left out where its values cannot be told without Hydra: a number that is a reference or
    missing (`???`), a file that is no YAML. A run that chooses such an option is told by Hydra what is wrong with it.
    """
    schema = typing.cast(type[ComponentSection], Config.model_fields[group].annotation)
    sections = {name: section_of(file, schema) for name, file in option_files(group).items()}
    return {name: section for name, section in sections.items() if section is not None}


def section_of(file: Path, schema: type[ComponentSection]) -> ComponentSection | None:
    """Return the section that a file of a group holds; None where it cannot be told."""
    try:
        return schema.model_validate(read_option(file))
    except (ValidationError, UsageError, YAMLError, OmegaConfBaseException, OSError):  # OSError: a file of one word
        return None
