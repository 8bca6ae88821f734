"""The preprocessing of tables as a ColumnTransformer of scikit-learn's: the slow oracle of `fit_preprocessing`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler

from psilon_bench.data import levels
from psilon_bench.data.form import Form
from psilon_bench.data.preprocessing import DateEncoding, Encoding
from psilon_bench.data.quantiles import weighted_quantiles
from psilon_bench.data.raw_columns import CYCLES, PLAIN, as_cycles, as_days, as_number, as_text


def fitted_transformer(train: pd.DataFrame, weights: np.ndarray | None = None, **more: Any) -> ColumnTransformer:
    """The fitted transformer, with the arguments of `fit_preprocessing`."""
    transformer = _unfitted(train, **more)
    return transformer.fit(train) if weights is None else _fit_weighted(transformer, train, weights)


def _unfitted(
    train: pd.DataFrame,
    categorical: list[str],
    encoding: Encoding,
    dates: Sequence[str] = (),
    date_encoding: DateEncoding = "ordinal",
    form: Form = PLAIN,
) -> ColumnTransformer:
    """Return an unfitted transformer from a table (rows x columns) to inputs, float64 (rows, features).

    `categorical` and `dates` name columns of `train`; all others hold numbers. `form` says which words and numbers
    count as missing. Columns that `train` does not have are ignored, so new rows may carry the target or an id along.
    """
    others = {*categorical, *dates}
    parts = [
        ("number", _scaled(_function(as_number, form)), [c for c in train if c not in others]),
        ("category", _encoded(train, categorical, encoding, form), [c for c in train if c in set(categorical)]),
    ]
    days = [c for c in train if c in set(dates)]
    if days:
        parts.append(("date", _scaled(_function(as_days)), days))
    if days and date_encoding == "cyclic":
        parts.append(("cycle", _scaled(_cycles(train[days]), indicator=False), days))
    return ColumnTransformer(parts)


def _fit_weighted(transformer: ColumnTransformer, train: pd.DataFrame, weights: np.ndarray) -> ColumnTransformer:
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
        steps["impute"].statistics_ = np.array([_weighted_median(column, weights) for column in values.T])
        steps["scale"].fit(steps["impute"].transform(values), sample_weight=weights)
    return transformer


def _weighted_median(column: np.ndarray, weights: np.ndarray) -> float:
    """Return the median of the values (rows,) that are not missing; a row of weight 2 counts like two equal rows."""
    there = ~np.isnan(column)
    return float(weighted_quantiles(column[there], [0.5], weights[there])[0])


def _function(function: Any, form: Form | None = None, names: Any = "one-to-one") -> FunctionTransformer:
    """Return a pipeline step that calls a function."""
    arguments = None if form is None else {"form": form}
    return FunctionTransformer(function, kw_args=arguments, feature_names_out=names)


def _cycles(train: pd.DataFrame) -> FunctionTransformer:
    """Return the step that makes cyclic columns of dates; days have a cycle where some moment is not midnight."""
    timed = np.nan_to_num(as_days(train) % 1).any()
    kept = {"periods": [name for name in CYCLES if timed or name != "day"]}
    return FunctionTransformer(as_cycles, kw_args=kept, feature_names_out=_cycle_names)


def _scaled(*first: Any, indicator: bool = True) -> Pipeline:
    """Return the steps that impute and standardise numbers, after the steps given."""
    steps = [SimpleImputer(strategy="median", add_indicator=indicator), StandardScaler()]
    return Pipeline([*zip(("number", "encode"), first, strict=False), *zip(("impute", "scale"), steps, strict=True)])


def _encoded(train: pd.DataFrame, categorical: list[str], encoding: Encoding, form: Form) -> Pipeline:
    """Return the steps that encode levels."""
    text = _function(as_text, form)
    if encoding == "onehot":
        encoder = OneHotEncoder(sparse_output=False, handle_unknown="ignore", feature_name_combiner=_level_name)
        return Pipeline([("text", text), ("encode", encoder)])
    columns = as_text(train[[c for c in train if c in set(categorical)]], form)
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


def _cycle_names(transformer: FunctionTransformer, columns: Sequence[str]) -> np.ndarray:
    """Return the names of the cyclic columns, such as when_year_sin."""
    periods = transformer.kw_args["periods"]
    names = [f"{c}_{name}_{wave}" for c in columns for name in periods for wave in ("sin", "cos")]
    return np.array(names, dtype=object)


def _level_name(column: str, level: object) -> str:
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
