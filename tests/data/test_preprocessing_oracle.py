"""The preprocessing is scikit-learn's, to the last digits, and plain data that JSON keeps to the last bit."""

from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn_preprocessing import feature_names, fitted_transformer, input_scales

from psilon_bench.data.fit_preprocessing import fit_preprocessing
from psilon_bench.data.form import Form
from psilon_bench.data.preprocessing import DateEncoding, Encoding, FittedColumn, Preprocessing
from psilon_bench.data.standardisation import Imputed, Scaling, moments
from psilon_bench.errors import UsageError

ROWS = 90
EXACT: dict[str, Any] = {"rtol": 1e-12, "atol": 1e-12}
FINITE = st.floats(allow_nan=False, allow_infinity=False)


def table(seed: int = 0) -> pd.DataFrame:
    """Numbers of several scales, levels of several types and dates, with holes in some of each; rows in no order."""
    draw = np.random.default_rng(seed)
    day = pd.Timestamp("2019-11-03") + pd.to_timedelta(draw.integers(0, 900, ROWS), unit="D")
    return pd.DataFrame(
        {
            "level": draw.choice(["b", "a", "10", "9", "Ä\n", ""], ROWS),
            "small": draw.normal(0.3, 1e-2, ROWS),
            "holes": np.where(draw.random(ROWS) < 0.2, np.nan, draw.normal(-1e6, 2e5, ROWS)),
            "when": day,
            "words": draw.choice(np.array(["7", "-999", "3.5", "?", None], dtype=object), ROWS),
            "whole": draw.choice(np.array([1.0, 2.0, 10.0, np.nan]), ROWS),
            "almost": np.where(np.arange(ROWS) % 9 == 4, np.nan, 0.1),
            "hour": (day + pd.to_timedelta(draw.integers(0, 24, ROWS), unit="h")).where(draw.random(ROWS) < 0.8),
            "truth": draw.random(ROWS) < 0.3,
            "kind": pd.Categorical(draw.choice([3, 1, 20], ROWS)),
        }
    )


def fitted_to(train: pd.DataFrame, encoding: Any, dates: Any, weights: Any = None, hours: bool = True) -> Any:
    """Ours and scikit-learn's, fitted alike."""
    when = ["when", "hour"] if hours else ["when"]
    more: dict[str, Any] = {
        "categorical": ["level", "whole", "kind"],
        "encoding": encoding,
        "dates": when,
        "date_encoding": dates,
        "form": Form((-999, "a")),
        "weights": weights,
    }
    train = train if hours else train.drop(columns="hour")
    return fit_preprocessing(train, **more), fitted_transformer(train, **more)


@pytest.mark.sampled(every=3)
@pytest.mark.parametrize("encoding", get_args(Encoding))
@pytest.mark.parametrize("dates", get_args(DateEncoding))
@pytest.mark.filterwarnings("ignore:invalid value encountered in sqrt")  # scikit-learn's, of a constant column
@pytest.mark.parametrize("weighted", [None, "whole", "real"])
def test_it_is_scikit_learns(encoding: Any, dates: Any, weighted: Any) -> None:
    """Names, order, scales and inputs, on rows of training and on others with unseen levels and further columns."""
    draw = np.random.default_rng(7)
    draws = {None: None, "whole": draw.integers(1, 4, ROWS).astype(float), "real": draw.uniform(0.1, 3, ROWS)}
    ours, theirs = fitted_to(table(), encoding, dates, draws[weighted])
    assert ours.feature_names == feature_names(theirs)
    np.testing.assert_allclose(ours.input_scales, input_scales(theirs), **EXACT)
    others = table(1).assign(level="unseen", kind=np.where(np.arange(ROWS) % 2, "3.0", "4"), y=1)
    for rows in (table(), others, others.head(1)):
        np.testing.assert_allclose(ours.transform(rows), theirs.transform(rows), **EXACT)
    assert ours.transform(table().head(0)).shape == (0, len(ours.feature_names))


