"""run.json of a record, read through one schema: a reader gets fields of these types, or one reason why not.

Keys that the schema does not name are kept; those that records of an earlier version lack have a default.
"""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveInt, ValidationError, field_validator
from pydantic_core import from_json

TEXT = ("name", "model.name", "reg.name")  # parameters that every record has,
TEXT_OR_NULL = ("dataset.name", "results_dir", "tracking.experiment", "tracking.uri")  # and others that name things
TOLD = 3  # findings in one reason
LONGEST_VALUE = 60


class Unreadable(Exception):
    """A run.json that cannot be used, and why."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def moment(text: str) -> str:
    """ISO 8601, kept as it is written; ValueError for a time that no clock shows."""
    try:
        datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise ValueError("Input should be a date and time (ISO 8601)") from None
    return text


Finite = Annotated[float, Field(allow_inf_nan=False)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$")]
Moment = Annotated[str, AfterValidator(moment)]
Seed = Annotated[int, Field(ge=0, lt=2**64)]
Pid = Annotated[int, Field(gt=0, lt=2**31)]


class Part(BaseModel):
    """An object of the file: strict types, unknown keys are kept."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)


class Target(Part):
    """Units of the target: y_raw = center + scale * y."""

    name: str
    center: Finite
    scale: Finite


class Task(Part):
    """The data set that the run learned from. `checksum` is that of its content; empty where the record has none."""

    name: str
    kind: Literal["regression", "binary", "multiclass", "recovery"]
    rows: dict[str, int] = {}
    num_features: PositiveInt | None = None
    num_outputs: PositiveInt | None = None
    input_shape: list[PositiveInt] | None = None
    target: Target | None = None
    classes: list[str] = []
    source: str = ""
    licence: str = ""
    checksum: str = ""
    notes: list[str] = []


class Times(Part):
    """When the run was started, when it was resumed, and when it ended; `ended` is None while it runs."""

    started: Moment
    ended: Moment | None = None
    resumed: list[Moment] = []


class Process(Part):
    """Which process computes the run."""

    host: str
    pid: Pid
    began: Finite


class RunJson(Part):
    """The whole file. `code_version` is None in records made before it was written down."""

    status: Literal["running", "finished", "failed", "killed"]
    reason: str | None = None
    title: str
    metrics: dict[str, Finite]
    params: dict[str, Any]
    fingerprint: Digest
    seed: Seed
    code_version: Digest | None = None
    git_commit: str | None = None
    versions: dict[str, str] = {}
    hardware: dict[str, Any] = {}
    times: Times
    process: Process | None = None
    task: Task
    device: str = ""
    precision: str = ""
    command: list[str] = []
    in_sweep: bool = False
    diverged: bool = False
    inputs_kept: list[str] | None = None
    lipschitz_local_values: list[float | None] | None = None  # None where some were not finite
    _raw: dict[str, Any] = {}

    @property
    def raw(self) -> dict[str, Any]:
        """The file as it was read, to be changed and written again."""
        return self._raw

    @field_validator("params")
    @classmethod
    def named(cls, params: dict[str, Any]) -> dict[str, Any]:
        """The parameters that name things are text."""
        missing = [key for key in TEXT if key not in params]
        if missing:
            raise ValueError(f"Input should have {', '.join(missing)}")
        for key in TEXT + TEXT_OR_NULL:
            value = params.get(key)
            if not isinstance(value, str) and (value is not None or key in TEXT):
                raise ValueError(f"Input should have text as {key}, not {brief(value)}")
        return params


def read(path: Path) -> RunJson:
    """The run.json at this path; Unreadable, with the reason in one line, for anything else."""
    if not path.is_file():  # a pipe would be waited for
        raise Unreadable(path, "there is no such file")
    try:
        values = from_json(path.read_bytes())
    except OSError as error:
        raise Unreadable(path, f"it cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise Unreadable(path, f"it is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise Unreadable(path, f"it holds {brief(values)} instead of an object")
    try:
        run = RunJson.model_validate(values)
    except ValidationError as error:
        raise Unreadable(path, reason_of(error)) from error
    run._raw = values
    return run


def reason_of(error: ValidationError) -> str:
    """What a file lacks, and the first of its values that are wrong."""
    found = error.errors(include_url=False, include_context=False)
    lacking = [dotted(one["loc"]) for one in found if one["type"] == "missing"]
    wrong = [
        f"{dotted(one['loc'])} is {brief(one['input'])}, it {rule(one['msg'])}"
        for one in found
        if one["type"] != "missing"
    ]
    told = [f"it lacks {', '.join(lacking)}"] if lacking else []
    more = [f"and {len(wrong) - TOLD} more"] if len(wrong) > TOLD else []
    return "; ".join([*told, *wrong[:TOLD], *more])


def dotted(place: tuple[int | str, ...]) -> str:
    """task.name"""
    return ".".join(map(str, place))


def rule(message: str) -> str:
    """pydantic's sentence without its subject, and in words of JSON: should be an object."""
    _, should, rest = message.partition("should")
    return "should be an object" if "valid dictionary" in rest else f"{should}{rest}"


def brief(value: Any) -> str:
    """A value in a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."
