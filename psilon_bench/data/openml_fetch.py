"""Fetching from OpenML, by the openml client with retries; what is fetched goes into the data cache.

No other module talks to OpenML, but openml_splits by the functions of this one. The client deletes entries of its cache
that it fails to read, and cannot run twice at once. So each fetch gives it a new folder, into which what the user's
client cache (OPENML_CACHE_DIR) already holds is copied first.
"""

import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pandas as pd
from tenacity import (
    RetryCallState,
    RetryError,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential_jitter,
)

from psilon_bench.data import store
from psilon_bench.data.store import About, Entry
from psilon_bench.errors import UsageError, in_one_line

ATTEMPTS = stop_after_attempt(5)
WAIT = wait_exponential_jitter(initial=1, max=20)  # seconds between attempts: about 1, 2, 4, 8
TIMEOUT = (10, 60)  # seconds to connect, and without a byte
DATABASE_DOWN = 107  # the one server answer that means: ask again

SeedCache = Callable[[str], None]  # copies an entry of the user's own client cache to where the client will look
Request = Callable[[Any, SeedCache], About]


def obtain_task(task_id: int, offline: bool) -> Entry:
    """Return the cache's entry of an OpenML task, fetched first where it is missing.

    `about` has data_id, target and regression. Raises UsageError where `offline` forbids fetching, where the task is
    not supervised, or where the server refuses.
    """
    remedy = f"Run `psilon-data fetch openml {task_id}` with a network first."
    return store.obtain(f"task/{task_id}", lambda folder: _fetch_task(task_id, folder), offline=offline, remedy=remedy)


def obtain_data(data_id: int, offline: bool) -> Entry:
    """Return the cache's entry of an OpenML data set, fetched first where it is missing; its rows are a Parquet file.

    `about` has name, target, categorical, source, licence and more. Raises UsageError as `obtain_task` does.
    """
    remedy = f"Run `psilon-data fetch data {data_id}` with a network first."
    return store.obtain(f"data/{data_id}", lambda folder: _fetch_data(data_id, folder), offline=offline, remedy=remedy)


def _fetch_task(task_id: int, folder: Path) -> About:
    """Fetch the description of a task, and return what is known of it."""

    def ask(openml: Any, seed: SeedCache) -> About:
        seed(f"tasks/{task_id}")
        for data_id in _data_ids(Path(openml.config.get_cache_directory(), "tasks", str(task_id), "task.xml")):
            seed(f"datasets/{data_id}")
        try:
            task = openml.tasks.get_task(task_id, download_splits=False)
        except (NotImplementedError, ValueError) as error:  # types of task that the client does not know
            raise _unsupervised(task_id, str(error)) from error
        kind = str(task.task_type)
        if kind not in ("Supervised Classification", "Supervised Regression"):
            raise _unsupervised(task_id, kind)
        return {
            "data_id": int(task.dataset_id),
            "target": task.target_name,
            "regression": kind == "Supervised Regression",
            **origin(f"https://www.openml.org/t/{task_id}"),
        }

    return with_retries(ask, folder, f"OpenML task {task_id}")


def _unsupervised(task_id: int, kind: str) -> UsageError:
    """Return the error for a task that is neither classification nor regression."""
    return UsageError(
        f"An OpenML task must be supervised classification or regression, but {task_id} is {kind!r}. "
        "Choose another dataset.task_id, or name the data set with dataset.data_id."
    )


def _data_ids(task_xml: Path) -> list[str]:
    """Return the ids of the data sets that a task's file names.

    The file is read because the client would fetch a data set's description before telling its id.
    """
    return re.findall(r"data_set_id>\s*(\d+)", task_xml.read_text(encoding="utf-8")) if task_xml.exists() else []


def _fetch_data(data_id: int, folder: Path) -> About:
    """Fetch the rows of a data set into data.parquet of the folder, and return what is known of them."""

    def ask(openml: Any, seed: SeedCache) -> About:
        seed(f"datasets/{data_id}")
        options = {"download_data": True, "download_features_meta_data": True}
        data = openml.datasets.get_dataset(data_id, **options)
        frame, is_level, names = _parse(data)
        nominal = {f.name for f in data.features.values() if f.data_type in ("nominal", "string")}
        categorical = [n for n, c in zip(names, is_level, strict=True) if c or n in nominal]
        _storable(frame, categorical).to_parquet(folder / "data.parquet", index=False, compression="zstd")
        return {
            "name": data.name,
            "data_id": data_id,
            "version": data.version,
            "rows": len(frame),
            "features": len(names) - (data.default_target_attribute in names),
            "target": data.default_target_attribute,
            "types": {str(name): str(dtype) for name, dtype in frame.dtypes.items()},
            "categorical": categorical,
            "licence": data.licence or "not stated",
            **origin(f"https://www.openml.org/d/{data_id}"),
        }

    return with_retries(ask, folder, f"OpenML data set {data_id}")


def _parse(data: Any) -> tuple[pd.DataFrame, list[bool], list[str]]:
    """Return the table of a data set, which columns are levels, and the names of the columns."""
    if "sparse" in str(data.format).lower():
        raise UsageError(
            f"Data must be dense, but OpenML data set {data.id} is {data.format}. Choose another data set, "
            "or convert it to Parquet and use dataset=table."
        )
    try:
        frame, _, is_level, names = data.get_data()
    except Exception as error:  # the client raises all kinds, a bare Exception for Parquet
        raise UnreadableAnswer(str(error)) from error
    return frame, is_level, names


