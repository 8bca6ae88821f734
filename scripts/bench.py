"""Speed beside its floor and beside the usual way, of training steps and of whole commands: medians of one run.

    python scripts/bench.py [--blocks 10] [--higgs HIGGS.csv.gz] [--no-compiled] [--sweep 1000] [--report 1000]
                            [--save results/bench/NAME]

The floor is a step's bare matrix products, same shapes and number, by torch as it comes; beside it by oneDNN, which
psilon-run takes where that is exact (psilon_bench/device.py). The usual way is what a script of one's own does
(scripts/usual.py), in a process of its own, and Lightning's loop where it is installed. Contestants take turns in short
blocks, so that a machine whose speed drifts slows all of them; a row is the median over blocks, a ratio is taken block
by block. The first table is of networks, the second of parts, stacks and commands beside their targets.
"""

import argparse
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import bench_many
import bench_pwd
import pandas as pd
import torch
import usual
from bench_steps import nets, step_figures
from bench_sweep import configs, stepper
from contest import Apart, Figures, Step, race, ratio
from rich.console import Console
from rich.table import Table
from torch import nn

from psilon_bench.machine.arithmetic import set_up
from psilon_bench.models.blended import blend
from psilon_bench.models.mlp import MLP
from psilon_bench.records.record import processor
from psilon_bench.tracking.experiment import connect
from psilon_bench.tracking.mirror import Mirror


def pruning_figures(blocks: int) -> Figures:
    """The projection, and what pruning adds to a step of the P-Net."""
    x, y = torch.randn(400, 28), torch.randint(0, 2, (400, 1)).float()

    def pnet(blend: float) -> Step:
        model = MLP(28, 1, hidden=500, depth=3, normalization=1, share=True, activation="relu", init="orthogonal")
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
        for layer in model.norm_layers():
            layer.blend, layer.strength = blend, 1.2

        def step() -> None:
            optimizer.zero_grad()
            loss = nn.functional.binary_cross_entropy_with_logits(model(x), y)
            (loss + 1e-4 * model.path_norm()).backward()
            optimizer.step()

        return step

    v, unknown = nn.init.orthogonal_(torch.empty(500, 500)), torch.zeros(500, 1)
    steps = {"P-Net": pnet(0.0), "pruned": pnet(0.5), "projection": lambda: blend(v, unknown, 1.0, None, False)}
    times = race(steps, blocks, 8)
    return {
        "projection of 500 x 500, ms": times["projection"],
        "P-Net step while it is pruned / not": ratio(times["pruned"], times["P-Net"]),
    }


def stack_figures(blocks: int) -> Figures:
    """Milliseconds per network and step, width 16, full batch of 341 rows, by the number of networks in the stack."""
    figures: Figures = {}
    takes = {size: stepper(configs(16, size)) for size in (1, 8, 16, 64)}
    times = race({str(size): partial(takes[size], 4) for size in takes}, blocks, 10)
    for size in takes:
        figures[f"stack of {size} of width 16, ms per network and step"] = [t / 4 / size for t in times[str(size)]]
    first, sixteenth = (figures[f"stack of {size} of width 16, ms per network and step"] for size in (1, 16))
    figures["one by one / stack of 16, per network and step"] = ratio(first, sixteenth)
    return figures


def command_figures(repeats: int) -> Figures:
    """Seconds of whole commands, in a folder of their own that is warm after the first."""
    with tempfile.TemporaryDirectory() as place:
        run(place, "trainer.epochs=1")
        around = [run(place, "trainer.epochs=1") for _ in range(repeats)]
        helps = [seconds("psilon-run", ["--help"], place) for _ in range(repeats)]
        run(place, "trainer.epochs=1000", "trainer.eval_every=1", "model.hidden=16", "tracking=none", "name=long")
        (long,) = Path(place, "results", "long").glob("2*")
        gc.freeze()  # as the process that sends has done
        tracking = [send(long, Path(place, f"{number}.db")) for number in range(repeats)]
    return {
        "psilon-run --help, s": helps,
        "psilon-run less its fit, breast_cancer, s": around,
        "MLflow: 1000 rows x 9 metrics and the files, s": tracking,
    }


