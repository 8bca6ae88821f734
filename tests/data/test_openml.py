"""From a server to a Task, with everything that can go wrong on the way. The client is the real one."""

import socket
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tenacity

from psilon_bench.data import openml_fetch, store
from psilon_bench.errors import UsageError


def test_a_regression_task_arrives_whole(server: Any, load: Any) -> None:
    task = load("openml", task_id=1)
    assert (task.name, task.kind, task.target_name) == ("diabetes", "regression", "target")
    assert len(task.train) + len(task.val) + len(task.test) == 442
    assert {"sex=one", "sex=two", "bmi", "missingindicator_bmi"} <= set(task.feature_names)
    assert (task.source, task.licence) == ("https://www.openml.org/d/1", "CC BY 4.0")


def test_the_rows_are_those_of_the_server(server: Any) -> None:
    """ARFF and Parquet, levels, holes and all: what the cache holds is what was served."""
    for number in (1, 2, 3):
        cached = pd.read_parquet(openml_fetch.obtain_data(number, offline=False).table)
        pd.testing.assert_frame_equal(
            cached.astype("str"), server.data[number].frame.astype(cached.dtypes).astype("str"), check_dtype=False
        )


def test_classes_and_parquet(server: Any, load: Any) -> None:
    task = load("openml", task_id=3)
    assert (task.kind, task.num_outputs, task.classes) == ("multiclass", 10, [str(i) for i in range(10)])
    assert not any("/data/download/" in path for path in server.requests)


def test_a_data_set_brings_its_default_target_or_takes_another(server: Any, load: Any) -> None:
    task = load("openml", data_id=2)
    assert (task.kind, task.num_outputs) == ("multiclass", 3)
    assert "kind inferred from the type of 'target': classes" in task.notes
    other = load("openml", data_id=2, target="alcohol", drop=["hue", "ash"])
    assert (other.kind, other.num_features) == ("regression", 10 + 3)


def test_the_second_time_nobody_is_asked(server: Any, load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load("openml", task_id=1)
    asked = server.requests.total()

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    again = load("openml", task_id=1, offline=True)
    assert server.requests.total() == asked
    assert again.checksum == first.checksum
    assert (again.train.x == first.train.x).all()


def test_offline_without_the_data_says_what_to_run(server: Any, load: Any) -> None:
    with pytest.raises(UsageError, match=r"task/1 is not\. Run `psilon-data fetch openml 1` with a network first"):
        load("openml", task_id=1, offline=True)
    assert server.requests.total() == 0


@pytest.mark.sampled(every=3)
@pytest.mark.parametrize("fault", ["error", "busy", "cut"])
@pytest.mark.parametrize("path", ["/api/v1/xml/task/1", "/api/v1/xml/data/features/1", "/data/download/1"])
def test_a_passing_fault_is_outlived(server: Any, load: Any, path: Any, fault: Any) -> None:
    server.faults = [(path, fault), (path, fault)]
    assert load("openml", task_id=1).kind == "regression"
    assert server.faults == []


def test_wrong_bytes_are_noticed_and_fetched_again(server: Any, load: Any, capsys: pytest.CaptureFixture[str]) -> None:
    server.faults = [("/data/download/1", "wrong")]
    load("openml", task_id=1)
    assert server.requests["/data/download/1"] == 2
    said = capsys.readouterr().err
    assert f"fetching OpenML data set 1 into {store.root()}\n  attempt 1 failed (OpenMLHashException: Check" in said


@pytest.mark.parametrize("fault", ["cut", "wrong"])
def test_parquet_has_no_checksum_but_must_parse(server: Any, load: Any, fault: Any) -> None:
    server.faults = [("/bucket/3/dataset.pq", fault)]
    assert load("openml", task_id=3).kind == "multiclass"


def test_a_silent_server_is_given_up(server: Any, load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openml_fetch, "TIMEOUT", (1, 0.1))
    server.faults = [("/data/download/1", "silent")]
    assert load("openml", task_id=1).kind == "regression"
    assert server.requests["/data/download/1"] == 2


def test_a_lasting_fault_is_one_clear_line_and_harms_nothing(
    server: Any, load: Any, cache: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openml_fetch, "ATTEMPTS", tenacity.stop_after_attempt(3))
    load("openml", task_id=2)
    server.faults = [("/data/download/1", "wrong")] * 3
    with pytest.raises(UsageError, match=r"data set 1 could not be fetched in 3 attempts \(OpenMLHashException: Check"):
        load("openml", task_id=1)
    assert list(store.entries()) == ["data/2", "task/1", "task/2"]
    assert load("openml", task_id=2, offline=True).kind == "multiclass"
    assert load("openml", task_id=1).kind == "regression"


def test_nobody_there_is_one_clear_line(server: Any, load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import openml

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setattr(openml.config, "server", f"http://127.0.0.1:{taken.getsockname()[1]}/api/v1/xml")
        with pytest.raises(
            UsageError, match=r"task 1 could not be fetched in 5 attempts \(NewConnectionError: .*refused.*Check the"
        ):
            load("openml", task_id=1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"task_id": 99}, r"OpenML task 99 is not to be had: .*Unknown task.* Check the id"),
        ({"data_id": 99}, r"OpenML data set 99 is not to be had: .*Unknown dataset"),
        ({"task_id": 4}, r"supervised classification or regression, but 4 is 'Clustering'"),
        ({"task_id": 6}, r"supervised classification or regression, but 6 is '.*Survival"),
        ({"task_id": 5}, r"Data must be dense, but OpenML data set 5 is Sparse_ARFF"),
        ({}, r"named by one of its ids, but dataset.task_id=null and dataset.data_id=null"),
        ({"task_id": 1, "data_id": 1}, r"named by one of its ids, but dataset.task_id=1 and dataset.data_id=1"),
        ({"task_id": 1, "target": "bmi"}, r"target of its own, but dataset.target='bmi' and task 1 has 'target'"),
        (
            {"data_id": 1, "target": "size"},
            r"dataset.target=size is not a column of OpenML data set 1. Columns: age, sex",
        ),
        ({"data_id": 1, "drop": ["size"]}, r"dataset.drop must name columns, but size are none. Columns: age"),
    ],
)
def test_bad_requests_are_one_clear_line(server: Any, load: Any, values: Any, message: Any) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        load("openml", **values)
    assert "\n" not in str(raised.value)
    assert all(store.read_entry(key) for key in store.entries())


