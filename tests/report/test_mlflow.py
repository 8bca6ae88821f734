"""Reports and MLflow, the real one: attached to the sweep's parent run, made of an experiment, out of reach."""

import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from made_records import write_record
from rich.console import Console
from tiny import TINY

from psilon_bench.errors import UsageError
from psilon_bench.report.attach import DESCRIPTION, LONGEST_TAG, attach, description
from psilon_bench.report.from_mlflow import fetch_records
from psilon_bench.report.metric import chosen_by
from psilon_bench.report.report import make
from psilon_bench.report.write import write_report
from psilon_bench.run.display import Display
from psilon_bench.run.run import run
from psilon_bench.tracking.mirror import Mirror

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")  # in MLflow itself
METRIC = chosen_by("val/loss", None)


@pytest.fixture
def experiment(tmp_path: Path, experiment_in: Any) -> Any:
    """Client, experiment and address of a database of its own."""
    return experiment_in(tmp_path)


def test_to_mlflow_and_back(experiment: Any, config: Any, tmp_path: Path) -> None:
    """Page, tables and description lie on the sweep's parent run; the experiment gives the report again."""
    client, uri = experiment.client, experiment.uri
    overrides = (*TINY, "name=sweep", f"results_dir={tmp_path}")
    configs = [config(*overrides, f"reg.lam={lam}") for lam in (1e-3, 1e-2, 1e-1)]
    records = run(configs, Display(Console(file=io.StringIO())))
    records[2].run["status"] = "running"
    records[2].save()
    for record in records:
        Mirror(experiment, record.folder).send()
    ours, out = make([tmp_path / "sweep"], METRIC), tmp_path / "out"
    write_report(ours, out)
    said: list[str] = []
    attach(ours, out, said.append)
    attach(ours, out, said.append)  # the second takes the place of the first
    assert said == [f"MLflow has the report: run sweep sweep at {uri}"] * 2
    (parent,) = client.search_runs([experiment.experiment_id], "tags.parent_of != ''")
    assert parent.data.tags[DESCRIPTION].count("| breast_cancer | pnet pathnorm |") == 1
    (setting,) = [choice.setting for choice in ours.choices]
    assert setting is not None
    losses = setting.numbers("test/loss")
    key = "chosen test/loss/pnet pathnorm on breast_cancer"
    assert parent.data.metrics[key] == pytest.approx(sum(losses) / len(losses))
    there = {file.path for file in client.list_artifacts(parent.info.run_id, "report")}
    assert there == {f"report/{name}" for name in ("report.html", "report.md", "tables", "figures")}
    fetched = client.download_artifacts(parent.info.run_id, "report/tables/summary.csv", str(tmp_path))
    assert Path(fetched).read_text(encoding="utf-8") == (out / "tables/summary.csv").read_text()

    said.clear()
    fetch_records("tests", uri, tmp_path / "fetched", said.append)
    assert said == [f"1 runs have no whole record in MLflow (still running, or not sent): {records[2].run['title']}"]
    theirs = make([tmp_path / "fetched"], METRIC)
    assert theirs.tables[0].rows[0][:-1] == ours.tables[0].rows[0][:-1]  # the flags know of the third run, or do not
    fetched_setting = theirs.choices[0].setting
    assert fetched_setting is not None
    assert fetched_setting.runs[0].history() == setting.runs[0].history()
    with pytest.raises(UsageError, match=r"--mlflow nothing is no experiment at .* There are: .*tests"):
        fetch_records("nothing", uri, tmp_path / "nothing", print)