def run(place: str, *overrides: str) -> float:
    """Seconds of a psilon-run less those of its fit."""
    wall = seconds("psilon-run", ["hardware.device=cpu", *overrides], place)
    newest = max(Path(place, "results").glob("*/*/run.json"), key=lambda path: path.stat().st_mtime)
    return wall - json.loads(newest.read_text())["metrics"]["time/fit_s"]


def seconds(program: str, arguments: list[str], place: str) -> float:
    """Seconds of a command."""
    started = time.perf_counter()
    path = Path(sys.executable).with_name(program)
    subprocess.run([path, *arguments], cwd=place, check=True, capture_output=True)
    return time.perf_counter() - started


def send(record: Path, database: Path) -> float:
    """Seconds to mirror a record into a fresh sqlite file that is open already."""
    uri = f"sqlite:///{database}"
    place = connect(uri, "bench", str(database.parent))
    (record / "mlflow.json").unlink(missing_ok=True)
    started = time.perf_counter()
    Mirror(place, record).send()
    return time.perf_counter() - started


HIGGS_WAYS = {
    "float32": (),
    "bfloat16": ("hardware.precision=bfloat16",),
    "bfloat16, compiled": ("hardware.precision=bfloat16", "hardware.compile=true"),
}


def higgs_figures(file: Path, epochs: int) -> Figures:
    """Figure 1 (width 500), from the command to the report, beside its steps the usual way, timed before and after."""
    common = ["-m", "+experiment=psilon_higgs", f"dataset.path={file.resolve()}", "seed=0", f"trainer.epochs={epochs}"]
    pnet, snet = (nets()[name] for name in (next(iter(nets())), "S-Net, width 500"))
    scripts = [(Apart(usual.script, net.usual, net.task, net.batch), runs) for net, runs in ((pnet, 5), (snet, 10))]
    steps = 5 * epochs

    def by_hand() -> float:
        """Seconds of all steps of the 15 runs, from 200 of each kind."""
        return sum(runs * steps * statistics.median(race({"": one}, 10, 20)[""]) / 1000 for one, runs in scripts)

    found: Figures = {}
    around = [by_hand()]
    for way, overrides in HIGGS_WAYS.items():
        with tempfile.TemporaryDirectory() as place:
            run = seconds("psilon-run", [*common, *overrides], place)
            whole = run + seconds("psilon-report", ["results/psilon_higgs"], place)
        around.append(by_hand())
        found[f"Higgs figure, 15 runs x {steps} steps, {way}, start to report, s"] = [whole]
        found[f"its steps alone the usual way, before and after {way}, s"] = around[-2:]
        found[f"Higgs figure, usual way / {way}"] = [statistics.mean(around[-2:]) / whole]
    return found


TARGETS = {
    "P-Net 28-500-500-500-1, batch 400: compiled / products": "at most 1.15",
    "P-Net 28-500-500-500-1, batch 400: usual / compiled bfloat16": "at least 5",
    "residual net 784, 10 x 500, 10, batch 200: compiled / products": "at most 1.3",
    "factorised MLP-3-400, batch 200, PathProx: compiled / products": "at most 1.3",
    "one by one / stack of 16, per network and step": "at least 8",
    "projection of 500 x 500, ms": "at most 3",
    "P-Net step while it is pruned / not": "at most 1.3",
    "decay adds to a step, %": "at most 8",
    "decay by clones / decay": "at least 2",
    "stack / one by one": "at least 30",
    "psilon-run --help, s": "at most 0.4",
    "psilon-run less its fit, breast_cancer, s": "at most 2",
    "MLflow: 1000 rows x 9 metrics and the files, s": "at most 1",
    "step of a net of width 16: busy / quiet": "at most 2.5",
    "Higgs figure, usual way / bfloat16, compiled": "at least 4",
    "report of 1000 runs over 20 data sets, s": "at most 10",
    "sweep of 1000 nets of width 16, MLflow in sqlite, a run at the end / at run 100": "at most 1.1",
    "sweep of 1000 nets of width 16, tracking=none, a run at the end / at run 100": "at most 1.1",
}


