"""Each form of export computes what the network does: features to the last digits, predictions to 1e-5."""

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
import torch

from psilon_bench.data.form import Form
from psilon_bench.data.raw_columns import EPOCH, as_days, as_number, as_text
from psilon_bench.errors import RunFailed, UsageError
from psilon_bench.export.columns import Feature
from psilon_bench.export.equality import Rows, check_equal, drawn_rows, feeds, largest_difference
from psilon_bench.export.numpy_file import numpy_source
from psilon_bench.export.onnx_model import onnx_bytes
from psilon_bench.export.program import Program, Step, program_of
from psilon_bench.export.runtimes import numpy_predict, onnx_predict, onnx_session
from psilon_bench.export.written import Written
from psilon_bench.models.crelu_resnet import CReLUResNet
from psilon_bench.models.factorized_mlp import FactorizedMLP
from psilon_bench.models.mlp import MLP

NETWORKS: dict[str, Any] = {
    "pnet": lambda n, k: MLP(n, k, 5, 2, 1, True, "relu", "orthogonal"),
    "snet": lambda n, k: MLP(n, k, 5, 3, 2, False, "leaky_relu", "orthogonal"),
    "tanh": lambda n, k: MLP(n, k, 5, 2, None, False, "tanh", "kaiming"),
    "gelu": lambda n, k: MLP(n, k, 4, 1, None, False, "gelu", "uniform"),
    "factorized": lambda n, k: FactorizedMLP(n, k, 4, 2, "relu", "kaiming"),
    "resnet": lambda n, k: CReLUResNet(n, k, 4, 3, 1, True),
    "double": lambda n, k: MLP(n, k, 5, 2, 1, True, "relu", "orthogonal").double(),
}


def by_formula(program: Program, feature: Feature, rows: pd.DataFrame) -> Any:
    """A feature (rows,) by the formulas in the module `columns`, from the cells of its column alone."""
    column = program.columns[feature.column]
    cells = rows[[column.name]]
    words = as_text(cells, Form(column.missing))[column.name] if column.is_text else None
    if words is not None and feature.kind == "level":
        wanted = column.levels[feature.level]
        return (words.isna() if wanted is None else words == wanted).to_numpy(float)
    if words is not None:
        known = [level for level in column.levels if level is not None]
        v = np.array([known.index(word) if word in known else np.nan for word in words])
    else:
        v = (as_days(cells) if column.role == "date" else as_number(cells, Form(column.missing)))[:, 0]
    if feature.kind == "missing":
        v = np.isnan(v).astype(float)
    if feature.kind == "wave":
        v = np.sin(feature.frequency * v + feature.phase)
    s = (np.where(np.isnan(v), feature.fill, v) - feature.mean) / feature.scale
    if feature.knots:
        at, height = np.array(feature.knots).T
        return np.interp(s, at, height)
    return s / np.sqrt(1 + (s / feature.limit) ** 2)


@pytest.mark.parametrize("encoding", ["onehot", "codes"])
@pytest.mark.parametrize(("dates", "scaling"), [("ordinal", "quantile"), ("cyclic", "robust")])
def test_features_are_those_of_the_transformer(
    made: Any, table: Any, saved_as: Any, encoding: Any, dates: Any, scaling: Any
) -> None:
    """Cell by cell, to the last digits: those of scikit-learn's transformer, in the order of the weights."""
    task = made("multiclass", encoding, dates, scaling)
    network = NETWORKS["tanh"](len(task.feature_names), 3)
    saved = saved_as(network, task)
    program = program_of(saved)
    rows = pd.concat([table, drawn_rows(program, dict(task.preprocessing.roles))], ignore_index=True)
    right = np.asarray(saved.preprocessing.transform(rows)) @ network.layers[0].weight.detach().numpy().T
    found = np.column_stack([by_formula(program, feature, rows) for feature in program.features])
    np.testing.assert_allclose(found @ program.steps[0].weight.T, right, rtol=1e-6, atol=1e-6)


@pytest.mark.sampled(every=4)
@pytest.mark.filterwarnings("ignore:.*that no training row had")
@pytest.mark.parametrize(
    ("name", "kind", "encoding", "scaling"),
    [
        ("pnet", "regression", "codes", "robust"),
        ("pnet", "binary", "onehot", "quantile"),
        *((name, "multiclass", "onehot", "standard") for name in NETWORKS),
        ("resnet", "binary", "codes", "standard"),
    ],
)
def test_both_forms_predict_as_the_network(
    made: Any, table: Any, saved_as: Any, drawn: Any, name: str, kind: str, encoding: str, scaling: str
) -> None:
    """On the table and on drawn rows, with holes and unseen levels; the labels are the likeliest classes."""
    task = made(kind, encoding, scaling=scaling)
    saved = saved_as(drawn(NETWORKS[name](len(task.feature_names), task.num_outputs)), task)
    program = program_of(saved)
    model = onnx_bytes(program, {"run": "made"})
    source = numpy_source(program, Written())
    rows = [table, drawn_rows(program, dict(task.preprocessing.roles)), table.head(1)]
    for frame in rows:
        assert largest_difference(saved, onnx_predict(program, model), frame) < 1e-5
        assert largest_difference(saved, numpy_predict(source, kind), frame) < 1e-5
    if kind != "regression":
        labels = onnx_session(model).run(["label"], feeds(program, table))[0]
        assert labels.tolist() == np.array(task.classes)[saved.predict(table).argmax(axis=1)].tolist()


