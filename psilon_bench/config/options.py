"""The options of a group, with those of your own folders."""

import typing

from omegaconf import OmegaConf
from pydantic import ValidationError

from psilon_bench.config.conf_folder import option_files
from psilon_bench.config.schema import ComponentSection, Config
from psilon_bench.config.signature import first_line
from psilon_bench.errors import UsageError


def options(group: str) -> dict[str, ComponentSection]:
    """Return the sections of a group's options by name; values that refer to other sections stay as they are written.

    UsageError that names the file where one does not have what its group needs.
    """
    schema = typing.cast(type[ComponentSection], Config.model_fields[group].annotation)
    sections = {}
    for name, file in option_files(group).items():
        try:
            sections[name] = schema.model_validate(OmegaConf.to_container(OmegaConf.load(file)))
        except ValidationError as error:
            raise UsageError(f"{file}: {first_line(error, group, schema)}") from error
    return sections
