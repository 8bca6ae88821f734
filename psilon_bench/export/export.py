"""The export of a network: made and checked in memory, and written, with its model card, if it predicts the same."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from psilon_bench.errors import UsageError
from psilon_bench.export.card import Exported, card_text
from psilon_bench.export.equality import Rows, check_equal, check_text_equal, rows_to_compare
from psilon_bench.export.finished_run import FinishedRun, NetworkSize, roles_of
from psilon_bench.export.numpy_file import numpy_source
from psilon_bench.export.onnx_model import onnx_bytes
from psilon_bench.export.program import Program, program_of
from psilon_bench.export.runtimes import numpy_predict, onnx_predict
from psilon_bench.export.written import written_as
from psilon_bench.records import places
from psilon_bench.records.atomic_files import atomic_write, write_text
from psilon_bench.records.networks import SavedNetwork
from psilon_bench.records.writable import probe

ExportForm = Literal["onnx", "numpy", "card"]


def export(run: FinishedRun, forms: Sequence[ExportForm], size: NetworkSize, out: Path) -> list[Path]:
    """Write a network in these forms to the folder `out`, with a model card, and return the files.

    The form `card` is the card alone, which networks have that have no other form.

    Raises UsageError for what cannot be exported and for a folder that cannot be written, and RunFailed where the
    exported model predicts something else than the network; nothing is written then.
    """
    check_out_writable(out)
    saved = run.load(size)
    wanted = [form for form in dict.fromkeys(forms) if form != "card"]
    if not wanted:
        return [write_card(run, size, exportable(saved), [], out)]
    program = program_of(saved)
    rows = rows_to_compare(run, program, roles_of(saved, run.folder))
    exported = [made(run, saved, program, form, rows) for form in wanted]
    out.mkdir(parents=True, exist_ok=True)
    return [*(write_file(file, out) for file in exported), write_card(run, size, program, exported, out)]


def exportable(saved: SavedNetwork) -> Program | None:
    """Return the program of a network; None for a network that has no such form."""
    try:
        return program_of(saved)
    except UsageError:
        return None


def made(run: FinishedRun, saved: SavedNetwork, program: Program, form: ExportForm, rows: Rows) -> Exported:
    """Return the exported network, which was found to predict as the network does."""
    if form == "onnx":
        content = onnx_bytes(program, properties(run, program))
        return Exported(form, content, check_equal(saved, onnx_predict(program, content), rows))
    source = numpy_source(program, written_as(run.config["dataset"]))
    predict = numpy_predict(source, program.output.kind)
    agreement = f"{check_equal(saved, predict, rows)}; {check_text_equal(saved, predict, rows)}"
    return Exported(form, source.encode(), agreement)


def properties(run: FinishedRun, program: Program) -> dict[str, str]:
    """Return what an ONNX model says of itself."""
    return {
        "run": run.folder.name,
        "data": f"{run.about.task.name} {run.about.task.checksum}",
        "target": program.output.target,
        "kind": program.output.kind,
        "code_version": run.about.code_version or "unknown",
    }


def write_file(file: Exported, out: Path) -> Path:
    """Write an exported network whole or not at all, and return its path."""
    path = out / places.EXPORTED[file.form]
    with atomic_write(path) as part:
        part.write_bytes(file.content)
    return path


def write_card(run: FinishedRun, size: NetworkSize, program: Program | None, files: list[Exported], out: Path) -> Path:
    """Write the model card, and return its path."""
    out.mkdir(parents=True, exist_ok=True)
    digests = [(file, hashlib.sha256(file.content).hexdigest()) for file in files]
    write_text(out / places.MODEL_CARD, card_text(run, size, program, digests))
    return out / places.MODEL_CARD


def check_out_writable(out: Path) -> None:
    """Raise UsageError unless files can be written to this folder; leave nothing behind."""
    try:
        probe(out)
    except OSError as error:
        raise UsageError(f"--out {out} cannot be written: {error.strerror}. Name a folder of yours.") from error
