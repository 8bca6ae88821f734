"""Speed and memory of the data layer beside their targets, on generated data of the real sizes, in a cache of its own.

    python scripts/bench_data.py [--higgs-rows 1000000] [--json FILE]

Times are medians of five with the imports done; the conversion of Higgs runs once, in a process of its own, so that its
peak memory is that of nothing else. Needs about 2 GB of disk for the generated file.
"""

import argparse
import gzip
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from psilon_bench.config.conf_folder import CONF
from psilon_bench.config.option_file import read_option
from psilon_bench.config.schema import DatasetSection
from psilon_bench.data import higgs, store

BLOCK = 20_000  # rows of Higgs that are generated; the file repeats them
REPEATS = 5
Row = tuple[str, float, str, float]  # what, measured, unit, target (an upper bound, a lower one for rows/s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--higgs-rows", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--convert", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.convert:
        convert(arguments.convert)
        return
    with tempfile.TemporaryDirectory(prefix="psilon-bench-data-") as folder:
        os.environ["PSILON_DATA"] = folder
        rows = [*small_rows(), *higgs_rows(Path(folder), arguments.higgs_rows)]
    show(rows)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


def small_rows() -> list[Row]:
    fill("data/1", table(20_000, 30), "target")
    fill("data/40996", pictures(70_000, 784), "class")
    return [
        ("bundled breast_cancer, ready", seconds(lambda: load("breast_cancer")), "s", 0.3),
        ("cached task of 20,000 x 30, ready", seconds(lambda: load("openml", data_id=1, offline=True)), "s", 0.5),
        ("cached 70,000 x 784 (Fashion-MNIST), ready", seconds(lambda: load("fashion_mnist", offline=True)), "s", 2.0),
    ]


def higgs_rows(folder: Path, count: int) -> list[Row]:
    measured: list[Row] = []
    block = lines(BLOCK)
    for suffix, part in ((".csv", block), (".csv.gz", gzip.compress(block, 1))):
        path = folder / f"HIGGS{suffix}"
        with path.open("wb") as file:
            for _ in range(count // BLOCK):
                file.write(part)
        command = [sys.executable, __file__, "--convert", str(path)]
        took, peak = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        name = f"Higgs{suffix}, {count:,} rows, once"
        measured += [(name, count / took, "rows/s", 200_000), (f"{name}, peak memory", peak, "GB", 1.0)]
    ready = seconds(lambda: load("higgs", path=str(path), max_rows=100_000))
    return [*measured, (f"Higgs, 100,000 of {count:,} cached rows, ready", ready, "s", 1.0)]


def convert(path: Path) -> None:
    start = time.perf_counter()
    higgs.converted(path)
    took = time.perf_counter() - start
    print(json.dumps([took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6]))


def load(name: str, **values: Any) -> Any:
    section = read_option(CONF / "dataset" / f"{name}.yaml")
    return DatasetSection.model_validate({**section, "split_seed": 0, **values}).build(name=name)


def seconds(action: Callable[[], Any]) -> float:
    times = []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def fill(key: str, frame: pd.DataFrame, target: str) -> None:
    """An entry such as a fetch leaves it."""

    def make(folder: Path) -> store.About:
        frame.to_parquet(folder / "data.parquet", index=False, compression="zstd")
        about = {"name": "generated", "data_id": int(key.partition("/")[2]), "version": 1, "target": target}
        return {**about, "categorical": [target], "licence": "none", "source": "generated"}

    store.obtain(key, make, offline=False, remedy="")


def table(rows: int, columns: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(rows, columns)), columns=[f"x{i}" for i in range(columns)])
    return frame.assign(target=pd.Categorical(rng.choice(["no", "yes"], rows)))


def pictures(rows: int, pixels: int) -> pd.DataFrame:
    """Half black, as Fashion-MNIST is."""
    rng = np.random.default_rng(0)
    values = rng.integers(-256, 256, (rows, pixels), dtype=np.int16).clip(0).astype(np.uint8)
    frame = pd.DataFrame(values, columns=[f"pixel{i}" for i in range(pixels)])
    return frame.assign(**{"class": pd.Categorical(rng.integers(0, 10, rows).astype(str))})


def lines(rows: int) -> bytes:
    rng = np.random.default_rng(0)
    labels, values = rng.integers(0, 2, rows), rng.normal(size=(rows, 28))
    text = [f"{y:.18e}," + ",".join(f"{v:.18e}" for v in x) for y, x in zip(labels, values, strict=True)]
    return ("\n".join(text) + "\n").encode()


def show(rows: list[Row]) -> None:
    table = Table("what", "measured", "target", "")
    for what, value, unit, target in rows:
        least = unit == "rows/s"
        met = value >= target if least else value <= target
        style = ",.0f" if least else ".3g"
        table.add_row(
            what, f"{value:{style}} {unit}", f"{'>=' if least else '<='} {target:,g} {unit}", "" if met else "missed"
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
