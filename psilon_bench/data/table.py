"""A table of your own: one file and one target column; what is not said is inferred, and stated in the task's notes."""

import codecs
import hashlib
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
from pydantic import Field, NonNegativeInt, PositiveInt

from psilon_bench.config.marks import InputPath, InputPathOrName, checked_by, names_file, settled_by
from psilon_bench.data import cache, checks, store, table_file
from psilon_bench.data.columns import ColumnReader
from psilon_bench.data.folds import Fold, FoldCount, Folds
from psilon_bench.data.form import Form
from psilon_bench.data.given_split import split_of_file
from psilon_bench.data.preprocessing import DateEncoding, Encoding
from psilon_bench.data.split import Size
from psilon_bench.data.split_settings import Arguments, check_split, check_usual, without_unused
from psilon_bench.data.standardisation import ScalingName
from psilon_bench.data.tabular import Protocol, RawTable, TaskOptions, make_task, without_protocol
from psilon_bench.data.task import Task
from psilon_bench.errors import UsageError

MAX_COUNTED_CLASSES = 10  # a target of whole numbers with more values than this is a quantity
GUESSES = ("target", "label", "class", "y")
Separator = Annotated[
    str | None, Field(pattern=r"^([ -~\t]|tab|\\t|spaces)$", description="one character, tab or spaces")
]


@dataclass(frozen=True)
class Reading:
    """How a file is read and what its columns are for; None stands for what is to be inferred."""

    target: str | None
    kind: str
    drop: tuple[str, ...]
    group: str | None
    categorical: tuple[str, ...]
    separator: str | None
    charset: str
    form: Form


def table_arguments(arguments: Arguments) -> Arguments:
    """Return the arguments of `load` that determine the data."""
    used = without_unused(without_protocol(arguments), "split")
    return used if used["weights"] is not None else {key: value for key, value in used.items() if key != "weights"}


@checked_by(partial(check_split, brought_by="split"))
@settled_by(table_arguments)
def load(
    name: str,
    path: InputPath | None,
    target: str | None,
    kind: Literal["infer", "regression", "classes"],
    drop: list[str],
    group: str | None,
    split: InputPathOrName | None,
    order_by: str | None,
    weights: str | None,
    categorical: list[str],
    missing: list[str | int | float | None],
    sep: Separator,
    decimal: Literal[".", ","],
    thousands: Literal[",", ".", " ", "'", "_"] | None,
    charset: str,
    dates: DateEncoding,
    train_size: Size | None,
    val_size: Size | None,
    test_size: Size | None,
    max_rows: PositiveInt | None,
    encoding: Encoding,
    protocol: Protocol,
    scaling: ScalingName,
    split_seed: NonNegativeInt,
    folds: FoldCount | None,
    fold: Fold | None,
    repeat: NonNegativeInt,
) -> Task:
    """Return the task of predicting one column of a table from the others.

    The columns that `group`, `split`, `order_by` and `weights` name are no inputs. `name` is the configuration's; the
    Task is named after the file. conf/dataset/table.yaml explains the other arguments. Raises UsageError for a file
    that cannot be read, columns that do not exist, cells without a meaning, and sizes that do not fit.
    """
    if path is None:
        raise UsageError("dataset=table reads a file, but dataset.path=null. Set dataset.path=my.csv.")
    form = form_of(missing, decimal, thousands, charset)
    reading = Reading(target, kind, tuple(drop), group, tuple(categorical), sep, charset, form)
    sizes, cut = [train_size, val_size, test_size], Folds.of(folds, fold, repeat)
    options = TaskOptions(sizes, max_rows, split_seed, encoding, dates, cut, scaling).with_protocol(protocol)
    raw = table_of_file(Path(path).expanduser(), reading)
    raw = split_as_asked(raw if weights is None else raw.weighted_by(weights), order_by, split)
    if raw.given is not None and len(raw.given.val):
        check_usual({"name": name, "val_size": val_size}, ("val_size",), raw.given.named_by)
    return make_task(raw, options)


def split_as_asked(raw: RawTable, order_by: str | None, split: str | None) -> RawTable:
    """Return the table with what says how its rows are split, an order or a split of the user's own, where asked."""
    raw = raw if order_by is None else raw.ordered_by(order_by)
    return raw if split is None else with_split(raw, split)


def form_of(missing: list[str | int | float | None], decimal: str, thousands: str | None, charset: str) -> Form:
    """Return how cells are written; UsageError for settings that no file can be read with."""
    check_form(decimal, thousands, charset)
    return Form(tuple("null" if word is None else word for word in missing), decimal, thousands)


