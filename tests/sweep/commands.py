"""The commands of the package as processes, and what MLflow's database holds afterwards."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

LONG = ("model.hidden=4", "model.depth=2", "trainer.epochs=1500", "trainer.eval_every=500", "hardware.device=cpu")
ENTRIES = {
    "psilon-sync": "from psilon_bench.cli.sync import main; main()",
    "psilon-report": "from psilon_bench.cli.report import main; main()",
    "psilon-run": """
from psilon_bench.tracking import sender
sender.SILENT_FOR_S = 10  # else two minutes
from psilon_bench.cli.run import main
main()
""",
}
Call = Callable[..., tuple[int, str]]


def rows(database: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(database)) as opened:
        return opened.execute(query).fetchall()


def statuses(database: Path) -> list[str]:
    return sorted(status for (status,) in rows(database, "SELECT status FROM runs"))
