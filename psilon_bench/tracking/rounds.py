"""One round over records that are to be sent: those that have ended together, the others each by its mirror."""

from collections.abc import Callable
from pathlib import Path

from filelock import Timeout

from psilon_bench.tracking.bulk import send_ended
from psilon_bench.tracking.mirror import Mirror
from psilon_bench.tracking.place import Place
from psilon_bench.tracking.server import answers, reason_of

Mirrors = dict[Path, Mirror]
LIVE = 10  # of the runs that still train; each costs 30 to 45 ms of the CPU they train on


def send_all(place: Place, mirrors: Mirrors, at_end: bool, still: Callable[[int], None]) -> tuple[Mirrors, str | None]:
    """Bring all up to date. Those still to be sent, and the first problem; where the server is out, the others wait.

    Of the runs that still train, at most LIVE are looked at in one round, and the same ones come last in the next.
    `still` hears how many are to be looked at yet, as it goes on.
    """
    left, problem = dict(mirrors), None
    try:
        for folder in send_ended(place, left, at_end):
            del left[folder]
            still(len(left))
    except Exception as error:  # whatever a server, a proxy or a database may raise
        problem = reason_of(error)
        if is_out(place, error):
            return left, problem
    training = [] if at_end else [folder for folder, mirror in left.items() if mirror.still_runs()]
    later = set(training[LIVE:])
    for folder in training[:LIVE]:
        left[folder] = left.pop(folder)
    for folder, mirror in list(left.items()):
        if folder in later:
            continue
        still(len(left))
        try:
            if mirror.send(at_end):
                del left[folder]
        except Exception as error:  # as above, and whatever is odd about a record
            problem = problem or reason_of(error)
            if is_out(place, error):
                break
    return left, problem


def is_out(place: Place, error: Exception) -> bool:
    """Whether the others would fare no better."""
    return isinstance(error, Timeout) or not answers(place.uri)