def test_inputs_that_are_not_read_are_no_inputs(made: Any, table: Any, saved_as: Any, drawn: Any) -> None:
    """Of a compact network whose weights of `age`, `when` and one level are zero."""
    task = made("binary")
    network = drawn(NETWORKS["pnet"](len(task.feature_names), 1)).plain()
    gone = [k for k, name in enumerate(task.feature_names) if name.startswith(("age", "missingind", "when", "zip=10"))]
    with torch.no_grad():
        network.layers[0].weight[:, gone] = 0
    small, inputs = network.compact()
    saved = saved_as(small, task, inputs)
    program = program_of(saved)
    assert {column.name for column in program.columns} == {"in come", "whole", "job", "zip", "label"}
    assert program.num_inputs == len(task.feature_names) - len(gone) == len(inputs)
    model = onnx_bytes(program, {})
    fed = {column: table[[column]] for column in ("in come", "whole", "job", "zip", "label")}
    frame = pd.concat(fed.values(), axis=1)
    right = saved.predict(table)
    np.testing.assert_allclose(onnx_predict(program, model)(frame), right, atol=1e-5)
    np.testing.assert_allclose(numpy_predict(numpy_source(program, Written()), "binary")(frame), right, atol=1e-5)
    assert program_of(saved_as(network, task)).num_inputs == program.num_inputs


def test_the_metadata_name_the_columns(made: Any, table: Any, saved_as: Any, drawn: Any) -> None:
    """In the order in which rows have them; dates say that they are days. A model may have no levels."""
    task = made("binary", "codes")
    saved = saved_as(drawn(NETWORKS["pnet"](len(task.feature_names), 1)), task)
    model = onnx.load_from_string(onnx_bytes(program_of(saved), {"target": "two"}))
    assert [output.name for output in model.graph.output] == ["label", "probabilities"]
    about = {prop.key: prop.value for prop in model.metadata_props}
    assert about.pop("target") == "two"
    columns = {name: json.loads(words) for name, words in about.items()}
    assert sorted(columns["numbers"]) == ["age", "in come", "when", "whole"]
    assert sorted(columns["levels"]) == ["job", "label", "zip"]
    docs = {value.name: value.doc_string for value in model.graph.input}
    assert all(docs[name].startswith(", ".join(own)) for name, own in columns.items())
    assert "days since 1970" in docs["numbers"]
    rows = table[columns["numbers"]].assign(when=(table["when"] - EPOCH) / pd.Timedelta(days=1))
    fed = {"numbers": rows.to_numpy(float), "levels": as_text(table[columns["levels"]]).fillna("").to_numpy(object)}
    found = onnx_session(model.SerializeToString()).run(["probabilities"], fed)[0]
    np.testing.assert_allclose(found, saved.predict(table), atol=1e-5)


ONLY_NUMPY = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in ("numpy", "__main__"):
            raise ImportError(f"{name} is not to be imported")
