"""A process that is killed while it writes to an sqlite database."""

import subprocess
import sys
from pathlib import Path

WRITES = """
import os, signal, sqlite3, sys
database = sqlite3.connect(sys.argv[1])
database.execute("PRAGMA cache_size = 1")
database.execute(sys.argv[2])
database.execute("CREATE TABLE large AS SELECT hex(randomblob(100000))")
os.kill(os.getpid(), signal.SIGKILL)
"""


def leave_half_written(database: Path, statement: str) -> None:
    """The statement, and more than the cache holds, but no end of the transaction: a hot journal is left."""
    subprocess.run([sys.executable, "-c", WRITES, database, statement], check=False)
    assert database.with_name(f"{database.name}-journal").exists()
