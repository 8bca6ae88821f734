"""From raw rows of a table to inputs of a model: one scikit-learn ColumnTransformer, fitted on the training rows alone.

Numbers: the median replaces missing values (with an indicator column where training rows lack some), then they are
standardised.
Categories, `onehot`: one 0/1 column per level of the training rows; a missing value is a level, and an unseen level is
all zeros.
Categories, `codes`: the number of the level in order (numbers by value, then text), from there on treated as a number;
an unseen level is missing.
Dates, `ordinal`: days since 1970, treated as a number; `cyclic`: sine and cosine of the place in the year, the week
and the day stand beside it.
"""

import datetime
from collections.abc import Collection, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler

from psilon_bench.data import levels
from psilon_bench.data.form import Form, date, is_missing
from psilon_bench.data.targets import weighted_quantiles
from psilon_bench.errors import UsageError

Encoding = Literal["onehot", "codes"]
DateEncoding = Literal["ordinal", "cyclic"]
Missing = Sequence[str | float]  # of dataset.missing
CYCLES = {"year": 365.2425, "week": 7.0, "day": 1.0}  # in days
EPOCH = pd.Timestamp(0)


def constant_columns(frame: pd.DataFrame) -> list[str]:
    """Return the names of columns that hold one value in all rows, or no value."""
    return [c for c in frame if frame[c].nunique(dropna=False) <= 1]


def build_transformer(
    train: pd.DataFrame,
    categorical: list[str],
    encoding: Encoding,
    dates: Sequence[str] = (),
    date_encoding: DateEncoding = "ordinal",
    missing: Missing = (),
) -> ColumnTransformer:
    """Return an unfitted transformer from a table (rows x columns) to inputs, float64 (rows, features).

    `categorical` and `dates` name columns of `train`; all others hold numbers. `missing` are words and numbers that
    count as missing. Columns that `train` does not have are ignored, so new rows may carry the target or an id along.
    """
    others = {*categorical, *dates}
    parts = [
        ("number", _scaled(_function(as_number, missing)), [c for c in train if c not in others]),
        ("category", _encoded(train, categorical, encoding, missing), [c for c in train if c in set(categorical)]),
    ]
    days = [c for c in train if c in set(dates)]
    if days:
        parts.append(("date", _scaled(_function(as_days)), days))
    if days and date_encoding == "cyclic":
        parts.append(("cycle", _scaled(_cycles(train[days]), indicator=False), days))
    return ColumnTransformer(parts)


def fit_weighted(transformer: ColumnTransformer, train: pd.DataFrame, weights: np.ndarray) -> ColumnTransformer:
    """Return the transformer fitted on rows with weights (rows,): a row of weight 2 counts like two equal rows.

    Levels, indicators and columns are those of the rows that count, medians, means and standard deviations weighted.
    """
    counts = weights > 0
    train, weights = train[counts], weights[counts]
    transformer.fit(train)
    for part, _, columns in transformer.transformers_:
        steps = getattr(transformer.named_transformers_.get(part), "named_steps", {})
        if not len(columns) or "scale" not in steps:
            continue
        values = np.asarray(transformer.named_transformers_[part][:-2].transform(train[list(columns)]), dtype=float)
        steps["impute"].statistics_ = np.array([weighted_median(column, weights) for column in values.T])
        steps["scale"].fit(steps["impute"].transform(values), sample_weight=weights)
    return transformer


def weighted_median(column: np.ndarray, weights: np.ndarray) -> float:
    """Return the median of the values (rows,) that are not missing; a row of weight 2 counts like two equal rows."""
    there = ~np.isnan(column)
    return float(weighted_quantiles(column[there], [0.5], weights[there])[0])


def _function(function: Any, missing: Missing | None = None, names: Any = "one-to-one") -> FunctionTransformer:
    """Return a pipeline step that calls a function."""
    arguments = None if missing is None else {"missing": list(missing)}
    return FunctionTransformer(function, kw_args=arguments, feature_names_out=names)


