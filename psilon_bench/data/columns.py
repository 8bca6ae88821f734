"""From the columns of a file to a data frame of numbers, levels and dates: by the type of a column, or by its text."""

from dataclasses import dataclass, field

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from psilon_bench.data import checks
from psilon_bench.data.form import MISSING, Form
from psilon_bench.data.setting import setting
from psilon_bench.data.table_file import Content
from psilon_bench.data.text_column import Role, TextColumn
from psilon_bench.errors import UsageError

HEAD = 1000  # cells that are tried first: a cast that fails is slow, for it words every failure
USUAL = pa.array(sorted(MISSING))
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


@dataclass(frozen=True)
class TypedFrame:
    """A data frame (rows x columns) that was read; `levels` and `dates` name the columns that hold no numbers."""

    frame: pd.DataFrame
    levels: list[str]
    dates: list[str]
    notes: list[str]
    merged: list[str]  # notes that hold if the target is classes


@dataclass(frozen=True)
class ColumnReader:
    """Reads the columns of a file one by one, and collects notes on what it decided."""

    content: Content
    form: Form
    verbatim: list[str]  # columns of levels whatever they hold
    target: str
    classes: bool = False  # whether the target is said to be classes
    notes: list[str] = field(default_factory=list)
    merged: list[str] = field(default_factory=list)  # as in TypedFrame
    missing: dict[str, dict[str, int]] = field(default_factory=dict)  # column -> word -> cells that it leaves empty

    def read(self, names: list[str]) -> TypedFrame:
        """Return the columns of these names.

        Raises UsageError in one line for cells without a meaning, and for types of which no column can be made.
        """
        made = {name: self._column(name) for name in names}
        frame = pd.DataFrame({name: series for name, (series, _) in made.items()})
        levels, dates = ([name for name, (_, own) in made.items() if own == role] for role in ("level", "date"))
        notes = [*self.content.notes, *self.notes, *self._missing_notes()]
        return TypedFrame(frame, levels, dates, notes, self.merged)

    def _column(self, name: str) -> tuple[pd.Series, Role]:
        """Return the values of a column, one a row, and whether they are numbers, levels or dates."""
        cells = self.content.table[name]
        if types.is_string(cells.type) or types.is_large_string(cells.type) or types.is_string_view(cells.type):
            series, role = self._text(name, cells)
        elif types.is_dictionary(cells.type):
            series, role = self._categories(name, cells.to_pandas()), "level"
        else:
            series, role = _typed(name, cells)
        if role == "number":
            series = _settled(self._without_values(name, series))
        if role == "date" and name not in self.verbatim:
            self.notes.append(f"{name!r} holds dates")
        return series, "level" if name in self.verbatim else role

    def _text(self, name: str, cells: pa.ChunkedArray) -> tuple[pd.Series, Role]:
        """Return the values of a column of text; the usual column of plain numbers does not pass through TextColumn."""
        typed, target = self.content.lines is None, name == self.target
        verbatim = name in self.verbatim or (typed and target)
        quick = None if typed or verbatim or target else _plain_numbers(cells, self.form)
        if quick is not None:
            self.missing[name] = quick[1]
            return quick[0], "number"
        about = {"typed": typed, "target": target, "classes": target and self.classes}
        column = TextColumn.of(name, cells, form=self.form, place=self.content.place, **about)
        series, role = column.levels() if verbatim else column.read()
        self.missing[name] = column.taken
        self.notes.extend(column.notes)
        self.merged.extend(column.merged)
        return series, role

    def _categories(self, name: str, series: pd.Series) -> pd.Series:
        """Return a column of categories without the levels that dataset.missing names, and without levels of no row."""
        gone = [level for level in series.cat.categories if str(level) in self.form.words]
        self.missing[name] = {str(level): int((series == level).sum()) for level in gone}
        return series.cat.remove_categories(gone).cat.remove_unused_categories()

    def _without_values(self, name: str, series: pd.Series) -> pd.Series:
        """Return a column of numbers with those numbers missing that dataset.missing names."""
        for value in [] if pd.api.types.is_bool_dtype(series) else self.form.values:
            found = (series == value).fillna(False)
            if found.any():
                self.missing.setdefault(name, {})[f"{value:g}"] = int(found.sum())
                series = series.mask(found)
        return series

    def _missing_notes(self) -> list[str]:
        """Return one note on which words count as missing, in which columns and how often; no note where none does."""
        told = {name: {word: n for word, n in words.items() if n} for name, words in self.missing.items()}
        parts = [
            f"{name!r} ({', '.join(f'{n} {word!r}' if word else f'{n} empty' for word, n in words.items())})"
            for name, words in told.items()
            if words
        ]
        return [f"missing: {checks.name_list(parts)}"] if parts else []


