"""Records written by hand: run.json with the keys that a report reads, and a short history."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

FIRST = {"name": "made", "dataset.name": "wine", "model.name": "pnet", "reg.name": "pathnorm", "pruner.name": "none"}


def write_record(
    results: Path,
    lam: float = 1e-3,
    seed: int = 0,
    metrics: dict[str, float] | None = None,
    *,
    dataset: str = "wine",
    kind: str = "multiclass",
    status: str = "finished",
    reason: str | None = None,
    started: str = "2030-01-01T12:00:00.000+00:00",
    history: list[dict[str, float]] | None = None,
    params: dict[str, Any] | None = None,
    task: dict[str, Any] | None = None,
    **about: Any,
) -> Path:
    """One record; `metrics` are those of run.json, `params` and `task` come on top of the usual ones."""
    number = len(list(results.glob("*"))) if results.exists() else 0
    folder = results / f"record_{number:05d}"
    folder.mkdir(parents=True)
    own = FIRST | {"dataset.name": dataset, "dataset.split_seed": seed, "seed": seed, "reg.lam": lam} | (params or {})
    run = {
        "status": status,
        "reason": reason,
        "title": f"{own['model.name']} {own['reg.name']} lam={lam:g} seed={seed}",
        "metrics": metrics or {},
        "params": own,
        "fingerprint": f"{number:016x}",
        "seed": seed,
        "git_commit": "0" * 40,
        "versions": {"python": "3.11.7", "torch": "2.13.0"},
        "hardware": {"processor": "an abacus", "cores": 2},
        "times": {"started": started, "ended": started},
        "task": {"name": dataset, "kind": kind} | (task or {}),
        "command": ["psilon-run", "-m", "reg.lam=1e-4,1e-3", "seed=0,1"],
    }
    (folder / "run.json").write_text(json.dumps(run | about), encoding="utf-8")
    if history:
        pd.DataFrame(history).to_csv(folder / "history.csv", index=False)
    return folder


def write_grid(results: Path, values: dict[float, list[float]], **more: Any) -> None:
    """values[lam][seed] is val/loss; test/loss is 1 - that, so that the best on validation is the worst on test."""
    for lam, losses in values.items():
        for seed, loss in enumerate(losses):
            write_record(results, lam, seed, {"val/loss": loss, "test/loss": 1 - loss}, **more)
