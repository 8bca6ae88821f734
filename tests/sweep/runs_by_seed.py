"""Grids of seeds, and the records they leave."""

import json
from pathlib import Path


def seeds(count: int) -> list[list[str]]:
    return [[f"seed={seed}"] for seed in range(count)]


def folders(name: str = "runs") -> list[Path]:
    return sorted(path.parent for path in Path("results", name).glob("*/run.json"))


def by_seed(name: str = "runs") -> dict[int, Path]:
    runs = [(json.loads((folder / "run.json").read_text()), folder) for folder in folders(name)]
    return {run["seed"]: folder for run, folder in sorted(runs, key=lambda one: one[0]["status"] == "finished")}


def text(folder: Path, file: str = "history.csv") -> str:
    return (folder / file).read_text()
