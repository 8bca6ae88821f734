"""ensemble=true: what a sweep makes of its networks when all of them are trained."""

from pathlib import Path


def make_and_show(folder: Path) -> None:
    """Write an ensemble for each data set of the records in a folder, and show what it is worth.

    A data set without one is told in a line. Raises UsageError where none has one.
    """
    from psilon_bench.report.ensemble import make_ensembles
    from psilon_bench.report.metric import chosen_by
    from psilon_bench.report.report import make
    from psilon_bench.run.display import Display

    display = Display()
    table, problems = make_ensembles(make([folder], chosen_by("val/loss", None)).choices, folder)
    display.console.print(table.terminal())
    for line in problems:
        display.say(line, soft_wrap=True)
    display.say(f"Each is in {folder / 'ensembles'}, for psilon-predict FOLDER rows.csv.", soft_wrap=True)
