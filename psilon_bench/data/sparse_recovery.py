"""Sparse recovery: which x with A x = b has few entries that are not 0? A and b are drawn, or read from your files."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field, NonNegativeInt, PositiveInt

from psilon_bench.config.marks import InputPath, settled_by
from psilon_bench.data import cache
from psilon_bench.data.task import Split, Task
from psilon_bench.errors import UsageError, in_one_line
from psilon_bench.machine.memory import check_free

REMEDY = "Set dataset.num_measurements or dataset.num_features to less."


def recovery_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of `load` that determine the data: your files replace what would be drawn in their place."""
    overridden: set[str] = set()
    if arguments["matrix"]:
        overridden |= {"num_measurements", "num_features"}
    if arguments["measurements"]:
        overridden |= {"num_nonzero", "entries", "noise"}
    if arguments["vector"]:
        overridden |= {"num_nonzero", "entries"}
    return {key: None if key in overridden else value for key, value in arguments.items()}


@settled_by(recovery_arguments)
@cache.requires_unchanged("matrix", "measurements", "vector")
def load(
    name: str,
    num_measurements: PositiveInt,
    num_features: PositiveInt,
    num_nonzero: PositiveInt,
    entries: Literal["ones", "signs", "normal"],
    noise: Annotated[float, Field(ge=0, allow_inf_nan=False)],
    matrix: InputPath | None,
    measurements: InputPath | None,
    vector: InputPath | None,
    split_seed: NonNegativeInt,
) -> Task:
    """Return the task of finding x* from A (M x N) and b = A x* + noise, in float64 (Chou, Rauhut & Ward 2023).

    The rows of A are the training inputs (M, N), the entries of b their targets (M, 1). Validation and test rows are
    the N unit vectors with the entries of x* as targets: outputs on them are x itself, and `*/error` is ||x - x*|| /
    ||x*||. A has entries of N(0, 1/M); x* has `num_nonzero` entries of 1, of 1 or -1, or of N(0, 1), at random places;
    the noise is N(0, noise^2). `matrix`, `measurements` and `vector` are files (.npy, .csv) of A, b and x* instead.
    With b alone, x* is the solution of basis pursuit, min ||x||_1 subject to A x = b. Raises UsageError for files that
    do not fit.
    """
    rng = np.random.default_rng(split_seed)
    a = _draw_matrix(rng, num_measurements, num_features) if matrix is None else read_array("matrix", matrix, 2)
    notes = []
    if measurements is None:
        x = draw_sparse_vector(rng, a.shape[1], num_nonzero, entries) if vector is None else _read_vector(vector, a)
        b = a @ x + noise * rng.standard_normal(len(a))
    else:
        b = read_array("measurements", measurements, 1)
        check_length("measurements", b, len(a), "rows")
        x = basis_pursuit(a, b) if vector is None else _read_vector(vector, a)
        if vector is None:
            notes.append("errors are distances from basis pursuit's solution")
    return _task(name, a, b, x, matrix or "drawn", files_checksum([matrix, measurements, vector]), notes)


