"""A race that is killed anywhere ends with the same winner, for the same reasons."""

import random
import time
from typing import Any

import pytest
from killed_often import killed_often

from psilon_bench.records.history import read_rows

NET = ("model.hidden=4", "model.depth=2", "hardware.threads=2", "hardware.device=cpu", "hardware.plan=stacked")
RACE = ("-m", "reg.lam=1e-3,3e-3,1e-1,30", "seed=range(3)", "race=true", "tracking=none", "hardware.stack_size=5")
SLOWER = (*NET, "trainer.epochs=80", "trainer.eval_every=10", "trainer.checkpoint_every=7", "optimizer.lr=0.02")


def ended(records: Any, name: str) -> dict[str, Any]:
    """How each run ended, with its comparison and its last row, by fingerprint; each has one record that ended."""
    runs = [run for run in records(name) if run["status"] not in ("running", "killed")]
    assert len({run["fingerprint"] for run in runs}) == len(runs)
    rows = {run["fingerprint"]: read_rows(run["folder"] / "history.csv") for run in runs}
    return {run["fingerprint"]: (run["status"], run.get("race"), rows[run["fingerprint"]]) for run in runs}


@pytest.mark.slow
def test_killed_at_twenty_random_moments(start: Any, psilon: Any, records: Any) -> None:
    """SIGKILL from the first import to the last record; where a race ends before its time, another one begins.

    Its heats train side by side, and rest wherever a checkpoint may be due.
    """
    started = time.monotonic()
    code, said = psilon(*RACE, "name=once", tiny=SLOWER)
    seconds = time.monotonic() - started
    assert code == 0, said
    once = ended(records, "once")
    assert {status for status, _, _ in once.values()} == {"finished", "raced out"}

    def look(_kills: int, name: str) -> None:
        records(name)  # every run.json can be read at any time

    for name in killed_often(start, RACE, SLOWER, (0.5 * seconds, 1.5 * seconds), random.Random(1), look):
        code, said = psilon(*RACE, f"name={name}", tiny=SLOWER)
        assert code == 0, said
        assert ended(records, name) == once
