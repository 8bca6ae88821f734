"""Folds x seeds x lambdas as one program against the same networks one by one, in one sitting.

    python scripts/stack_figures.py [--alone 26] [--results results] [OVERRIDE ...]

5 folds x 5 seeds x 13 lambdas of P-Nets of width 64 on breast_cancer (569 rows) are trained as stacks; of the one by
one way the first so many are, and the rest is taken to cost as much each. Prints wall and processor seconds of both
commands, start-up included, and the ratio for all 325. The folders must not be there yet.
"""

import argparse
import subprocess
from pathlib import Path

from race_figures import LAMS, RUN, seconds
from rich.console import Console
from rich.table import Table

NETWORKS = 325
COMMON = ("dataset=breast_cancer", "dataset.folds=5", "model.hidden=64", "tracking=none")


def train(name: str, plan: str, overrides: list[str], results: Path) -> list[float]:
    """Train a sweep; return the wall and processor seconds of its command."""
    folder = results / f"stack_figures_{name}"
    assert not folder.exists(), f"{folder} is there already, and what is done is not trained again"
    started = seconds()
    where = [f"hardware.plan={plan}", f"name={folder.name}", f"results_dir={results}"]
    subprocess.run([*RUN, "-m", *COMMON, *where, *overrides], check=True, stdout=subprocess.DEVNULL)
    return [end - start for start, end in zip(started, seconds(), strict=True)]


def main() -> None:
    """Train, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alone", type=int, default=26, help="how many are trained one by one, a multiple of 13")
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("overrides", nargs="*", help="of both commands, such as hardware.threads=1")
    asked = parser.parse_args()
    lams, results = f"reg.lam={LAMS}", asked.results.absolute()
    few = [lams, "dataset.fold=0", f"seed=range({asked.alone // 13})", *asked.overrides]
    alone = [NETWORKS / asked.alone * value for value in train("alone", "serial", few, results)]
    every = [lams, "dataset.fold=range(5)", "seed=range(5)", *asked.overrides]
    stacked = train("stacked", "stacked", every, results)
    table = Table("325 networks", "wall s", "CPU s")
    table.add_row(f"one by one (from {asked.alone})", *(f"{value:.0f}" for value in alone))
    table.add_row("stacked", *(f"{value:.0f}" for value in stacked))
    table.add_row("ratio", *(f"{one / all_:.1f}" for one, all_ in zip(alone, stacked, strict=True)))
    Console().print(table)


if __name__ == "__main__":
    main()
