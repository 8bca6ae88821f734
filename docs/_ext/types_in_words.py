"""Types and ranges of configuration values, from annotations, in words."""

import types
import typing
from collections.abc import Iterable
from typing import Annotated, Any, Literal, get_args, get_origin

import annotated_types
from markdown_text import as_written, code
from pydantic.fields import FieldInfo
from torch import Tensor

WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "`true` or `false`",
    str: "text",
    type(None): "`null`",
    Any: "any",
}
SIGNS = {annotated_types.Gt: ("gt", ">"), annotated_types.Ge: ("ge", ">="), annotated_types.Lt: ("lt", "<")} | {
    annotated_types.Le: ("le", "<=")
}


def in_words(hint: Any) -> str:
    """Return what values an annotation takes: `a whole number, at least 1, or null`."""
    origin = get_origin(hint)
    if origin is Annotated:
        return of_annotated(*get_args(hint))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(in_words(member) for member in get_args(hint) if member is not Tensor))
    if origin is Literal:
        return " or ".join(code(as_written(value)) for value in get_args(hint))
    if origin is dict:
        key, value = get_args(hint)
        return f"a mapping of {in_words(key)} to {in_words(value)}"
    if origin in (list, tuple) or (inspectable(origin) and issubclass(origin, Iterable)):
        inner = dict.fromkeys(in_words(one) for one in get_args(hint) if one is not Ellipsis)
        return f"a list, each {' or '.join(inner)}" if inner else "a list"
    return WORDS.get(hint) or str(getattr(hint, "__name__", hint))


def inspectable(origin: Any) -> bool:
    """Tell whether this is a class."""
    return isinstance(origin, type)


def of_annotated(base: Any, *marks: Any) -> str:
    """Return the words of a type with marks: its description where it has one, else the type with its range."""
    flat = [inner for mark in marks for inner in (mark.metadata if isinstance(mark, FieldInfo) else [mark])]
    described = [mark.description for mark in marks if isinstance(mark, FieldInfo) and mark.description]
    if described:
        return str(described[0])
    return ", ".join([in_words(base), *ranges(base, flat)])


def ranges(base: Any, marks: Iterable[Any]) -> list[str]:
    """Return the bounds among marks: `at least 1` of whole numbers above 0, `> 0` of others."""
    found = []
    for mark in marks:
        for kind, (name, sign) in SIGNS.items():
            if isinstance(mark, kind):
                bound = getattr(mark, name)
                whole = base is int and sign == ">"
                found.append(f"at least {bound + 1}" if whole else f"{sign} {as_written(bound)}")
    return found
