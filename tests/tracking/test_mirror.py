"""MLflow as a mirror of the records: the real one, on sqlite and behind a server, interrupted and out of reach."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mirrored import curve, row, same_curves, state

from psilon_bench.records.history import append_row, read_rows
from psilon_bench.records.record import Record
from psilon_bench.tracking import mirror as mirror_module
from psilon_bench.tracking.content import milliseconds
from psilon_bench.tracking.experiment import Experiment, connect
from psilon_bench.tracking.mirror import Mirror
from psilon_bench.tracking.sweep_run import log_metrics, update_parents

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")  # in MLflow itself


@pytest.mark.parametrize("select", ["last", "best"])
def test_a_finished_run_arrives_whole(experiment: Any, finished: Any, select: Any) -> None:
    """Every row, the final metrics as the run's own, parameters, tags, files and status."""
    record = finished(
        "trainer.epochs=12", f"trainer.select={select}", "optimizer.lr=0.5", "scheduler=constant", "model=mlp"
    )
    losses = [row["val/loss"] for row in read_rows(record.folder / "history.csv")]
    assert min(losses) < losses[-1]
    mirror = Mirror(experiment, record.folder)
    assert mirror.send()
    run = experiment.client.get_run(mirror.run_id)
    assert run.data.metrics == pytest.approx(record.run["metrics"], rel=1e-12)
    assert run.data.params == {key: str(value) for key, value in record.run["params"].items()}
    tags = {"dataset": "breast_cancer", "model": "mlp", "reg": "pathnorm", "seed": "0", "record": str(record.folder)}
    assert run.data.tags.items() >= tags.items()
    assert run.data.tags["fingerprint"] == record.run["fingerprint"]
    (dataset,) = [one.dataset for one in run.inputs.dataset_inputs]
    assert (dataset.name, dataset.digest) == ("breast_cancer", record.run["task"]["checksum"][:12])
    assert (run.info.status, run.info.run_name) == ("FINISHED", record.run["title"])
    files = {path.name for path in record.folder.iterdir()} - {"mlflow.json"}
    assert {file.path for file in experiment.client.list_artifacts(mirror.run_id)} == files
    assert state(record.folder) == {"uri": experiment.uri, "run_id": mirror.run_id, "done": True}
    if select == "last":
        same_curves(experiment, mirror)
    else:  # the selected network's numbers come on top, at the last step
        own = curve(experiment, mirror.run_id, "val/loss")
        assert len(own) == len(losses) + 1
        assert own[-2:] == sorted([(60, losses[-1]), (60, min(losses))])


def test_a_run_that_was_raced_out_is_told_from_one_that_was_stopped(experiment: Any, record: Any) -> None:
    """Both are KILLED in MLflow's words; the tag says why."""
    one = record(2)
    mirror = Mirror(experiment, one.folder)
    assert not mirror.send()
    one.finish("raced out", reason="raced out at epoch 20: ...")
    assert mirror.send()
    run = experiment.client.get_run(mirror.run_id)
    assert (run.info.status, run.data.tags["raced_out"]) == ("KILLED", "raced out at epoch 20: ...")


def test_what_is_not_finite_stays_in_the_record(experiment: Any, record: Any) -> None:
    """NaN and infinity are left out of MLflow, which would draw them as 1.8e308; the row's other numbers are there."""
    one = record(1)
    one.add_row(row(2) | {"val/loss": float("nan"), "path_norm": float("inf")})
    one.finish("finished")
    mirror = Mirror(experiment, one.folder)
    assert mirror.send()
    assert curve(experiment, mirror.run_id, "epoch") == [(50, 10), (100, 20)]
    assert curve(experiment, mirror.run_id, "val/loss") == [(50, 1.0)]
    assert curve(experiment, mirror.run_id, "path_norm") == [(50, 2.0)]


def test_rows_are_sent_as_they_come(experiment: Any, record: Any) -> None:
    """A mirror of a running run sends what is new, whole rows alone, and is not done before the run is."""
    one = record(2)
    mirror = Mirror(experiment, one.folder)
    assert not mirror.send()
    same_curves(experiment, mirror)
    with (one.folder / "history.csv").open("a") as file:
        file.write("30,150,0.3")  # another process is in the middle of this line
        file.flush()
        assert not mirror.send()
        same_curves(experiment, mirror)
        file.write("33,8.0\n")
    assert not mirror.send()
    assert not mirror.send()
    same_curves(experiment, mirror)
    assert curve(experiment, mirror.run_id, "val/loss")[-1] == (150, 0.333)
    assert experiment.client.get_run(mirror.run_id).info.status == "RUNNING"
    one.finish("finished")
    assert mirror.send()
    same_curves(experiment, mirror)


