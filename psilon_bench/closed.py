"""The runs of a folder that have ended for good."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from psilon_bench.config import Config
from psilon_bench.record import Record, Run, is_closed
from psilon_bench.run_files import read_run


def folder_of(config: Config) -> Path:
    """Where the records of a sweep lie."""
    return Path(config.results_dir, config.name).absolute()


def closed_runs(folder: Path) -> dict[str, Run]:
    """run.json, by fingerprint, of every run in this folder that has ended for good; the latest where several have."""
    records = [path.parent for path in sorted(folder.glob("*/run.json"))]
    runs = [run for record in records if (run := closed_run(record, stamp(record))) is not None]
    return {run["fingerprint"]: run for run in runs}


@lru_cache(maxsize=100_000)  # asked for before every stack of a sweep
def closed_run(record: Path, stamp: tuple[int, int]) -> Run | None:
    """run.json of this stamp, with its folder; None where the run has not ended for good."""
    run = read_run(record)
    return run | {"folder": str(record)} if run is not None and is_closed(run) else None


def stamp(record: Path) -> tuple[int, int]:
    """What changes whenever run.json is replaced."""
    stat = (record / "run.json").stat()
    return stat.st_mtime_ns, stat.st_ino


def closed_records(configs: Sequence[Config]) -> list[Record]:
    """The records of these runs, by whatever process; none where not all of them have ended for good."""
    closed = closed_runs(folder_of(configs[0]))
    if not all(config.fingerprint() in closed for config in configs):
        return []
    return [Record.reopen(Path(closed[config.fingerprint()]["folder"]), last_epoch=0) for config in configs]
