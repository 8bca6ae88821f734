"""Claims and what came out: every number is in its committed report, README is up to date, commands give it again."""

import csv
import importlib.util
import json
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from pydantic import ValidationError
from real_data import real_data_folder

from psilon_bench.config.check import check
from psilon_bench.config.conf_folder import CONF
from psilon_bench.report.reference import Expected, equal
from psilon_bench.sweep.composer import Composer
from psilon_bench.sweep.grids import selected_arms, union

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
MINUTES = 6  # what a claim may take to be drawn


def script() -> Any:
    """Return the module of scripts/scoreboard.py."""
    spec = importlib.util.spec_from_file_location("scoreboard", ROOT / "scripts" / "scoreboard.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


scoreboard = script()
CLAIMS = scoreboard.load(RESULTS / "claims.yaml")


def test_numbers_are_those_of_the_reports() -> None:
    assert list(scoreboard.problems(CLAIMS, RESULTS)) == []


def test_readme_is_up_to_date() -> None:
    """Otherwise: python scripts/scoreboard.py."""
    text = (RESULTS / "README.md").read_text(encoding="utf-8")
    assert scoreboard.with_table(text, CLAIMS) == text
    assert scoreboard.with_table(text, CLAIMS[1:]) != text


def test_every_committed_report_has_a_claim() -> None:
    folders = {path.parents[1].name for path in RESULTS.glob("*/report/report.md")}
    assert {claim.report for claim in CLAIMS if claim.report} == folders


def test_commands_name_their_presets_and_the_folder_of_the_report() -> None:
    for claim in CLAIMS:
        *runs, report = [shlex.split(command) for command in claim.commands]
        presets = {word.partition("=")[2] for run in runs for word in run if word.startswith("+experiment=")}
        folders = presets or {word.partition("=")[2] for run in runs for word in run if word.startswith("name=")}
        assert all((CONF / "experiment" / f"{preset}.yaml").is_file() for preset in presets)
        assert (report[0], {Path(report[1]).name}) == ("psilon-report", folders)
        assert claim.report in (None, *folders)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"value": 0.3995}, r"^cpu_act: .*, test/loss: value, sd, n are 0\.3995, .*; the report has \(0\.3994, "),
        ({"sd": 0.016}, r"are 0\.3994, 0\.016, 3; the report has \(0\.3994, 0\.015, 3\)"),
        ({"n": 5}, r"are 0\.3994, 0\.015, 5; the report"),
        (
            {"row": ["cpu_act", "pnet pathnorm", "lam=0.01"]},
            r"no such number; row is cpu_act \| pnet pathnorm",
        ),
        ({"metric": "test/accuracy"}, r"cpu_act: .*, test/accuracy: the report has no such number"),
        ({"tolerance": 0.3}, r"tolerance is 0\.3; the rule at the top gives 0\.026"),
    ],
)
def test_a_planted_mistake_is_told(change: dict[str, Any], message: str) -> None:
    """In the first number of cpu_act's claim."""
    (claim,) = [one for one in CLAIMS if one.report == "cpu_act"]
    wrong = claim.model_copy(update={"numbers": [claim.numbers[0].model_copy(update=change)]})
    assert any(re.search(message, line) for line in scoreboard.problems([wrong], RESULTS))


@pytest.mark.parametrize(
    ("key", "value"), [("verdict", "refuted"), ("numbers", []), ("commit", "HEAD"), ("minute", 3.0), ("minutes", "3")]
)
def test_an_entry_that_says_it_wrongly(key: str, value: Any) -> None:
    """An unknown verdict, a verdict without numbers, no commit, an unknown key, a number as text."""
    with pytest.raises(ValidationError):
        scoreboard.Claim.model_validate({**CLAIMS[0].model_dump(), key: value})


def environment(folder: Path, data: Path | None) -> dict[str, str]:
    """Return the environment of commands in this folder: caches of their own, with a copy of the real data."""
    here = {**os.environ, "PSILON_DATA": str(folder / "data"), "OMP_NUM_THREADS": "1"}
    if data is None:
        return here
    shutil.copytree(data / "openml", folder / "openml", copy_function=shutil.copyfile)  # the client writes there
    (folder / "HIGGS.csv.gz").symlink_to(data / "higgs" / "HIGGS.csv.gz")
    return here | {"OPENML_CACHE_DIR": str(folder / "openml")}


