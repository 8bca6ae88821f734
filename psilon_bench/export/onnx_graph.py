"""A graph of ONNX that grows node by node."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from psilon_bench.export.extra import require


class Graph:
    """The nodes and constants of a graph; the methods add some, and return the name of what they make."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, operator: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Add a node with one output."""
        made = name or f"{operator}{len(self.nodes)}"
        self.nodes.append(require("onnx").helper.make_node(operator, list(inputs), [made], **attributes))
        return made

    def constant(self, value: Any) -> str:
        """Add an array as it is: its type and shape count, and text has the type object."""
        onnx, array = require("onnx"), np.asarray(value)
        name = f"constant{len(self.constants)}"
        self.constants.append(onnx.numpy_helper.from_array(array, name))
        return name

    def row(self, values: Sequence[float]) -> str:
        """Add numbers as double (values,), which is broadcast over rows."""
        return self.constant(np.array(values, np.float64))

    def concat(self, parts: Sequence[str], name: str = "") -> str:
        """Put tensors (rows, ...) beside each other; a single one stays as it is."""
        return parts[0] if len(parts) == 1 and not name else self.add("Concat", *parts, name=name, axis=1)

    def gather(self, whole: str, places: Sequence[int], width: int) -> str:
        """Take the columns at these places of a tensor (rows, width), which stays as it is where these are all."""
        if list(places) == list(range(width)):
            return whole
        return self.add("Gather", whole, self.constant(np.array(places, np.int64)), axis=1)

    def cast(self, whole: str, kind: Any) -> str:
        """Convert to a type of NumPy's."""
        return self.add("Cast", whole, to=require("onnx").helper.np_dtype_to_tensor_dtype(np.dtype(kind)))
