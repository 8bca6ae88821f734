"""All figures of a report: found by discovery, drawn, saved; side by side in processes where there are many."""

import base64
import importlib
import os
import pkgutil
from dataclasses import dataclass
from pathlib import Path

from joblib import Parallel, delayed

from psilon_bench.report import figures
from psilon_bench.report.drawing import Drawing, style
from psilon_bench.report.material import Material

MANY = 30  # methods on data sets from which the start of processes (1 s of a core each) is worth while
MOST_PROCESSES = 4  # the kinds of figures with a figure a data set take longest, and these are two


@dataclass(frozen=True)
class Picture:
    """A figure that was saved: its words, and the SVG as a data: address."""

    name: str
    title: str
    caption: str
    svg: str


def save_figures(material: Material, folder: Path) -> tuple[list[Picture], list[str]]:
    """PNG, SVG and CSV of every figure whose data is there, in the order of the modules' PLACE; and what went wrong."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(cores, MOST_PROCESSES) if len(material.choices) >= MANY else 1
    folder.mkdir(parents=True, exist_ok=True)
    saved = Parallel(workers, batch_size=1)(delayed(save_module)(name, material, folder) for name in modules())
    problems = [problem for _, problem in saved if problem]
    return [picture for pictures, _ in saved for picture in pictures], problems


def modules() -> list[str]:
    """Those of figures/, in the order of their PLACE."""
    names = [f"{figures.__name__}.{module.name}" for module in pkgutil.iter_modules(figures.__path__)]
    return sorted(names, key=lambda name: importlib.import_module(name).PLACE)


def save_module(name: str, material: Material, folder: Path) -> tuple[list[Picture], str | None]:
    """All figures of one module; where one cannot be drawn (a damaged network, say), those before it and a sentence."""
    pictures: list[Picture] = []
    try:
        with style():
            for drawing in importlib.import_module(name).draw(material):
                pictures.append(save(drawing, folder))
    except Exception as error:  # one figure is not worth the report
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        return pictures, f"Figures of {name.rpartition('.')[2]} are missing, for they cannot be drawn: {reason}"
    return pictures, None


def save(drawing: Drawing, folder: Path) -> Picture:
    """One figure."""
    drawing.save(folder)
    svg = base64.b64encode((folder / f"{drawing.name}.svg").read_bytes()).decode()
    return Picture(drawing.name, drawing.title, drawing.caption, f"data:image/svg+xml;base64,{svg}")
