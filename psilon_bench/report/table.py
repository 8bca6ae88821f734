"""A table, and how it looks in a terminal, in CSV, LaTeX and Markdown. The same cells everywhere."""

import csv
import io
from dataclasses import dataclass

from rich import box
from rich.table import Table as RichTable
from tabulate import tabulate

from psilon_bench.report.estimate import Estimate, number

Cell = str | int | float | Estimate | None


@dataclass(frozen=True)
class Table:
    """Rows of cells. `name` is that of its files."""

    name: str
    title: str
    columns: list[str]
    rows: list[list[Cell]]
    note: str = ""
    brief: bool = True  # worth showing in a terminal

    def terminal(self) -> RichTable:
        """For rich."""
        table = RichTable(
            title=self.title,
            title_justify="left",
            title_style="bold",
            caption=self.note or None,
            caption_justify="left",
            box=box.SIMPLE_HEAD,
        )
        for index, column in enumerate(self.columns):
            words = self.is_text(index)
            table.add_column(column, justify="left" if words else "right", overflow="fold", no_wrap=not words)
        for row in self.rows:
            table.add_row(*map(text, row))
        return table

    def csv(self) -> str:
        """Numbers in full; a mean over seeds makes three columns: mean, sd and n."""
        spread = [any(isinstance(row[i], Estimate) for row in self.rows) for i in range(len(self.columns))]
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            [name for column, is_mean in zip(self.columns, spread, strict=True) for name in names(column, is_mean)]
        )
        for row in self.rows:
            writer.writerow([part for cell, is_mean in zip(row, spread, strict=True) for part in parts(cell, is_mean)])
        return file.getvalue()

    def latex(self) -> str:
        """For \\usepackage{booktabs}."""
        made = tabulate(self.texts(), self.columns, "latex_booktabs", disable_numparse=True, colalign=self.align())
        return made.replace("±", r"$\pm$") + "\n"

    def markdown(self) -> str:
        """A pipe table, as GitHub reads it."""
        rows = [[cell.replace("|", r"\|") for cell in row] for row in self.texts()]
        return tabulate(rows, self.columns, "pipe", disable_numparse=True, colalign=self.align())

    def texts(self) -> list[list[str]]:
        """As shown."""
        return [[text(cell) for cell in row] for row in self.rows]

    def align(self) -> list[str] | None:
        """Words left, numbers right."""
        return ["left" if self.is_text(i) else "right" for i in range(len(self.columns))] if self.rows else None

    def is_text(self, index: int) -> bool:
        """Whether a column holds words."""
        return any(isinstance(row[index], str) for row in self.rows)


def text(cell: Cell) -> str:
    """As shown; nothing for None."""
    if cell is None:
        return ""
    return number(cell) if isinstance(cell, float) else str(cell)


def sort_key(cell: Cell) -> float | str:
    """What a column is sorted by."""
    if isinstance(cell, Estimate):
        return cell.mean
    return cell if isinstance(cell, int | float) else (cell or "").lower()


def names(column: str, is_mean: bool) -> list[str]:
    """Columns of the CSV file that a column makes."""
    return [column, f"{column} sd", f"{column} n"] if is_mean else [column]


def parts(cell: Cell, is_mean: bool) -> list[object]:
    """Fields of the CSV file that a cell makes."""
    if not is_mean:
        return [cell]
    return [cell.mean, cell.sd, cell.n] if isinstance(cell, Estimate) else [cell, None, None]
