"""Runs with model.monotone: what they keep and export is monotone in raw columns; what has no direction is refused."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes

from psilon_bench.errors import UsageError
from psilon_bench.export.numpy_file import numpy_source
from psilon_bench.export.onnx_model import onnx_bytes
from psilon_bench.export.program import program_of
from psilon_bench.export.runtimes import numpy_predict, onnx_predict
from psilon_bench.export.written import Written
from psilon_bench.records.networks import load
from psilon_bench.run.checks import prepare

MONOTONE = ("dataset=diabetes", "model.monotone={bmi: 1, s3: -1}", "metrics.radii=[0.1]")


@pytest.mark.sampled(every=2)
@pytest.mark.parametrize("model", ["pnet", "psilon_resnet"])
def test_all_that_is_kept_is_monotone(finished: Any, model: str) -> None:
    """The pruned and the compact network and both exports, when bmi goes up and s3 down."""
    record = finished(*MONOTONE, f"model={model}", "trainer.epochs=20", "pruner=magnitude", "pruner.amount=0.8")
    frame = load_diabetes(as_frame=True, scaled=False).data
    up, down = frame.assign(bmi=frame["bmi"] + 3.0), frame.assign(s3=frame["s3"] - 10.0)
    saved = load(record.folder, "compact")
    program = program_of(saved)
    assert program.trend is not None
    forms = {
        "pruned": load(record.folder, "pruned").predict,
        "compact": saved.predict,
        "numpy": numpy_predict(numpy_source(program, Written()), "regression"),
        "onnx": onnx_predict(program, onnx_bytes(program, {})),
    }
    right = forms["pruned"](frame)
    for predict in forms.values():
        made = predict(frame)
        np.testing.assert_allclose(made, right, rtol=1e-4)
        for moved in (up, down):
            assert (predict(moved) >= made).all()
        assert (predict(up) > made).any()
    found, width = record.run["metrics"], 2 * 0.1 * record.run["task"]["target"]["scale"]
    assert found["test/certified_width/0.1"] == pytest.approx(width * found["lipschitz_bound"], rel=1e-3)
    bounds = pd.read_csv(record.folder / "inputs.csv")["bound"]
    assert bounds.sum() == pytest.approx(found["lipschitz_bound"])


def test_a_value_that_goes_missing_moves_another_input(made_table: Any, config: Any) -> None:
    """The direction is that of the value alone, not of the indicator beside it."""
    member = prepare(config("dataset=table", f"dataset.path={made_table}", *TABLE, "model.monotone={age: -1}"))
    directions = dict(zip(member.task.feature_names, member.model.directions.tolist(), strict=True))
    assert {name: value for name, value in directions.items() if value} == {"age": -1.0}
    assert "missingindicator_age" in directions


TABLE = ("dataset.target=cost", "dataset.dates=cyclic", "dataset.kind=regression")


@pytest.fixture
def made_table(tmp_path: Any) -> Any:
    draw = np.random.default_rng(0)
    frame = pd.DataFrame({"age": draw.normal(size=90), "job": draw.choice(["a", "b"], 90)})
    frame["when"], frame["flat"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(draw.integers(0, 900, 90), unit="D"), 1
    frame["cost"] = frame["age"].round(2) + draw.normal(size=90)
    frame.loc[::7, "age"] = np.nan
    frame.to_csv(tmp_path / "t.csv", index=False)
    return tmp_path / "t.csv"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("{weight: 1}", r"names 'weight', which is no column that .* Columns with an order: age, when\."),
        ("{flat: 1}", "names 'flat', which is no column that"),
        ("{job: 1}", "names 'job', a category whose levels are 0/1 columns.*dataset.encoding=codes"),
        ("{when: 1}", "names 'when', a date whose place in the year.*dataset.dates=ordinal"),
        ("{age: 2}", r"model\.monotone.*is not valid: it should be -1 or 1\."),
        ("{age: true}", r"model\.monotone.*is not valid: it should be -1 or 1\."),
    ],
)
def test_columns_without_a_direction_are_refused(made_table: Any, config: Any, asked: str, message: str) -> None:
    """In one line, with what may be set."""
    with pytest.raises(UsageError, match=message) as error:
        prepare(config("dataset=table", f"dataset.path={made_table}", *TABLE, f"model.monotone={asked}"))
    assert "\n" not in str(error.value)


def test_several_classes_have_no_direction(config: Any) -> None:
    """With the reason."""
    with pytest.raises(UsageError, match="one becomes likelier only where others become less so"):
        prepare(config("dataset=wine", "model.monotone={alcohol: 1}"))
    prepare(config("dataset=wine", "model.monotone={}"))


def test_networks_without_bounds_of_inputs_are_not_asked(config: Any) -> None:
    """A forest does not tell how far an input moves its output."""
    forest = ("model=random_forest", "reg=none", "+model.monotone={age: 1}", "dataset=diabetes")
    with pytest.raises(UsageError, match=r"which RandomForest of model=random_forest does not tell\. Take model=pnet"):
        prepare(config(*forest))


def test_a_run_that_asks_for_nothing_is_the_run_it_was(config: Any) -> None:
    """Its fingerprint has no word of the key."""
    one, other = config("model=pnet"), config("model=pnet", "model.monotone={}")
    assert one.fingerprint() == other.fingerprint()
    assert "monotone" not in str(one.determining())
    assert one.fingerprint() != config("model=pnet", "model.monotone={age: 1}").fingerprint()
