"""Sparse recovery: which x, among all with A x = b, few of whose entries are not 0? A is drawn or yours."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field, NonNegativeInt, PositiveInt

from psilon_bench.config.marks import InputPath, settled_by
from psilon_bench.data import cache
from psilon_bench.data.task import Split, Task
from psilon_bench.errors import UsageError
from psilon_bench.machine.memory import check_free

REMEDY = "Set dataset.num_measurements or dataset.num_features to less."


def recovery_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments that matter: a matrix of yours has its own size, measurements and vectors are not drawn."""
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
    r"""Rows of A are the training inputs, entries of b = A x* + noise the targets; (M, N) and (M, 1), float64.

    Validation and test rows are the unit vectors with the entries of x* as targets: outputs there are x itself, and
    `*/error` is ||x - x*|| / ||x*||. A is M x N of N(0, 1/M); x* has `num_nonzero` entries of 1, of 1 or -1, or of
    N(0, 1), at random places; noise N(0, noise^2).

    matrix, measurements, vector: files (.npy, .csv) of A, b and x* instead. With b alone, x* is basis pursuit's
    solution, min ||x||_1 subject to A x = b.
    """
    rng = np.random.default_rng(split_seed)
    if matrix is None:
        check_free(8 * num_features * (3 * num_measurements + 2 * num_features), "dataset=sparse_recovery", REMEDY)
    a = (
        rng.standard_normal((num_measurements, num_features)) / num_measurements**0.5
        if matrix is None
        else read_array("matrix", matrix, 2)
    )
    notes = []
    if measurements is None:
        x = (
            draw_sparse_vector(rng, a.shape[1], num_nonzero, entries)
            if vector is None
            else read_array("vector", vector, 1)
        )
        check_length("vector", x, a.shape[1], "columns")
        b = a @ x + noise * rng.standard_normal(len(a))
    else:
        b = read_array("measurements", measurements, 1)
        check_length("measurements", b, len(a), "rows")
        x = basis_pursuit(a, b) if vector is None else read_array("vector", vector, 1)
        check_length("vector", x, a.shape[1], "columns")
        if vector is None:
            notes.append("errors are distances from basis pursuit's solution")
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
        source=matrix or "drawn",
        licence="none",
        checksum=files_checksum([matrix, measurements, vector]),
        notes=notes,
    )


def files_checksum(files: list[str | None]) -> str:
    """Return the sha256 of the files' content; what is drawn in their place counts by its arguments and seed."""
    contents = [None if file is None else hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in files]
    return hashlib.sha256(json.dumps(contents).encode()).hexdigest()


def draw_sparse_vector(rng: np.random.Generator, size: int, num_nonzero: int, entries: str) -> np.ndarray:
    """A vector with so many entries that are not 0, at random places."""
    if num_nonzero > size:
        raise UsageError(
            f"dataset.num_nonzero={num_nonzero} is more than the {size} entries of x. Set it to at most {size}."
        )
    x = np.zeros(size)
    draw = {
        "ones": lambda: np.ones(num_nonzero),
        "signs": lambda: rng.choice([-1.0, 1.0], num_nonzero),
        "normal": lambda: rng.standard_normal(num_nonzero),
    }
    x[rng.permutation(size)[:num_nonzero]] = draw[entries]()
    return x


def read_array(key: str, path: str, dimensions: int) -> np.ndarray:
    """Numbers of a .npy or .csv file, float64; a column or a row counts as a vector."""
    kinds = {
        ".npy": lambda: np.load(path, allow_pickle=False),
        ".csv": lambda: np.loadtxt(path, delimiter=",", ndmin=2),
    }
    if Path(path).suffix not in kinds:
        raise UsageError(f"dataset.{key}={path} must end in .npy or .csv. Convert the file.")
    try:
        values = np.asarray(kinds[Path(path).suffix](), dtype=np.float64)
    except (ValueError, OSError, EOFError, TypeError) as error:
        brief = " ".join(str(error).split())[:160]
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
    """UsageError where a vector does not fit the matrix."""
    if len(values) != expected:
        raise UsageError(
            f"dataset.{key} must have as many entries as the matrix has {what}, {expected}, but it has {len(values)}. "
            "Check the files."
        )


def basis_pursuit(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """argmin ||x||_1 subject to A x = b, as the linear program of its positive and its negative part; HiGHS."""
    from scipy.optimize import linprog

    size = a.shape[1]
    found = linprog(np.ones(2 * size), A_eq=np.hstack([a, -a]), b_eq=b, bounds=(0, None))
    if found.x is None:
        raise UsageError(
            f"Basis pursuit needs measurements that some x has, but {found.message} "
            "Give dataset.vector and take model=diagonal_linear."
        )
    return found.x[:size] - found.x[size:]
