"""A table, and its form in a terminal, in CSV, LaTeX and Markdown; the cells are the same everywhere."""

import csv
import io
from dataclasses import dataclass
from typing import Literal

from rich import box
from rich.table import Table as RichTable
from rich.text import Text
from tabulate import tabulate

from psilon_bench.report import escaping
from psilon_bench.report.escaping import spreadsheet, visible
from psilon_bench.report.estimate import Estimate, rounded

Cell = str | int | float | Estimate | None


@dataclass(frozen=True)
class Table:
    """Rows of cells under named columns; `name` is the name of its files."""

    name: str
    title: str
    columns: list[str]
    rows: list[list[Cell]]
    note: str = ""
    brief: bool = True  # worth showing in a terminal

    def terminal(self) -> RichTable:
        """Return the table for rich; no text in it is read as markup."""
        table = RichTable(
            title=Text(self.title),
            title_justify="left",
            title_style="bold",
            caption=Text(self.note) if self.note else None,
            caption_justify="left",
            box=box.SIMPLE_HEAD,
        )
        for column, words in zip(self.columns, self.words(), strict=True):
            justify: Literal["left", "right"] = "left" if words else "right"
            table.add_column(Text(column), justify=justify, overflow="fold", no_wrap=not words)
        for row in self.rows:
            table.add_row(*(Text(text(cell)) for cell in row))
        return table

    def listed(self) -> Text:
        """Return the table for a terminal that is too narrow for it: a paragraph for each row."""
        text = Text(self.title, style="bold").append("\n", style="not bold")
        for first, *others in self.texts():
            cells = [f"{column} {cell}" for column, cell in zip(self.columns[1:], others, strict=True) if cell]
            text.append(f"{first}: {', '.join(cells)}\n", style="not bold")
        return text.append(f"{self.note}\n", style="not bold italic")

    def csv(self) -> str:
        """Return the table as CSV with numbers in full; a mean over seeds makes three columns: mean, sd and n.

        No text begins as a formula.
        """
        spread = [any(isinstance(row[i], Estimate) for row in self.rows) for i in range(len(self.columns))]
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            [
                spreadsheet(name)
                for column, is_mean in zip(self.columns, spread, strict=True)
                for name in csv_columns(column, is_mean)
            ]
        )
        for row in self.rows:
            writer.writerow(
                [part for cell, is_mean in zip(row, spread, strict=True) for part in csv_fields(cell, is_mean)]
            )
        return file.getvalue()

    def latex(self) -> str:
        r"""Return the table for LaTeX with \\usepackage{booktabs}."""
        made = tabulate(self.texts(), self.columns, "latex_booktabs", disable_numparse=True, colalign=self.align())
        return made.replace("±", r"$\pm$") + "\n"

    def markdown(self) -> str:
        """Return the table as a pipe table, as GitHub reads it."""
        rows = [[escaping.markdown(cell) for cell in row] for row in self.texts()]
        columns = [escaping.markdown(column) for column in self.columns]
        return tabulate(rows, columns, "pipe", disable_numparse=True, colalign=self.align())

    def texts(self) -> list[list[str]]:
        """Return the cells as they are shown."""
        return [[text(cell) for cell in row] for row in self.rows]

    def align(self) -> list[str] | None:
        """Return the alignment of each column: words left, numbers right; None for a table without rows."""
        return ["left" if words else "right" for words in self.words()] if self.rows else None

    def words(self) -> list[bool]:
        """Return for each column whether it holds words."""
        return [any(isinstance(row[index], str) for row in self.rows) for index in range(len(self.columns))]


def text(cell: Cell) -> str:
    """Return a cell as it is shown; an empty text for None."""
    if cell is None:
        return ""
    return rounded(cell) if isinstance(cell, float) else visible(str(cell))


def sort_key(cell: Cell) -> float | str:
    """Return what a column is sorted by."""
    if isinstance(cell, Estimate):
        return cell.mean
    return cell if isinstance(cell, int | float) else (cell or "").lower()


def csv_columns(column: str, is_mean: bool) -> list[str]:
    """Return the columns of the CSV file that a column makes."""
    return [column, f"{column} sd", f"{column} n"] if is_mean else [column]


def csv_fields(cell: Cell, is_mean: bool) -> list[object]:
    """Return the fields of the CSV file that a cell makes."""
    if not is_mean:
        return [spreadsheet(cell)]
    return [cell.mean, cell.sd, cell.n] if isinstance(cell, Estimate) else [cell, None, None]
