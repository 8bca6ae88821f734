"""Reference numbers of a paper, or of an independent implementation, beside those of the records.

references/NAME.yaml goes with the runs of `name=NAME`. It is a list; each entry is one number:

    - where: {model.name: pnet, reg.lam: 1e-3}   # keys of the flat configuration, and `data set`; a run must have all
      metric: val/loss                           # of run.json
      value: 0.735
      tolerance: 0.05                            # |ours - value| up to this is `inside`
      source: independent implementation, one seed
      chosen: false                              # true: only the settings that were chosen by validation

The number of the records is the mean over the seeds of the one setting that fits `where`; where several settings fit,
the table says so instead of a number. Test metrics are read here for settings that were not chosen, too, since
reference numbers are given for them; nothing is chosen by them.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ConfigDict, NonNegativeFloat, TypeAdapter, ValidationError
from yaml import YAMLError

from psilon_bench.errors import UsageError, in_one_line
from psilon_bench.report.estimate import Estimate, estimate
from psilon_bench.report.grouping import Setting
from psilon_bench.report.keys import value_text
from psilon_bench.report.records import Run
from psilon_bench.report.selection import Choice
from psilon_bench.report.table import Cell, Table

FOLDER = Path(__file__).parent / "references"


class Expected(BaseModel):
    """One entry of a file of reference numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    where: dict[str, bool | int | float | str | None]
    metric: str
    value: float
    tolerance: NonNegativeFloat
    source: str
    chosen: bool = False


def file_of(runs: Sequence[Run]) -> Path:
    """Return the file that goes with the name of these runs; UsageError unless exactly one file does."""
    names = sorted({str(run.params.get("name")) for run in runs})
    found = [path for name in names if (path := FOLDER / f"{name}.yaml").exists()]
    if len(found) != 1:
        known = ", ".join(path.stem for path in sorted(FOLDER.glob("*.yaml"))) or "none yet"
        raise UsageError(
            f"--reference: {'no' if not found else 'more than one'} reference goes with the runs named "
            f"{', '.join(names)}. There are: {known}. Or take --reference-file FILE."
        )
    return found[0]


def load_expected(path: Path) -> list[Expected]:
    """Return the entries of a file; UsageError that names what is wrong with it."""
    try:
        content = OmegaConf.to_container(OmegaConf.load(path))  # reads 1e-3 as a number, which plain YAML does not
        return TypeAdapter(list[Expected]).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{path}: entry {place}: {first['msg']}. See psilon_bench/report/reference.py.") from error
    except (OSError, YAMLError, OmegaConfBaseException) as error:
        raise UsageError(f"{path} cannot be read: {in_one_line(error, 160)}. Give a YAML list.") from error


def table(choices: Sequence[Choice], expected: Sequence[Expected]) -> Table:
    """Return the table of reference numbers beside the numbers of the records, one row an entry."""
    rows = [expected_row(choices, entry) for entry in expected]
    verdicts = [str(one[6]) for one in rows]
    counts = ", ".join(f"{verdicts.count(word)} {word}" for word in dict.fromkeys(verdicts))
    columns = ["where", "metric", "ours", "n", "reference", "difference", "verdict", "tolerance", "source"]
    return Table("reference", "Beside the reference", columns, rows, f"{counts}, of {len(rows)}.")


def expected_row(choices: Sequence[Choice], entry: Expected) -> list[Cell]:
    """Return the row of an entry: the record's number, the reference, and whether they agree."""
    settings = [setting for setting in candidates(choices, entry) if has_values(setting, entry.where)]
    where = " ".join(f"{key}={value_text(value)}" for key, value in entry.where.items())
    ours = estimate(settings[0].numbers(entry.metric)) if len(settings) == 1 else None
    difference = None if ours is None else ours.mean - entry.value
    about: list[Cell] = [where, entry.metric, ours, ours.n if ours else 0, entry.value, difference]
    return [*about, verdict(settings, ours, entry), entry.tolerance, entry.source]


def candidates(choices: Sequence[Choice], entry: Expected) -> list[Setting]:
    """Return the settings that an entry may be about: those chosen, or all that have a finished run."""
    if entry.chosen:
        return [choice.setting for choice in choices if choice.setting]
    return [setting for choice in choices for setting in choice.group.settings if setting.runs]


def has_values(setting: Setting, where: dict[str, Any]) -> bool:
    """Tell whether the runs of a setting have these values of configuration keys."""
    run = setting.runs[0]
    return all(equal(run.dataset if key == "data set" else run.params.get(key), value) for key, value in where.items())


def equal(ours: Any, theirs: Any) -> bool:
    """Tell whether two values are equal, numbers up to rounding."""
    if isinstance(ours, int | float) and isinstance(theirs, int | float):
        return math.isclose(ours, theirs, rel_tol=1e-9)
    return bool(ours == theirs)


def verdict(settings: Sequence[Setting], ours: Estimate | None, entry: Expected) -> str:
    """Return `inside`, `OUTSIDE`, or why there is no number."""
    if len(settings) > 1:
        return f"{len(settings)} settings fit"
    if ours is None:
        return "no such metric" if settings else "no run"
    return "inside" if abs(ours.mean - entry.value) <= entry.tolerance + 1e-12 else "OUTSIDE"
