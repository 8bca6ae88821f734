"""ensemble.json: the networks of an ensemble, their weights in its mean, and what it is worth."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from psilon_bench.errors import UsageError, in_one_line
from psilon_bench.records import places
from psilon_bench.records.atomic_files import write_text

Checksum = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Share = Annotated[float, Field(gt=0, le=1)]


class EnsembleMember(BaseModel):
    """A network of the ensemble: its record, seen from the folder of ensemble.json, the file, and its weight.

    sha256: of the file. loss: of this network's candidate alone, on the validation rows.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    record: str
    title: str
    which: Literal["model", "pruned"]
    weight: Share
    loss: float
    sha256: Checksum


class EnsembleJson(BaseModel):
    """The whole file. Losses are those of the task, on rows of `val` and `test`; data: the checksum of the data set.

    temperature: what the logarithms of the mean's probabilities are divided by; None for a regression, and for rows
    with weights.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    task: dict[str, Any]  # as in run.json of the members
    data: str
    members: Annotated[list[EnsembleMember], Field(min_length=1)]
    picks: int  # of the greedy selection
    candidates: int
    temperature: Annotated[float, Field(gt=0)] | None = None
    loss: dict[str, float]
    loss_of_best: dict[str, float]  # of the candidate with the lowest loss on the validation rows


def read_ensemble(folder: Path) -> EnsembleJson:
    """Return ensemble.json of a folder; UsageError where it cannot be used."""
    path = folder / places.ENSEMBLE_JSON
    try:
        return EnsembleJson.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise UsageError(f"{path} cannot be read ({in_one_line(error, 160)}). Make it again.") from error


def write_ensemble(folder: Path, ensemble: EnsembleJson) -> None:
    """Write ensemble.json whole or not at all, and the folder where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / places.ENSEMBLE_JSON, ensemble.model_dump_json(indent=2) + "\n")
