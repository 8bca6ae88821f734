"""The sender, a process of its own, that dies or hangs: no run waits for it without an end, and no record suffers."""

import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from psilon_bench.errors import UsageError
from psilon_bench.tracking import sender as sender_module
from psilon_bench.tracking.sender import Sender, sending

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")  # in MLflow itself


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_sender_that_dies_loses_nothing_but_the_view(experiment: Any, record: Any) -> None:
    """The run goes on; at the end it is told that MLflow has not got all, and the record is untouched."""
    one = record(2)
    before = files(one.folder)
    sender = Sender()
    sender.open(experiment.uri, "tests", "results")
    sender.process.kill()
    sender.process.wait()
    sender.follow(one.folder)
    said = sender.close()
    assert said == (
        f"MLflow at {experiment.uri}: the process that sends to MLflow ended. 1 records are not sent; they are whole, "
        "and psilon-sync sends them later."
    )
    assert files(one.folder) == before


@pytest.mark.slow
def test_a_sender_that_hangs_holds_nobody(experiment: Any, record: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped in the middle: telling it of more folders than a pipe holds goes on, and waiting for it has an end."""
    one = record(2)
    before = files(one.folder)
    sender = Sender()
    sender.open(experiment.uri, "tests", "results")
    monkeypatch.setattr(sender_module, "SILENT_FOR_S", 1)
    sender.process.send_signal(signal.SIGSTOP)
    for number in range(2000):
        sender.follow(one.folder / str(number) / ("x" * 100))
    said = sender.close()
    assert said is not None
    assert "the process that sends to MLflow has said nothing for 1 s. 2000 records are not sent; " in said
    assert sender.process.poll() is not None
    assert files(one.folder) == before


def test_a_sender_that_hangs_at_the_start(experiment: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has been trained then: the reason and what to do."""
    monkeypatch.setattr(sender_module, "SILENT_FOR_S", 1)
    sender = Sender()
    sender.process.send_signal(signal.SIGSTOP)
    words = r"has said nothing for 1 s, and MLflow at sqlite:.* is not reached\. Set tracking=none\."
    with pytest.raises(UsageError, match=words):
        sender.open(experiment.uri, "tests", "results")
    assert sender.close() is None
    assert not psutil.pid_exists(sender.process.pid)


@pytest.mark.slow
def test_a_folder_of_any_name_is_sent(experiment: Any, record: Any) -> None:
    """A line break is a character like others."""
    one = record(2, 'results_dir="two\\nlines"')
    one.finish("finished")
    with sending(True) as sender:
        assert sender is not None
        sender.open(experiment.uri, "tests", "results")
        sender.follow(one.folder)
    (run,) = [run for run in experiment.runs() if run.data.tags["record"] == str(one.folder)]
    assert run.info.status == "FINISHED"


@pytest.mark.slow
def test_a_wait_ends_by_ctrl_c(experiment: Any, record: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process goes with it."""

    def interrupted(left: int) -> None:
        raise KeyboardInterrupt

    one = record(2)
    one.finish("finished")
    sender = Sender()
    sender.open(experiment.uri, "tests", "results")
    sender.follow(one.folder)
    with pytest.raises(KeyboardInterrupt):
        sender.close(interrupted)
    assert sender.process.poll() is not None
