"""The version of the code that makes the numbers: a digest of the sources that compute, read once at import.

Editing a file while a run trains does not change what the run was computed with, so nothing is read again later.
"""

import functools
import hashlib
import inspect
import subprocess
import sys
from collections.abc import Callable, Iterable
from modulefinder import ModuleFinder
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1]
# Folders and files of the package whose code determines numbers. What parses, plans, records, sends and shows does not.
NUMERIC = (
    "data",
    "metrics",
    "models",
    "pruning",
    "regularizers",
    "training",
    "machine/arithmetic.py",
    "machine/device.py",
    "machine/torch_internals.py",
    "run/checks.py",
)


def numeric_sources() -> list[Path]:
    """Return the package's files whose code determines numbers, in the order of their names."""
    places = [PACKAGE / name for name in NUMERIC]
    return sorted(file for place in places for file in (place.rglob("*.py") if place.is_dir() else [place]))


def digest_of(files: Iterable[Path], below: Path) -> str:
    """Return 64 hex digits that stand for the names (relative to `below`) and the bytes of these files."""
    whole = hashlib.sha256()
    for file in files:
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        whole.update(f"{file.relative_to(below).as_posix()} {content}\n".encode())
    return whole.hexdigest()


INSTALLED = {"site-packages", "dist-packages"}
OWN = digest_of(numeric_sources(), PACKAGE)


def code_version(targets: Iterable[Callable[..., Any]]) -> str:
    """Return 16 hex digits for the package's numeric code and the sources of these components, where they are yours.

    Components of installed libraries (torch.optim.Adam) are not part of it: their versions stand in the record.
    """
    foreign = sorted({source for target in targets if (source := source_of(target))})
    return hashlib.sha256(" ".join([OWN, *foreign]).encode()).hexdigest()[:16]


@functools.cache
def source_of(target: Callable[..., Any]) -> str:
    """Return the digest of the code of your own behind a component: its module or package, and what these import.

    Empty for what belongs to this package, to the standard library or to an installed library.
    """
    classes = inspect.getmro(target) if inspect.isclass(target) else (inspect.unwrap(target),)
    places = {place for one in classes if (place := module_path(one)) is not None}
    return " ".join(sorted(digest_of(with_imports(place), place.parent) for place in places))


def with_imports(place: Path) -> list[Path]:
    """Return the files of a module or package, and those beside it that they import, directly or not."""
    finder = ModuleFinder(path=[str(place.parent)])  # finds nothing of libraries, and runs nothing
    for file in files_of(place):
        parts = file.relative_to(place.parent).with_suffix("").parts
        finder.import_hook(".".join(part for part in parts if part != "__init__"))
    found = (getattr(module, "__file__", None) for module in finder.modules.values())
    beside = (Path(file) for file in found if file)
    return sorted({*files_of(place), *(file for file in beside if file.is_relative_to(place.parent))})


def module_path(component: Any) -> Path | None:
    """Return the file or the package folder that a component of your own is defined in; None for all others."""
    name = getattr(component, "__module__", "")
    top = name.partition(".")[0]
    if top == PACKAGE.name or top in sys.stdlib_module_names:
        return None
    # a folder without __init__.py has no file: the module itself counts
    files = [getattr(sys.modules.get(module), "__file__", None) for module in (top, name)]
    found = next((Path(file).resolve() for file in files if file), None)
    if found is None or INSTALLED.intersection(found.parts):
        return None
    return found.parent if found.name == "__init__.py" else found


def files_of(place: Path) -> list[Path]:
    """Return the files of a folder (of a package: its Python files), or the file itself."""
    pattern = "*.py" if (place / "__init__.py").exists() else "*"
    return sorted(file for file in place.rglob(pattern) if file.is_file()) if place.is_dir() else [place]


@functools.cache
def git_commit(file: Path = Path(__file__)) -> str | None:
    """Return the commit of the source tree this file belongs to, with + where the tree has changes; None elsewhere.

    An installed package may lie inside somebody's repository without being of it.
    """
    git = ["git", "-C", str(file.parent)]
    options: dict[str, Any] = {"capture_output": True, "timeout": 5, "text": True}
    try:
        subprocess.run([*git, "ls-files", "--error-unmatch", file.name], check=True, **options)
        commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, **options)
        changes = subprocess.run([*git, "diff", "--quiet", "HEAD"], check=False, **options)
    except (OSError, subprocess.SubprocessError):
        return None
    return commit.stdout.strip() + ("+" if changes.returncode else "")
