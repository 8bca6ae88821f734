"""A program as one Python file: the source of `standalone`, with the weights in it as text."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from psilon_bench.export import standalone
from psilon_bench.export.columns import Column
from psilon_bench.export.program import Program
from psilon_bench.export.written import Written

LINE = 'MODEL = ""\n'  # of `standalone`
LETTERS = 112  # of the weights in a line


def numpy_source(program: Program, written: Written) -> str:
    """Return the text of a Python file that predicts with NumPy alone; see `standalone` for what it offers.

    `written` says how it reads cells of text, and files.
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays_of(program, written))
    text = base64.b64encode(buffer.getvalue()).decode()
    lines = "\n".join(f'    "{text[k : k + LETTERS]}"' for k in range(0, len(text), LETTERS))
    source = Path(standalone.__file__).read_text(encoding="utf-8")
    assert source.count(LINE) == 1
    return source.replace(LINE, f"MODEL = (\n{lines}\n)\n")


def arrays_of(program: Program, written: Written) -> dict[str, Any]:
    """Return the weights, what makes features, and the rest as JSON, by the names that `standalone` reads."""
    features = program.features
    found: dict[str, Any] = {
        key: np.array([getattr(feature, key) for feature in features])
        for key in ("column", "fill", "mean", "scale", "frequency", "phase", "level", "limit")
    }
    for k, step in enumerate(program.steps):
        found |= {f"weight{k}": step.weight, f"bias{k}": step.bias}
    if program.trend is not None:
        found["trend"] = program.trend
    kind = np.array([feature.rank for feature in features])
    return found | {"kind": kind, "about": np.array(json.dumps(about(program, written)))}


def about(program: Program, written: Written) -> dict[str, Any]:
    """Return the columns, the layers, the output and how text is written as plain values."""
    output = program.output
    return {
        "columns": [column_about(column) for column in program.columns],
        "text": {
            "decimal": written.form.decimal,
            "thousands": written.form.thousands,
            "separator": written.separator,
            "charset": written.charset,
            "ending": written.ending,
        },
        "curves": [(k, *zip(*f.knots, strict=True)) for k, f in enumerate(program.features) if f.knots],
        "steps": [(step.before, step.residual) for step in program.steps],
        **{key: getattr(output, key) for key in ("kind", "target", "classes", "center", "scale", "temperature")},
    }


def column_about(column: Column) -> dict[str, Any]:
    """Return a column as plain values; `places` are those of its levels, that of a missing one by the empty text.

    A code that is missing is no place, for it is imputed.
    """
    absent = {"": column.num_known} if None in column.levels and column.role == "level" else {}
    return {
        "name": column.name,
        "role": column.role,
        "missing": [str(word) for word in column.missing],
        "missing_numbers": column.missing_numbers,
        "places": {level: place for place, level in enumerate(column.levels) if level is not None} | absent,
    }
