"""Arguments of the classes and functions that a configuration names: their schema, and what is wrong in one line."""

import collections.abc
import difflib
import functools
import inspect
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Strict, ValidationError, create_model
from pydantic.fields import FieldInfo

from psilon_bench.errors import LONGEST, UsageError, short, shown


@functools.cache
def signature_schema(target: Callable[..., Any], supplied: frozenset[str]) -> type[BaseModel]:
    """Return a pydantic model of the target's parameters without the supplied ones."""
    function = target.__init__ if inspect.isclass(target) else target
    # torch.optim imports the abstract types of its annotations for type checkers alone
    hints = typing.get_type_hints(function, localns=vars(collections.abc), include_extras=True)
    fields: dict[str, Any] = {}
    open_ended = False
    for parameter in inspect.signature(target).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            open_ended = True
        elif parameter.name not in supplied and parameter.kind is not parameter.VAR_POSITIONAL:
            default = ... if parameter.default is parameter.empty else parameter.default
            fields[parameter.name] = (as_meant(hints.get(parameter.name, Any)), default)
    config = ConfigDict(extra="allow" if open_ended else "forbid", strict=True, arbitrary_types_allowed=True)
    return create_model("Arguments", __config__=config, **fields)


def as_meant(hint: Any) -> Any:
    """Return the annotation for values from a configuration, where pydantic alone would take too much or too little.

    A list is as good as a tuple; the elements of an iterable are checked, too; true is not the 1 of a Literal.
    """
    if typing.get_origin(hint) is Iterable:
        return list[typing.get_args(hint)]  # type: ignore[misc]
    if typing.get_origin(hint) is tuple:
        return typing.Annotated[hint, Strict(False)]
    literal = any(typing.get_origin(one) is typing.Literal for one in (hint, *typing.get_args(hint)))
    return typing.Annotated[hint, BeforeValidator(without_bool)] if literal else hint


def without_bool(value: Any) -> Any:
    """Return true and false as words, which equal no number; other values are kept."""
    return str(value) if isinstance(value, bool) else value


def check_signs(section: str, target: Callable[..., Any], arguments: dict[str, Any]) -> None:
    """Raise UsageError for a number below 0 where torch's default is not: a rate, a length, a share, a decay."""
    parameters = inspect.signature(target).parameters
    for name, value in arguments.items():
        values = value if isinstance(value, list) else [value]
        default = parameters[name].default if name in parameters else None
        if any(is_negative(one) for one in values) and not is_negative(default):
            raise UsageError(f"{section}.{name}={shown(value)} is not valid: it should be at least 0.")


def is_negative(value: Any) -> bool:
    """Tell whether a value is a number below 0."""
    return isinstance(value, int | float) and value < 0


def first_line(error: ValidationError, section: str, schema: type[BaseModel]) -> str:
    """Return the first of pydantic's findings in one line: key, value, rule, and the nearest key for an unknown one."""
    finding = error.errors()[0]
    path, fields = ([section] if section else []), fields_of(schema)
    rule = None
    for part in finding["loc"]:  # below the fields, pydantic names members of unions and positions in lists
        if part not in fields and finding["type"] != "extra_forbidden":
            break
        path.append(str(part))
        if part in fields:
            rule, fields = fields[str(part)].description, fields_of(fields[str(part)].annotation)
    key = ".".join(path)
    if finding["type"] == "extra_forbidden":
        return f"{short(key)} is not a known key.{nearest(path[-1], fields)}"
    if finding["type"] == "missing":
        if finding["loc"][-1] != path[-1]:  # a place of a tuple
            return f"{key}={shown(finding['input'])} is not valid: it should be longer."
        return f"{key} is missing; set {key}=<value>."
    same = [other["msg"] for other in error.errors() if other["input"] is finding["input"]]  # all members of a union
    rule = rule or " or ".join(dict.fromkeys(msg.removeprefix("Input should be ") for msg in same))
    return f"{key}={shown(finding['input'])} is not valid: it should be {rule}."


def fields_of(schema: Any) -> dict[str, FieldInfo]:
    """Return the fields of a section by the names they have in a configuration; no fields of any other class."""
    if not (inspect.isclass(schema) and issubclass(schema, BaseModel)):
        return {}
    return {field.alias or name: field for name, field in schema.model_fields.items()}


def nearest(word: str, known: Iterable[str], whole: Mapping[str, str] | None = None) -> str:
    """Return a remedy, ` Did you mean ...?` or ` Choose from: ...`; `whole` has the known words as they are written."""
    known = sorted(known)
    close = difflib.get_close_matches(word[:LONGEST], known, n=3, cutoff=0.5)
    written = [whole[one] if whole else one for one in close or known]
    if not known:
        return " There is none to set."
    return f" Did you mean {' or '.join(written)}?" if close else f" Choose from: {', '.join(written)}."
