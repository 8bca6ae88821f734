"""The options of a group."""

import typing

from psilon_bench.config.conf_folder import CONF
from psilon_bench.config.option_file import read_option
from psilon_bench.config.schema import ComponentSection, Config


def options(group: str) -> dict[str, ComponentSection]:
    """The options of a group, from conf/GROUP/*.yaml; values that refer to other sections stay as they are written."""
    sections = {path.stem: read_option(path) for path in sorted((CONF / group).glob("*.yaml"))}
    schema = typing.cast(type[ComponentSection], Config.model_fields[group].annotation)
    return {name: schema.model_validate(section) for name, section in sections.items()}
