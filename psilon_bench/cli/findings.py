"""What psilon-doctor looks at: each function yields findings on one thing, by trying what a run would do."""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from stat import S_ISREG
from typing import Literal

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from psilon_bench.config.addresses import redacted
from psilon_bench.config.conf_folder import own_folders
from psilon_bench.errors import UsageError, in_one_line

PACKAGE = "psilon-bench"
SHOWN = ("torch", "numpy", "pandas", "scikit-learn", "hydra-core", "mlflow")
LEAST_MEMORY, LITTLE_MEMORY = 500_000_000, 2_000_000_000  # bytes; a run of the defaults takes .5 GB, most of it torch
LEAST_DISK, LITTLE_DISK = 50_000_000, 1_000_000_000  # bytes; the record of a run of the defaults takes 4 MB
COMPILE_S = 60  # seconds
PROGRAM = '#include <cmath>\nextern "C" double one(double x) { return std::cos(x); }\n'


@dataclass(frozen=True)
class Finding:
    """One line: what was found, and whether it would stop a run."""

    level: Literal["ok", "note", "STOP"]
    what: str

    def __str__(self) -> str:
        return f"{self.level:<4} {in_one_line(self.what)}"


def at_versions() -> Iterator[Finding]:
    """Compare Python and the installed packages with the ranges in this package's metadata."""
    about = metadata.metadata(PACKAGE)
    wanted, here = about["Requires-Python"], platform.python_version()
    fits = SpecifierSet(wanted).contains(here, prereleases=True)
    yield Finding("ok" if fits else "STOP", f"{PACKAGE} {about['Version']} on Python {here} ({wanted})")
    requirements = [Requirement(text) for text in metadata.requires(PACKAGE) or []]
    yield from of_dependencies([one for one in requirements if one.marker is None or one.marker.evaluate()])
    yield of_extras(requirements, about.get_all("Provides-Extra") or [])


def of_dependencies(requirements: list[Requirement]) -> Iterator[Finding]:
    """Yield a line on all packages that fit their ranges, and one on each that is missing or does not."""
    installed = {one.name: version_of(one.name) for one in requirements}
    wrong = [one for one in requirements if not fits_range(one)]
    if len(wrong) < len(requirements):
        shown = ", ".join(f"{name} {installed[name]}" for name in SHOWN if installed.get(name))
        yield Finding("ok", f"{len(requirements) - len(wrong)} packages are in their ranges: {shown}")
    for one in wrong:
        is_there = f"is {found}" if (found := installed[one.name]) else "is not installed"
        yield Finding("STOP", f"{one.name} {is_there}, and should be {one.specifier}. pip install '{one}'")


def of_extras(requirements: list[Requirement], extras: list[str]) -> Finding:
    """Return a line on the extras of this package: which are whole here, and which are not."""
    lacking: dict[str, list[str]] = {}
    for extra in extras:
        needed = [one for one in requirements if one.marker and one.marker.evaluate({"extra": extra})]
        lacking[extra] = [one.name for one in needed if one.name != PACKAGE and not fits_range(one)]
    whole = [extra for extra, names in lacking.items() if not names]
    rest = [f"{extra} ({', '.join(names)})" for extra, names in lacking.items() if names]
    return Finding("ok", f"extras here: {', '.join(whole) or 'none'}; not whole: {', '.join(rest) or 'none'}")


def fits_range(requirement: Requirement) -> bool:
    """Return whether the package is installed in a version that the requirement allows."""
    version = version_of(requirement.name)
    return version is not None and requirement.specifier.contains(version, prereleases=True)


