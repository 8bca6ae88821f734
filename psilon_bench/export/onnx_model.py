"""A program as an ONNX graph, built by hand: an input for each raw column, the prediction as the output.

Numbers arrive in double precision and are scaled in it, as in training; the network computes in float32. Opset 20 and
ai.onnx.ml 3, for which onnxruntime has kernels in these types: https://onnxruntime.ai/docs/reference/operators
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from psilon_bench.export.columns import Column
from psilon_bench.export.extra import require
from psilon_bench.export.onnx_graph import Graph
from psilon_bench.export.program import Before, Program, Step

OPSETS = {"": 20, "ai.onnx.ml": 3}
IR_VERSION = 10  # the oldest that has opset 20 in all its readers
UNKNOWN = -1  # the place of a level that no training row had
UNITS = {
    "number": "a number, NaN where it is missing",
    "date": "days since 1970-01-01 (UTC) with fractions, NaN where it is missing",
    "level": "text, empty where it is missing",
    "code": "text, empty where it is missing",
}
OPERATORS: dict[Before, str] = {"relu": "Relu", "leaky_relu": "LeakyRelu", "tanh": "Tanh", "gelu": "Gelu"}


def onnx_bytes(program: Program, about: dict[str, str]) -> bytes:
    """Return the ONNX model of a program, checked by onnx; `about` are its metadata.

    The inputs have the names of the raw columns, (rows, 1), double for numbers and dates, and text for levels. The
    outputs are `prediction`, double (rows,), or `probabilities`, float (rows, classes), and `label`, text (rows,); a
    column of such a name gives the output a `_` at its end. Raises UsageError where onnx is not installed.
    """
    onnx = require("onnx")
    graph = Graph([column.name for column in program.columns])
    outputs = _outputs(graph, program, _network(graph, program, _features(graph, program)))
    made = onnx.helper.make_graph(
        graph.nodes, "psilon_bench", [_input(column) for column in program.columns], outputs, graph.constants
    )
    opsets = [onnx.helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
    model = onnx.helper.make_model(made, opset_imports=opsets, ir_version=IR_VERSION, producer_name="psilon_bench")
    onnx.helper.set_model_props(model, about)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def _input(column: Column) -> Any:
    """Return the input for a raw column."""
    onnx = require("onnx")
    kind = onnx.TensorProto.STRING if column.is_text else onnx.TensorProto.DOUBLE
    return onnx.helper.make_tensor_value_info(column.name, kind, ["rows", 1], UNITS[column.role])


def _features(graph: Graph, program: Program) -> str:
    """Add what makes features of raw columns, and return their name: float (rows, features)."""
    scaled = [feature for feature in program.features if feature.kind != "level"]
    levels = [feature for feature in program.features if feature.kind == "level"]
    parts = []
    if scaled:
        parts.append(graph.cast(_scaled(graph, program), np.float32))
    if levels:
        columns = sorted({feature.column for feature in levels})
        codes = graph.concat([_places(graph, program.columns[place]) for place in columns])
        chosen = graph.gather(codes, [columns.index(feature.column) for feature in levels], len(columns))
        wanted = graph.constant(np.array([feature.level for feature in levels], np.int64))
        parts.append(graph.cast(graph.add("Equal", chosen, wanted), np.float32))
    return graph.concat(parts)


def _scaled(graph: Graph, program: Program) -> str:
    """Add what makes values, waves and marks of missing values, and return their name: double (rows, features)."""
    columns = sorted({feature.column for feature in program.features if feature.kind != "level"})
    raw = _raw(graph, [program.columns[place] for place in columns])
    names = ("value", "wave", "missing")
    of_kind = {kind: [feature for feature in program.features if feature.kind == kind] for kind in names}
    taken = {
        kind: graph.gather(raw, [columns.index(feature.column) for feature in own], len(columns))
        for kind, own in of_kind.items()
        if own
    }
    if "wave" in taken:
        frequency, phase = (graph.row([getattr(f, key) for f in of_kind["wave"]]) for key in ("frequency", "phase"))
        taken["wave"] = graph.add("Sin", graph.add("Add", graph.add("Mul", taken["wave"], frequency), phase))
    parts = []
    if whole := [taken[kind] for kind in ("value", "wave") if kind in taken]:
        found = graph.concat(whole)
        fill = graph.row([feature.fill for kind in ("value", "wave") for feature in of_kind[kind]])
        parts.append(graph.add("Where", graph.add("IsNaN", found), fill, found))
    if "missing" in taken:
        parts.append(graph.cast(graph.add("IsNaN", taken["missing"]), np.float64))
    ordered = [feature for own in of_kind.values() for feature in own]
    mean, scale = (graph.row([getattr(feature, key) for feature in ordered]) for key in ("mean", "scale"))
    return graph.add("Div", graph.add("Sub", graph.concat(parts), mean), scale)


def _raw(graph: Graph, columns: Sequence[Column]) -> str:
    """Add what makes numbers of raw columns, and return their name: double (rows, columns), NaN for missing values."""
    return graph.concat([_number(graph, column) for column in columns])


def _number(graph: Graph, column: Column) -> str:
    """Add what makes a number of a raw column, and return its name: double (rows, 1)."""
    if column.role == "code":
        places = _places(graph, column)
        known = graph.add("Less", places, graph.constant(np.int64(column.num_known)))
        known = graph.add("And", known, graph.add("Greater", places, graph.constant(np.int64(UNKNOWN))))
        nothing = graph.constant(np.array([[np.nan]]))
        return graph.add("Where", known, graph.cast(places, np.float64), nothing)
    found = column.name
    for value in column.missing_numbers:
        same = graph.add("Equal", found, graph.constant(np.array([[value]])))
        found = graph.add("Where", same, graph.constant(np.array([[np.nan]])), found)
    return found


def _places(graph: Graph, column: Column) -> str:
    """Add what looks up the level of each row, and return its name: int64 (rows, 1), UNKNOWN for an unseen one."""
    keys = column.spellings()
    return graph.add(
        "LabelEncoder",
        column.name,
        domain="ai.onnx.ml",
        keys_strings=list(keys),
        values_int64s=list(keys.values()),
        default_int64=UNKNOWN,
    )


def _network(graph: Graph, program: Program, features: str) -> str:
    """Add the layers and a linear term, and return the name of what the last one makes: float (rows, outputs)."""
    found = features
    for step in program.steps:
        found = _layer(graph, step, found)
    if program.trend is None:
        return found
    return graph.add("Add", found, graph.add("MatMul", features, graph.constant(program.trend)))


def _layer(graph: Graph, step: Step, found: str) -> str:
    """Add a layer, and return the name of what it makes: float (rows, units)."""
    before = found
    if step.before == "crelu":
        positive = graph.add("Relu", found)
        before = graph.concat([positive, graph.add("Sub", found, positive)])
    elif step.before != "identity":
        before = graph.add(OPERATORS[step.before], found)
    product = graph.add("Gemm", before, graph.constant(step.weight), graph.constant(step.bias), transB=1)
    return graph.add("Add", product, found) if step.residual else product


def _outputs(graph: Graph, program: Program, found: str) -> list[Any]:
    """Add what makes predictions of the last layer, and return the outputs of the graph."""
    onnx = require("onnx")
    output, value_info = program.output, onnx.helper.make_tensor_value_info
    if output.kind == "regression":
        scaled = graph.add("Mul", graph.cast(found, np.float64), graph.constant(np.float64(output.scale)))
        raw = graph.add("Add", scaled, graph.constant(np.float64(output.center)))
        name = graph.add("Squeeze", raw, graph.constant(np.array([1])), name="prediction")
        return [value_info(name, onnx.TensorProto.DOUBLE, ["rows"])]
    if output.temperature != 1:
        found = graph.add("Div", found, graph.constant(np.float32(output.temperature)))
    likely = _probabilities(graph, output.kind == "binary", found)
    best = graph.add("ArgMax", likely, axis=1, keepdims=0)
    label = graph.add("Gather", graph.constant(np.array(output.classes, dtype=object)), best, name="label")
    return [
        value_info(label, onnx.TensorProto.STRING, ["rows"]),
        value_info(likely, onnx.TensorProto.FLOAT, ["rows", len(output.classes)]),
    ]


def _probabilities(graph: Graph, binary: bool, logits: str) -> str:
    """Add what makes probabilities of logits, and return their name: float (rows, classes)."""
    if not binary:
        return graph.add("Softmax", logits, name="probabilities", axis=1)
    both = [graph.add("Sigmoid", graph.add("Neg", logits)), graph.add("Sigmoid", logits)]
    return graph.concat(both, name="probabilities")
