"""The reference of the Python interface, from the docstrings of what a user may import."""

import inspect
import pkgutil
from collections.abc import Iterator
from typing import Any

from option_reference import COMPONENTS

from psilon_bench import estimators
from psilon_bench.config.conf_folder import CONF
from psilon_bench.config.option_file import read_option
from psilon_bench.models import offers

RECORDS = ("load", "load_ensemble", "SavedNetwork", "SavedEnsemble")
GROUPS = {"model": "Networks and baselines", "reg": "Regularizers", "pruner": "Pruners", "dataset": "Data sets"}
INTRO = """# Python

Here is what can be imported: the estimators for scikit-learn, the networks, regularizers and pruners that options are
made of, what loads a record, and the contracts for [components of your own](../tutorials/component.md). Arguments of
components have their types and ranges in [the options](options.md). Tensors of inputs are (rows, features).
Which of all this stays as it is from one version to the next, [versions](../versions.md) says.
"""


def python_page() -> str:
    """Return the page of the Python interface."""
    parts = [INTRO, "\n## Estimators\n", *(described(f"psilon_bench.estimators.{name}") for name in estimators.__all__)]
    parts += ["\n## Trained networks\n", *(described(f"psilon_bench.records.networks.{name}") for name in RECORDS)]
    parts += ["\n## Your own folder\n", described("psilon_bench.config.conf_folder.add_folder")]
    for group, title in GROUPS.items():
        parts += [f"\n## {title}\n", *(described(name) for name in targets(group))]
    parts += ["\n## What a network may offer\n", paragraphs(inspect.getdoc(offers) or "")]
    parts += [described(f"psilon_bench.models.offers.{name}") for name in offered()]
    contracts = ("psilon_bench.data.task.Task", "psilon_bench.data.task.Split", "psilon_bench.report.material.Material")
    return "\n".join([*parts, "\n## Data and figures\n", *map(described, contracts)]) + "\n"


def targets(group: str) -> list[str]:
    """Return the classes and functions of this package that the options of a group name, each once."""
    assert group in COMPONENTS
    named = [read_option(file)["_target_"] for file in sorted((CONF / group).glob("*.yaml"))]
    return [name for name in dict.fromkeys(named) if name.startswith("psilon_bench.")]


def offered() -> Iterator[str]:
    """Yield the names of the offers, in the order of the file."""
    return (
        name for name, found in vars(offers).items() if inspect.isclass(found) and found.__module__ == offers.__name__
    )


def described(path: str) -> str:
    """Return the entry of a class with its methods, or of a function: signature and docstring."""
    found = pkgutil.resolve_name(path)
    if not inspect.isclass(found):
        return entry("function", path, found)
    methods = [entry("method", f"{path}.{name}", one, depth=4) for name, one in public_methods(found)]
    return entry("class", path, found, "\n".join(methods))


def public_methods(found: type) -> Iterator[tuple[str, Any]]:
    """Yield the methods and properties with docstrings that a class defines or takes from a base of this package."""
    seen = set()
    for base in found.__mro__:
        if base.__module__.startswith("psilon_bench"):
            for name, one in vars(base).items():
                function = one.fget if isinstance(one, property) else getattr(one, "__func__", one)
                if not name.startswith("_") and name not in seen and inspect.isfunction(function) and function.__doc__:
                    seen.add(name)
                    if base is found or base.__module__.startswith("psilon_bench.estimators"):
                        yield name, one


def entry(kind: str, path: str, found: Any, inner: str = "", depth: int = 6) -> str:
    """Return an entry of Sphinx's domain of Python, as MyST has it."""
    module, _, name = path.rpartition(".")
    if kind == "method":
        module, _, owner = module.rpartition(".")
        name = f"{owner}.{name}"
    function = found.fget if isinstance(found, property) else getattr(found, "__func__", found)
    kind, signature = ("property", "") if isinstance(found, property) else (kind, signature_of(function))
    fence = "`" * depth
    body = paragraphs(inspect.getdoc(function) or "")
    return f"{fence}{{py:{kind}}} {name}{signature}\n:module: {module}\n\n{body}\n\n{inner}\n{fence}\n"


def signature_of(function: Any) -> str:
    """Return the names and defaults of parameters; their types stand in the options."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        return "()"
    kept = [one.replace(annotation=inspect.Parameter.empty) for one in parameters if one.name not in ("self", "cls")]
    return str(inspect.Signature(kept))


def paragraphs(text: str) -> str:
    """Return a docstring as Markdown: paragraphs are text, those that are laid out in columns or indented are code."""
    return "\n\n".join(f"```text\n{block}\n```" if is_laid_out(block) else block for block in text.split("\n\n"))


def is_laid_out(block: str) -> bool:
    """Return whether a line of a paragraph has two spaces before its words or between them."""
    return any("  " in line.rstrip() for line in block.splitlines())
