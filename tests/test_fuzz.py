"""Commands nobody would write: each is done, or refused in one line before anything is written."""

import csv
import json
import math
import os
import random
import shlex
from collections import Counter
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pytest
from forked import Forked, Said
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from psilon_bench.config.conf_folder import CONF
from psilon_bench.config.identity import leaves
from psilon_bench.config.options import options

SEED = 24
COMMANDS = 500
SECONDS = 120.0  # of a command, then it counts as hanging
ODD = """0 -1 1 2 0.5 -0.5 3.7 1e-30 1e30 -1e300 1e999 nan inf -inf true false null '' "" 007 1e-3 5 100 99999999999
    -0.0 100000000000000000000000000000 abc None [] [1] [-1] [0.5,nan] [1,2,3] [[1]] [a,b] {} {a:1} {lr:0.1}
    [{a:1}] [null] # 'ä' "ü b" "a=b" a=b a,b x[red]y '[/b]' "[bold]" :smile: <b>x</b> a"b a'b $HOME ${seed}
    ${nowhere} ${oc.env:HOME} '${' ~ ~/x ./x ../x /proc/nowhere "a b" a\\ b %s {0} ; & | * ? 日本 😀 !! @ relu cpu
    auto sqrt linear authors last step ??? 0x10 1_000 1e-400 .5 5. +3 -- - = == , [ ] { } ( ) range(3) range(0)
    interval(0,1) choice(1,2) glob(*) int(3.7) 0,1 psilon_bench.models.mlp.MLP os.system torch.nn.Linear
    torch.optim.LBFGS subprocess.getoutput ${reg} ${trainer.epochs}"""
LENGTHY = ("a" * 300, "a" * 10_000, "[" * 40 + "]" * 40, "1" * 5000, "a  b", " ", "a\nb", "\t", "\x1b[31mred", "\udce4")
SWEEPS = """0,1 range(2) range(0) range(1000000000) interval(0,1) glob(*) choice(0,1) 1,nan a,b range(0,1,0)
    range(0,1,0.5) [1],[2] null,1 shuffle(0,1) sort(1,0) tag(t,choice(1,2)) x=1,y"""
# of a key's own type
INTS = "0 -1 1 2 3 7 20 100 341 342 1000 100000 1000000 1000000000 10000000000 -5 1.0 true"
FLOATS = "0 0.0 1 1.0 2 -1e-9 -1 1e-300 1e-45 1e-8 0.3 0.5 0.999 0.9999999 1.0001 3.5 20 1e4 1e9 1e38 1e39 1e300 true"
LISTS = """[] [0] [1] [2,1] [0.9,0.999] [0,0] [1,1] [0.5] [-1,3] [1e9,1] [3,3,3] [0,0.1] [100000000] [[1]] [[2],[3]]
    [biases]"""
WORDS = """none null relu tanh gelu leaky_relu kaiming uniform improved original tight step best stacked serial
    processes cosine float64 bfloat16 tf32 onehot codes psilon classes regression all low uci signs normal auto
    cpu mps cuda:0 sqrt log2"""
OWN = {bool: "true false 1", int: INTS, float: FLOATS, list: LISTS, str: WORDS}
SECTIONS = ("model", "reg", "optimizer", "scheduler", "pruner", "hardware", "dataset")
READ = ("path", "offline")  # arguments of data sets that are files, or have to be fetched
MADE = [name for name, section in options("dataset").items() if not section.arguments.keys() & {*READ}]
SMALL = {"model.hidden": 4, "model.depth": 2, "dataset.offline": "true", "pruner.steps": 2, "model.n_estimators": 5}
LONG = ("trainer.epochs", "trainer.prune_then_finetune")  # with large values a run is long, and rightly so
OFFLINE = {"MLFLOW_TRACKING_URI": "", "COLUMNS": "100"}


@pytest.fixture(scope="module")
def psilon(forking: Forked, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Said]:
    """psilon(["model=snet"], folder): the command, in a fork of a process that has imported everything."""
    home = tmp_path_factory.mktemp("home")
    places = {"HOME": str(home), "PSILON_DATA": str(home / "data"), "OPENML_CACHE_DIR": str(home / "openml")}
    quiet = {"OMP_NUM_THREADS": "1", "NO_COLOR": "1", "PYTHONUTF8": "1"}
    return partial(forking, environment=os.environ | OFFLINE | places | quiet)