@pytest.mark.parametrize(("status", "expected"), [("killed", "KILLED"), ("failed", "FAILED"), ("finished", "FINISHED")])
def test_the_status_is_the_records(experiment: Any, record: Any, status: Any, expected: Any) -> None:
    """killed, failed and finished are MLflow's own words for it."""
    one = record(1)
    one.finish(status)
    mirror = Mirror(experiment, one.folder)
    assert mirror.send()
    assert experiment.client.get_run(mirror.run_id).info.status == expected


def test_a_run_that_vanished_was_killed(experiment: Any, record: Any) -> None:
    """Its record says running, its process is gone; a process that goes on with it makes it run again."""
    one = record(3)
    mirror = Mirror(experiment, one.folder)
    assert mirror.send(process_is_gone=True)
    assert experiment.client.get_run(mirror.run_id).info.status == "KILLED"
    again = Mirror(experiment, one.folder)
    assert not again.send()
    assert again.run_id == mirror.run_id
    assert experiment.client.get_run(mirror.run_id).info.status == "RUNNING"


class Breaking:
    """A client whose n-th call from here on fails: before anything was done, or after it, with the answer lost."""

    def __init__(self, client: Any, calls: int, after: bool) -> None:
        self.client, self.left, self.after = client, calls, after

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.left -= 1
            if self.left == 0 and not self.after:
                raise ConnectionError("gone")
            result = getattr(self.client, name)(*args, **kwargs)
            if self.left == 0:
                raise ConnectionError("gone")
            return result

        return call


@pytest.mark.sampled(every=2)
@pytest.mark.parametrize("after", [False, True])
def test_a_mirror_interrupted_anywhere_is_finished_by_the_next(
    experiment: Any, record: Any, monkeypatch: pytest.MonkeyPatch, after: Any
) -> None:
    """Whichever call to MLflow fails, the next mirror leaves one run with nothing missing and nothing twice."""
    monkeypatch.setattr(mirror_module, "BATCH", 9)  # two rows of four numbers
    for calls in range(1, 50):
        one = record(5)
        one.finish("finished", row(5) | {"test/loss": 0.25})
        broken = Breaking(experiment.client, calls, after)
        if broken_mirror_is_done(broken, experiment, one.folder):
            break
        mirror = Mirror(experiment, one.folder)
        assert mirror.send()
        same_curves(experiment, mirror)
        assert curve(experiment, mirror.run_id, "test/loss") == [(250, 0.25)]
        found = experiment.client.search_runs([experiment.experiment_id], max_results=1000)
        (run,) = [run for run in found if run.data.tags["record"] == str(one.folder)]
        assert run.info.run_id == mirror.run_id
        assert run.info.status == "FINISHED"
        assert len(run.data.params) == len(one.run["params"])
        assert len(experiment.client.list_artifacts(mirror.run_id)) == 3
    assert calls == 12, (
        "create, parameters, data set, three batches, final metrics, three files, status: 11 interrupted"
    )


def broken_mirror_is_done(client: Breaking, experiment: Experiment, folder: Path) -> bool:
    try:
        return Mirror(replace(experiment, client=client), folder).send()
    except ConnectionError:
        return False


def test_rows_that_a_resumed_run_writes_again_are_not_sent_again(experiment: Any, record: Any) -> None:
    """The history is cut to its checkpoint and grows back over what MLflow has already."""
    one = record(4)
    first = Mirror(experiment, one.folder)
    first.send()
    again = Record.reopen(one.folder, [row(number) for number in (1, 2)])
    second = Mirror(experiment, one.folder)
    second.send()
    for number in (3, 4, 5):
        again.add_row(row(number))
        second.send()
    again.finish("finished")
    assert second.send()
    assert second.run_id == first.run_id
    same_curves(experiment, second)


def test_another_place_gets_a_run_of_its_own(experiment: Any, experiment_in: Any, record: Any, tmp_path: Path) -> None:
    """A record that is in one MLflow can be sent to a second one as well."""
    one = record(2)
    one.finish("finished")
    assert Mirror(experiment, one.folder).send()
    other = experiment_in(tmp_path)
    mirror = Mirror(other, one.folder)
    assert mirror.send()
    same_curves(other, mirror)
    assert state(one.folder)["uri"] == other.uri == f"sqlite:///{tmp_path}/mlflow.db"


