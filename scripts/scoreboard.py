"""The table of results/README.md, from results/claims.yaml; each number must be the one in the committed report.

    python scripts/scoreboard.py

Nothing is written where a number differs from its report's table; the differences are printed, and the exit code is 1.
"""

import csv
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from omegaconf import OmegaConf
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, TypeAdapter, model_validator

from psilon_bench.report.estimate import Estimate
from psilon_bench.report.reference import Expected

RESULTS = Path(__file__).parents[1] / "results"
BEGIN, END = "<!-- begin: python scripts/scoreboard.py -->", "<!-- end -->"
HEAD = "| paper | claim | verdict | our numbers: mean ± sd (n) | command | commit | data |\n" + "| - " * 7 + "|\n"
STRICT = ConfigDict(extra="forbid", frozen=True, strict=True)


class Number(Expected):
    """A mean over seeds in a committed report, to four digits, and where it stands there."""

    model_config = STRICT
    label: str
    row: Annotated[list[str], Field(min_length=3, max_length=3)]  # data set, method, setting
    sd: NonNegativeFloat | None
    n: int
    swing: NonNegativeFloat = 0.0  # between the last evaluations, where training does not settle
    source: str = "ours"

    @property
    def allowed(self) -> float:
        """The tolerance by the rule at the top of claims.yaml, to two digits."""
        seeds = 3 * self.sd / math.sqrt(self.n) if self.sd and self.metric != "val/error" else 0.0
        share = (0.02 if self.n > 1 else 0.05) * abs(self.value)
        least = 0.01 if "accuracy" in self.metric or "sparsity" in self.metric else 1e-9
        return float(f"{max(seeds, share, least, self.swing):.2g}")


class Claim(BaseModel):
    """One sentence of a paper (or of ours), what came out, and how it comes out again."""

    model_config = STRICT
    paper: Literal["PSiLON", "PathProx", "pWD", "WN-GD", "ours"]
    claim: str
    verdict: Literal["confirmed", "not confirmed", "not tested"]
    why: str
    report: str | None  # the folder below results/
    commands: Annotated[list[str], Field(min_length=2)]  # runs, and the report last
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{7}$")] | None = None
    data: dict[str, Annotated[str, Field(pattern=r"^([0-9a-f]{8}|drawn)$")]] = {}
    minutes: PositiveFloat | None = None
    needs: Literal["bundled", "openml", "higgs", "mnist", "fashion", "cifar", "svhn"]
    numbers: list[Number] = []

    @model_validator(mode="after")
    def _tested_means_numbers(self) -> Self:
        parts = (self.report, self.commit, self.data, self.numbers)
        if any(bool(part) == (self.verdict == "not tested") for part in parts):
            raise ValueError(f"a claim has a report, commit, data and numbers unless it is not tested: {self.claim}")
        return self


def load(file: Path) -> list[Claim]:
    """Return the claims of a file; pydantic's ValidationError where an entry is wrong."""
    return TypeAdapter(list[Claim]).validate_python(OmegaConf.to_container(OmegaConf.load(file)))


def found(report: Path, number: Number) -> Estimate | None:
    """Return the number as the tables of a report have it: those of all settings, then those of the chosen."""
    for name, setting in (("settings", "setting"), ("numbers", "chosen")):
        with (report / "tables" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if [row["data set"], row["method"], row[setting]] == number.row and row.get(number.metric):
                    sd = row[f"{number.metric} sd"]
                    return Estimate(
                        float(row[number.metric]), float(sd) if sd else None, int(float(row[f"{number.metric} n"]))
                    )
    return None


def problems(claims: Sequence[Claim], results: Path) -> Iterator[str]:
    """Yield a line for each number that its report does not have, or has otherwise, and for each wrong tolerance."""
    for claim in claims:
        for number in claim.numbers:
            ours = found(results / str(claim.report) / "report", number)
            where = f"{claim.report}: {number.label}, {number.metric}"
            if ours is None:
                yield f"{where}: the report has no such number; row is {' | '.join(number.row)}"
            elif (told := told_as(ours)) != (number.value, number.sd, number.n):
                yield f"{where}: value, sd, n are {number.value}, {number.sd}, {number.n}; the report has {told}"
            if number.tolerance != number.allowed:
                yield f"{where}: tolerance is {number.tolerance}; the rule at the top gives {number.allowed}"


def told_as(ours: Estimate) -> tuple[float, float | None, int]:
    """Return mean, standard deviation and n as claims.yaml tells them: four and two digits; no sd for one run."""
    sd = None if ours.sd is None or ours.n == 1 else float(f"{ours.sd:.2g}")
    return float(f"{ours.mean:.4g}"), sd, ours.n


def row_of(claim: Claim) -> str:
    """Return a claim as a row of the table, in Markdown."""
    text = f"{claim.claim}. *{claim.why[0].upper()}{claim.why[1:]}.*"
    linked = f"{text} [Report]({claim.report}/report/report.md)" if claim.report else text
    numbers = [f"{one.label}: {one.metric} {Estimate(one.value, one.sd, one.n)} ({one.n})" for one in claim.numbers]
    commands = [f"`{command}`" for command in claim.commands if not command.startswith("psilon-report")]
    data = [f"{name} {checksum}" for name, checksum in claim.data.items()]
    cells = [claim.paper, linked, f"**{claim.verdict}**", *map("<br>".join, (numbers, commands))]
    return "| " + " | ".join([*cells, claim.commit or "", "<br>".join(data)]) + " |\n"


def with_table(readme: str, claims: Sequence[Claim]) -> str:
    """Return a README with the table of these claims between its two marks."""
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    counts = [
        (word, sum(one.verdict == word for one in claims)) for word in ("confirmed", "not confirmed", "not tested")
    ]
    told = ", ".join(f"{count} {word}" for word, count in counts)
    return f"{before}{BEGIN}\n{len(claims)} claims: {told}.\n\n{HEAD}{''.join(map(row_of, claims))}{END}{after}"


def main() -> int:
    """Write the table, or say what is wrong."""
    claims = load(RESULTS / "claims.yaml")
    if wrong := list(problems(claims, RESULTS)):
        print("\n".join(wrong), file=sys.stderr)
        return 1
    readme = RESULTS / "README.md"
    readme.write_text(with_table(readme.read_text(encoding="utf-8"), claims), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
