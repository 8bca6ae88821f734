"""ensemble=true: what a sweep makes of its networks when all of them are trained."""

from collections import Counter
from pathlib import Path

from rich.table import Column


def make_and_show(folder: Path) -> None:
    """Write an ensemble for each data set of the records in a folder, and show what it is worth.

    Of a single candidate that a race has left it is that one, with the temperature of its probabilities. A data set
    without one is told in a line. Raises UsageError where none has one.
    """
    from psilon_bench.report.ensemble import SHOWN, make_ensembles
    from psilon_bench.report.metric import chosen_by
    from psilon_bench.report.report import make
    from psilon_bench.report.table import text
    from psilon_bench.run.display import Display
    from psilon_bench.run.printing import folding

    display = Display()
    table, problems = make_ensembles(make([folder], chosen_by("val/loss", None)).choices, folder, least=1)
    counts = Counter(str(row[0]) for row in table.rows)
    last = {str(row[0]): row for row in table.rows}  # of the members all together, behind them and the best alone
    rows = [[dataset, str(counts[dataset] - 2), *map(text, row[3:])] for dataset, row in last.items()]
    heads = ("networks", "val/loss", "test/loss", *SHOWN)
    kept = [k for k in range(len(heads) + 1) if any(row[k] for row in rows)]
    columns = [*folding("ensemble of"), *(Column(head, justify="right") for head in heads)]
    display.table([columns[k] for k in kept], [[row[k] for k in kept] for row in rows])
    for line in problems:
        display.say(line, soft_wrap=True)
    display.say(f"They are in {folder / 'ensembles'}, for psilon-predict FOLDER rows.csv.", soft_wrap=True)