def test_a_definite_answer_is_not_asked_for_again(server: Any, load: Any) -> None:
    with pytest.raises(UsageError):
        load("openml", task_id=99)
    assert server.requests["/api/v1/xml/task/99"] == 1


def test_damage_is_mended_from_the_server_or_named_offline(server: Any, load: Any) -> None:
    load("openml", task_id=1)
    table = store.root() / "data/1/data.parquet"
    content = bytearray(table.read_bytes())
    content[100] ^= 1
    table.write_bytes(content)
    with pytest.raises(UsageError, match=r"must be whole, but .*does not match its checksum.*fetch data 1"):
        load("openml", task_id=1, offline=True)
    assert load("openml", task_id=1).kind == "regression"


def test_the_clients_own_cache_is_used_but_not_touched(server: Any, load: Any, tmp_path: Path) -> None:
    """The client deletes what it cannot read: it must work on a copy."""
    import openml

    openml.tasks.get_task(1, download_data=True, download_features_meta_data=True)
    own = tmp_path / "client"
    before = {p: p.read_bytes() for p in own.rglob("*") if p.is_file()}
    asked = server.requests.total()
    load("openml", task_id=1)
    assert server.requests.total() == asked

    store_data = next(p for p in before if p.name == "dataset.arff")
    store_data.write_bytes(b"spoiled")
    before[store_data] = b"spoiled"
    (store.root() / "data/1/data.parquet").unlink()
    assert load("openml", task_id=1).kind == "regression"
    assert {p: p.read_bytes() for p in own.rglob("*") if p.is_file()} == before


def test_the_clients_settings_come_back(server: Any, load: Any) -> None:
    import openml

    before = openml.config.get_config_as_dict()
    load("openml", task_id=1)
    assert openml.config.get_config_as_dict() == before


def test_higgs_comes_from_a_task_too(server: Any, load: Any) -> None:
    """Any binary task will do for the plumbing; the columns of Higgs are chosen by name where they are there."""
    frame = server.data[1].frame.rename(columns={"age": "m_bb", "bp": "lepton_pT"}).drop(columns="sex")
    server.data[7] = type(server.data[1])("higgs", frame.assign(target=["b", "s"] * 221), "target")
    server.tasks[146606] = (1, 7)
    assert "lepton_pT" in load("higgs").feature_names
    high = load("higgs", features="high").feature_names
    assert ("m_bb" in high, "lepton_pT" in high) == (True, False)
