"""The report's folder: report.html (whole in one file), report.md, tables/ and figures/."""

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from psilon_bench.report.material import Material
from psilon_bench.report.pictures import save_figures
from psilon_bench.report.report import Report
from psilon_bench.report.table import sort_key, text


def write(report: Report, out: Path, material: Material | None = None) -> Path:
    """Write all files, those of figures where there is material for them; the path of report.html.

    What cannot be drawn is added to the report's notes.
    """
    save_tables(report, out / "tables")
    fresh(out / "figures")
    pictures, problems = save_figures(material, out / "figures") if material else ([], [])
    report.notes.extend(problems)
    for name in ("report.md", "report.html"):
        (out / name).write_text(environment().get_template(f"{name}.j2").render(report=report, pictures=pictures))
    return out / "report.html"


def save_tables(report: Report, folder: Path) -> None:
    """CSV and LaTeX of each; those of an earlier report that are gone now are removed."""
    fresh(folder)
    for table in report.tables:
        (folder / f"{table.name}.csv").write_text(table.csv())
        (folder / f"{table.name}.tex").write_text(table.latex())


def fresh(folder: Path) -> None:
    """A folder without the files of an earlier report; others are left alone."""
    folder.mkdir(parents=True, exist_ok=True)
    for suffix in ("csv", "tex", "png", "svg"):
        for path in folder.glob(f"*.{suffix}"):
            path.unlink()


def environment() -> Environment:
    """Templates that fail on a name they do not know; HTML is escaped, Markdown is not."""
    made = Environment(
        loader=PackageLoader("psilon_bench.report"),
        autoescape=lambda name: name is not None and name.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"text": text, "sort_key": sort_key}
    return made
