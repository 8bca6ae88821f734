"""Every path below results_dir is built here, and nowhere else.

    results_dir/
        mlflow.db, mlartifacts/              MLflow's database and artifacts, where tracking.uri names no other place
        .mlflow.lock                         held while database and experiment are made
        <name>/                              the folder of a sweep, or of single runs
            <time>_<model>_<reg>_<id>/       the record of one run: the files named below
            ensembles/<data set>/            ensemble.json of networks in these records, and teacher.parquet
            .checkpoints/                    checkpoints of stacks, and the locks of runs that are being trained
            .inner/<id>/                     what another launcher's workers read: one pickled stack a job
            .study.jsonl, .study.lock        Optuna's journal of a search, and the lock of the process that searches
            .mlflow-parent.json              the run in MLflow that stands for the sweep
            .mlflow.lock                     held while records of the folder are sent

Names that begin with a dot are no records, and are never sent to MLflow.
"""

import os
import re
import uuid
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from psilon_bench.data.store import cache_folder

if TYPE_CHECKING:
    from psilon_bench.config.schema import Config  # half a second that psilon-sync and the sender do not spend

# files of a record
RUN_JSON = "run.json"
CONFIG = "config.yaml"
HISTORY = "history.csv"
PREDICTIONS = "predictions.parquet"
PREPROCESSING = "preprocessing.json"
ESTIMATOR = "estimator.skops"  # of a baseline, in the place of weights
ERROR = "error.txt"
MLFLOW_STATE = "mlflow.json"  # which run of MLflow mirrors the record

ENSEMBLE_JSON = "ensemble.json"  # of an ensemble: its members and their weights

# files of an export
EXPORTED = {"onnx": "model.onnx", "numpy": "model.py"}
MODEL_CARD = "model_card.md"

# files of a report
REPORT_HTML = "report.html"
REPORT_MD = "report.md"
TABLES = "tables"
FIGURES = "figures"

MLFLOW_ID = re.compile(r"(m-)?[0-9a-f]{32}")


def sweep_folder(config: "Config") -> Path:
    """Return the folder in which the records of a sweep lie: results_dir/name."""
    return Path(config.results_dir, config.name)


def new_record_folder(config: "Config", now: datetime) -> Path:
    """Return the folder of a new record, which no other record has: results_dir/name/<time>_<model>_<reg>_<id>."""
    stem = f"{now:%Y-%m-%d_%H-%M-%S}_{config.model.name}_{config.reg.name}_{uuid.uuid4().hex[:8]}"
    return sweep_folder(config) / stem


def records_in(sweep: Path) -> Iterator[Path]:
    """Yield the folders of the records in the folder of one sweep, in no particular order."""
    return (path.parent for path in sweep.glob(f"*/{RUN_JSON}"))


def weights_name(which: str) -> str:
    """Return the name of the file with the weights of this network.

    which: model (as trained and selected), best or last (the other of the two), pruned or compact.
    """
    return f"{which}.pt"


def tested_network(record: Path) -> Literal["model", "pruned"]:
    """Return which network of a record has the recorded test scores: the pruned one, or the one as trained."""
    return "pruned" if (record / weights_name("pruned")).exists() else "model"


def table_name(which: str) -> str:
    """Return the name of the file with a table of the network: inputs or units."""
    return f"{which}.csv"


def weights_there(record: Path) -> list[str]:
    """Return which networks a record holds, in alphabetical order."""
    return sorted(path.stem for path in record.glob(weights_name("*")))


def run_json_files(folder: Path) -> Iterator[Path]:
    """Yield the run.json of every record below a folder, in the order of their paths.

    Nothing lies below a record; MLflow's copies of one, in the artifacts of a run id or a model id, are no records.
    """
    for parent, below, files in os.walk(folder):
        if RUN_JSON in files:
            below.clear()
            yield Path(parent, RUN_JSON)
        of_mlflow = MLFLOW_ID.fullmatch(Path(parent).name) is not None
        below[:] = sorted(name for name in below if not (name.startswith(".") or (of_mlflow and name == "artifacts")))