@pytest.mark.slow
def test_a_servers_word_for_a_folder_is_not_taken(experiment: Any, config: Any, tmp_path: Path) -> None:
    """The tag of a sweep must be a name of ours: another is told in one line, and nothing is written there."""
    overrides = (*TINY, f"results_dir={tmp_path}/results")
    records = run([config(*overrides, f"seed={seed}") for seed in (0, 1)], Display(Console(file=io.StringIO())))
    mirrors = [Mirror(experiment, record.folder) for record in records]
    for mirror in mirrors:
        mirror.send()
    assert mirrors[1].run_id is not None
    for number, sweep in enumerate(["/tmp/elsewhere", "../up", "", "a/b", None]):
        if sweep is None:
            experiment.client.delete_tag(mirrors[0].run_id, "sweep")
        else:
            experiment.client.set_tag(mirrors[0].run_id, "sweep", sweep)
        said: list[str] = []
        place = tmp_path / f"deep{number}" / "fetched"
        fetch_records("tests", experiment.uri, place, said.append)
        assert len(said) == 1
        assert said[0].startswith(f"the run '{mirrors[0].run_id}' is left out: its tag sweep={sweep!r} is no name")
        found = [path for path in tmp_path.rglob("run.json") if not {"artifacts", "results"} & {*path.parts}]
        assert found == [place / "runs" / mirrors[1].run_id / "run.json"]
        shutil.rmtree(place)
    assert not Path("/tmp/elsewhere").exists()


def test_a_place_to_read_from_is_not_made(tmp_path: Path) -> None:
    """A mistyped file, an experiment that is not there, a server that is away: one line each."""
    with pytest.raises(UsageError, match=r"typo\.db cannot be used: unable to open database file\."):
        fetch_records("tests", f"sqlite:///{tmp_path}/typo.db", tmp_path / "fetched", print)
    with pytest.raises(UsageError, match=r"tracking\.uri=http://127\.0\.0\.1:9 does not answer"):
        fetch_records("tests", "http://me:secret@127.0.0.1:9", tmp_path / "fetched", print)
    assert not list(tmp_path.iterdir())


def test_mlflow_is_away(tmp_path: Path) -> None:
    """One line, and the report stands."""
    write_record(tmp_path / "sweep", 1e-3, 0, {"val/loss": 1.0})
    (tmp_path / "sweep/.mlflow-parent.json").write_text(
        '{"uri": "http://127.0.0.1:9", "run_id": "0123456789abcdef0123456789abcdef"}'
    )
    said: list[str] = []
    attach(make([tmp_path], METRIC), tmp_path / "out", said.append)
    assert len(said) == 1
    assert said[0].startswith("MLflow has not got the report: tracking.uri=http://127.0.0.1:9 does not answer")


def test_long_summaries_do_not_fit_a_tag(tmp_path: Path) -> None:
    """They are in the page."""
    write_record(tmp_path, 1e-3, 0, {"val/loss": 1.0})
    made = make([tmp_path], METRIC)
    assert "| wine" in description(made)
    made.tables[0].rows.extend(made.tables[0].rows * 200)
    assert len(description(made)) < LONGEST_TAG
    assert "The tables are in the artifacts" in description(made)


def test_a_description_shows_what_records_say(tmp_path: Path) -> None:
    """No note becomes a link, HTML or emphasis on MLflow's page."""
    write_record(tmp_path, 1e-3, 0, {"val/loss": 1.0})
    made = make([tmp_path], METRIC)
    made.notes.append("[data](https://example.org) <b>of</b> *mine*")
    assert r"- \[data\](https://example.org) &lt;b&gt;of&lt;/b&gt; \*mine\*" in description(made)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), r"Say which runs: psilon-report results/<name>, or --mlflow EXPERIMENT\."),
        (("--mlflow", "tests"), r"--mlflow EXPERIMENT needs --uri \(or MLFLOW_TRACKING_URI\), and no FOLDER\."),
        (("--direction", "up", "x"), r"'up' is not one of 'min', 'max'"),
    ],
)
def test_asked_wrongly(arguments: Any, message: Any, tmp_path: Path) -> None:
    """One line, exit code 2."""
    command = [sys.executable, "-c", "from psilon_bench.cli.report import main; main()", *arguments]
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("psilon-report: ")
    assert done.stderr.count("\n") == 1
    assert re.search(message, done.stderr)
