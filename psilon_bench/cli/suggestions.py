"""What to look at after a run: the commands, with its folder in them."""

import shlex
from pathlib import Path

from psilon_bench.config.addresses import redacted

TRAINING = "#/experiments?workflowType=machine_learning"  # MLflow's page opens on traces of language models otherwise


def suggest(folder: Path, mlflow: str | None) -> None:
    """Print the commands that go on from a finished run, or from a sweep; mlflow: the address that has it, or None."""
    from psilon_bench.run.display import Display, shortest

    display = Display()
    display.say(f"see it:  psilon-report {shlex.quote(str(shortest(reported(folder))))}", soft_wrap=True)
    if has_network(folder):
        display.say(f"predict: psilon-predict {shlex.quote(str(shortest(folder)))} rows.csv", soft_wrap=True)
    if mlflow is not None:
        display.say(f"MLflow:  {page_of(mlflow)}", soft_wrap=True)


def page_of(uri: str) -> str:
    """Return where the page of a tracking server is, or how it is started over a database."""
    if uri.startswith("http"):
        return f"{redacted(uri).rstrip('/')}/{TRAINING}"
    return f"mlflow ui --backend-store-uri {shlex.quote(redacted(uri))}, then http://127.0.0.1:5000/{TRAINING}"


def reported(folder: Path) -> Path:
    """Return the folder that a report is made of: that of the sweep, or of the record and those beside it."""
    from psilon_bench.records import places

    return folder.parent if (folder / places.RUN_JSON).exists() else folder


def has_network(folder: Path) -> bool:
    """Return whether the first network of a record, or of a sweep's, reads a table, so that psilon-predict takes it."""
    from psilon_bench.records import places
    from psilon_bench.records.run_json import read_run
    from psilon_bench.tracking.model_folder import columns_of, served_network, served_weights

    files = (folder / places.RUN_JSON, *folder.glob(f"*/{places.RUN_JSON}"))
    records = (file.parent for file in files if file.exists())
    first = next((record for record in records if (record / served_weights(record)).exists()), None)
    run = None if first is None else read_run(first)
    return first is not None and run is not None and served_network(first, run, columns_of(first)) is not None