def test_members_of_a_sweep_share_a_parent(experiment: Any, record: Any) -> None:
    """The first record of a sweep makes the parent run, the others find it."""
    parents = set()
    for seed in range(3):
        one = record(1, f"seed={seed}", in_sweep=True)
        one.finish("finished")
        mirror = Mirror(experiment, one.folder)
        assert mirror.send()
        parents.add(experiment.client.get_run(mirror.run_id).data.tags["mlflow.parentRunId"])
    (parent,) = parents
    assert experiment.client.get_run(parent).data.tags["sweep"] == "runs"


def test_the_run_of_a_sweep_tells_how_its_runs_ended(experiment: Any, record: Any) -> None:
    """Counts, the lowest validation loss of a finished run of each data set, and the time from first to last."""
    losses = {("breast_cancer", 0): 0.5, ("breast_cancer", 1): 0.25, ("wine", 0): 0.75}
    for (dataset, seed), loss in losses.items():
        one = record(1, f"seed={seed}", f"dataset={dataset}", "name=ended", in_sweep=True)
        one.finish("finished", {"val/loss": loss, "test/loss": 0.1})
        assert Mirror(experiment, one.folder).send()
    failed = record(1, "seed=2", "name=ended", in_sweep=True)
    failed.finish("failed", {"val/loss": 0.01}, "diverged")
    assert Mirror(experiment, failed.folder).send()
    alone = record(1, "seed=3", "name=ended")
    alone.finish("finished", {"val/loss": 0.001})
    for _ in range(2):  # the second changes nothing
        update_parents(experiment, [one.folder.parent])
    run = experiment.client.get_run(json.loads((one.folder.parent / ".mlflow-parent.json").read_text())["run_id"])
    best = {"best/val/loss/breast_cancer": 0.25, "best/val/loss/wine": 0.75}
    assert run.data.metrics == {"runs/finished": 3, "runs/failed": 1} | best
    assert curve(experiment, run.info.run_id, "runs/failed") == [(0, 1)]
    first = min(one.run["times"]["started"] for one in (one, failed))
    assert run.info.start_time <= milliseconds(first)
    assert run.info.end_time == milliseconds(failed.run["times"]["ended"])
    assert run.info.status == "FINISHED"


def test_names_that_mlflow_refuses_are_mended(experiment: Any) -> None:
    """= and brackets become _; more metrics than a request holds go in several."""
    run = experiment.client.create_run(experiment.experiment_id)
    log_metrics(
        experiment.client,
        run.info.run_id,
        {"chosen a/b reg.bound=[tight]": 1.0} | {f"x{i}": 1.0 for i in range(1001)},
        7,
    )
    metrics = experiment.client.get_run(run.info.run_id).data.metrics
    assert metrics["chosen a/b reg.bound__tight_"] == 1.0
    assert len(metrics) == 1002


def test_a_long_history_goes_in_batches(experiment: Any, record: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No request holds more than MLflow's 1000 metrics, and a request holds whole rows."""
    one = record(0)
    for number in range(1, 602):
        append_row(one.folder / "history.csv", {"epoch": number, "step": number, "val/loss": 1 / number})
    sizes = []

    class Counting:
        def __getattr__(self, name: str) -> Any:
            return getattr(experiment.client, name)

        def log_batch(self, run_id: str, metrics: Any = (), params: Any = ()) -> None:
            sizes.append(len(metrics))
            experiment.client.log_batch(run_id, metrics, params)

    mirror = Mirror(replace(experiment, client=Counting()), one.folder)
    assert not mirror.send()
    assert sizes == [0, 999, 804]
    same_curves(experiment, mirror)


@pytest.mark.slow
def test_a_server_gets_what_a_file_gets(server: Any, record: Any, tmp_path: Path) -> None:
    """The same rows, parameters, files and status through http."""
    one = record(6)
    one.finish("finished", row(6) | {"test/loss": 0.125})
    experiment = connect(server.uri, "tests", str(tmp_path))
    mirror = Mirror(experiment, one.folder)
    assert mirror.send()
    same_curves(experiment, mirror)
    run = experiment.client.get_run(mirror.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["test/loss"] == 0.125
    assert len(run.data.params) == len(one.run["params"])
    files = {file.path for file in experiment.client.list_artifacts(mirror.run_id)}
    assert {"run.json", "history.csv", "config.yaml"} <= files
