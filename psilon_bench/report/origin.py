"""The origin of the numbers: commands, code versions, commits, library versions, hardware."""

import json
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psilon_bench.report.records import Run


@dataclass(frozen=True)
class Origin:
    """The distinct lines on the origin of runs, each with the number of runs it holds for, the most frequent first."""

    commands: list[tuple[str, int]]
    code: list[tuple[str, int]]  # versions of the package's numeric code
    commits: list[tuple[str, int]]
    versions: list[tuple[str, int]]
    hardware: list[tuple[str, int]]
    first: str  # when the first and the last of the runs were started
    last: str


def origin_of(runs: Sequence[Run]) -> Origin:
    """Return the origin of these runs."""
    counts = Counter(run.origin for run in runs)
    abouts = [(json.loads(text), count) for text, count in counts.items()]
    started = [run.started for run in sorted(runs, key=lambda run: run.began)] or [""]
    return Origin(
        commands=tally(abouts, lambda about: shlex.join(about["command"] or ["unknown"])),
        code=tally(abouts, lambda about: about["code_version"] or "unknown, of an earlier version"),
        commits=tally(abouts, lambda about: about["git_commit"] or "installed package, no commit"),
        versions=tally(abouts, lambda about: listed_values(about["versions"])),
        hardware=tally(abouts, lambda about: listed_values(about["hardware"])),
        first=started[0],
        last=started[-1],
    )


def tally(abouts: Sequence[tuple[dict[str, Any], int]], line: Any) -> list[tuple[str, int]]:
    """Return each line with the number of runs that it describes, the most frequent first."""
    counts: Counter[str] = Counter()
    for about, count in abouts:
        counts[line(about)] += count
    return counts.most_common()


def listed_values(values: dict[str, Any] | None) -> str:
    """Return names with their values in one line: `torch 2.13.0, numpy 2.4`."""
    return ", ".join(f"{key} {value}" for key, value in (values or {}).items() if value is not None)
