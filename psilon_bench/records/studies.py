"""The study of a search: Optuna's journal of all its trials, in the folder of the sweep. Needs Optuna."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from filelock import FileLock, Timeout
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.study import Study
from typing_extensions import override

from psilon_bench.errors import UsageError, with_kind
from psilon_bench.records import places

STUDY = "search"  # the name of the only study of a journal
ASKED = "asked"  # the attribute of a study that says what was searched, and how trials are judged


class LockedAlready(JournalFileOpenLock):
    """Stands for the lock that `locked_study` holds; one of Optuna's own would outlive a process that is killed."""

    @override
    def acquire(self) -> bool:
        """Do nothing."""
        return True

    @override
    def release(self) -> None:
        """Do nothing."""


@contextmanager
def locked_study(sweep: Path) -> Iterator[None]:
    """Hold the study of a sweep's folder within the block; UsageError where another process does."""
    sweep.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(places.study_lock(sweep), timeout=0):
            cut_unfinished_line(places.study_journal(sweep))
            yield
    except Timeout as error:
        raise UsageError(
            f"{sweep} is being searched by another process. Wait for it, or take another name=<word>."
        ) from error


def cut_unfinished_line(journal: Path) -> None:
    """Take off what a full disk or a power cut left of a last line: with more lines behind it, none could be read."""
    content = journal.read_bytes() if journal.exists() else b""
    if not content.endswith(b"\n"):
        with journal.open("ab") as file:
            file.truncate(content.rfind(b"\n") + 1)


def study_storage(sweep: Path) -> JournalStorage:
    """Return the storage of the study in a sweep's folder; UsageError where its journal cannot be read."""
    journal = str(places.study_journal(sweep))
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        return JournalStorage(JournalFileBackend(journal, LockedAlready(journal)))
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
        raise UsageError(
            f"{journal} cannot be read ({with_kind(error)[:100]}). Remove it: the search begins anew, and runs that "
            "are done are not trained again."
        ) from error


def load_study(sweep: Path) -> Study | None:
    """Return the study of a sweep's folder, to be read; None where there is none."""
    if not places.study_journal(sweep).exists():
        return None
    storage = study_storage(sweep)
    if STUDY not in [study.study_name for study in storage.get_all_studies()]:
        return None
    return optuna.load_study(study_name=STUDY, storage=storage)
