"""The reference of all options of all groups, and of the presets: what they are, their keys, types and defaults."""

import collections.abc
import functools
import inspect
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from markdown_text import as_written, code, linked, table
from option_files import option_comments
from types_in_words import in_words

from psilon_bench.config.components import BASELINE, derives, locate
from psilon_bench.config.conf_folder import CONF, header_of
from psilon_bench.config.option_file import read_option
from psilon_bench.config.schema import ComponentSection, Config

COMPONENTS = [
    name
    for name, field in Config.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, ComponentSection)
]
OTHERS = ("hardware", "tracking", "effort", "suite")
KNOWN = {"name", "_target_", "defaults"}
OPTIONS = """# Options of each group

Here is every option that a group has, with the keys that it adds, the values they take and their defaults. An option
is chosen by `group=option`, and a key of it set by `group.key=value`. The class or function that an option names is
what it is made of: see [the Python reference](python.md).
"""
PRESETS = """# Presets

Here is every preset: a whole experiment as one option. Each says what it shows, its command, what it cost on two
cores, and what was found. `psilon-run -m +experiment=NAME plan=true` shows the runs of one and starts nothing. What
came out of those that reproduce a paper, claim by claim, stands in [the table of results](../../results/README.md).
"""


@functools.cache
def options_page() -> str:
    """Return the page of the groups and their options."""
    parts = [OPTIONS]
    for group in COMPONENTS:
        parts.append(f"\n## {group}\n")
        parts += [component(group, file) for file in sorted((CONF / group).glob("*.yaml"))]
    for group in OTHERS:
        parts.append(f"\n## {group}\n")
        parts += [f"### {group}={file.stem}\n\n{as_text(file)}\n" for file in sorted((CONF / group).glob("*.yaml"))]
    return "\n".join(parts)


def component(group: str, file: Path) -> str:
    """Return the part of one option that names a class or function."""
    values, said = read_option(file), option_comments(file)
    target = values["_target_"]
    heads = ("key", "values", "default", "what it is")
    rows = [
        (
            code(f"{group}.{key}"),
            kind_of(group, target, key),
            code(as_written(value)),
            note_of(target, said.get(key, "")),
        )
        for key, value in values.items()
        if key not in KNOWN
    ]
    made = f"Made of `{target}`; defaults from `conf/{group}/{file.name}`."
    return f"### {group}={file.stem}\n\n{as_text(file)}\n\n{made}\n\n" + (table(heads, rows) + "\n" if rows else "")


def note_of(target: str, comment: str) -> str:
    """Return what is said of a key, with links to pages; of what a library names, that it is the library's."""
    if not comment and (not target.startswith("psilon_bench.") or derives(locate(target), BASELINE)):
        return "the library's own"
    return linked(comment)


def kind_of(group: str, target: str, key: str) -> str:
    """Return in words what values a key takes: by the schema's own field, else by the annotation of the target."""
    schema = typing.cast(type[ComponentSection], Config.model_fields[group].annotation)
    fields = {field.alias or name: name for name, field in schema.model_fields.items()}
    if key in fields:
        return in_words(typing.get_type_hints(schema, include_extras=True)[fields[key]])
    hints = annotations(target)
    return in_words(hints[key]) if key in hints else "as the class takes it"


def annotations(target: str) -> dict[str, Any]:
    """Return the annotations of the parameters of a class or function."""
    found = locate(target)
    function = found.__init__ if inspect.isclass(found) else found
    return typing.get_type_hints(function, localns=vars(collections.abc), include_extras=True)


def as_text(file: Path) -> str:
    """Return the words at the top of a file as Markdown: indented lines as they stand."""
    return "\n".join(blocks(header_of(file.read_text(encoding="utf-8")).splitlines())).strip()


def blocks(lines: list[str]) -> Iterator[str]:
    """Yield lines of a comment, with runs of indented ones as code."""
    indented = False
    for line in lines:
        if line.startswith("  ") != indented:
            indented = not indented
            yield "\n```text" if indented else "```\n"
        yield line[2:] if indented else line
    if indented:
        yield "```"


def presets_page() -> str:
    """Return the page of the presets."""
    parts = [PRESETS]
    for file in sorted((CONF / "experiment").glob("*.yaml")):
        parts.append(f"\n## {file.stem}\n\n{preset(header_of(file.read_text(encoding='utf-8')))}\n")
    return "\n".join(parts)


def preset(text: str) -> str:
    """Return the header of a preset as Markdown: its sentence, then command, cost and expected numbers as written."""
    first, _, rest = text.partition("\n")
    title = [first]
    commands: list[str] = []
    others: list[str] = []
    for line in rest.splitlines():
        if not (commands or others) and not line.startswith("  "):
            title.append(line)
        else:
            (others if others or re.match(r"[A-Z][a-z]+:", line) else commands).append(line)
    return "\n".join([" ".join(title), "", "```text", *(line.removeprefix("  ") for line in commands), *others, "```"])
