"""The report in MLflow: its files and metrics on the parent run of the sweep, its summary as that run's description."""

from collections.abc import Callable, Sequence
from pathlib import Path

from psilon_bench.errors import UsageError
from psilon_bench.records import places
from psilon_bench.report.escaping import markdown
from psilon_bench.report.estimate import estimate
from psilon_bench.report.report import Report
from psilon_bench.tracking.client import client_of, unusable
from psilon_bench.tracking.content import milliseconds
from psilon_bench.tracking.server import check_server
from psilon_bench.tracking.state import ParentRun
from psilon_bench.tracking.sweep_run import log_metrics

DESCRIPTION = "mlflow.note.content"  # the tag that MLflow shows as Markdown above a run
LONGEST_TAG = 8000
FILES = (places.REPORT_HTML, places.REPORT_MD, places.TABLES, places.FIGURES)


def attach(report: Report, out: Path, say: Callable[[str], None]) -> None:
    """Send the report's files in `out` to the MLflow run of every sweep that the runs belong to.

    `say` gets one line a sweep. Where MLflow cannot be reached the line says so, and the report itself is whole.
    """
    for folder, uri, run_id in parents(sorted({run.folder.parent for run in report.records.runs})):
        try:
            check_server(uri)
            send(uri, run_id, report, out)
        except Exception as error:  # whatever a server, a proxy or a database may raise
            reason = error if isinstance(error, UsageError) else unusable(uri, error)
            say(f"MLflow has not got the report: {reason} The report itself is whole.")
        else:
            say(f"MLflow has the report: run sweep {folder.name} at {uri}")


def parents(sweeps: Sequence[Path]) -> list[tuple[Path, str, str]]:
    """Return folder, tracking server and id of the parent run of each sweep that MLflow knows."""
    known = ((sweep, ParentRun.read(places.mlflow_parent(sweep))) for sweep in sweeps)
    return [(sweep, parent.uri, parent.run_id) for sweep, parent in known if parent is not None]


def send(uri: str, run_id: str, report: Report, out: Path) -> None:
    """Send files, metrics and description to one run; an earlier report of the run is overwritten."""
    client = client_of(uri)
    log_metrics(client, run_id, chosen(report), milliseconds())
    client.set_tag(run_id, DESCRIPTION, description(report))
    for name in FILES:
        if (out / name).is_dir():
            client.log_artifacts(run_id, str(out / name), f"report/{name}")
        else:
            client.log_artifact(run_id, str(out / name), "report")


def chosen(report: Report) -> dict[str, float]:
    """Return the mean test metric of each chosen setting, by the name `chosen test/loss/METHOD on DATA SET`.

    Only one metric is sent, because MLflow makes a chart and a column of each.
    """
    found = [(choice.group, choice.setting) for choice in report.choices if choice.setting]
    return {
        f"chosen {report.metric.test}/{group.method} on {group.dataset}": mean.mean
        for group, setting in found
        if (mean := estimate(setting.numbers(report.metric.test)))
    }


def description(report: Report) -> str:
    """Return notes and summary in Markdown; a summary too long for a tag is left to report.html.

    Names and notes come from records, so they are escaped: MLflow shows them as they are.
    """
    notes = "\n".join(f"- {markdown(note)}" for note in report.notes)
    tables = [f"**{markdown(table.title)}**\n\n{table.markdown()}" for table in report.tables[:1]]
    whole = "\n\n".join([notes, *tables, "Artifacts: report/report.html"])
    return whole if len(whole) <= LONGEST_TAG else f"{notes}\n\nThe tables are in the artifacts: report/report.html"