def version_of(name: str) -> str | None:
    """Return the version of an installed package; None where there is none."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def at_imports() -> Finding:
    """Import what a run does: a package whose version fits may lack files, or a library of the system."""
    try:
        import psilon_bench.run.run  # noqa: F401
    except (ImportError, OSError) as error:  # OSError: a shared library of torch's
        return Finding("STOP", f"imports: {first_line(error)}. Install {PACKAGE} anew.")
    return Finding("ok", "imports: all that a run begins with")


def at_own_folders() -> Iterator[Finding]:
    """Look for the folders of your own components, and for names in them that this package has already."""
    try:
        folders = own_folders()
    except UsageError as error:
        yield Finding("STOP", str(error))
        return
    for folder in folders:
        if not folder.is_dir():
            yield Finding("note", f"PSILON_COMPONENTS names {folder}, which is no folder. Unset it, or mend the name.")


def at_memory() -> Iterator[Finding]:
    """Compare the free memory with what a run of the defaults takes."""
    from psilon_bench.machine.memory import CPU, free_bytes, in_units

    free = free_bytes(CPU)
    if free < LEAST_MEMORY:
        yield Finding("STOP", f"memory: {in_units(free)} free, and a run takes {in_units(LEAST_MEMORY)}. End programs.")
    else:
        yield Finding("note" if free < LITTLE_MEMORY else "ok", f"memory: {in_units(free)} free")


def at_threads() -> Iterator[Finding]:
    """Compare the threads that torch would use with the cores, and with what else the machine does."""
    from psilon_bench.machine.arithmetic import most_threads

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    load = os.getloadavg()[0]
    set_to = os.environ.get("OMP_NUM_THREADS")
    said = f"threads: up to {most_threads()} on {cores} cores" + (f" (OMP_NUM_THREADS={set_to})" if set_to else "")
    if load > cores:
        yield Finding("note", f"{said}; the load is {load:.1f}, so that runs take longer than they need")
    else:
        yield Finding("ok", f"{said}, load {load:.1f}")


def at_device(name: str) -> Iterator[Finding]:
    """Compute something on the device that a run would take."""
    import torch

    from psilon_bench.machine.device import find_device
    from psilon_bench.machine.memory import free_bytes, in_units

    try:
        device = find_device(name)
        torch.ones(2, device=device).sum().item()
    except UsageError as error:
        yield Finding("STOP", str(error))
    except (RuntimeError, KeyError) as error:  # no name of a device, or one whose driver does not answer
        yield Finding("STOP", f"hardware.device={name} does not compute: {first_line(error)}. Set hardware.device=cpu.")
    else:
        is_gpu = device.type == "cuda"
        what = f"{torch.cuda.get_device_name(device)}, {in_units(free_bytes(device))} free" if is_gpu else "computes"
        yield Finding("ok", f"device: {device}, {what}")


def at_compiler() -> Iterator[Finding]:
    """Compile a small program as hardware.compile would; runs do without it."""
    compiler = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")  # as torch chooses
    found = shutil.which(compiler)
    if found is None:
        yield Finding("note", f"C++ compiler: {compiler} is not there, so hardware.compile does nothing. Install it.")
        return
    with tempfile.TemporaryDirectory(prefix="psilon-doctor-") as folder:
        source = Path(folder, "one.cpp")
        source.write_text(PROGRAM, encoding="utf-8")
        command = [found, "-shared", "-fPIC", "-o", str(source.with_suffix(".so")), str(source)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=COMPILE_S)
            problem = done.stderr or f"exit code {done.returncode}" if done.returncode else ""
        except (OSError, subprocess.TimeoutExpired) as error:
            problem = str(error)
    if problem:
        yield Finding("note", f"C++ compiler: {found} fails, so hardware.compile does nothing: {problem[:120]}")
    else:
        yield Finding("ok", f"C++ compiler: {found}, for hardware.compile")


def at_results_dir(folder: Path) -> Iterator[Finding]:
    """Write, lock and remove a file where records would be, and look at the room there."""
    if reason := why_not_writable(folder):
        yield Finding("STOP", f"results_dir={folder} cannot be written: {reason}. Set results_dir=<a folder of yours>.")
    else:
        yield of_room(f"results_dir={folder}", folder)


def why_not_writable(folder: Path) -> str | None:
    """Return why files cannot be written and locked in the folder, or in the one where it would be made; else None."""
    from filelock import FileLock

    from psilon_bench.records.writable import probe

    try:
        probe(folder)
        with tempfile.TemporaryDirectory(prefix=".psilon-", dir=existing(folder)) as attempt:
            file = Path(attempt, "file")
            file.write_bytes(bytes(1000))
            with FileLock(file.with_suffix(".lock"), timeout=10):  # not every file system of a network has locks
                file.unlink()
    except OSError as error:
        return error.strerror or first_line(error)
    return None


def existing(folder: Path) -> Path:
    """Return the folder, or the nearest above it that is there."""
    return next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())


def of_room(what: str, folder: Path) -> Finding:
    """Return a line on the free disk at a folder that can be written."""
    from psilon_bench.machine.memory import in_units

    free = shutil.disk_usage(existing(folder)).free
    if free < LEAST_DISK:
        return Finding("STOP", f"{what} has {in_units(free)} of disk left. Make room, or set another folder.")
    return Finding("note" if free < LITTLE_DISK else "ok", f"{what} can be written, {in_units(free)} of disk free")


def at_cache() -> Iterator[Finding]:
    """Look at the data cache: its place, its size, and whether data can be added; bundled data need none."""
    from psilon_bench.data import store
    from psilon_bench.machine.memory import in_units

    root, count = store.root(), len(list(store.entries()))
    what = f"data cache: {root}, {count} entries, {in_units(size_of(root))}"
    if reason := why_not_writable(root):
        yield Finding("note", f"{what}; nothing can be added: {reason}. Set PSILON_DATA to a folder of yours.")
    else:
        yield Finding("ok", what)


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder, without those of the folders themselves."""
    return sum(found.st_size for path in folder.rglob("*") if (found := status_of(path)) and S_ISREG(found.st_mode))


def status_of(path: Path) -> os.stat_result | None:
    """Return what the system knows about a file; None where it has vanished, or may not be looked at."""
    try:
        return path.lstat()
    except OSError:
        return None


def at_mlflow(uri: str | None, results_dir: Path) -> Iterator[Finding]:
    """Open the tracking store, where there is one already; MLflow makes a database that is not there."""
    from psilon_bench.config.addresses import database_of, resolved
    from psilon_bench.tracking.client import client_of, unusable
    from psilon_bench.tracking.server import check_server, default_uri

    try:
        uri = resolved(uri) if uri else default_uri(results_dir)
        check_server(uri)
        file = database_of(uri) if uri.startswith("sqlite") else None
        if file is not None and not (file.exists() and file.stat().st_size):
            yield Finding("ok", f"MLflow: {redacted(uri)} would be made by the first run")
            return
        try:
            count = len(client_of(uri).search_experiments())
        except Exception as error:  # whatever a server, a proxy or a database may raise
            raise unusable(uri, error) from error
    except UsageError as error:
        yield Finding("STOP", f"MLflow: {error}")
    else:
        yield Finding("ok", f"MLflow: {redacted(uri)} answers, {count} experiments")


def first_line(error: BaseException) -> str:
    """Return what an exception says first."""
    return next(iter(str(error).splitlines()), type(error).__name__)[:160].rstrip(".")
