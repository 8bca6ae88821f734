"""The names of metrics that docs/reference/metrics.md explains."""

import re
from collections.abc import Iterable
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "metrics.md"
OF = ("constant/", "unpruned/", "pruned/")  # the page says what these mean in front of a name


def documented() -> list[str]:
    """The names in the first column of the page's tables, with `*`, `R`, `k` and `NAME` as the page uses them."""
    rows = [line.split("|")[1] for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row)]


def as_pattern(name: str) -> str:
    """A regular expression for the names that one of the page stands for."""
    escaped = re.escape(name).replace(r"\*", "(val|test)").replace("NAME", r"\w+")
    return re.sub(r"/R$", r"/[\\d.]+", re.sub(r"(?<=layer)k$|(?<=/)k$", r"\\d+", escaped))


def undocumented(names: Iterable[str]) -> list[str]:
    """The names that the page does not explain."""
    pattern = re.compile("|".join(map(as_pattern, documented())))
    return [name for name in names if not pattern.fullmatch(name.removeprefix(next(filter(name.startswith, OF), "")))]
