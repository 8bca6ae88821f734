"""Exported models as functions of raw rows, from their content alone, before any file is written."""

from typing import Any

import numpy as np
import pandas as pd

from psilon_bench.export.equality import Predict, feeds
from psilon_bench.export.extra import require
from psilon_bench.export.program import Program


def onnx_session(model: bytes) -> Any:
    """Return a session of onnxruntime with one thread."""
    runtime = require("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def onnx_predict(program: Program, model: bytes) -> Predict:
    """Return what onnxruntime makes of raw rows, as SavedNetwork.predict has it."""
    session = onnx_session(model)
    names = [output.name for output in session.get_outputs()]

    def predict(frame: pd.DataFrame) -> np.ndarray:
        return np.asarray(session.run([names[-1]], feeds(program, frame))[0])

    return predict


def numpy_predict(source: str, kind: str) -> Predict:
    """Return what the Python file makes of raw rows, as SavedNetwork.predict has it."""
    module: dict[str, Any] = {"__name__": "exported"}
    exec(compile(source, "model.py", "exec"), module)
    return module["predict"] if kind == "regression" else module["predict_proba"]
