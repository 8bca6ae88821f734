"""Seconds from a command to a P-Net with a validation cross-entropy of at most .600 on Higgs, a row for each change.

    python scripts/headline.py HIGGS.csv.gz

The command is run for five seeds, each with a split of its own, after one that fills the caches; the row, with the
date, commit and machine, is appended to results/bench/headline.md. RECIPE was chosen by validation loss on these seeds.
"""

import argparse
import datetime
import statistics
import subprocess
import tempfile
from pathlib import Path

import torch
from bench import seconds

from psilon_bench.records.places import records_in
from psilon_bench.records.record import processor
from psilon_bench.records.run_json import read_raw

TABLE = Path(__file__).parents[1] / "results" / "bench" / "headline.md"
GOAL, SEEDS = 0.600, range(5)
RECIPE = (
    "dataset=higgs",
    "model=pnet",
    "reg=pathnorm",
    "model.hidden=128",
    "reg.lam=1e-3",
    "optimizer.lr=1e-2",
    "trainer.batch_size=400",
    "trainer.epochs=10",
)
HEAD = f"""# The headline: from the command to a P-Net on Higgs with a validation cross-entropy of at most {GOAL:.3f}

    python scripts/headline.py HIGGS.csv.gz

Wall-clock seconds of `psilon-run {" ".join(RECIPE)} seed=S`, S = 0 to 4, data and caches warm, MLflow as usual.

| date | commit | machine | seconds: median (least, most) | validation cross-entropy: median (worst) |
| - | - | - | - | - |
"""


def run(place: str, file: Path, seed: int) -> tuple[float, float]:
    """Return the seconds of the command and the last validation loss."""
    own = [f"dataset.path={file}", f"seed={seed}", f"name=seed{seed}", "rerun=true"]
    took = seconds("psilon-run", [*RECIPE, *own], place)
    *_, record = sorted(records_in(Path(place, "results", f"seed{seed}")))
    return took, read_raw(record)["metrics"]["val/loss"]


def main() -> None:
    """Append the row, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="the UCI file, gzipped, or the first rows of it")
    file = parser.parse_args().file.resolve()
    with tempfile.TemporaryDirectory() as place:
        run(place, file, SEEDS[0])
        taken, losses = zip(*(run(place, file, seed) for seed in SEEDS), strict=True)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], check=True, capture_output=True, text=True).stdout
    machine = f"{processor()}, {torch.get_num_threads()} threads"
    took = f"{statistics.median(taken):.1f} ({min(taken):.1f}, {max(taken):.1f})"
    reached = f"{statistics.median(losses):.4f} ({max(losses):.4f})" + (" MISSED" if max(losses) > GOAL else "")
    row = f"| {datetime.date.today()} | {commit.strip()} | {machine} | {took} | {reached} |\n"
    TABLE.write_text((TABLE.read_text() if TABLE.exists() else HEAD) + row)
    print(row, end="")


if __name__ == "__main__":
    main()