def network_table(figures: Figures) -> pd.DataFrame:
    """Medians: a row a network, a column a way or a ratio."""
    cells: dict[str, dict[str, float]] = {}
    for name, values in figures.items():
        net, _, figure = name.partition(": ")
        if net in nets():
            cells.setdefault(net, {})[figure] = statistics.median(values)
    table = pd.DataFrame.from_dict(cells, orient="index")
    return table[sorted(table, key=lambda name: "/" in name)].map("{:.2f}".format).replace("nan", "")


def other_table(figures: Figures) -> pd.DataFrame:
    """The rest, and all that has a target."""
    rows = {}
    for name, values in figures.items():
        if name.partition(": ")[0] not in nets() or name in TARGETS:
            low, middle, high = (f"{f(values):.4g}" for f in (min, statistics.median, max))
            rows[name] = {"median": middle, "min": low, "max": high, "n": len(values), "target": TARGETS.get(name, "")}
    return pd.DataFrame.from_dict(rows, orient="index")


def show(table: pd.DataFrame, title: str) -> None:
    """On the terminal."""
    drawn = Table("", *table.columns, title=title)
    for name, row in table.iterrows():
        drawn.add_row(str(name), *map(str, row))
    Console(width=170).print(drawn)


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5, help="of a whole command; 0: none")
    parser.add_argument("--only", default="", help="networks whose name has this in it, and nothing else")
    parser.add_argument("--compiled", action=argparse.BooleanOptionalAction, default=True, help="compiled steps too")
    parser.add_argument(
        "--higgs", type=Path, help="the Higgs data, for PSiLON's figure 1 from the command to the report"
    )
    parser.add_argument("--higgs-epochs", type=int, default=1000, help="of 5 steps each")
    parser.add_argument("--sweep", type=int, default=0, help="a sweep of so many tiny networks, such as 1000 (minutes)")
    parser.add_argument("--report", type=int, default=0, help="a report of so many runs, such as 1000")
    parser.add_argument("--json", type=Path, help="write every value there")
    parser.add_argument("--save", type=Path, help="write the tables to SAVE.md and every value to SAVE.json")
    return parser.parse_args()


def measured(arguments: argparse.Namespace) -> Figures:
    """All that the command line asks for."""
    figures: Figures = {}
    for name, net in nets().items():
        if arguments.only in name:
            figures |= step_figures(name, net, arguments.blocks, arguments.compiled)
    if not arguments.only:
        figures |= pruning_figures(arguments.blocks) | stack_figures(arguments.blocks)
        figures |= bench_pwd.figures(arguments.blocks)
    if arguments.repeats and not arguments.only:
        figures |= command_figures(arguments.repeats) | bench_many.busy_figures(arguments.repeats)
    if arguments.higgs:
        figures |= higgs_figures(arguments.higgs, arguments.higgs_epochs)
    if arguments.sweep:
        figures |= bench_many.sweep_figures(arguments.sweep)
    if arguments.report:
        figures |= bench_many.report_figures(arguments.report)
    return figures


def main() -> None:
    """Print the tables."""
    arguments = parsed()
    set_up()  # as psilon-run does
    torch.manual_seed(0)
    figures = measured(arguments)
    machine = f"{processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    tables = {"Training steps, medians, float32 where not said": network_table(figures)}
    tables["Parts, stacks, commands"] = other_table(figures)
    for title, table in tables.items():
        if len(table):
            show(table, f"{title}; {machine}")
    values = json.dumps({"machine": machine, "figures": figures}, indent=1) + "\n"
    if arguments.json:
        arguments.json.write_text(values)
    if arguments.save:
        arguments.save.parent.mkdir(parents=True, exist_ok=True)
        body = "\n".join(f"## {title}\n\n{table.to_markdown()}\n" for title, table in tables.items())
        command = " ".join(["python scripts/bench.py", *sys.argv[1:]])
        arguments.save.with_suffix(".md").write_text(f"# {machine}\n\n    {command}\n\n{body}")
        arguments.save.with_suffix(".json").write_text(values)


if __name__ == "__main__":
    main()
