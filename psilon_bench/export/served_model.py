"""What MLflow loads of a model: raw rows in, predictions out; `python_function` of its MLmodel names this module."""

from pathlib import Path
from typing import Any

import pandas as pd

from psilon_bench.data.preprocessing import Preprocessing
from psilon_bench.export.prediction import predicted
from psilon_bench.records import places
from psilon_bench.records.networks import SavedNetwork, load


class ServedModel:
    """A trained network as MLflow calls it."""

    def __init__(self, network: SavedNetwork) -> None:
        assert isinstance(network.preprocessing, Preprocessing), "MLflow has models over tables alone"
        self.network, self.columns = network, [*network.preprocessing.roles]

    def predict(self, rows: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:  # noqa: ARG002
        """Return a table with the column `prediction`, and for classes probability/<class> beside it.

        rows: (rows, columns) as the data set had them; a column that is absent counts as missing, and which may be
        absent MLflow has checked. Levels that no training row had are told by a warning.
        """
        whole = rows.reindex(columns=self.columns)
        return predicted(self.network, whole, proba=self.network.task["kind"] != "regression", bounds=False).table


def _load_pyfunc(path: str, model_config: dict[str, Any] | None = None) -> ServedModel:  # noqa: ARG001
    """Return the model in a folder, by the name and with the arguments that MLflow's pyfunc asks for."""
    return ServedModel(load(path, places.tested_network(Path(path))))