def _storable(frame: pd.DataFrame, categorical: list[str]) -> pd.DataFrame:
    """Return the table with levels as text.

    The client gives ordered categories, integers or text, by the file format that it happened to get.
    """
    levels = {c: frame[c].astype("str").where(frame[c].notna()).astype("category") for c in categorical}
    return frame.assign(**levels)


def origin(source: str) -> About:
    """Return address, time and library versions of a fetch."""
    versions = {package: version(package) for package in ("openml", "pandas", "pyarrow")}
    return {"source": source, "fetched": datetime.now(UTC).isoformat(timespec="seconds"), "versions": versions}


def with_retries(ask: Request, folder: Path, what: str) -> About:
    """Return the answer to a request, which is repeated where that may help.

    Raises UsageError where all attempts failed, and where the server gave a definite refusal.
    """
    attempts = Retrying(stop=ATTEMPTS, wait=WAIT, retry=retry_if_exception(_may_pass), before_sleep=_say_again)
    print(f"fetching {what} into {store.root()}", file=sys.stderr)
    try:
        return attempts(_attempt, ask, folder / store.SCRATCH, attempts)
    except RetryError as error:
        cause = error.last_attempt.exception()
        raise UsageError(
            f"{what} could not be fetched in {error.last_attempt.attempt_number} attempts ({_brief(cause)}). "
            "Check the network, or use data that `psilon-data list` shows."
        ) from cause
    except UsageError:
        raise
    except Exception as error:
        raise _refusal(error, what) from error


def _attempt(ask: Request, scratch: Path, attempts: Retrying) -> About:
    """Make one attempt in a new folder; the first alone trusts the user's client cache."""
    number = attempts.statistics["attempt_number"]
    with _client(scratch / str(number), seeded=number == 1) as (openml, seed):
        return ask(openml, seed)


def _say_again(state: RetryCallState) -> None:
    """Say on stderr which attempt failed, why, and when the next one begins."""
    cause = state.outcome.exception() if state.outcome else None
    wait = state.next_action.sleep if state.next_action else 0
    print(f"  attempt {state.attempt_number} failed ({_brief(cause)}); again in {wait:.0f} s", file=sys.stderr)


def _may_pass(error: BaseException) -> bool:
    """Tell whether asking again may help: not after a definite answer of the server, nor after a mistake of ours."""
    from openml.exceptions import OpenMLHashException, OpenMLServerError, OpenMLServerException
    from requests.exceptions import RequestException
    from urllib3.exceptions import HTTPError

    if isinstance(error, OpenMLServerException):
        return error.code == DATABASE_DOWN
    return isinstance(error, OpenMLServerError | OpenMLHashException | RequestException | HTTPError | UnreadableAnswer)


class UnreadableAnswer(Exception):
    """The client could not parse what it got; Parquet comes without a checksum, so the bytes may be damaged."""


def _refusal(error: Exception, what: str) -> UsageError:
    """Return the UsageError for a definite refusal of the server; any other error is raised again."""
    from openml.exceptions import PyOpenMLError

    if isinstance(error, PyOpenMLError):
        return UsageError(f"{what} is not to be had: the server says {_brief(error)}. Check the id on openml.org.")
    raise error


def _brief(error: BaseException | None) -> str:
    """Return an error in one line; of a failed connection the reason at the bottom, not the layers around it."""
    error = getattr(error.args[0], "reason", None) or error if error and error.args else error
    text = in_one_line(getattr(error, "message", "") or error)
    return f"{type(error).__name__}: {text[:160]}"


@contextmanager
def _client(folder: Path, seeded: bool) -> Iterator[tuple[Any, SeedCache]]:
    """Yield the openml client on a new folder, and a function that copies from the user's cache to it.

    A request is tried once. Unless `seeded`, nothing is copied: a second try does not trust the user's cache again.
    """
    import openml

    own = Path(openml.config.get_cache_directory())
    with _time_limit(), _configured(openml, folder):
        here = Path(openml.config.get_cache_directory())

        def seed(entry: str) -> None:
            if seeded and (own / entry).is_dir():
                shutil.copytree(own / entry, here / entry, ignore=shutil.ignore_patterns("*.pkl*", "*.feather"))

        yield openml, seed


@contextmanager
def _configured(openml: Any, folder: Path) -> Iterator[None]:
    """Point the client at a folder within the context, and restore its settings afterwards."""
    before = openml.config.get_config_as_dict()
    openml.config.set_root_cache_directory(folder)
    openml.config.set_retry_policy("human", n_retries=1)
    try:
        yield
    finally:
        openml.config.set_root_cache_directory(before["cachedir"])
        openml.config.set_retry_policy(before["retry_policy"], before["connection_n_retries"])


@contextmanager
def _time_limit() -> Iterator[None]:
    """Set a time limit on the client's requests within the context.

    The client sets none, and a server that falls silent would hold a run for ever.
    """
    import requests

    send = requests.Session.send

    def limited(self: Any, request: Any, **options: Any) -> Any:
        return send(self, request, **{**options, "timeout": options.get("timeout") or TIMEOUT})

    with patch.object(requests.Session, "send", limited):
        yield
