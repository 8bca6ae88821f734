"""Whether an exported model predicts as the network does: on rows of the data set, and on rows drawn to be awkward."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from psilon_bench.data.raw_columns import as_days, as_number, as_text
from psilon_bench.data.raw_rows import raw_cells, raw_rows
from psilon_bench.errors import RunFailed, UsageError, in_one_line
from psilon_bench.export.columns import Column
from psilon_bench.export.finished_run import FinishedRun
from psilon_bench.export.onnx_model import raw_inputs
from psilon_bench.export.program import Program
from psilon_bench.export.written import as_written, written_as
from psilon_bench.records import places
from psilon_bench.records.networks import SavedNetwork
from psilon_bench.records.predictions import read_predictions

TOLERANCE = 1e-5  # of a probability, or of a scaled prediction, relative to 1 + its size
DRAWN = 200
HOLE = 0.15  # the share of missing values in drawn rows, and of levels that no training row had
UNSEEN = "a level that no training row had"

Predict = Callable[[pd.DataFrame], np.ndarray]  # as SavedNetwork.predict


@dataclass(frozen=True)
class Rows:
    """Raw rows to compare predictions on, also as cells of text; `words` say which they are."""

    frame: pd.DataFrame
    words: str
    text: pd.DataFrame


def rows_to_compare(run: FinishedRun, program: Program, roles: dict[str, str]) -> Rows:
    """Return the run's test rows where its data are at hand, and drawn rows in any case.

    As text, test rows are the cells of the user's file where they come from one; others are spelled as it would have
    them.
    """
    dataset = run.config["dataset"]
    form, read = written_as(dataset).form, {column.name: roles[column.name] for column in program.columns}
    drawn = drawn_rows(program, roles)
    spelled = as_written(drawn, read, form)
    frame = raw_rows(dataset, roles, run.about.task.checksum)
    if frame is None or not (run.folder / places.PREDICTIONS).exists():
        return Rows(drawn, f"{DRAWN} drawn rows (the data of the run are not at hand)", spelled)
    predicted = read_predictions(run.folder, "test")["row"].to_numpy()
    test, cells = frame.iloc[predicted][list(roles)].astype(object), raw_cells(dataset, list(read))
    text = as_written(test, read, form) if cells is None else cells.iloc[predicted]
    whole, spelled = (pd.concat(parts, ignore_index=True) for parts in ([test, drawn.astype(object)], [text, spelled]))
    return Rows(whole, f"{len(test)} test rows and {DRAWN} drawn rows", spelled)


def drawn_rows(program: Program, roles: dict[str, str]) -> pd.DataFrame:
    """Return rows with values around those of training, missing values and unseen levels, in all columns."""
    draw = np.random.default_rng(0)
    known = {column.name: column for column in program.columns}
    values = {name: _drawn(draw, known.get(name), program) for name in roles}
    frame = pd.DataFrame(values)
    for name, role in roles.items():
        frame[name] = frame[name].mask(draw.random(DRAWN) < HOLE)
        if role == "date":
            frame[name] = pd.to_datetime(frame[name].astype(float), unit="D")
    return frame


def _drawn(draw: np.random.Generator, column: Column | None, program: Program) -> Any:
    """Return values of a column; a column that the network does not read is missing throughout."""
    if column is None:
        return pd.Series([None] * DRAWN, dtype=object)
    if column.is_text:
        return draw.choice(np.array([*(level for level in column.levels if level is not None), UNSEEN], object), DRAWN)
    own = [f for f in program.features if program.columns[f.column] is column and f.kind == "value"]
    center, scale = (own[0].mean, own[0].scale) if own else (0.0, 1.0)
    return center + scale * draw.normal(size=DRAWN)


def feeds(program: Program, frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return the inputs of the ONNX model for raw rows by name: double or text (rows, columns)."""
    return {
        name: np.concatenate([_feed(column, frame[[column.name]]) for column in columns], axis=1)
        for name, columns in raw_inputs(program).items()
    }


def _feed(column: Column, frame: pd.DataFrame) -> np.ndarray:
    """Return a column (rows, 1) as the ONNX model takes it."""
    if column.is_text:
        return as_text(frame).fillna("").to_numpy(dtype=object)
    return as_days(frame) if column.role == "date" else as_number(frame)


def largest_difference(saved: SavedNetwork, predict: Predict, frame: pd.DataFrame) -> float:
    """Return the largest |difference| / (1 + |prediction|) on these rows.

    Predictions of a regression are in units of the scaled target. NaN where either side has NaN.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # unseen levels are wanted here
        right, made = saved.predict(frame), predict(frame)
    center, scale = 0.0, 1.0
    if saved.task["kind"] == "regression":
        center, scale = (saved.task["target"][key] for key in ("center", "scale"))
    right, made = ((np.asarray(side, dtype=float) - center) / scale for side in (right, made))
    return float(np.max(np.abs(right - made) / (1 + np.abs(right))))


def check_text_equal(saved: SavedNetwork, predict: Predict, rows: Rows) -> str:
    """Return in words how well predictions for rows as text agree with those of the network for the same rows."""
    return check_equal(saved, lambda _frame: predict(rows.text), replace(rows, words=f"{rows.words} as text"))


def check_equal(saved: SavedNetwork, predict: Predict, rows: Rows) -> str:
    """Return in words how well an exported model agrees; RunFailed where it does not, or refuses the rows."""
    try:
        difference = largest_difference(saved, predict, rows.frame)
    except UsageError:
        raise
    except ValueError as error:
        told = f"{rows.words}: {in_one_line(error, 200)}"
        raise RunFailed(
            f"The exported model does not predict as the network does ({told}), so nothing is written."
        ) from error
    told = f"largest difference to the network on {rows.words}: {difference:.1g}"
    if not difference <= TOLERANCE:  # NaN fails too
        raise RunFailed(f"The exported model does not predict as the network does ({told}), so nothing is written.")
    return told