def test_days_without_hours_have_no_daily_cycle() -> None:
    """Nor do scikit-learn's."""
    ours, theirs = fitted_to(table(), "onehot", "cyclic", hours=False)
    assert ours.feature_names == feature_names(theirs)
    assert not any("_day_" in name for name in ours.feature_names)
    np.testing.assert_allclose(ours.transform(table()), theirs.transform(table()), **EXACT)


def test_a_row_of_weight_2_is_two_rows() -> None:
    """Whatever the columns hold."""
    counts = np.random.default_rng(3).integers(1, 4, ROWS)
    for encoding in get_args(Encoding):
        weighted = fitted_to(table(), encoding, "cyclic", counts.astype(float))[0]
        repeated = fitted_to(table().loc[np.repeat(np.arange(ROWS), counts)], encoding, "cyclic")[0]
        assert weighted.feature_names == repeated.feature_names
        np.testing.assert_allclose(weighted.transform(table()), repeated.transform(table()), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("center", [0.0, 1e-300, 0.1, 1e8, -1e150])
@pytest.mark.parametrize("spread", [0.0, 2e-16, 1e-9, 1.0])
def test_constant_columns_have_scale_1(center: float, spread: float) -> None:
    """Also those that rounding alone makes vary, which are the same as scikit-learn's."""
    from sklearn.preprocessing import StandardScaler

    values = center * (1 + spread * np.random.default_rng(0).normal(size=(50, 1)))
    scaler = StandardScaler().fit(values)
    means, scales = moments(values)
    np.testing.assert_allclose([means, scales], [scaler.mean_, scaler.scale_], rtol=1e-12)


@pytest.mark.parametrize("dates", get_args(DateEncoding))
@pytest.mark.parametrize("encoding", get_args(Encoding))
def test_json_keeps_every_bit(encoding: Any, dates: Any) -> None:
    """And every level, the missing one included."""
    ours = fitted_to(table(), encoding, dates)[0]
    again = Preprocessing.model_validate_json(ours.model_dump_json())
    assert again == ours
    assert again.transform(table(1)).tobytes() == ours.transform(table(1)).tobytes()


@given(FINITE, FINITE, st.floats(min_value=0, exclude_min=True, allow_infinity=False), st.text())
def test_json_keeps_any_numbers_and_words(fill: float, mean: float, scale: float, word: str) -> None:
    """Of all sizes and signs, -0.0 and the smallest included."""
    value = Imputed(fill=fill, mean=mean, scale=scale)
    columns = (
        FittedColumn(name=word, role="number", value=value),
        FittedColumn(name=word + "2", role="category", levels=(word, None)),
    )
    fitted = Preprocessing(missing=(word, -999, 0.5), decimal=",", thousands=None, columns=columns)
    again = Preprocessing.model_validate_json(fitted.model_dump_json())
    assert again.columns == columns
    assert again == fitted
    assert [*map(type, again.missing)] == [str, int, float]
    assert repr(again.columns[0].value) == repr(value)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_fitted_numbers_are_finite(bad: float) -> None:
    """JSON has no word for others."""
    for values in ({"mean": bad, "scale": 1.0}, {"mean": 0.0, "scale": bad}):
        with pytest.raises(ValueError, match="finite"):
            Scaling(**values)


def test_infinite_numbers_in_new_rows() -> None:
    """One clear line."""
    ours = fitted_to(table(), "onehot", "ordinal")[0]
    rows = table().assign(holes=[0.0, np.inf] * (ROWS // 2))
    with pytest.raises(
        UsageError, match=r"finite, but column 'holes' has 45 infinite values, the first in row 2\. Repl"
    ):
        ours.transform(rows)
    with pytest.raises(UsageError, match=r"pandas\.DataFrame with columns by name, but are a ndarray"):
        ours.transform(rows.to_numpy())


def test_missing_columns_and_unseen_levels() -> None:
    """By name; a missing value is a level where the training rows lacked some."""
    ours = fitted_to(table(), "onehot", "ordinal")[0]
    assert ours.missing_columns(table().drop(columns=["when", "small"])) == ["small", "when"]
    rows = table().head(3).assign(level=["b", None, "new"], whole=[None, 10, 11], kind=[3, "20", "x"])
    levels = {"level": ["new"], "whole": ["11"], "kind": ["x"]}
    assert ours.unseen_levels(rows) == levels  # the word "a" counts as missing in training
    assert ours.unseen_levels(rows.assign(kind=[None, 3, 1]))["kind"] == ["missing"]


@pytest.mark.parametrize("weighted", [False, True])
def test_robust_numbers_are_scikit_learns_and_clipped(weighted: bool) -> None:
    """RobustScaler's, s / sqrt(1 + (s / 3)^2); a weight of 2 is two rows; half the range where the quartiles agree."""
    from sklearn.preprocessing import RobustScaler

    draw = np.random.default_rng(0)
    frame = pd.DataFrame({"wide": draw.standard_cauchy(ROWS), "same": np.where(np.arange(ROWS) % 9 == 4, 7.0, 3.0)})
    counts = draw.integers(1, 4, ROWS) if weighted else np.ones(ROWS, int)
    ours = fit_preprocessing(frame, weights=counts.astype(float) if weighted else None, scaling="robust")
    raw = frame.loc[np.repeat(np.arange(ROWS), counts)].to_numpy()
    s = RobustScaler().fit(raw).transform(frame.to_numpy())
    s[:, 1] = (frame["same"] - 3) / 2
    np.testing.assert_allclose(ours.transform(frame), s / np.sqrt(1 + (s / 3) ** 2), rtol=1e-9, atol=1e-12)
    assert Preprocessing.model_validate_json(ours.model_dump_json()) == ours


@pytest.mark.parametrize(("scaling", "end"), [("robust", 3), ("quantile", norm.ppf(1 - 0.5 / ROWS))])
def test_bounded_numbers_keep_order_slope_and_bounds(scaling: Any, end: float) -> None:
    """They rise with the raw number by at most 1 / scale a unit, and never leave [-end, end], however far it is."""
    ours = fit_preprocessing(pd.DataFrame({"x": np.random.default_rng(1).normal(size=ROWS)}), scaling=scaling)
    raw = np.sort(np.concatenate([np.linspace(-50, 50, 2001), [-1e308, -1e160, 1e160, 1e308]]))
    z = ours.transform(pd.DataFrame({"x": raw}))[:, 0]
    assert (np.diff(z) >= 0).all()
    assert np.abs(z).max() == pytest.approx(end)
    assert (np.diff(z) * ours.input_scales[0] <= np.diff(raw) * (1 + 1e-9) + 1e-15).all()


@pytest.mark.parametrize("rows", [ROWS, 500])
def test_quantiles_are_scikit_learns_in_the_middle(rows: int) -> None:
    """QuantileTransformer's to .03 where the tails are far: it has them at +-5.2, and is linear in u, not z."""
    from sklearn.preprocessing import QuantileTransformer

    draw = np.random.default_rng(0)
    wide = draw.standard_cauchy(rows)
    whole = np.where(draw.random(rows) < 0.4, 0, draw.integers(0, 9, rows)).astype(float)
    frame = pd.DataFrame({"wide": wide, "whole": whole})
    theirs = QuantileTransformer(n_quantiles=min(100, rows), subsample=None, output_distribution="normal")
    z = theirs.fit_transform(frame.to_numpy())
    found = fit_preprocessing(frame, scaling="quantile").transform(frame)
    middle = np.abs(z) < 1
    np.testing.assert_allclose(found[middle], z[middle], atol=0.03)
    assert np.abs(found).max() <= norm.ppf(1 - 0.5 / min(100, rows)) + 1e-12


def test_quantiles_by_their_definition() -> None:
    """Of distinct values the k-th of m <= 100 has z = Phi^-1((k + 1/2) / m); equal ones share the mean of their u."""
    values = np.array([3.0, 1.0, 7.0, 1.0, 1.0, np.nan, 20.0, 8.0])
    ours = fit_preprocessing(pd.DataFrame({"x": values}), scaling="quantile")
    u = {1.0: 1.5 / 7, 3.0: 3.5 / 7, 7.0: 4.5 / 7, 8.0: 5.5 / 7, 20.0: 6.5 / 7}
    raw = pd.DataFrame({"x": [*u, -5.0, 99.0, 14.0]})
    z = norm.ppf(list(u.values()))
    np.testing.assert_allclose(ours.transform(raw)[:, 0], [*z, z[0], z[-1], (z[3] + z[4]) / 2])
    np.testing.assert_allclose(ours.transform(pd.DataFrame({"x": [np.nan]}))[0, 0], z[1])  # the median is 3
    assert ours.input_scales[0] == pytest.approx(1 / (z[3] - z[2]))
    assert Preprocessing.model_validate_json(ours.model_dump_json()) == ours


@pytest.mark.parametrize("seed", range(3))
def test_a_row_of_weight_2_is_two_rows_for_quantiles(seed: int) -> None:
    """And a column of one value, which a training part may have, is 0."""
    draw = np.random.default_rng(seed)
    frame = pd.DataFrame({"x": draw.standard_cauchy(200), "y": draw.integers(0, 4, 200), "one": 4.0})
    counts = draw.integers(1, 4, 200)
    repeated = frame.loc[np.repeat(np.arange(200), counts)]
    weighted, twice = (
        fit_preprocessing(rows, weights=weights, scaling="quantile").transform(frame)
        for rows, weights in ((frame, counts.astype(float)), (repeated, None))
    )
    np.testing.assert_allclose(weighted, twice, atol=1e-9)
    np.testing.assert_allclose(twice[:, 2], 0, atol=1e-15)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("far", [1e20, -1e36])
def test_a_number_far_away_makes_no_others_equal_for_quantiles(far: float, weighted: bool) -> None:
    """A file may mark what is missing by 1e20: the numbers beside it stay normal and apart."""
    values = np.append(np.random.default_rng(0).normal(size=199), far)
    weights = np.full(200, 2.0) if weighted else None
    ours = fit_preprocessing(pd.DataFrame({"x": values}), weights=weights, scaling="quantile")
    z = ours.transform(pd.DataFrame({"x": values}))[:, 0]
    assert len(np.unique(z)) >= 198
    assert z.std() > 0.9


@pytest.mark.parametrize("rows", [*range(100, 200, 7), 450])
@pytest.mark.parametrize("weighted", [False, True])
def test_no_quantile_lies_beside_a_number_that_many_rows_share(rows: int, weighted: bool) -> None:
    """The scale of 0 and 1 is 1 / (z(1) - z(0)): as little as a bound in raw units can be, and no less."""
    draw = np.random.default_rng(rows)
    frame = pd.DataFrame({"x": draw.integers(0, 2, rows)})
    ours = fit_preprocessing(
        frame, weights=draw.integers(1, 3, rows).astype(float) if weighted else None, scaling="quantile"
    )
    low, high = ours.transform(pd.DataFrame({"x": [0, 1]}))[:, 0]
    assert ours.input_scales[0] == pytest.approx(1 / (high - low))


@pytest.mark.parametrize("scaling", ["robust", "quantile"])
def test_other_scalings_leave_codes_indicators_and_days_standard(scaling: Any) -> None:
    """Columns of numbers alone have quantiles."""
    more: dict[str, Any] = {"categorical": ["level"], "encoding": "codes", "dates": ["when"]}
    frame = table()[["level", "small", "holes", "when"]]
    plain, other = (fit_preprocessing(frame, scaling=one, **more) for one in ("standard", scaling))
    unlike = (plain.transform(frame) != other.transform(frame)).any(axis=0)
    assert [name for name, differs in zip(other.feature_names, unlike, strict=True) if differs] == ["small", "holes"]