def report_folder(folder: Path) -> Path:
    """Return where the report on the records below a folder goes, unless another place is asked for."""
    return folder / "report"


def report_lock(report: Path) -> Path:
    """Return the lock file that is held while a report is written to its folder."""
    return report / ".report.lock"


def export_folder(record: Path) -> Path:
    """Return where the network of a record is exported to, unless another place is asked for."""
    return record / "export"


def ensemble_folder(folder: Path, dataset: str) -> Path:
    """Return where the ensemble of the records below a folder goes that are on this data set."""
    return folder / "ensembles" / re.sub(r"[^\w.+-]+", "_", dataset).strip("._")


def checkpoints_folder(sweep: Path) -> Path:
    """Return the folder of the checkpoints, and of the locks of runs, of a sweep."""
    return sweep / ".checkpoints"


def cached_checkpoints_folder() -> Path:
    """Return the folder of the user's cache for checkpoints that cannot be written where they belong."""
    return cache_folder() / "checkpoints"


def checkpoint_index(folder: Path, stack: str) -> Path:
    """Return <stack>.json, which names the members of a checkpoint and the file with their state."""
    return folder / f"{stack}.json"


def checkpoint_indices(folder: Path) -> list[Path]:
    """Return <stack>.json of every checkpoint in a folder, in the order of their names."""
    return sorted(folder.glob("*.json"))


def checkpoint_states(folder: Path, stack: str) -> set[Path]:
    """Return the files with the state of a stack: one, or two after a process was killed while it replaced one."""
    return set(folder.glob(f"{stack}-*.pt"))


def new_checkpoint_state(folder: Path, stack: str) -> Path:
    """Return a path for the state of a stack at which there is no file: <stack>-<n>.pt."""
    there = checkpoint_states(folder, stack)
    return next(path for n in range(len(there) + 1) if (path := folder / f"{stack}-{n}.pt") not in there)


def checkpoint_reserve(folder: Path, stack: str) -> Path:
    """Return the file that keeps disk space free for the checkpoint of a stack."""
    return folder / f"{stack}.room"


def outdated_checkpoints_folder(folder: Path) -> Path:
    """Return where damaged and outdated checkpoints of this folder are moved to."""
    return folder / "set_aside"


def run_lock(sweep: Path, key: str) -> Path:
    """Return the lock file of the run with this identity; the process that holds it trains the run."""
    return checkpoints_folder(sweep) / f"{key}.lock"


def new_launcher_folder(sweep: Path) -> Path:
    """Return a folder for the jobs of another launcher, which no other sweep has."""
    return sweep / ".inner" / uuid.uuid4().hex[:8]


def launcher_job(folder: Path, number: int) -> Path:
    """Return the file with the pickled configurations of one job of another launcher."""
    return folder / f"{number}.pkl"


def study_journal(sweep: Path) -> Path:
    """Return the file with all trials of a search, which Optuna and its dashboard read."""
    return sweep / ".study.jsonl"


def study_lock(sweep: Path) -> Path:
    """Return the lock file of the process that searches."""
    return sweep / ".study.lock"


def mlflow_database(results_dir: Path) -> Path:
    """Return MLflow's sqlite file, where tracking.uri names no other place."""
    return results_dir / "mlflow.db"


def mlflow_artifacts(results_dir: Path) -> Path:
    """Return the folder of MLflow's artifacts, where no server keeps them."""
    return results_dir / "mlartifacts"


def mlflow_parent(sweep: Path) -> Path:
    """Return the file that names the run in MLflow which stands for the sweep."""
    return sweep / ".mlflow-parent.json"


def mlflow_lock(folder: Path) -> Path:
    """Return the lock file for sending the records of a sweep's folder, or, in results_dir, for making the database."""
    return folder / ".mlflow.lock"