def _typed(name: str, cells: pa.ChunkedArray) -> tuple[pd.Series, Role]:
    """Return values and role of a column whose type the file knows; durations and times of day are in seconds."""
    kind = cells.type
    if types.is_null(kind) or types.is_floating(kind):
        return cells.cast(pa.float64()).to_pandas(), "number"
    if types.is_integer(kind) or types.is_boolean(kind):
        return cells.to_pandas(types_mapper=_nullable), "number"
    if types.is_decimal(kind):
        return _decimals(cells), "number"
    if types.is_duration(kind) or types.is_time(kind):
        counts = cells.cast(pa.int32() if types.is_time32(kind) else pa.int64()).cast(pa.float64())
        return counts.to_pandas() / PER_SECOND[kind.unit], "number"
    if types.is_date(kind) or types.is_timestamp(kind):
        days = cells.to_pandas(date_as_object=False)
        return days if days.dt.tz is None else days.dt.tz_convert(None), "date"
    raise UsageError(
        f"A cell of a table holds one number, level, truth value or date, but those of column {name!r} are {kind}. "
        f"Leave it out with {setting('dataset.drop', [name])}, or store its parts as columns."
    )


def _nullable(kind: pa.DataType) -> pd.api.extensions.ExtensionDtype:
    """Return the pandas type of truth values or integers that can be missing."""
    if types.is_boolean(kind):
        return pd.BooleanDtype()
    return pd.UInt64Dtype() if kind == pa.uint64() else pd.Int64Dtype()


def _decimals(cells: pa.ChunkedArray) -> pd.Series:
    """Return decimals as numbers: exact integers where all are whole, else float64."""
    try:
        return cells.cast(pa.int64()).to_pandas(types_mapper=_nullable)
    except pa.ArrowInvalid:
        return cells.cast(pa.float64()).to_pandas()


def _plain_numbers(cells: pa.ChunkedArray, form: Form) -> tuple[pd.Series, dict[str, int]] | None:
    """Return a column of plain numbers, and the words in it that count as missing with the number of cells of each.

    Most columns by far are read here, without a look at each word. None stands for a column with any other cell.
    """
    if not form.plain:
        return None
    text = pc.utf8_trim_whitespace(cells)
    words = pa.array(sorted(form.words | {""}), cells.type)
    for missing in (pc.is_in(cells, words), pc.or_(pc.is_in(text, words), pc.is_in(pc.utf8_lower(text), USUAL))):
        numbers = _cast(pc.if_else(missing, None, text))
        if numbers is not None:
            counts = pc.value_counts(text.filter(missing)).to_pylist()
            return numbers, {count["values"]: count["counts"] for count in counts}
    return None


def _cast(cells: pa.ChunkedArray) -> pd.Series | None:
    """Return text as numbers, integers exactly; None where no cell holds a number or some cell holds something else."""
    try:
        cells.slice(0, HEAD).cast(pa.float64())
        numbers = cells.cast(pa.float64())
    except pa.ArrowInvalid:
        return None
    if numbers.null_count == len(numbers) or pc.any(pc.is_nan(numbers)).as_py():
        return None
    whole = pc.all(pc.equal(numbers, pc.floor(numbers))).as_py()
    for kind in (pa.int64(), pa.uint64()) if whole else ():
        try:
            return cells.cast(kind).to_pandas(types_mapper=_nullable)
        except pa.ArrowInvalid:
            continue
    return numbers.to_pandas()


def _settled(series: pd.Series) -> pd.Series:
    """Return the column in NumPy's type where nothing is missing; NumPy has no missing integers or truth values."""
    if isinstance(series.dtype, pd.api.extensions.ExtensionDtype) and not series.isna().any():
        return series.astype(series.dtype.numpy_dtype)
    return series