def with_split(raw: RawTable, split: str) -> RawTable:
    """Return the table with the split that a column of it, or a file of row numbers, says.

    The file's content is part of the checksum. Raises UsageError as split_of_words and split_of_file do.
    """
    if not names_file(split) or split in raw.frame:
        return raw.split_by(split)
    file = Path(split).expanduser()
    with cache.unchanged(file):
        given = split_of_file(file, raw.frame[raw.target])
        checksum = hashlib.sha256(f"{raw.checksum} {store.file_sha256(file)}".encode()).hexdigest()
    return replace(raw, given=given, checksum=checksum)


def check_form(decimal: str, thousands: str | None, charset: str) -> None:
    """Raise UsageError for settings that no file can be read with."""
    if decimal == thousands:
        raise UsageError(f"dataset.decimal and dataset.thousands must differ, but both are {decimal!r}. Set one.")
    try:
        codecs.lookup(charset)
    except LookupError as error:
        raise UsageError(f"dataset.charset={charset} is not known. Set utf-8, cp1252, latin-1 or utf-16.") from error


def _content(file: Path, reading: Reading) -> cache.CacheKey:
    """Return the key of a table: how the file is read, and the file's state."""
    return (reading, *cache.file_key(file))


@cache.cached_by_bytes(cache.raw, _content)
def table_of_file(file: Path, reading: Reading) -> RawTable:
    """Return the rows of a file: what depends on its content and on how it is read, not on the split.

    Raises UsageError as `load` does.
    """
    content = table_file.read_table_file(file, reading.separator, reading.charset)
    target, notes = _target(content.table.column_names, file, reading)
    verbatim = [*reading.categorical, *([reading.group] if reading.group else [])]
    kept = [name for name in content.table.column_names if name not in reading.drop]
    read = ColumnReader(content, reading.form, verbatim, target, reading.kind == "classes").read(kept)
    if target in read.dates:
        raise UsageError(
            f"A target must be numbers or classes, but {target!r} holds dates. Store it as a number, such as days."
        )
    regression, inferred = _is_regression(read.frame[target], reading.kind, target in read.levels)
    others = (target, reading.group)
    return RawTable(
        name=content.name,
        frame=read.frame,
        target=target,
        regression=regression,
        categorical=[name for name in read.levels if name not in others],
        source=str(file.absolute()),
        licence="your own file",
        checksum=content.checksum,
        notes=[*notes, *inferred, *([] if regression else read.merged), *read.notes],
        group=reading.group,
        dates=[name for name in read.dates if name not in others],
        form=reading.form,
        lines=content.lines,
    )


def _target(names: list[str], file: Path, reading: Reading) -> tuple[str, list[str]]:
    """Return the name of the target, and a note where it was inferred; UsageError for a column that does not exist."""
    target = reading.target or _guess_target(names, file)
    checks.check_target_name(target, names, file.name)
    inputs = [name for name in names if name != target]
    checks.check_present("dataset.group", [reading.group] if reading.group else [], inputs)
    checks.check_present("dataset.drop", reading.drop, [name for name in inputs if name != reading.group])
    checks.check_present("dataset.categorical", reading.categorical, [n for n in names if n not in reading.drop])
    return target, [] if reading.target else [f"target inferred from its name: {target}"]


def _is_regression(target: pd.Series, kind: str, is_level: bool) -> tuple[bool, list[str]]:
    """Tell whether the target is a quantity, and return a note where that was inferred.

    Raises UsageError for a regression target that holds text.
    """
    notes = []
    if kind == "infer":
        kind = "classes" if _is_class(target, is_level) else "regression"
        notes = [f"kind inferred from {target.name!r} ({target.nunique()} values, {target.dtype}): {kind}"]
    if kind == "regression" and is_level:
        raise UsageError(
            f"A regression target must be numbers, but {target.name!r} holds {str(target.dropna().iloc[0])[:40]!r}. "
            "Set dataset.kind=classes, or clean the column."
        )
    return kind == "regression", notes


def _guess_target(columns: list[str], file: Path) -> str:
    """Return the first usual name of a target that is a column; UsageError where no column has such a name."""
    for guess in GUESSES:
        if guess in columns:
            return guess
    raise UsageError(
        f"A table needs a target, but dataset.target=null and {file.name} has no column named {', '.join(GUESSES)}. "
        f"Columns: {checks.name_list(columns)}. Set dataset.target=<column>."
    )


def _is_class(target: pd.Series, is_level: bool) -> bool:
    """Tell whether a target holds classes: levels, truth values, or at most MAX_COUNTED_CLASSES whole numbers."""
    if is_level or pd.api.types.is_bool_dtype(target):
        return True
    values = target.dropna()
    return bool((values % 1 == 0).all()) and values.nunique() <= MAX_COUNTED_CLASSES
