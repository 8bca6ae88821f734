"""The model card: what a network was trained on and how, what it scored, what it reads, and what loading it runs."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from psilon_bench.config.repeated import INPUT_KEYS
from psilon_bench.data.store import file_sha256
from psilon_bench.export.columns import Column
from psilon_bench.export.finished_run import FinishedRun, NetworkSize
from psilon_bench.export.onnx_model import raw_inputs
from psilon_bench.export.program import Program
from psilon_bench.export.written import written_as
from psilon_bench.records import places

SHOWN = 6  # levels of a column, and columns that are not read
SPLITS = ("train/", "val/", "test/")
CONSTANT = "constant/"  # the beginning of what a constant prediction scores
CERTIFICATE = ("lipschitz_bound", "lipschitz_local", "lipschitz_gap", "path_norm", "test/certified_accuracy/")
LOADING = {
    "onnx": "runs a graph of operators in your runtime, and no code of its own",
    "numpy": "runs the file as Python: read it first, it is as long as its weights and 300 lines",
}


@dataclass(frozen=True)
class Exported:
    """A file of an export: its form (onnx or numpy), its content, and how well it agrees with the network."""

    form: str
    content: bytes
    agreement: str


def card_text(
    run: FinishedRun, size: NetworkSize, program: Program | None, files: Sequence[tuple[Exported, str]]
) -> str:
    """Return the model card in Markdown; `files` are what was exported, each with its sha256.

    program: None for a network that has no exported form, whose inputs are then not listed.
    """
    environment = Environment(
        loader=PackageLoader("psilon_bench.export"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["cell"] = cell
    weights = run.folder / places.weights_name(run.weights(size))
    about = run.about
    return environment.get_template(f"{places.MODEL_CARD}.j2").render(
        run=run,
        about=about,
        name=about.task.target.name if about.task.target else "",
        command=shlex.join(about.command or ["unknown"]),
        overrides=varied(about.params),
        scores=scores(about.metrics),
        certificate=chosen(about.metrics, CERTIFICATE),
        columns=[(column, holds(column)) for column in program.columns] if program else [],
        raw_inputs=raw_inputs(program) if program and any(file.form == "onnx" for file, _ in files) else {},
        read=program.num_inputs if program else None,
        marks=written_as(run.config["dataset"]).marks,
        missing=missing_words(program.columns) if program else "",
        weights=(weights.name, file_sha256(weights)),
        files=[(places.EXPORTED[file.form], file, digest, LOADING[file.form]) for file, digest in files],
        number=number,
    )


def scores(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the scores of each split, a constant prediction's among them where the run recorded it."""
    named = {
        key: value
        for key, value in metrics.items()
        if key.removeprefix(CONSTANT).startswith(SPLITS) and "certified" not in key
    }
    return dict(sorted(named.items(), key=lambda item: (item[0].removeprefix(CONSTANT).split("/")[1:], item[0])))


def chosen(metrics: Mapping[str, float], beginnings: Sequence[str]) -> dict[str, float]:
    """Return the metrics whose names begin like this, in the order of the beginnings."""
    return {key: metrics[key] for start in beginnings for key in metrics if key == start or key.startswith(start)}


def varied(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that tell this run from others."""
    network = ("model.name", "reg.name", "reg.lam", "pruner.name", "trainer.epochs")
    keys = (*network, *INPUT_KEYS, "dataset.split_seed", "seed")
    return {key: params[key] for key in keys if params.get(key) not in (None, "none")}


def holds(column: Column) -> str:
    """Return in words what a raw column holds."""
    if column.role == "number":
        return "numbers"
    if column.role == "date":
        return "dates; in ONNX days since 1970-01-01 (UTC)"
    levels = ["missing" if level is None else level for level in column.levels]
    more = f", ... ({len(levels)} in all)" if len(levels) > SHOWN else ""
    return f"levels: {', '.join(levels[:SHOWN])}{more}"


def missing_words(columns: Sequence[Column]) -> str:
    """Return the words and numbers that mean no value, besides those that always do."""
    return ", ".join(repr(word) for word in dict.fromkeys(word for column in columns for word in column.missing))


def number(value: float) -> str:
    """Return a number with four digits."""
    return f"{value:.4g}"


def cell(text: object) -> str:
    """Return text as it stands in a cell of a Markdown table."""
    return str(text).replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
