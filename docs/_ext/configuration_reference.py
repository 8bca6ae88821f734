"""The reference of all keys of the configuration that belong to no option: type, range, default, and what they are."""

import typing
from collections.abc import Iterator
from typing import Any

from markdown_text import as_written, code, linked, table
from omegaconf import OmegaConf
from option_files import comments, option_comments
from pydantic import BaseModel
from types_in_words import in_words

from psilon_bench.config.conf_folder import CONF
from psilon_bench.config.schema import ComponentSection, Config

DEFAULTS = {"hardware": "hardware/auto.yaml", "tracking": "tracking/mlflow.yaml"}  # sections that are options, too
HEADS = ("key", "values", "default", "what it is")
INTRO = """# Configuration

Here is every key of a run's configuration: the values that it takes, its default, and what it does. `psilon-run --cfg
job` prints them all with the values that a command would have. Keys of a component (`dataset.*`, `model.*`, `reg.*`,
`optimizer.*`, `scheduler.*`, `pruner.*`) depend on which is chosen: see [the options](options.md).

Every number must be finite, a whole number at most 1e9 (a seed at most 2^63 - 1), and text at most 4096 letters
without control characters. A value that breaks a rule ends the command in one line with exit code 2, before anything is
written. `null` stands for no value.
"""


def configuration_page() -> str:
    """Return the page of all keys."""
    sections = [name for name, field in Config.model_fields.items() if is_section(field.annotation)]
    parts = [INTRO, "## The run\n\nFrom `conf/config.yaml`.\n", table(HEADS, own_rows())]
    for name in sections:
        parts += [f"\n## {name}\n", source_of(name), table(HEADS, section_rows(name))]
    return "\n".join(parts) + "\n"


def is_section(annotation: Any) -> bool:
    """Tell whether a field of the configuration is a section whose keys are those of its class alone."""
    return (
        isinstance(annotation, type)
        and issubclass(annotation, BaseModel)
        and not issubclass(annotation, ComponentSection)
    )


def source_of(section: str) -> str:
    """Return a sentence that says where the defaults of a section stand, and the class that checks it."""
    checked = typing.cast(type[BaseModel], Config.model_fields[section].annotation)
    file = DEFAULTS.get(section, "config.yaml")
    return f"From `conf/{file}`, checked by `{checked.__module__}.{checked.__qualname__}`.\n"


def own_rows() -> Iterator[tuple[str, ...]]:
    """Yield the rows of the keys that belong to no section."""
    file = CONF / "config.yaml"
    values = OmegaConf.to_container(OmegaConf.load(file))
    assert isinstance(values, dict)
    said = comments(file.read_text(encoding="utf-8"))
    hints = hints_of(Config)
    for name, field in Config.model_fields.items():
        if not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            hint = hints[name]
            yield code(name), in_words(hint), code(as_written(values[name])), linked(said.get(name, ""))


def section_rows(section: str) -> Iterator[tuple[str, ...]]:
    """Yield the rows of the keys of a section."""
    checked = typing.cast(type[BaseModel], Config.model_fields[section].annotation)
    file = CONF / DEFAULTS.get(section, "config.yaml")
    whole = section not in DEFAULTS
    values = OmegaConf.to_container(OmegaConf.load(file))
    assert isinstance(values, dict)
    said = comments(file.read_text(encoding="utf-8")) if whole else option_comments(file)
    values = values[section] if whole else values
    hints = hints_of(checked)
    for name, field in checked.model_fields.items():
        key = field.alias or name
        kind = field.description or in_words(hints[name])
        note = linked(said.get(f"{section}.{key}" if whole else key, ""))
        yield code(f"{section}.{key}"), kind, code(as_written(values[key])), note


def hints_of(checked: type[BaseModel]) -> dict[str, Any]:
    """Return the annotations of a class of the schema, with all of their marks."""
    return typing.get_type_hints(checked, include_extras=True)
