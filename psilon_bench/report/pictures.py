"""All figures of a report: found by discovery, drawn and saved, in several processes where they are many."""

import base64
import importlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Sequence, Set
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

from psilon_bench.config.components import import_file
from psilon_bench.config.conf_folder import own_folders
from psilon_bench.report import figures
from psilon_bench.report.drawing import Drawing, style
from psilon_bench.report.escaping import visible
from psilon_bench.report.material import Material
from psilon_bench.report.records import Damaged
from psilon_bench.report.selection import listed

PACKAGE = Path(figures.__path__[0])
MANY = 30  # methods on data sets from which processes are worth while
MOST_PROCESSES = 4  # the kinds of figures with a figure a data set take longest, and these are two


@dataclass(frozen=True)
class Picture:
    """A figure that was saved: its words, and its SVG as a data: address."""

    name: str
    title: str
    caption: str
    svg: str


@dataclass(frozen=True)
class Saved:
    """The saved figures, a sentence for each that is missing, and the files that could not be read for them."""

    pictures: list[Picture]
    problems: list[str]
    damaged: list[Damaged]
    left_out: list[tuple[str, str]] = field(default_factory=list)  # as in Material


def save_figures(material: Material, folder: Path) -> Saved:
    """PNG, SVG and CSV of every figure whose data is there, in the order of `files`."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(cores, MOST_PROCESSES) if len(material.choices) >= MANY else 1
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [(file, material, folder) for file in files()]
    saved = save_side_by_side(jobs, workers) if workers > 1 else [save_module(*job) for job in jobs]
    return Saved(
        [picture for one in saved for picture in one.pictures],
        [*not_drawn([pair for one in saved for pair in one.left_out]), *(p for one in saved for p in one.problems)],
        list(dict.fromkeys(file for one in saved for file in one.damaged)),
    )


def save_side_by_side(jobs: Sequence[tuple[Path, Material, Path]], workers: int) -> list[Saved]:
    """Save the figures of all modules in processes; Ctrl-C ends these at once.

    They are forks, which have imported everything, unless this process has used torch: its threads do not survive that.
    """
    method = "fork" if sys.platform == "linux" and "torch" not in sys.modules else "spawn"
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(workers, context, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
        try:
            return [future.result() for future in [pool.submit(save_module, *job) for job in jobs]]
        except BrokenProcessPool:
            killed = "Figures are missing, for a process that drew them was killed: is there too little memory?"
            return [Saved([], [killed], [])]
        except KeyboardInterrupt:
            for process in multiprocessing.active_children():
                process.kill()
            raise


def files() -> list[Path]:
    """Return the files that draw: figures/ of the package in the order of PLACE, then figures/ of your own folders."""
    package = [file for file in PACKAGE.glob("*.py") if file.stem != "__init__"]
    own = [file for place in own_folders() for file in sorted(place.glob("figures/*.py")) if file.stem != "__init__"]
    return [*sorted(package, key=lambda file: module(file).PLACE), *own]


def module(file: Path) -> Any:
    """Return the imported module of a file that draws."""
    return importlib.import_module(f"{figures.__name__}.{file.stem}") if file.parent == PACKAGE else import_file(file)


def save_module(file: Path, material: Material, folder: Path) -> Saved:
    """Save all figures of one module; where one cannot be drawn, those before it and a sentence."""
    pictures: list[Picture] = []
    problems: list[str] = []
    try:
        with style():
            for drawing in module(file).draw(material):
                pictures.append(save(drawing, folder, {picture.name.lower() for picture in pictures}))
    except Exception as error:  # one figure is not worth the report
        reason = visible(f"{type(error).__name__}: {error}")[:200]
        problems = [f"Figures of {file.stem} are missing, for they cannot be drawn: {reason}"]
    return Saved(pictures, problems, material.damaged, material.left_out)


def not_drawn(left_out: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Yield a sentence for each reason why networks are not drawn."""
    records: dict[str, list[str]] = {}
    for reason, record in dict.fromkeys(left_out):
        records.setdefault(reason, []).append(record)
    for reason, own in records.items():
        yield f"{len(own)} networks are not drawn ({listed(own)}): {reason}"


def save(drawing: Drawing, folder: Path, taken: Set[str]) -> Picture:
    """Save one figure under a name that no other figure has.

    File names have fewer letters than names of data sets, so that two names may become one.
    """
    name = next(name for name in numbered(drawing.name) if name.lower() not in taken)
    drawing = replace(drawing, name=name)
    drawing.save(folder)
    svg = base64.b64encode((folder / f"{name}.svg").read_bytes()).decode()
    return Picture(name, drawing.title, drawing.caption, f"data:image/svg+xml;base64,{svg}")


def numbered(name: str) -> Iterator[str]:
    """Yield a name, then the name with 2, with 3 and so on."""
    yield name
    yield from (f"{name}_{number}" for number in count(2))