def _draw_matrix(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Return a matrix (rows, columns) of N(0, 1/rows); UsageError where memory is too small for it and its task."""
    check_free(8 * columns * (3 * rows + 2 * columns), "dataset=sparse_recovery", REMEDY)
    return rng.standard_normal((rows, columns)) / rows**0.5


def _read_vector(path: str, a: np.ndarray) -> np.ndarray:
    """Return the vector of a file; UsageError unless it has an entry for each column of A."""
    x = read_array("vector", path, 1)
    check_length("vector", x, a.shape[1], "columns")
    return x


def _task(name: str, a: np.ndarray, b: np.ndarray, x: np.ndarray, source: str, checksum: str, notes: list[str]) -> Task:
    """Return the task of finding x from A and b; see `load`."""
    unit = Split(torch.eye(a.shape[1], dtype=torch.float64), torch.from_numpy(x)[:, None])
    return Task(
        name=name,
        kind="recovery",
        train=Split(torch.from_numpy(a), torch.from_numpy(b)[:, None]),
        val=unit,
        test=unit,
        feature_names=[f"x{index}" for index in range(a.shape[1])],
        num_outputs=1,
        classes=[],
        target_center=0.0,
        target_scale=1.0,
        target_name="b",
        preprocessing=None,
        source=source,
        licence="none",
        checksum=checksum,
        notes=notes,
    )


def files_checksum(files: list[str | None]) -> str:
    """Return the sha256 of the files' content; what is drawn in their place counts by its arguments and seed."""
    contents = [None if file is None else hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in files]
    return hashlib.sha256(json.dumps(contents).encode()).hexdigest()


def draw_sparse_vector(rng: np.random.Generator, size: int, num_nonzero: int, entries: str) -> np.ndarray:
    """Return a vector (size,) with `num_nonzero` entries that are not 0, at random places; UsageError for too many."""
    if num_nonzero > size:
        raise UsageError(
            f"dataset.num_nonzero={num_nonzero} is more than the {size} entries of x. Set it to at most {size}."
        )
    x = np.zeros(size)
    draw: dict[str, Callable[[], np.ndarray]] = {
        "ones": lambda: np.ones(num_nonzero),
        "signs": lambda: rng.choice([-1.0, 1.0], num_nonzero),
        "normal": lambda: rng.standard_normal(num_nonzero),
    }
    x[rng.permutation(size)[:num_nonzero]] = draw[entries]()
    return x


def read_array(key: str, path: str, dimensions: int) -> np.ndarray:
    """Return the float64 array of a .npy or .csv file; a single column or row counts as a vector.

    Raises UsageError for other files, other `dimensions` (1 or 2), and entries that are not finite.
    """
    kinds: dict[str, Callable[[], np.ndarray]] = {
        ".npy": lambda: np.load(path, allow_pickle=False),
        ".csv": lambda: np.loadtxt(path, delimiter=",", ndmin=2),
    }
    if Path(path).suffix not in kinds:
        raise UsageError(f"dataset.{key}={path} must end in .npy or .csv. Convert the file.")
    try:
        values = np.asarray(kinds[Path(path).suffix](), dtype=np.float64)
    except (ValueError, OSError, EOFError, TypeError) as error:
        brief = in_one_line(error, 160)
        raise UsageError(
            f"dataset.{key}={path} must hold numbers, but cannot be read ({brief}). Check the file."
        ) from error
    if dimensions == 1 and values.ndim == 2 and 1 in values.shape:
        values = values.ravel()
    if values.ndim != dimensions or values.size == 0:
        raise UsageError(
            f"dataset.{key}={path} must have {dimensions} dimensions and entries, but its shape is {values.shape}. "
            "Check the file."
        )
    if not np.isfinite(values).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
        raise UsageError(
            f"dataset.{key}={path} must hold finite numbers, but entry {where} is {values[where]:g}. Replace it."
        )
    return values


def check_length(key: str, values: np.ndarray, expected: int, what: str) -> None:
    """Raise UsageError where a vector does not fit the matrix."""
    if len(values) != expected:
        raise UsageError(
            f"dataset.{key} must have as many entries as the matrix has {what}, {expected}, but it has {len(values)}. "
            "Check the files."
        )


def basis_pursuit(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return argmin ||x||_1 subject to A x = b, for A (M, N) and b (M,).

    It is the linear program of the positive and the negative part of x, solved by HiGHS. Raises UsageError where no x
    has these measurements.
    """
    from scipy.optimize import linprog

    size = a.shape[1]
    found = linprog(np.ones(2 * size), A_eq=np.hstack([a, -a]), b_eq=b, bounds=(0, None))
    if found.x is None:
        raise UsageError(
            f"Basis pursuit needs measurements that some x has, but {found.message} "
            "Give dataset.vector and take model=diagonal_linear."
        )
    return found.x[:size] - found.x[size:]