def made_again(numbers: Sequence[Any], commands: Sequence[str], folder: Path, here: dict[str, str]) -> dict[str, str]:
    """Return verdict, mean and difference of each number, after its commands were run in the folder."""
    entries = [{key: getattr(number, key) for key in Expected.model_fields} for number in numbers]
    (folder / "expected.yaml").write_text(json.dumps(entries))
    *runs, report = [shlex.split(command) for command in commands]
    more = ["--reference-file", "expected.yaml", "--out", "report", "--no-figures", "--no-attach"]
    quiet = [run if "tracking=none" in run else [*run, "tracking=none"] for run in runs]
    for program, *words in [*quiet, [*report, *more]]:
        done = subprocess.run(
            [Path(sys.executable).with_name(program), *words],
            cwd=folder,
            env=here,
            capture_output=True,
            text=True,
            timeout=3600,
        )
        assert done.returncode == 0, (words, done.stdout[-2000:], done.stderr[-2000:])
    with (folder / "report/tables/reference.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        f"{number.label}, {number.metric}": f"{row['verdict']} {row['ours']} {row['difference']}"
        for number, row in zip(numbers, rows, strict=True)
    }


def trained_by(command: str) -> list[dict[str, Any]]:
    """Return the flat configurations of all runs of a psilon-run command."""
    words = [word for word in shlex.split(command)[1:] if word != "-m"]
    asked = [word for word in words if word.startswith(("+experiment=", "hydra."))]
    sweeper = compose("config", asked, return_hydra_config=True).hydra.sweeper
    composer = Composer(partial(compose, "config", return_hydra_config=True))
    values = [word for word in words if not word.startswith("hydra.")]
    parse = OverridesParser.create().parse_overrides
    jobs = union(selected_arms(sweeper.grids, sweeper.get("arms")), sweeper.params or {}, values, parse)
    return [check(composer(job)).flat() for job in jobs]


@pytest.mark.slow
def test_a_number_is_of_one_setting_that_its_commands_train() -> None:
    """Of as many runs as it says, each of another seed, on each data set of the commands."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        commands = {command for claim in CLAIMS for command in claim.commands if command.startswith("psilon-run")}
        runs = {command: trained_by(command) for command in commands}
    for claim in CLAIMS:
        every = [run for command in claim.commands for run in runs.get(command, [])]
        datasets = {(run["dataset.name"], run.get("dataset.task_id")) for run in every}
        for number in claim.numbers:
            where = {key: value for key, value in number.where.items() if key != "data set"}
            fitting = [run for run in every if all(equal(run.get(key), value) for key, value in where.items())]
            seeds = {(run["seed"], run["dataset.name"], run.get("dataset.task_id")) for run in fitting}
            assert len(fitting) == len(seeds) == number.n * len(datasets), (claim.report, number.label)


@pytest.mark.slow
def test_three_claims_come_out_again(tmp_path: Path) -> None:
    """Drawn from those whose data are at hand and that take minutes; all numbers made by the same commands."""
    data = real_data_folder()
    by_commands = defaultdict(list)
    for claim in CLAIMS:
        if claim.numbers and claim.minutes <= MINUTES and (data or claim.needs == "bundled"):
            by_commands[tuple(claim.commands)].extend(claim.numbers)
    seed = int(os.environ.get("PSILON_DRAW") or random.SystemRandom().randrange(1000))
    drawn = random.Random(seed).sample(sorted(by_commands), 3)
    print(f"PSILON_DRAW={seed} draws these again")
    here = environment(tmp_path, data)
    for commands in drawn:
        told = made_again(by_commands[commands], commands, tmp_path, here)
        print(commands[0], json.dumps(told, indent=1))
        assert all(verdict.startswith("inside ") for verdict in told.values()), (seed, commands, told)
