"""The sender, a process of its own, that dies or hangs."""

from psilon_bench.tracking.sender import Sender


def test_a_sender_that_dies_loses_nothing_but_the_view(place, record):
    """The run goes on; at the end it is told that MLflow has not got all, and the record is untouched."""
    one = record(2)
    before = {path.name: path.read_bytes() for path in one.folder.iterdir()}
    sender = Sender()
    sender.open(place.uri, "tests", "results")
    sender.process.kill()
    sender.process.wait()
    sender.follow(one.folder)
    assert "ended" in sender.close()
    assert {path.name: path.read_bytes() for path in one.folder.iterdir()} == before