def _cycles(train: pd.DataFrame) -> FunctionTransformer:
    """Return the step that makes cyclic columns of dates; days have a cycle where some moment is not midnight."""
    timed = np.nan_to_num(as_days(train) % 1).any()
    kept = {"periods": [name for name in CYCLES if timed or name != "day"]}
    return FunctionTransformer(as_cycles, kw_args=kept, feature_names_out=cycle_names)


def _scaled(*first: Any, indicator: bool = True) -> Pipeline:
    """Return the steps that impute and standardise numbers, after the steps given."""
    steps = [SimpleImputer(strategy="median", add_indicator=indicator), StandardScaler()]
    return Pipeline([*zip(("number", "encode"), first, strict=False), *zip(("impute", "scale"), steps, strict=True)])


def _encoded(train: pd.DataFrame, categorical: list[str], encoding: Encoding, missing: Missing) -> Pipeline:
    """Return the steps that encode levels."""
    text = _function(as_text, missing)
    if encoding == "onehot":
        encoder = OneHotEncoder(sparse_output=False, handle_unknown="ignore", feature_name_combiner=level_name)
        return Pipeline([("text", text), ("encode", encoder)])
    columns = as_text(train[[c for c in train if c in set(categorical)]], missing)
    encoder = OrdinalEncoder(
        categories=[_ordered(columns[c]) for c in columns],
        handle_unknown="use_encoded_value",
        unknown_value=np.nan,
        encoded_missing_value=np.nan,
    )
    return Pipeline([("text", text), ("encode", encoder), *_scaled().steps])


def _ordered(column: pd.Series) -> np.ndarray:
    """Return the levels of a column in natural order, with NaN at the end where a value is missing."""
    found = sorted(column.dropna().unique(), key=levels.natural)
    return np.array([*found, *([np.nan] if column.isna().any() else [])], dtype=object)


def as_number(frame: pd.DataFrame, missing: Missing = ()) -> np.ndarray:
    """Return float64 (rows, columns) with NaN for missing values; UsageError for text that is no number."""
    if frame.shape[1] == 0:
        return np.empty(frame.shape)
    form = Form(tuple(missing))
    return np.column_stack([_numbers(frame[column], form) for column in frame])


def _numbers(column: pd.Series, form: Form) -> np.ndarray:
    """Return a column as float64, with NaN for missing values; durations are in seconds."""
    if pd.api.types.is_timedelta64_dtype(column):
        column = column.dt.total_seconds()
    if not pd.api.types.is_numeric_dtype(column):
        column = _from_objects(column, form)
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isin(values, form.values), np.nan, values) if form.values else values


def _from_objects(column: pd.Series, form: Form) -> pd.Series:
    """Return numbers that arrive as text or among text, as in new rows that hold `?` or NA."""
    codes, found = pd.factorize(column)
    values = [_number(value, form) for value in found.tolist()]
    if None in values:
        odd = found[values.index(None)]
        raise UsageError(
            f"Column {column.name!r} holds numbers, but {str(odd)[:40]!r} is none. Correct the cell or leave it empty."
        )
    return pd.Series(np.array([*values, np.nan], dtype=float)[codes])


def _number(value: Any, form: Form) -> float | None:
    """Return a cell as a number, NaN for a missing one; None for what is no number."""
    if isinstance(value, str):
        return np.nan if is_missing(value) or value in form.words else form.number(value)
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, datetime.time):
        return value.hour * 3600 + value.minute * 60 + value.second + value.microsecond / 1e6
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def as_text(frame: pd.DataFrame, missing: Missing = ()) -> pd.DataFrame:
    """Return the table with levels as text: 3, 3.0, "3" and the category 3 are one level, and missing stays missing."""
    words = Form(tuple(missing)).words
    return frame.apply(lambda column: _spelled(column, words))


def _spelled(column: pd.Series, missing: Collection[str]) -> pd.Series:
    """Return a column of levels as text, with NaN for the words in `missing`."""
    codes, found = pd.factorize(column)
    text = [levels.spelled(level) for level in found.tolist()]
    lookup = np.array([*(np.nan if word in missing else word for word in text), np.nan], dtype=object)
    return pd.Series(lookup[codes], index=column.index, dtype=object)


