"""Reads run.json of a record, through one schema: a reader gets fields of these types, or one reason why not.

Keys that the schema does not name are kept; those that records of an earlier version lack have a default.
"""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveInt, ValidationError, field_validator
from pydantic_core import from_json

from psilon_bench.records.places import RUN_JSON

TEXT_PARAMS = ("name", "model.name", "reg.name")  # every record has them
TEXT_OR_NULL_PARAMS = ("dataset.name", "results_dir", "tracking.experiment", "tracking.uri")
FINDINGS_IN_REASON = 3
LONGEST_VALUE = 60  # letters

RunDict = dict[str, Any]  # the content of run.json as a dictionary


class Unreadable(Exception):
    """A run.json that cannot be used, and why."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def moment(text: str) -> str:
    """Return the text if it is a time in ISO 8601; ValueError for a time that no clock shows."""
    try:
        datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise ValueError("Input should be a date and time (ISO 8601)") from None
    return text


FiniteFloat = Annotated[float, Field(allow_inf_nan=False)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$")]
Moment = Annotated[str, AfterValidator(moment)]
Pid = Annotated[int, Field(gt=0, lt=2**31)]


class JsonObject(BaseModel):
    """An object of the file; its types are strict, and keys that are not named here are kept."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)


class TargetJson(JsonObject):
    """Units of the target: y_raw = center + scale * y."""

    name: str
    center: FiniteFloat
    scale: FiniteFloat


class TaskJson(JsonObject):
    """The data set that the run learned from. `checksum` is that of its content; empty where the record has none.

    val_weight: the sum of the weights of the validation rows; None where rows have no weights.
    """

    name: str
    kind: Literal["regression", "binary", "multiclass", "recovery"]
    rows: dict[str, int] = {}
    val_weight: FiniteFloat | None = None
    num_features: PositiveInt | None = None
    num_outputs: PositiveInt | None = None
    input_shape: list[PositiveInt] | None = None
    target: TargetJson | None = None
    classes: list[str] = []
    source: str = ""
    licence: str = ""
    checksum: str = ""
    notes: list[str] = []


class TimesJson(JsonObject):
    """The times when the run was started, resumed and ended; `ended` is None while it runs."""

    started: Moment
    ended: Moment | None = None
    resumed: list[Moment] = []


class ProcessJson(JsonObject):
    """The process that computes the run."""

    host: str
    pid: Pid
    began: FiniteFloat


class RaceJson(JsonObject):
    """The comparison by which a run left a race; see psilon_bench.training.elimination. t is None if infinite.

    kept: how many settings the race was to keep; 1 in records made before that was written down.
    """

    rung: FiniteFloat
    epoch: PositiveInt
    best: str
    difference: FiniteFloat
    t: FiniteFloat | None
    p: FiniteFloat
    pairs: PositiveInt
    kept: PositiveInt = 1


Status = Literal["running", "finished", "failed", "killed", "raced out"]
ENDED_WELL: tuple[Status, ...] = ("finished", "raced out")


class RunJson(JsonObject):
    """The whole file. `code_version` is None in records made before it was written down."""

    status: Status
    reason: str | None = None
    title: str
    metrics: dict[str, FiniteFloat]
    params: dict[str, Any]
    fingerprint: Digest
    seed: Annotated[int, Field(ge=0, lt=2**64)]
    code_version: Digest | None = None
    git_commit: str | None = None
    versions: dict[str, str] = {}
    hardware: dict[str, Any] = {}
    times: TimesJson
    process: ProcessJson | None = None
    task: TaskJson
    device: str = ""
    precision: str = ""
    command: list[str] = []
    in_sweep: bool = False
    diverged: bool = False
    race: RaceJson | None = None  # of a run that was raced out
    inputs_kept: list[str] | None = None
    lipschitz_local_values: list[float | None] | None = None  # None where some were not finite
    _raw: dict[str, Any] = {}

    @property
    def raw(self) -> dict[str, Any]:
        """Return the file as it was read, to be changed and written again."""
        return self._raw

    @field_validator("params")
    @classmethod
    def check_names(cls, params: dict[str, Any]) -> dict[str, Any]:
        """Check that the parameters that name things are there and are text; ValueError otherwise."""
        missing = [key for key in TEXT_PARAMS if key not in params]
        if missing:
            raise ValueError(f"Input should have {', '.join(missing)}")
        for key in TEXT_PARAMS + TEXT_OR_NULL_PARAMS:
            value = params.get(key)
            if not isinstance(value, str) and (value is not None or key in TEXT_PARAMS):
                raise ValueError(f"Input should have text as {key}, not {cut_value(value)}")
        return params


def read_run_json(path: Path) -> RunJson:
    """Return the run.json at this path; Unreadable, with the reason in one line, for anything else."""
    if not path.is_file():  # a pipe would be waited for
        raise Unreadable(path, "there is no such file")
    try:
        values = from_json(path.read_bytes())
    except OSError as error:
        raise Unreadable(path, f"it cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise Unreadable(path, f"it is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise Unreadable(path, f"it holds {cut_value(values)} instead of an object")
    try:
        run = RunJson.model_validate(values)
    except ValidationError as error:
        raise Unreadable(path, validation_reason(error)) from error
    run._raw = values  # noqa: SLF001  (of the class above)
    return run


def read_run(record: Path) -> RunDict | None:
    """Return run.json of a record, with the defaults of what it leaves out; None where it cannot be used."""
    try:
        return read_run_json(record / RUN_JSON).model_dump()
    except Unreadable:
        return None


def read_raw(record: Path) -> RunDict:
    """Return run.json of a record as it stands in the file; Unreadable where it cannot be used."""
    return read_run_json(record / RUN_JSON).raw


def validation_reason(error: ValidationError) -> str:
    """Return in words what a file lacks, and the first of its values that are wrong."""
    found = error.errors(include_url=False, include_context=False)
    lacking = [dotted(one["loc"]) for one in found if one["type"] == "missing"]
    wrong = [
        f"{dotted(one['loc'])} is {cut_value(one['input'])}, it {what_it_should_be(one['msg'])}"
        for one in found
        if one["type"] != "missing"
    ]
    told = [f"it lacks {', '.join(lacking)}"] if lacking else []
    more = [f"and {len(wrong) - FINDINGS_IN_REASON} more"] if len(wrong) > FINDINGS_IN_REASON else []
    return "; ".join([*told, *wrong[:FINDINGS_IN_REASON], *more])


def dotted(keys: tuple[int | str, ...]) -> str:
    """Return the place of a value as in `task.name`."""
    return ".".join(map(str, keys))


def what_it_should_be(message: str) -> str:
    """Return pydantic's sentence without its subject, and in words of JSON: should be an object."""
    _, should, rest = message.partition("should")
    return "should be an object" if "valid dictionary" in rest else f"{should}{rest}"


def cut_value(value: Any) -> str:
    """Return a value as text for a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."
