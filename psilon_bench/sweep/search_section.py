"""The settings of a search below hydra.sweeper, checked."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, ValidationError

from psilon_bench.config.sections import Section
from psilon_bench.config.signature import first_line
from psilon_bench.errors import UsageError, short
from psilon_bench.metrics.choosing import instead_of, is_of_test_rows

DIRECTIONS = ("minimize", "maximize")
UNLESS_ASKED = {
    "val/loss": "minimize"
}  # not in the schema: Hydra would merge it with the objectives that are asked for


class SearchSection(Section):
    """How many trials a search has, who proposes them, and by which metrics they are judged.

    params: key -> values as a command line has them. conditions: key -> `other=value`, where the key is searched only
    while the other has that value. average: keys over whose values the value of a trial is a mean.
    """

    n_trials: PositiveInt
    batch_size: PositiveInt
    sampler: Literal["tpe", "random", "nsga2"]
    seed: NonNegativeInt
    objectives: Annotated[dict[str, Any] | None, Field(description="a mapping such as {val/loss: minimize}")]
    average: Annotated[list[str], Field(description="a list of keys, such as [seed]")]
    params: Annotated[dict[str, Any] | None, Field(description="a mapping of keys to values, as text")]
    conditions: Annotated[dict[str, str] | None, Field(description="a mapping such as {model.depth: 'model=mlp'}")]

    @property
    def goals(self) -> dict[str, str]:
        """Return the direction of each objective by the name of its metric, in the order given."""
        return self.objectives or UNLESS_ASKED


def checked_section(settings: Mapping[str, Any]) -> SearchSection:
    """Return the settings as a section; UsageError for the first that is not valid, and for those of a grid."""
    if settings.get("grids"):
        raise UsageError(
            "hydra.sweeper.grids, the arms of a preset, are grids and no space. Leave hydra/sweeper=optuna out, or "
            "take the preset's settings without its grids."
        )
    try:
        section = SearchSection.model_validate(dict(settings))
    except ValidationError as error:
        raise UsageError(first_line(error, "hydra.sweeper", SearchSection)) from error
    for name, direction in section.goals.items():
        check_objective(name, direction)
    return section


def check_objective(name: str, direction: Any) -> None:
    """Raise UsageError for a direction that is none, and for a metric of the test rows, which choose nothing."""
    if direction not in DIRECTIONS:
        raise UsageError(
            f"hydra.sweeper.objectives: {short(name)}: {short(str(direction))} is no direction. "
            f"Set {short(name)}: minimize, or maximize."
        )
    if is_of_test_rows(name):
        raise UsageError(
            f"hydra.sweeper.objectives: {short(name)} is measured on the test rows, which are read once, after the "
            f"choice. Take {instead_of(short(name))}."
        )
