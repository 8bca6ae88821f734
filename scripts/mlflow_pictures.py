"""Pictures of a sweep in MLflow's own pages, by a real browser (Chromium): its views, and the models of its data sets.

    python scripts/mlflow_pictures.py results psilon_tabular_quick pictures

starts MLflow's server over results/mlflow.db, and writes pictures/mlflow_runs.png, mlflow_means.png, mlflow_models.png.
"""

import argparse
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from matplotlib import image

from psilon_bench.errors import UsageError
from psilon_bench.records.places import mlflow_database
from psilon_bench.tracking.client import client_of
from psilon_bench.tracking.server import default_uri
from psilon_bench.tracking.views import VIEWS, view_link

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")
SIZE = "2000,1300"
PANEL = 516  # pixels at the right, which are MLflow's assistant and show nothing of the runs
START_S, PAGE_MS, PICTURE_S = 120, 40_000, 180


@contextlib.contextmanager
def served(database: str) -> Iterator[str]:
    """Yield the address of MLflow's server over a database, which is ended afterwards."""
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", database, "--workers", "1"]
    quiet = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    nowhere = subprocess.DEVNULL
    server = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", port], env=quiet, stdout=nowhere, stderr=nowhere
    )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + START_S
        while not is_up(f"{address}/health"):
            if server.poll() is not None or time.monotonic() > deadline:
                raise UsageError(f"MLflow's server does not start over {database}. Try: {' '.join(command[1:])}")
            time.sleep(0.5)
        yield address
    finally:
        server.terminate()
        server.wait()


def is_up(address: str) -> bool:
    """Return whether a server answers at an address."""
    try:
        urllib.request.urlopen(address, timeout=5).close()
    except OSError:
        return False
    return True


def take(browser: str, address: str, file: Path) -> None:
    """Write the picture of a page, once it has had time to draw."""
    with tempfile.TemporaryDirectory() as profile:
        command = [browser, *FLAGS, f"--user-data-dir={profile}", f"--window-size={SIZE}"]
        command += [f"--virtual-time-budget={PAGE_MS}", f"--screenshot={file}", address]
        subprocess.run(command, check=True, capture_output=True, timeout=PICTURE_S)
    image.imsave(file, image.imread(file)[:, :-PANEL])


def main() -> None:
    """Parse, serve, take."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("sweep")
    parser.add_argument("out", type=Path)
    parser.add_argument("--experiment", default="psilon_bench")
    asked = parser.parse_args()
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise UsageError(f"Pictures need a browser: {', '.join(BROWSERS)}. Install one.")
    if not mlflow_database(asked.results).exists():
        raise UsageError(f"{mlflow_database(asked.results)} is not there. Make it: psilon-sync {asked.results}")
    uri = default_uri(asked.results)
    experiment = client_of(uri).get_experiment_by_name(asked.experiment)
    if experiment is None:
        raise UsageError(f"{uri} has no experiment {asked.experiment}. Name another one: --experiment.")
    asked.out.mkdir(parents=True, exist_ok=True)
    place = f"#/experiments/{experiment.experiment_id}"
    pages = {view: view_link(experiment.experiment_id, asked.sweep, view) for view in VIEWS}
    pages["models"] = f"{place}/models?workflowType=machine_learning"
    with served(uri) as address:
        for name, page in pages.items():
            file = (asked.out / f"mlflow_{name}.png").absolute()
            take(browser, f"{address}/{page}", file)
            print(file)


if __name__ == "__main__":
    try:
        main()
    except UsageError as error:
        sys.exit(str(error))
