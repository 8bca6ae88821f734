"""The options of a group, with those of your own folders."""

import typing
from pathlib import Path

from pydantic import ValidationError
from yaml import YAMLError

from psilon_bench.config.conf_folder import option_files
from psilon_bench.config.option_file import read_option
from psilon_bench.config.schema import ComponentSection, Config
from psilon_bench.config.signature import first_line
from psilon_bench.errors import UsageError, in_one_line


def options(group: str) -> dict[str, ComponentSection]:
    """Return the sections of a group's options by name; values that refer to other sections stay as they are written.

    UsageError that names the file where one cannot be read or does not have what its group needs.
    """
    schema = typing.cast(type[ComponentSection], Config.model_fields[group].annotation)
    return {name: section_of(file, schema) for name, file in option_files(group).items()}


def section_of(file: Path, schema: type[ComponentSection]) -> ComponentSection:
    """Return the section that a file of a group holds."""
    try:
        return schema.model_validate(read_option(file))
    except ValidationError as error:
        raise UsageError(f"{file}: {first_line(error, file.parent.name, schema)}") from error
    except (YAMLError, OSError) as error:  # OSError: OmegaConf's for a file that holds a number or a word
        raise UsageError(f"{file} cannot be read: {in_one_line(error)}.") from error
