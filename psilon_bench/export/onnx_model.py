"""A program as an ONNX graph, built by hand: raw numbers and levels are the inputs, the prediction is the output.

Numbers arrive in double precision and are scaled in it, as in training; the network computes in float32. Opset 20 and
ai.onnx.ml 3, for which onnxruntime has kernels in these types: https://onnxruntime.ai/docs/reference/operators
"""

import json
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from psilon_bench.data.standardisation import LARGEST
from psilon_bench.export.columns import Column, Feature
from psilon_bench.export.extra import require
from psilon_bench.export.onnx_graph import Graph
from psilon_bench.export.program import Before, Program, Step

OPSETS = {"": 20, "ai.onnx.ml": 3}
IR_VERSION = 10  # the oldest that has opset 20 in all its readers
UNKNOWN = -1  # the place of a level that no training row had
NUMBERS, LEVELS = "numbers", "levels"
UNITS = {
    NUMBERS: "NaN where a value is missing; dates are days since 1970-01-01 (UTC) with fractions",
    LEVELS: "empty where a value is missing",
}
OPERATORS: dict[Before, str] = {"relu": "Relu", "leaky_relu": "LeakyRelu", "tanh": "Tanh", "gelu": "Gelu"}


def onnx_bytes(program: Program, about: dict[str, str]) -> bytes:
    """Return the ONNX model of a program, checked by onnx; `about` are its metadata.

    The inputs are `numbers`, double (rows, columns of numbers and dates), and `levels`, text (rows, columns of levels),
    where there are such columns; the model's metadata have the names of their columns as JSON, by the names of the
    inputs. The outputs are `prediction`, double (rows,), or `probabilities`, float (rows, classes), and `label`, text
    (rows,). Raises UsageError where onnx is not installed.
    """
    onnx = require("onnx")
    inputs = raw_inputs(program)
    graph = Graph()
    outputs = _outputs(graph, program, _network(graph, program, _features(graph, program)))
    values = [_input(name, columns) for name, columns in inputs.items()]
    made = onnx.helper.make_graph(graph.nodes, "psilon_bench", values, outputs, graph.constants)
    opsets = [onnx.helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
    model = onnx.helper.make_model(made, opset_imports=opsets, ir_version=IR_VERSION, producer_name="psilon_bench")
    names = {name: json.dumps([column.name for column in columns]) for name, columns in inputs.items()}
    onnx.helper.set_model_props(model, about | names)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def raw_inputs(program: Program) -> dict[str, list[Column]]:
    """Return the inputs of the model by name, and of each the raw columns, in order."""
    columns = {name: [c for c in program.columns if c.is_text == (name == LEVELS)] for name in (NUMBERS, LEVELS)}
    return {name: own for name, own in columns.items() if own}


def _input(name: str, columns: Sequence[Column]) -> Any:
    """Return an input for raw columns, which its documentation names."""
    onnx = require("onnx")
    kind = onnx.TensorProto.STRING if name == LEVELS else onnx.TensorProto.DOUBLE
    told = f"{', '.join(column.name for column in columns)}; {UNITS[name]}"
    return onnx.helper.make_tensor_value_info(name, kind, ["rows", len(columns)], told)


def _features(graph: Graph, program: Program) -> str:
    """Add what makes features of raw columns, and return their name: float (rows, features)."""
    scaled = [feature for feature in program.features if feature.kind != "level"]
    levels = [feature for feature in program.features if feature.kind == "level"]
    parts = []
    if scaled:
        parts.append(graph.cast(_scaled(graph, program), np.float32))
    if levels:
        columns = sorted({feature.column for feature in levels})
        codes = graph.concat([_places(graph, program, program.columns[place]) for place in columns])
        chosen = graph.gather(codes, [columns.index(feature.column) for feature in levels], len(columns))
        wanted = graph.constant(np.array([feature.level for feature in levels], np.int64))
        parts.append(graph.cast(graph.add("Equal", chosen, wanted), np.float32))
    return graph.concat(parts)


def _scaled(graph: Graph, program: Program) -> str:
    """Add what makes values, waves and marks of missing values, and return their name: double (rows, features)."""
    used = {feature.column for feature in program.features if feature.kind != "level"}
    columns = sorted(used, key=lambda place: (program.columns[place].is_text, place))
    raw = _raw(graph, program, [program.columns[place] for place in columns])
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
    scaled = graph.add("Div", graph.add("Sub", graph.concat(parts), mean), scale)
    return _bent(graph, ordered, _clipped(graph, ordered, scaled))


def _clipped(graph: Graph, features: Sequence[Feature], scaled: str) -> str:
    """Add the smooth clipping of those features that have a limit, and return the name: double (rows, features)."""
    limits = np.array([feature.limit for feature in features])
    if np.isinf(limits).all():
        return scaled
    ends = [graph.constant(np.float64(end)) for end in (-LARGEST, LARGEST)]  # whose squares do not overflow
    bounded = graph.add("Clip", scaled, *ends)
    share = graph.add("Div", bounded, graph.constant(limits))
    size = graph.add("Sqrt", graph.add("Add", graph.add("Mul", share, share), graph.constant(np.float64(1))))
    return graph.add("Where", graph.constant(np.isinf(limits)), scaled, graph.add("Div", bounded, size))


def _bent(graph: Graph, features: Sequence[Feature], scaled: str) -> str:
    """Add the curves of those features that have knots, and return the name: double (rows, features).

    A curve is its height at the first knot, and for each piece the slope times how far into it, or past it, s is.
    """
    bent = [place for place, feature in enumerate(features) if feature.knots]
    if not bent:
        return scaled
    curves = np.full((len(bent), 2, max(2, *(len(features[place].knots) for place in bent))), np.nan)
    for curve, place in zip(curves, bent, strict=True):
        curve[:, : len(features[place].knots)] = np.array(features[place].knots).T
    low, high = curves[:, 0, :-1], curves[:, 0, 1:]
    with np.errstate(invalid="ignore"):
        slopes = np.diff(curves[:, 1]) / (high - low)
    pieces = ~np.isnan(slopes)
    low, high, slopes = (np.where(pieces, ends, 0)[None] for ends in (low, high, slopes))
    axis = graph.constant(np.array([2], np.int64))
    inside = graph.add("Unsqueeze", graph.gather(scaled, bent, len(features)), axis)
    inside = graph.add("Min", graph.add("Max", inside, graph.constant(low)), graph.constant(high))
    risen = graph.add("Mul", graph.add("Sub", inside, graph.constant(low)), graph.constant(slopes))
    heights = graph.add("Add", graph.add("ReduceSum", risen, axis, keepdims=0), graph.row(curves[:, 1, 0].tolist()))
    moved = {place: len(features) + k for k, place in enumerate(bent)}
    places = [moved.get(place, place) for place in range(len(features))]
    return graph.gather(graph.concat([scaled, heights]), places, len(features) + len(bent))


def _raw(graph: Graph, program: Program, columns: Sequence[Column]) -> str:
    """Add what makes numbers of raw columns, and return their name: double (rows, columns), NaN for missing values.

    Of the columns, those of numbers and dates come before those of codes.
    """
    given, parts = raw_inputs(program).get(NUMBERS, []), []
    if numbers := [column for column in columns if not column.is_text]:
        found = graph.gather(NUMBERS, [given.index(column) for column in numbers], len(given))
        parts.append(_without_missing(graph, numbers, found))
    return graph.concat([*parts, *(_code(graph, program, column) for column in columns if column.is_text)])


def _without_missing(graph: Graph, columns: Sequence[Column], found: str) -> str:
    """Add what takes numbers that mean no value for missing, and return the rest: double (rows, columns).

    Nothing is equal to NaN, which stands where a column, such as one of dates, has no further such number.
    """
    nothing = graph.constant(np.array([[np.nan]]))
    for values in zip_longest(*(column.missing_numbers for column in columns), fillvalue=np.nan):
        found = graph.add("Where", graph.add("Equal", found, graph.row(values)), nothing, found)
    return found


def _code(graph: Graph, program: Program, column: Column) -> str:
    """Add what makes the code of a level, and return its name: double (rows, 1), NaN for a missing or unseen one."""
    places = _places(graph, program, column)
    known = graph.add("Less", places, graph.constant(np.int64(column.num_known)))
    known = graph.add("And", known, graph.add("Greater", places, graph.constant(np.int64(UNKNOWN))))
    nothing = graph.constant(np.array([[np.nan]]))
    return graph.add("Where", known, graph.cast(places, np.float64), nothing)


def _places(graph: Graph, program: Program, column: Column) -> str:
    """Add what looks up the level of each row, and return its name: int64 (rows, 1), UNKNOWN for an unseen one."""
    given, keys = raw_inputs(program)[LEVELS], column.spellings()
    return graph.add(
        "LabelEncoder",
        graph.gather(LEVELS, [given.index(column)], len(given)),
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
