"""Whether the process of a record still computes: told by what no clock and no other machine can change."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from psilon_bench.machine.process import is_gone, this_process

ELSEWHERE = {"boot": "another", "machine": "another"}


@pytest.fixture
def child() -> Iterator[Any]:
    """A process that waits, and what its record would say of it."""
    code = "from psilon_bench.machine.process import this_process; print(this_process(), flush=True); input()"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        yield process, eval(process.stdout.readline())
        process.kill()


def test_a_process_lives_until_it_ends(child: Any) -> None:
    """Also while nobody has asked for its exit code."""
    process, about = child
    assert not is_gone({"process": about})
    process.kill()
    psutil.wait_procs([psutil.Process(process.pid)], timeout=0)
    while psutil.pid_exists(process.pid) and psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
        pass
    assert is_gone({"process": about})
    process.wait()
    assert is_gone({"process": about})


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the time of the start does not move with the clock")
@pytest.mark.parametrize("seconds", [-7200, -2, 2, 86400])
def test_a_step_of_the_clock_ends_no_process(child: Any, monkeypatch: pytest.MonkeyPatch, seconds: Any) -> None:
    """The kernel counts the start of the machine from the clock, and psutil that of processes from there."""
    _, about = child
    moved = psutil.boot_time() + seconds
    monkeypatch.setattr(psutil, "boot_time", lambda: moved)
    monkeypatch.setattr(psutil._pslinux, "boot_time", lambda: moved)
    assert not is_gone({"process": about})
    assert is_gone({"process": about | {"began": about["began"] - 60}}), "the number is used anew"


@pytest.mark.parametrize(
    ("change", "gone"),
    [
        (ELSEWHERE, False),  # the same name on another machine
        (ELSEWHERE | {"host": "another"}, False),
        ({"boot": "an earlier one"}, True),  # this machine was started anew
        ({"boot": "another", "host": "another"}, False),  # a copy of this machine's disk
        ({"namespace": "pid:[1]"}, False),  # another container
        ({"host": "renamed"}, False),
        ({"host": "renamed", "pid": 2**22 + 1}, True),
        ({"pid": 2**22 + 1}, True),
        ({"pid": -1}, True),
        ({"pid": 10**30}, True),
        ({"boot": None, "machine": None, "namespace": None, "began": psutil.Process().create_time()}, False),
        ({"boot": None, "began": 0.0}, True),
        ({"boot": None, "host": "another"}, False),
    ],
)
def test_what_can_be_told_from_here(change: Any, gone: Any) -> None:
    """A process is gone where that is certain; of others nothing is said."""
    assert is_gone({"process": this_process() | change}) == gone


@pytest.mark.parametrize("process", [None, {}, [], "x", {"host": 1, "pid": "x", "began": None}])
def test_a_record_that_names_no_process(process: Any) -> None:
    """Nothing is known, and nothing raised."""
    assert not is_gone({"process": process})
    assert not is_gone({})
