"""The data set of a run: it is identified by name and content (the checksum), never by name alone.

Two contents of one name get names that say what differs: the ends of their paths where these differ, else checksum and
time. Other rows of one content (dataset.max_rows) are further data sets; how inputs are made of the same rows
(dataset.scaling) is a setting.

Data that are drawn from random numbers may have a checksum for every seed. They are one data set all the same: the rule
by which they are drawn makes them what they are, and that rule is in the configuration.
"""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import PurePath

from psilon_bench.config.repeated import FOLD_COUNT, INPUT_KEYS, REFIT
from psilon_bench.report.escaping import visible
from psilon_bench.report.keys import partition, value_text, varying
from psilon_bench.report.records import Run

PLACES = ("dataset.path", "dataset.corrupted", "dataset.corrupted_rows")  # the data in them are known by their content
SOURCE = "source"  # of the record, beside these
DRAWN = ("drawn", "made by ")  # how the source of data begins that we draw
DIGITS = 8  # of a checksum

Contents = dict[str, list[Run]]  # runs by content; drawn data have the content ""


def runs_by_dataset(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Return runs by the name of their data set; each name stands for one content and one choice of rows from it."""
    result: dict[str, list[Run]] = {}
    for name, own in partition(runs, lambda run: run.dataset).items():
        ways = {words: by_content(part) for words, part in by_way(own).items()}
        tells = tell_apart(list(ways.values()))
        for words, contents in ways.items():
            for content, part in contents.items():
                result[" ".join(filter(None, (name, tells.get(content), words)))] = part
    return result


def by_way(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Return the runs of one name by how they take rows of its data, in words (see way_of).

    A refit of a cross-validation, which trains on all folds, belongs to each number of folds that was tried.
    """
    keys, with_refits = dataset_keys(runs), is_cross_validated(runs)
    way = partial(way_of, keys, with_refits)
    if not with_refits or FOLD_COUNT not in keys:
        return partition(runs, way)
    foldless = partial(way_of, [key for key in keys if key != FOLD_COUNT], with_refits)
    ways = partition([run for run in runs if not run.is_refit], way)
    for refit in (run for run in runs if run.is_refit):
        matching = [own for own in ways.values() if foldless(own[0]) == foldless(refit)]
        for own in matching or [ways.setdefault(way(refit), [])]:
            own.append(refit)
    return ways


def dataset_keys(runs: Sequence[Run]) -> list[str]:
    """Return the keys of `dataset` that vary and choose rows: other rows make another data set."""
    return [key for key in varying(runs) if key.startswith("dataset.") and key not in (*PLACES, *INPUT_KEYS)]


def is_cross_validated(runs: Sequence[Run]) -> bool:
    """Tell whether these runs on one data set are, at least in part, of a cross-validation (cv=5)."""
    return any(run.params.get("cv") is not None for run in runs)


def way_of(keys: Sequence[str], with_refits: bool, run: Run) -> str:
    """Return how a run takes rows of its data, as far as runs differ in it: `max_rows=100 val_size=0.2`.

    Refits are apart, for they train on the rows by which the others are compared, but for those of a cross-validation
    (with_refits), which stand for the settings they are of.
    """
    refit = [f"fold={REFIT}"] if run.is_refit and not with_refits else []
    return " ".join([*(f"{key.partition('.')[2]}={value_text(run.params.get(key))}" for key in keys), *refit])


def by_content(runs: Sequence[Run]) -> Contents:
    """Return runs by the checksum of their data; drawn data are one content.

    The runs have one name of a data set and take rows of it in the same way.
    """
    if all(map(is_drawn, runs)) or looks_drawn(runs):
        return {"": list(runs)}
    return partition(runs, lambda run: run.checksum)


def is_drawn(run: Run) -> bool:
    """Tell whether the record says that its data are random numbers, with no part from a file."""
    return run.source.startswith(DRAWN) and not has_place(run)


def looks_drawn(runs: Sequence[Run]) -> bool:
    """Tell whether each split seed has its own checksum, and no table, folder or address holds all of the data.

    A vector that is drawn for a matrix from a file (dataset.matrix) looks like this.
    """
    if any(has_place(run) or (run.kind != "recovery" and is_place(run.source)) for run in runs):
        return False
    pairs = {(run.params.get("dataset.split_seed"), run.checksum) for run in runs}
    seeds, checksums = ({pair[index] for pair in pairs} for index in (0, 1))
    return len(pairs) == len(seeds) == len(checksums) > 1


def has_place(run: Run) -> bool:
    """Tell whether the configuration names a file or folder of data."""
    return any(run.params.get(key) for key in PLACES)


def is_place(source: str) -> bool:
    """Tell whether a source is an absolute path or an address."""
    return PurePath(source).is_absolute() or "://" in source


def tell_apart(ways: Sequence[Contents]) -> dict[str, str]:
    """Return for each content of one name what distinguishes it; nothing where the values of `dataset` do."""
    contents: Contents = {}
    for way in ways:
        for content, runs in way.items():
            contents.setdefault(content, []).extend(runs)
    from_files = any(has_place(run) for runs in contents.values() for run in runs)
    if len(contents) < 2 or (all(len(way) == 1 for way in ways) and not from_files):
        return {}
    for key in (SOURCE, *PLACES):
        own = own_places(contents, key)
        if len(own) == len(contents):
            return {content: f"({ending})" for content, ending in endings(own).items()}
    return by_checksum(contents)


def by_checksum(contents: Contents) -> dict[str, str]:
    """Return for each content its path where paths differ, and checksum and time where its path is not its alone."""
    own = own_places(contents, SOURCE)
    first = {content: own.get(content) or min(run.source for run in runs) for content, runs in contents.items()}
    paths = endings(first)
    digits = DIGITS
    while len({content[:digits] for content in contents}) < len(contents):
        digits += DIGITS
    result = {}
    for content, runs in contents.items():
        words = [paths[content]] if len(set(paths.values())) > 1 else []
        if content not in own:
            began = min(runs, key=lambda run: run.began).started[:16].replace("T", " ")
            words += [f"checksum {visible(content[:digits]) or 'unknown'}", began]
        result[content] = f"({', '.join(words)})"
    return result


def own_places(contents: Contents, key: str) -> dict[str, str]:
    """Return for each content the first place that no other content has; a content without such a place is left out."""
    places = {content: {data_path(run, key) for run in runs} - {""} for content, runs in contents.items()}
    shared = Counter(place for own in places.values() for place in own)
    return {content: min(alone) for content, own in places.items() if (alone := [p for p in own if shared[p] == 1])}


def data_path(run: Run, key: str) -> str:
    """Return where a run has its data from: the source in its record, or what a key of its configuration names."""
    return run.source if key == SOURCE else str(run.params.get(key) or "")


def endings(paths: dict[str, str]) -> dict[str, str]:
    """Return the last parts of each path, as few as distinguish all paths."""
    parts = {path: PurePath(path).parts for path in paths.values()}
    for count in range(1, max(map(len, parts.values())) + 1):
        found = {path: str(PurePath(*own[-count:])) for path, own in parts.items()}
        if len(set(found.values())) == len(found):
            break
    return {content: found[path] for content, path in paths.items()}
