"""Arguments of the classes and functions that a configuration names: their schema, and what is wrong in one line."""

import collections.abc
import difflib
import functools
import inspect
import typing
from collections.abc import Callable, Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict, ImportString, TypeAdapter, ValidationError, create_model


@functools.cache
def signature_schema(target: Callable[..., Any], supplied: frozenset[str]) -> type[BaseModel]:
    """A pydantic model of the target's parameters, less the supplied ones."""
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
            fields[parameter.name] = (as_list(hints.get(parameter.name, Any)), default)
    # torch's own classes are annotated for tuples and floats and take lists and whole numbers as well
    ours = target.__module__.split(".")[0] != "torch"
    config = ConfigDict(extra="allow" if open_ended else "forbid", strict=ours, arbitrary_types_allowed=True)
    return create_model("Arguments", __config__=config, **fields)


def as_list(hint: Any) -> Any:
    """list[T] for Iterable[T]: pydantic checks an iterable's elements only when they are consumed."""
    return list[typing.get_args(hint)] if typing.get_origin(hint) is Iterable else hint  # type: ignore[misc]


@functools.cache
def locate(target: str) -> Callable[..., Any]:
    """The class or function of a dotted path; ImportError where there is none."""
    try:
        found = TypeAdapter(ImportString).validate_python(target)
    except ValidationError as error:
        raise ImportError(error.errors()[0]["msg"]) from error
    if not callable(found):
        raise ImportError("it is not a class or function")
    return found


def first_line(error: ValidationError, section: str, schema: type[BaseModel]) -> str:
    """The first of pydantic's findings in one line: key, value, rule, and the nearest key for an unknown one."""
    finding = error.errors()[0]
    path, fields = ([section] if section else []), schema.model_fields
    rule = None
    for part in finding["loc"]:  # below the fields, pydantic names members of unions and positions in lists
        if part not in fields and finding["type"] != "extra_forbidden":
            break
        path.append(str(part))
        if part in fields:
            rule, inner = fields[str(part)].description, fields[str(part)].annotation
            fields = inner.model_fields if inspect.isclass(inner) and issubclass(inner, BaseModel) else {}
    key = ".".join(path)
    if finding["type"] == "extra_forbidden":
        return f"{key} is not a known key.{nearest(path[-1], fields)}"
    if finding["type"] == "missing":
        if finding["loc"][-1] != path[-1]:  # a place of a tuple
            return f"{key}={finding['input']!r} is not valid: it should be longer."
        return f"{key} is missing; set {key}=<value>."
    same = [other["msg"] for other in error.errors() if other["input"] is finding["input"]]  # all members of a union
    rule = rule or " or ".join(msg.removeprefix("Input should be ") for msg in same)
    return f"{key}={finding['input']!r} is not valid: it should be {rule}."


def nearest(word: str, known: Iterable[str]) -> str:
    """A remedy: ' Did you mean ...?' or ' Choose from: ...'."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=3, cutoff=0.5)
    if close:
        return f" Did you mean {' or '.join(close)}?"
    return f" Choose from: {', '.join(known)}."
