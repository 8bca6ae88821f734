"""Which classes and functions a configuration may name: from where they are imported, and of what kind they are."""

import functools
import importlib.util
import inspect
import os
import pkgutil
import sys
import typing
from collections.abc import Callable
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from pydantic import ImportString, TypeAdapter, ValidationError

from psilon_bench.config.code_version import source_of
from psilon_bench.errors import UsageError, shown

OURS = ("psilon_bench", "torch")
VARIABLE = "PSILON_COMPONENTS"  # folders, as in PYTHONPATH; the processes that a run starts find theirs there too

BASELINE = "psilon_bench.models.baselines.Baseline"
STACKABLE = (  # the classes that say in which arguments the members of a stack may differ
    "psilon_bench.models.offers.HasStackableArguments",
    "psilon_bench.regularizers.regularizer.Regularizer",
)
# section -> the classes of which its target is one; of a function, the class that it is annotated to return. Words, for
# they are of layers above and are imported only where a target is looked at.
BASES = {
    "dataset": ("psilon_bench.data.task.Task",),
    "model": ("torch.nn.Module", BASELINE),
    "reg": ("psilon_bench.regularizers.regularizer.Regularizer",),
    "optimizer": ("torch.optim.Optimizer",),
    "scheduler": ("torch.optim.lr_scheduler.LRScheduler",),
    "pruner": ("psilon_bench.pruning.pruner.Pruner",),
}


def name_folder(folder: Path) -> None:
    """From now on components may come from this folder of configurations, and from the one that holds it."""
    named = [str(folder.absolute()), str(folder.absolute().parent), os.environ.get(VARIABLE, "")]
    os.environ[VARIABLE] = os.pathsep.join(filter(None, named))


def folders() -> list[str]:
    """Where components of your own may lie: what --config-dir named, PYTHONPATH, the working folder."""
    named = [os.environ.get(VARIABLE, ""), os.environ.get("PYTHONPATH", ""), os.getcwd()]
    return list(filter(None, os.pathsep.join(named).split(os.pathsep)))


@functools.cache
def locate(target: str) -> Callable[..., Any]:
    """The class or function of a dotted path; ImportError where there is none, or where it is not to be imported."""
    admit(target.partition(".")[0].partition(":")[0])
    try:
        found = TypeAdapter(ImportString).validate_python(target)
    except ValidationError as error:
        raise ImportError(error.errors()[0]["msg"]) from error
    except Exception as error:  # whatever a module of yours may raise
        raise ImportError(f"{type(error).__name__}: {error}") from error
    if not callable(found):
        raise ImportError("it is not a class or function")
    source_of(found)  # read once, as it is now that it is imported
    return found


def admit(package: str) -> None:
    """ImportError unless this is our package, torch, or what import would find in one of `folders`. Imports nothing."""
    if package in OURS:
        return
    sys.path += [folder for folder in folders() if folder not in sys.path]  # last: they hide no installed module
    own = PathFinder.find_spec(package, folders())
    if own is None or places(own) != places(importlib.util.find_spec(package)):
        raise ImportError(
            f"{package} is none of {', '.join(OURS)}, nor a module of the working folder, of PYTHONPATH or of the "
            "folder that --config-dir names, by a name of its own"
        )


def places(spec: ModuleSpec | None) -> list[str | None]:
    """The files of a module."""
    return [] if spec is None else [spec.origin, *(spec.submodule_search_locations or [])]


def check_kind(section: str, target: str) -> None:
    """UsageError unless the target can be imported and is what its section asks for."""
    try:
        found = locate(target)
    except ImportError as error:
        raise UsageError(f"{section}._target_={shown(target)} cannot be imported: {error}.") from error
    if not is_kind(section, found):
        raise UsageError(f"{section}._target_={shown(target)} is not valid: it should be {kind(section)}.")


def derives(found: Any, *bases: str) -> bool:
    """Return whether this is a class derived from one of `bases`, which are dotted names as in BASES."""
    return inspect.isclass(found) and issubclass(found, tuple(pkgutil.resolve_name(name) for name in bases))


@functools.cache
def is_kind(section: str, found: Any) -> bool:
    """Whether this is what a section's target must be."""
    if section != "dataset":
        return derives(found, *BASES[section])
    if not inspect.isfunction(found):
        return False
    made = typing.get_type_hints(found).get("return")
    return derives(made, *BASES[section])


def kind(section: str) -> str:
    """What a section's target must be, in words."""
    what = "a function annotated to return a" if section == "dataset" else "a subclass of"
    return f"{what} {', or of '.join(BASES[section])}"
