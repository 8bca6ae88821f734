"""The MLflow model of a record: which network it is, what it takes and gives, and the folder that MLflow loads.

The model is a pyfunc over raw rows: preprocessing, network and calibration of the record lie in its `data` folder, and
`psilon_bench.export.served_model` loads them.
"""

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from psilon_bench.config.repeated import INPUT_KEYS
from psilon_bench.data.preprocessing import FittedColumn, Preprocessing
from psilon_bench.data.raw_columns import EPOCH
from psilon_bench.records import places
from psilon_bench.records.preprocessing_json import read_preprocessing

LOADER = "psilon_bench.export.served_model"
DATA, ENVIRONMENT, REQUIREMENTS = "data", "python_env.yaml", "requirements.txt"
EXAMPLE, SERVED_EXAMPLE = "input_example.json", "serving_input_example.json"
NEEDED = ("mlflow", "psilon-bench", "torch", "numpy", "pandas")
OF_THE_MODEL = ("train/", "val/", "test/", "lipschitz", "path_norm", "near_sparsity", "weight_sparsity", "num_")


@dataclass(frozen=True)
class RawColumn:
    """A column of raw rows; it may be absent (`optional`) where training rows lacked a value."""

    name: str
    role: str
    optional: bool
    example: float | str | None


@dataclass(frozen=True)
class ServedNetwork:
    """The network of a record that MLflow is to have as a model, with the raw columns that it takes."""

    folder: Path
    run: dict[str, Any]
    columns: Sequence[RawColumn]

    @property
    def name(self) -> str:
        """The name in MLflow's table of models, without the characters that are forbidden there."""
        params = self.run["params"]
        parts = (self.run["task"]["name"], params["model.name"], params["reg.name"])
        return re.sub(r"[/:.%\"']", "_", "-".join(parts))

    @property
    def kind(self) -> str:
        """MLflow's type of model: that of the network."""
        return str(self.run["params"]["model.name"])

    @property
    def params(self) -> dict[str, str]:
        """What tells models apart: the settings of network and regularizer, how inputs are made, and the seed."""
        others = ("seed", *INPUT_KEYS)
        chosen = (key for key in self.run["params"] if key.startswith(("model.", "reg.")) or key in others)
        return {key: str(self.run["params"][key]) for key in chosen if not key.endswith("._target_")}

    def write(self, target: Path, run_id: str, model_id: str) -> None:
        """Write the folder that MLflow loads, into one that is there and empty."""
        from mlflow.models import Model

        (target / DATA).mkdir()
        for name in self.files():
            shutil.copyfile(self.folder / name, target / DATA / name)
        needed = [f"{name}=={version}" for name, version in self.run["versions"].items() if name in NEEDED]
        python = self.run["versions"]["python"]
        environment = {"python": python, "dependencies": [f"-r {REQUIREMENTS}"]}
        (target / REQUIREMENTS).write_text("\n".join(needed) + "\n", encoding="utf-8")
        (target / ENVIRONMENT).write_text(json.dumps(environment) + "\n", encoding="utf-8")  # JSON is YAML
        example = {"columns": [column.name for column in self.columns], "data": [[c.example for c in self.columns]]}
        (target / EXAMPLE).write_text(json.dumps(example), encoding="utf-8")
        (target / SERVED_EXAMPLE).write_text(json.dumps({"dataframe_split": example}), encoding="utf-8")
        shown = {"artifact_path": EXAMPLE, "type": "dataframe", "pandas_orient": "split"}
        model = Model(
            run_id=run_id,
            utc_time_created=self.run["times"]["ended"],
            model_uuid=model_id,
            signature=self.signature(),
            saved_input_example_info=shown | {"serving_input_path": SERVED_EXAMPLE},
            model_id=model_id,
        )
        # what mlflow.pyfunc.add_to_model adds, without that module, which warns when it is imported
        model.add_flavor(
            "python_function", loader_module=LOADER, data=DATA, env={"virtualenv": ENVIRONMENT}, python_version=python
        )
        model.save(str(target / "MLmodel"))

    def files(self) -> list[str]:
        """Return the files of the record that the model needs: the network that was tested, and what it reads."""
        return [served_weights(self.folder), places.PREPROCESSING, places.CONFIG, places.RUN_JSON]

    def signature(self) -> Any:
        """Return MLflow's signature: raw columns, of which those may be absent that training rows lacked sometimes.

        Their type is `any`, for MLflow's numbers take no missing value (long) or no integer (double).
        """
        from mlflow.models import ModelSignature
        from mlflow.types.schema import AnyType, ColSpec, DataType, Schema

        inputs = [ColSpec(AnyType(), column.name, required=not column.optional) for column in self.columns]
        classes = self.run["task"].get("classes") or []
        outputs = [ColSpec(DataType.string if classes else DataType.double, "prediction")]
        outputs += [ColSpec(DataType.double, f"probability/{name}") for name in classes]
        return ModelSignature(Schema(inputs), Schema(outputs))


def served_network(folder: Path, run: dict[str, Any], columns: Sequence[RawColumn]) -> ServedNetwork | None:
    """Return the network of a record with these raw columns that MLflow can serve.

    None unless the run has finished, is of a network (scikit-learn's baselines keep no weights), and reads a table.
    """
    is_network = run["status"] == "finished" and (folder / served_weights(folder)).exists()
    return ServedNetwork(folder, run, columns) if columns and is_network else None


def served_weights(folder: Path) -> str:
    """Return the file with the network of a record that was tested."""
    return places.weights_name(places.tested_network(folder))


def columns_of(folder: Path) -> list[RawColumn]:
    """Return the raw columns of a record's data; none where it has no table, or ended before it had anything fitted."""
    if not (folder / places.PREPROCESSING).exists():
        return []
    preprocessing = read_preprocessing(folder)
    columns = preprocessing.columns if isinstance(preprocessing, Preprocessing) else ()
    return [
        RawColumn(
            name=column.name,
            role=column.role,
            optional=column.indicator is not None or None in column.levels,
            example=example_of(column),
        )
        for column in columns
    ]


def example_of(column: FittedColumn) -> float | str | None:
    """Return a cell as it may stand in a raw row: the first level, or what stands for a missing number or date."""
    if column.levels:
        return column.levels[0]
    assert column.value is not None
    if column.role == "number":
        return column.value.fill
    return (EPOCH + pd.Timedelta(days=column.value.fill)).isoformat(timespec="seconds")


def of_the_model(metric: str) -> bool:
    """Return whether a final metric says something of the network, and is shown beside its model."""
    return metric.startswith(OF_THE_MODEL)
