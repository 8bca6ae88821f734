"""The folder of a report: report.html (whole in one file), report.md, tables/ and figures/."""

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from jinja2 import Environment, PackageLoader, StrictUndefined

from psilon_bench.errors import UsageError
from psilon_bench.records import places
from psilon_bench.records.atomic_files import write_text
from psilon_bench.report.escaping import markdown
from psilon_bench.report.material import Material
from psilon_bench.report.pictures import Saved, save_figures
from psilon_bench.report.report import Report
from psilon_bench.report.table import sort_key, text


def write_report(report: Report, out: Path, material: Material | None = None) -> Path:
    """Write all files of a report to `out` and return the path of report.html; figures need `material`.

    What cannot be drawn is added to the report's notes, and damaged files to its table of these. UsageError where the
    folder takes no files, or where another report is being written there.
    """
    with written_alone(out):
        fresh(out / places.FIGURES)
        saved = save_figures(material, out / places.FIGURES) if material else Saved([], [], [])
        report.notes.extend(saved.problems)
        report.leave_out(saved.damaged)
        save_tables(report, out / places.TABLES)
        for name in (places.REPORT_MD, places.REPORT_HTML):
            page = environment().get_template(f"{name}.j2").render(report=report, pictures=saved.pictures)
            write_text(out / name, page, flushed=False)
    return out / places.REPORT_HTML


@contextmanager
def written_alone(out: Path) -> Iterator[None]:
    """Hold the folder of a report within the block, in which no other report may write there; UsageError as above."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with FileLock(places.report_lock(out), timeout=0):
            try:
                yield
            finally:
                with contextlib.suppress(OSError):  # the folder may be handed on as it is
                    places.report_lock(out).unlink()
    except Timeout:
        raise UsageError(f"Another report is being written to {out}. Wait for it, or set --out.") from None
    except OSError as error:
        reason = f"{error.strerror or error} ({error.filename or out})"
        raise UsageError(f"The report cannot be written to {out}: {reason}. Set --out to another folder.") from None


def save_tables(report: Report, folder: Path) -> None:
    """Write CSV and LaTeX of each table; files of an earlier report are removed."""
    fresh(folder)
    for table in report.tables:
        (folder / f"{table.name}.csv").write_text(table.csv(), encoding="utf-8")
        (folder / f"{table.name}.tex").write_text(table.latex(), encoding="utf-8")


def fresh(folder: Path) -> None:
    """Make the folder, without the files of an earlier report; other files are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    for suffix in ("csv", "tex", "png", "svg"):
        for path in folder.glob(f"*.{suffix}"):
            path.unlink()


def environment() -> Environment:
    """Return the environment of the templates.

    They fail on an unknown name. HTML is escaped everywhere, Markdown where the filter `escaped` is used.
    """
    made = Environment(
        loader=PackageLoader("psilon_bench.report"),
        autoescape=lambda name: name is not None and name.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"text": text, "sort_key": sort_key, "escaped": markdown}
    return made
