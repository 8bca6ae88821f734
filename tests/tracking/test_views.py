"""The saved views of a sweep: tags that MLflow's page reads, which a real browser shows."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from mirrored import row
from mlflow_server import Server

from psilon_bench.tracking.experiment import connect
from psilon_bench.tracking.mirror import Mirror
from psilon_bench.tracking.sweep_run import update_parents
from psilon_bench.tracking.views import varied_settings, view_link, view_tags

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")  # in MLflow itself
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


def test_settings_that_follow_from_others_are_left_out() -> None:
    """What each network has of its own follows from its name, and a split from the seed."""
    runs: list[dict[str, Any]] = [
        {"model.name": name, "model.share": name == "pnet", "reg.lam": lam, "seed": seed, "dataset.split_seed": seed}
        for name in ("pnet", "snet")
        for lam in (0.1, 0.2)
        for seed in (0, 1)
    ]
    assert varied_settings(runs) == ["model.name", "seed", "reg.lam"]
    assert varied_settings(runs[:1]) == []


def test_views_are_tags_that_mlflow_takes() -> None:
    """JSON within JSON, as MLflow's page writes it, with charts of the sweep alone; short enough at the worst."""
    from mlflow.utils.validation import MAX_EXPERIMENT_TAG_VAL_LENGTH

    varied = ["model.name", "seed", "reg.lam", *(f"optimizer.{'x' * 200}{i}" for i in range(3))]
    tags = view_tags("s" * 200, varied, 17)
    assert len(tags) == 2
    for key, value in tags.items():
        assert len(value) < MAX_EXPERIMENT_TAG_VAL_LENGTH
        view = json.loads(value)
        assert key.startswith("mlflow.sharedViewState.sss")
        assert (view["createdAt"], view["updatedAt"]) == (17, 17)
        state = json.loads(view["state"])
        (section,) = state["compareRunSections"]
        assert {chart["metricSectionId"] for chart in state["compareRunCharts"]} == {section["uuid"]}
        kinds = [chart["type"] for chart in state["compareRunCharts"]]
        assert kinds[0] == "LINE"
        assert ("PARALLEL" in kinds) == (state["groupBy"] is None)
        assert (
            state["groupBy"] is None or {"mode": "param", "groupByData": "seed"} not in state["groupBy"]["groupByKeys"]
        )


def test_a_sweep_has_its_views_and_tells_its_command(experiment: Any, record: Any) -> None:
    folders = [record(2, f"seed={seed}", f"reg.lam={lam}", in_sweep=True) for seed in (0, 1) for lam in (0.1, 0.2)]
    mirrors = []
    for one in folders:
        one.finish("finished", row(2))
        mirrors.append(Mirror(experiment, one.folder))
        assert mirrors[-1].send()
    update_parents(experiment, {one.folder.parent for one in folders})
    tags = experiment.client.get_experiment(experiment.experiment_id).tags
    assert "psilon-report results/NAME" in tags["mlflow.note.content"]
    state = json.loads(json.loads(tags["mlflow.sharedViewState.runs-runs"])["state"])
    found = experiment.client.search_runs([experiment.experiment_id], state["searchFilter"])
    assert {run.info.run_id for run in found} >= {mirror.run_id for mirror in mirrors}
    assert not any("parent_of" in run.data.tags for run in found)
    run = experiment.client.get_run(mirrors[0].run_id)
    note = experiment.client.get_run(run.data.tags["mlflow.parentRunId"]).data.tags["mlflow.note.content"]
    assert view_link(experiment.experiment_id, "runs", "means") in note
    assert note.startswith("```\n")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_a_browser_shows_the_charts(record: Any, tmp_path: Path) -> None:
    """The page of MLflow's server finds the view by its link, and draws of what it names that which runs have."""
    for lam in (0.1, 0.2):
        one = record(2, f"reg.lam={lam}", in_sweep=True)
        one.finish("finished", row(2))
    server = Server(tmp_path)
    server.start()
    try:
        experiment = connect(server.uri, "seen", str(tmp_path))
        for folder in one.folder.parent.iterdir():
            if folder.is_dir():
                assert Mirror(experiment, folder).send()
        update_parents(experiment, {one.folder.parent})
        for view, charts in (("runs", 6), ("means", 3)):
            address = f"{server.uri}/{view_link(experiment.experiment_id, 'runs', view)}"
            command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={tmp_path / view}", "--virtual-time-budget=30000"]
            shown = subprocess.run([*command, "--dump-dom", address], capture_output=True, timeout=120, text=True)
            words = " ".join(re.sub(r"<[^>]+>", " ", shown.stdout).split())
            assert f"The sweep ({charts})" in words[-3000:]
    finally:
        server.stop()