@lru_cache
def keys(choices: tuple[str, ...]) -> dict[str, Any]:
    """All keys of the configuration with these options, and their values."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        values = OmegaConf.to_container(compose("config", list(choices)))
    return dict(leaves(values))  # type: ignore[arg-type]


def command(draw: random.Random) -> list[str]:
    """One to three odd overrides among ordinary ones that keep the run short."""
    mild = draw.random() < 0.5
    choices = [f"{group}={draw.choice(list(options(group)))}" for group in SECTIONS[:-1] if draw.random() < 0.15]
    choices += [f"dataset={draw.choice(MADE if mild or draw.random() < 0.8 else list(options('dataset')))}"]
    if "dataset=sparse_recovery" in choices and mild:
        choices = ["dataset=sparse_recovery", f"model={draw.choice(['diagonal_linear', 'basis_pursuit'])}", "reg=none"]
    known = keys(tuple(choices))
    small = ["tracking=none", "trainer.eval_every=1"]
    small += [f"{key}={value}" for key, value in SMALL.items() if key in known]
    odd = [typed(draw, known)] if mild else [override(draw, known) for _ in range(draw.choice([1, 1, 2, 3]))]
    arguments = [*choices, *small, *odd, "trainer.epochs=1"]
    if draw.random() < 0.2:
        arguments += [f"{draw.choice(list(known))}={draw.choice(SWEEPS.split())}"] if draw.random() < 0.7 else []
        arguments.insert(draw.randrange(len(arguments) + 1), "-m")
    return arguments


def typed(draw: random.Random, known: dict[str, Any]) -> str:
    """An odd value of the type that the key has."""
    numeric = [key for key, value in known.items() if type(value) is not str and key not in LONG]
    key = draw.choice(numeric if draw.random() < 0.8 else list(known))
    return f"{key}={draw.choice(OWN.get(type(known[key]), INTS + ' ' + FLOATS).split())}"


def override(draw: random.Random, known: dict[str, Any]) -> str:
    """An odd one."""
    key = draw.choice([one for one in known if one not in LONG])
    value = draw.choice((*ODD.split(), *LENGTHY))
    forms = [f"{key}={value}"] * 14 + [f"{draw.choice(SECTIONS)}={value}"] * 2 + [f"~{key}", f"{key[:-1]}={value}"]
    forms += [f"{sign}{key}={value}" for sign in ("+", "++", "~")]
    forms += [value, f"{value}={value}", f"+{key}.{value}={value}", f"{key}@{value}=1", f"--{value}", f"+{value}"]
    return draw.choice(forms)


def fault(said: Said, folder: Path) -> str | None:
    """What is wrong with how a command ended; None where all is well."""
    paths = folder.rglob("run.json")
    records = [json.loads(path.read_text(encoding="utf-8")) | {"folder": path.parent} for path in paths]
    if said.code is None:
        return "hangs"
    if "Traceback" in said.err + said.out:
        return "traceback"
    if said.code == 2:
        if said.err.count("\n") != 1 or not said.err.startswith("psilon-run: "):
            return "not one line"
        return "wrote a record" if records else None
    if said.code not in (0, 1):
        return f"exit code {said.code}"
    if said.code == 1:
        diverged = [run for run in records if run["status"] == "failed" and "diverged" in run["reason"]]
        return None if diverged else "failed"
    return next(
        (what for run in records if (what := nonsense(run)) is not None), "said something" if said.err else None
    )


def nonsense(run: dict[str, Any]) -> str | None:
    """What a finished run should not have."""
    if run["status"] != "finished":
        return f"is {run['status']}"
    if missing := {"train/loss", "val/loss", "test/loss"} - run["metrics"].keys():
        return f"has no finite {missing}"
    with (run["folder"] / "history.csv").open(newline="", encoding="utf-8") as file:
        rates = [float(row["lr"]) for row in csv.DictReader(file) if row.get("lr")]
    return None if all(math.isfinite(rate) and rate > 0 for rate in rates) else f"has the learning rates {rates}"


DONE = """model=pnet -m seed=0,1
reg.lam=1 --cfg job seed=3
results_dir="r[/b]" model.name=a+b
reg.lam=0.5 --verbose seed=9223372036854775807"""
REFUSED = """scheduler=multistep scheduler.gamma=nan
optimizer.eps=true
model.normalization=true
~tracking.name
dataset._target_=os.system
model=3 -m
dataset=sparse_recovery dataset.num_features=100000000
-m seed=range(0,1,0)
results_dir=r[/b]
reg.lam='${'
name=[[[[ seed=1"""


@pytest.mark.slow
@pytest.mark.parametrize(("lines", "code"), [(DONE, 0), (REFUSED, 2)])
def test_fixed_commands(psilon: Any, tmp_path: Path, lines: Any, code: Any) -> None:
    """As the random ones: done, or refused in one line."""
    for number, line in enumerate(lines.splitlines()):
        folder = tmp_path / str(number)
        folder.mkdir()
        said = psilon([*line.split(), "tracking=none", "trainer.epochs=1"], folder, SECONDS)
        assert fault(said, folder) is None, (line, said)
        assert said.code == code, (line, said)


@pytest.mark.slow
def test_random_commands(psilon: Any, tmp_path: Path) -> None:
    """No traceback, no hang, no nonsense: done, diverged, or refused in one line."""
    counts: Counter[str] = Counter()
    faults = []
    for number in range(COMMANDS):
        arguments = command(random.Random(f"{SEED} {number}"))
        folder = tmp_path / str(number)
        folder.mkdir()
        said = psilon(arguments, folder, SECONDS)
        what = fault(said, folder)
        counts[what or f"exit code {said.code}"] += 1
        line = f"{SEED} {number}: psilon-run {shlex.join(arguments)}\n    {said.code} {said.err.strip()[:300]!r}"
        print(line.encode("utf-8", "backslashreplace").decode())
        if what is not None:
            faults.append(f"{what}: {line}")
    print(counts)
    assert not faults, "\n".join(faults).encode("utf-8", "backslashreplace").decode()
