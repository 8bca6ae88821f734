"""Raw rows of a table -> model inputs: one scikit-learn ColumnTransformer, fitted on the training rows alone.

Numbers: median for missing values (with an indicator column where training rows lack some), then standardised.
Categories, `onehot`: one 0/1 column per level seen in training; a missing value is a level, an unseen one is all zeros.
Categories, `codes`: the level's number in sorted order, from there on treated as a number; an unseen level is missing.
"""

from typing import Literal

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler

Encoding = Literal["onehot", "codes"]


def constant_columns(frame: pd.DataFrame) -> list[str]:
    """Columns that say nothing: one value throughout, or none at all."""
    return [c for c in frame if frame[c].nunique(dropna=False) <= 1]


def build(columns: list[str], categorical: list[str], encoding: Encoding) -> ColumnTransformer:
    """Columns other than `columns` are ignored, so new rows may carry the target or an id along."""
    numeric = [c for c in columns if c not in set(categorical)]
    categories = [c for c in columns if c in set(categorical)]
    encode = _onehot() if encoding == "onehot" else _codes()
    return ColumnTransformer([("number", Pipeline(_scaled()), numeric), ("category", encode, categories)])


def _scaled() -> list[tuple]:
    return [
        ("number", FunctionTransformer(as_number, feature_names_out="one-to-one")),
        ("impute", SimpleImputer(strategy="median", add_indicator=True)),
        ("scale", StandardScaler()),
    ]


def _onehot() -> Pipeline:
    encoder = OneHotEncoder(sparse_output=False, handle_unknown="ignore", feature_name_combiner=level_name)
    return Pipeline([("text", FunctionTransformer(as_text, feature_names_out="one-to-one")), ("encode", encoder)])


def _codes() -> Pipeline:
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=np.nan)
    text = FunctionTransformer(as_text, feature_names_out="one-to-one")
    return Pipeline([("text", text), ("encode", encoder), *_scaled()[1:]])


def as_number(frame: pd.DataFrame) -> np.ndarray:
    return frame.to_numpy(dtype=np.float64, na_value=np.nan)


def as_text(frame: pd.DataFrame) -> pd.DataFrame:
    """Levels as text, so that 3, "3" and the category 3 are one level; missing stays missing."""
    return frame.apply(lambda column: column.astype("str").astype(object).where(column.notna(), np.nan))


def level_name(column: str, level: object) -> str:
    return f"{column}={'missing' if level != level else level}"  # only NaN differs from itself


def input_scales(transformer: ColumnTransformer) -> list[float]:
    """Raw units per unit of each input: the standard deviation of a number or code, 1 for a 0/1 column."""
    scales: list[float] = []
    for name, columns in transformer.output_indices_.items():
        steps = getattr(transformer.named_transformers_.get(name), "named_steps", {})
        count = columns.stop - columns.start
        scales += steps["scale"].scale_.tolist() if count and "scale" in steps else [1.0] * count
    return scales


def feature_names(transformer: ColumnTransformer) -> list[str]:
    return [name.partition("__")[2] for name in transformer.get_feature_names_out()]