sys.meta_path.insert(0, Block())
import runpy
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.filterwarnings("ignore:.*that no training row had")
def test_the_file_runs_with_numpy_alone(made: Any, table: Any, saved_as: Any, drawn: Any, tmp_path: Path) -> None:
    """A process that can import nothing else predicts a CSV file with holes, a sentinel and an unseen level."""
    task = made("multiclass", "codes")
    saved = saved_as(drawn(NETWORKS["resnet"](len(task.feature_names), 3)), task)
    (tmp_path / "model.py").write_text(numpy_source(program_of(saved), Written()), encoding="utf-8")
    rows = table.drop(columns=["number"]).head(30)
    rows.loc[3, "job"], rows["other"] = "violet", 1
    rows.to_csv(tmp_path / "rows.csv", index=False)
    command = [sys.executable, "-P", "-c", ONLY_NUMPY, "model.py", "rows.csv"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    told = list(csv.DictReader(done.stdout.splitlines()))
    pd.concat([rows] * 300).to_csv(tmp_path / "many.csv", index=False)
    cut = subprocess.Popen([*command[:-1], "many.csv"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with cut:
        assert cut.stdout
        assert cut.stderr
        cut.stdout.read(10)
        cut.stdout.close()  # as `| head` does
        assert (cut.stderr.read(), cut.wait()) == (b"", 0)
    likely = np.array([[float(row[f"probability/{name}"]) for name in task.classes] for row in told])
    right = saved.predict(rows)
    np.testing.assert_allclose(likely, right, atol=1e-5)
    assert [row["prediction"] for row in told] == np.array(task.classes)[right.argmax(axis=1)].tolist()


def test_the_file_takes_tables_and_refuses_others(made: Any, table: Any, saved_as: Any, drawn: Any) -> None:
    """An array in the order of COLUMNS is the same as columns by name; what does not fit is told."""
    task = made("regression")
    saved = saved_as(drawn(NETWORKS["pnet"](len(task.feature_names), 1)), task)
    module: dict[str, Any] = {"__name__": "exported"}
    exec(numpy_source(program_of(saved), Written()), module)
    frame = table[module["COLUMNS"]]
    right = module["predict"](frame)
    np.testing.assert_array_equal(module["predict"](frame.to_numpy(dtype=object)), right)
    np.testing.assert_array_equal(module["predict"]({name: frame[name].tolist() for name in frame}), right)
    with pytest.raises(KeyError, match=r"these are not there: \['job'\]"):
        module["predict"](frame.drop(columns="job"))
    with pytest.raises(ValueError, match="column 'age' holds numbers, but 'many' is none"):
        module["predict"](frame.head(1).assign(age="many"))
    with pytest.raises(ValueError, match="column 'when' holds dates, but 'soon' is none"):
        module["predict"](frame.head(1).astype({"when": object}).assign(when="soon"))
    with pytest.raises(ValueError, match=r"rows must be \(rows, 7\)"):
        module["predict"](np.zeros((2, 3)))


@pytest.mark.filterwarnings("ignore:.*that no training row had")
def test_a_mistake_is_found(made: Any, table: Any, saved_as: Any, drawn: Any) -> None:
    """A weight, a fill, a scale or an order that is not the network's ends the export; so does NaN."""
    task = made("binary")
    saved = saved_as(drawn(NETWORKS["tanh"](len(task.feature_names), 1)), task)
    right = program_of(saved)
    rows = Rows(table, f"{len(table)} rows", table)
    assert "120 rows" in check_equal(saved, numpy_predict(numpy_source(right, Written()), "binary"), rows)
    first, features = right.steps[0], right.features
    spoiled = [
        replace(right, steps=[Step(first.weight * 1.1, first.bias), *right.steps[1:]]),
        replace(right, steps=[Step(first.weight * np.nan, first.bias), *right.steps[1:]]),
        replace(right, features=[replace(features[0], fill=0.0), *features[1:]]),
        replace(right, features=[features[1], features[0], *features[2:]]),
        replace(right, output=replace(right.output, temperature=1.1)),
        replace(right, columns=[replace(column, missing=(), missing_numbers=()) for column in right.columns]),
    ]
    for program in spoiled:
        for predict in (
            numpy_predict(numpy_source(program, Written()), "binary"),
            onnx_predict(program, onnx_bytes(program, {})),
        ):
            with pytest.raises(RunFailed, match=r"does not predict as the network does .* nothing is written"):
                check_equal(saved, predict, rows)


def test_a_temperature_divides_the_logits(made: Any, table: Any, saved_as: Any, drawn: Any) -> None:
    """In both forms: softmax(z / t)."""
    task = made("multiclass")
    saved = saved_as(drawn(NETWORKS["pnet"](len(task.feature_names), 3)), task)
    program = program_of(saved)
    warm = replace(program, output=replace(program.output, temperature=2.5))
    right = (saved.logits(table).detach() / 2.5).softmax(dim=1).numpy()
    np.testing.assert_allclose(onnx_predict(warm, onnx_bytes(warm, {}))(table), right, atol=1e-5)
    np.testing.assert_allclose(numpy_predict(numpy_source(warm, Written()), "multiclass")(table), right, atol=1e-5)


def test_other_networks_are_refused(made: Any, saved_as: Any) -> None:
    """In one line."""
    task = made("binary")
    with pytest.raises(UsageError, match=r"knows multilayer perceptrons .* but the run trained a Linear") as told:
        program_of(saved_as(torch.nn.Linear(1, 1), task))
    assert "\n" not in str(told.value)


def test_what_the_file_knows_is_plain(made: Any, saved_as: Any, drawn: Any) -> None:
    """Arrays without pickles, and JSON."""
    task = made("binary")
    program = program_of(saved_as(drawn(NETWORKS["pnet"](len(task.feature_names), 1)), task))
    module: dict[str, Any] = {"__name__": "exported"}
    exec(numpy_source(program, Written()), module)
    assert json.loads(str(module["ARRAYS"]["about"]))["classes"] == ["no", "yes"]