def as_days(frame: pd.DataFrame) -> np.ndarray:
    """Return days since 1970, float64 (rows, columns), NaN for missing; UsageError for text that is no date."""
    return np.column_stack([(_moments(frame[c]) - EPOCH) / pd.Timedelta(days=1) for c in frame])


def _moments(column: pd.Series) -> pd.Series:
    """Return a column of dates as timestamps without a time zone (UTC)."""
    if not pd.api.types.is_datetime64_any_dtype(column):
        codes, found = pd.factorize(column)
        lookup = pd.Series([*(_moment(column.name, value) for value in found.tolist()), pd.NaT])
        column = pd.to_datetime(lookup).iloc[codes].set_axis(column.index)
    return column if column.dt.tz is None else column.dt.tz_convert(None)


def _moment(name: Any, value: Any) -> Any:
    """Return a cell as a timestamp; UsageError for text that is no date."""
    if not isinstance(value, str):
        return pd.Timestamp(value)
    if is_missing(value):
        return pd.NaT
    moment = date(value)
    if moment is None:
        raise UsageError(f"Column {name!r} holds dates, but {value[:40]!r} is none. Write it as 2024-12-31.")
    return moment


def as_cycles(frame: pd.DataFrame, periods: Sequence[str]) -> np.ndarray:
    """Return sine and cosine of each period for each column of dates, (rows, 2 * columns * periods)."""
    angles = [2 * np.pi * days / CYCLES[name] for days in as_days(frame).T for name in periods]
    return np.column_stack([wave(angle) for angle in angles for wave in (np.sin, np.cos)])


def cycle_names(transformer: FunctionTransformer, columns: Sequence[str]) -> np.ndarray:
    """Return the names of the cyclic columns, such as when_year_sin."""
    periods = transformer.kw_args["periods"]
    names = [f"{c}_{name}_{wave}" for c in columns for name in periods for wave in ("sin", "cos")]
    return np.array(names, dtype=object)


def missing_columns(transformer: object, rows: object) -> list[str]:
    """Return the columns that the fitted transformer needs and `rows` lacks."""
    if not (isinstance(transformer, ColumnTransformer) and isinstance(rows, pd.DataFrame)):
        return []
    return [column for column in column_roles(transformer) if column not in rows]


def column_roles(transformer: ColumnTransformer) -> dict[str, str]:
    """Return the columns that the fitted transformer needs, and of each what it holds: number, category or date."""
    parts = [(part, names) for part, _, names in transformer.transformers_ if part not in ("remainder", "cycle")]
    return {column: part for part, names in parts for column in names}


def unseen_levels(transformer: object, rows: object) -> dict[str, list[str]]:
    """Return by column the levels that the training rows did not have, one for each row that holds such a level."""
    if not (isinstance(transformer, ColumnTransformer) and isinstance(rows, pd.DataFrame)):
        return {}  # pixels
    columns = next(names for part, _, names in transformer.transformers_ if part == "category")
    if not len(columns):
        return {}
    steps = transformer.named_transformers_["category"].named_steps
    text = steps["text"].transform(rows[list(columns)])
    known = dict(zip(columns, steps["encode"].categories_, strict=True))
    new = {c: text[c][~text[c].isin(known[c])].fillna("missing").tolist() for c in columns}
    return {column: found for column, found in new.items() if found}


def level_name(column: str, level: object) -> str:
    """Return the name of the 0/1 column of a level: COLUMN=LEVEL."""
    return f"{column}={'missing' if level != level else level}"  # only NaN differs from itself


def input_scales(transformer: ColumnTransformer) -> list[float]:
    """Return raw units per unit of each input: the standard deviation of a number or code, 1 for a 0/1 column."""
    scales: list[float] = []
    for name, columns in transformer.output_indices_.items():
        steps = getattr(transformer.named_transformers_.get(name), "named_steps", {})
        count = columns.stop - columns.start
        scales += steps["scale"].scale_.tolist() if count and "scale" in steps else [1.0] * count
    return scales


def feature_names(transformer: ColumnTransformer) -> list[str]:
    """Return the name of each input that the fitted transformer makes."""
    return [name.partition("__")[2] for name in transformer.get_feature_names_out()]
