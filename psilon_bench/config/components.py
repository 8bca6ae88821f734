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
from types import ModuleType
from typing import Any

from pydantic import ImportString, TypeAdapter, ValidationError

from psilon_bench.config.code_version import source_of
from psilon_bench.config.conf_folder import VARIABLE, own_folders
from psilon_bench.errors import UsageError, shown

OURS = ("psilon_bench", "torch")
METRICS = (["logits", "y"], ["model"])  # the parameters of a metric

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


def folders() -> list[str]:
    """Return where your components may lie: your folders and those that hold them, PYTHONPATH, the working folder."""
    named = [str(place) for folder in own_folders() for place in (folder, folder.parent)]
    return [*named, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)), os.getcwd()]


@functools.cache
def locate(target: str) -> Callable[..., Any]:
    """Return the class or function of a dotted path; ImportError where there is none, or it is not to be imported."""
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
    add_to_path()
    own = PathFinder.find_spec(package, folders())
    if own is None or places(own) != places(importlib.util.find_spec(package)):
        raise ImportError(
            f"{package} is none of {', '.join(OURS)}, nor a module of the working folder, of PYTHONPATH or of a "
            f"folder that --config-dir or {VARIABLE} names, by a name of its own"
        )


def import_file(file: Path) -> ModuleType:
    """Import a file of one of your folders, which may import what lies in them; its name may be that of a library."""
    add_to_path()
    spec = importlib.util.spec_from_file_location(f"{file.parent.name}_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def add_to_path() -> None:
    """Let Python import from `folders`; they come last, so that they hide no installed module."""
    sys.path += [folder for folder in folders() if folder not in sys.path]


def places(spec: ModuleSpec | None) -> list[str | None]:
    """Return the files of a module."""
    return [] if spec is None else [spec.origin, *(spec.submodule_search_locations or [])]


def check_target(section: str, target: str) -> None:
    """Raise UsageError unless the target can be imported and is what its section asks for."""
    if not is_kind(section, imported(f"{section}._target_", target)):
        raise UsageError(f"{section}._target_={shown(target)} is not valid: it should be {kind(section)}.")


def check_metric_function(target: str) -> None:
    """Raise UsageError unless the target can be imported and is a metric: see psilon_bench.metrics.functions."""
    found = imported("metrics.functions", target)
    made = typing.get_type_hints(found).get("return") if inspect.isfunction(found) else None
    made = getattr(made, "array_type", made)  # Tensor of jaxtyping's Float[Tensor, ""]
    if made is not pkgutil.resolve_name("torch.Tensor") or [*inspect.signature(found).parameters] not in METRICS:
        raise UsageError(
            f"metrics.functions={shown(target)} is not valid: it should be a function of (logits, y) or of (model), "
            "annotated to return a torch.Tensor."
        )


def imported(key: str, target: str) -> Callable[..., Any]:
    """Return the class or function that the value of a key names; UsageError where it cannot be imported."""
    try:
        return locate(target)
    except ImportError as error:
        raise UsageError(f"{key}={shown(target)} cannot be imported: {error}.") from error


def derives(found: Any, *bases: str) -> bool:
    """Return whether this is a class derived from one of `bases`, which are dotted names as in BASES."""
    return inspect.isclass(found) and issubclass(found, tuple(pkgutil.resolve_name(name) for name in bases))


@functools.cache
def is_kind(section: str, found: Any) -> bool:
    """Return whether this is what a section's target must be."""
    if section != "dataset":
        return derives(found, *BASES[section])
    if not inspect.isfunction(found):
        return False
    made = typing.get_type_hints(found).get("return")
    return derives(made, *BASES[section])


def kind(section: str) -> str:
    """Return what a section's target must be, in words."""
    what = "a function annotated to return a" if section == "dataset" else "a subclass of"
    return f"{what} {', or of '.join(BASES[section])}"
