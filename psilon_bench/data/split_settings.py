"""Which settings of a split fit each other, and which of them determine anything beside the others.

A source of tables says by what key it takes a split that was made elsewhere: `split` (a column or file), `splits`
(OpenML's own), or by none.
"""

import functools
from pathlib import Path
from typing import Any

from psilon_bench.config.conf_folder import option_files
from psilon_bench.config.option_file import read_option
from psilon_bench.config.repeated import FOLDS, REFIT
from psilon_bench.errors import UsageError

Arguments = dict[str, Any]
PARTS = ("train_size", "val_size", "test_size")


def check_split(arguments: Arguments, brought_by: str | None = None) -> None:
    """Raise UsageError, in one line, for settings of a split that contradict each other; no data are read."""
    check_folds(arguments)
    asked = [f"dataset.{key}={arguments[key]}" for key in ("folds", brought_by) if key and arguments[key] is not None]
    if arguments.get("protocol") == "psilon" and asked:
        raise UsageError(
            f"dataset.protocol=psilon sets the sizes of its splits, which {asked[0]} does as well. Set "
            "dataset.protocol=none, and of the protocol what is left: dataset.max_rows=20000 dataset.encoding=codes."
        )
    if arguments["folds"] is not None:
        check_usual(arguments, PARTS[:2], asked[0])
    if brought_by is not None and arguments[brought_by] is not None:
        check_brought(arguments, asked[-1])
    if arguments.get("order_by") is not None:
        check_order(arguments, asked)


def check_folds(arguments: Arguments) -> None:
    """Raise UsageError unless folds and fold are given together, and the fold is one of them."""
    folds, fold, repeat = arguments["folds"], arguments["fold"], arguments["repeat"]
    if folds is None:
        given = f"dataset.fold={fold}" if fold is not None else f"dataset.repeat={repeat}" if repeat else None
        if given:
            raise UsageError(f"{given} needs folds, but dataset.folds=null. Set dataset.folds=5, or leave it out.")
        return
    choices = f"dataset.fold={','.join(map(str, range(folds)))}" if folds <= 10 else f"dataset.fold=range({folds})"
    if fold is None:
        raise UsageError(
            f"dataset.folds={folds} makes folds of which one validates, but dataset.fold=null. "
            f"Sweep over {choices}, or set dataset.fold={REFIT} to train on all of them."
        )
    if fold != REFIT and fold >= folds:
        raise UsageError(
            f"dataset.fold={fold} is none of the folds of dataset.folds={folds}: it should be 0 to {folds - 1}."
        )


def check_usual(arguments: Arguments, keys: tuple[str, ...], because: str) -> None:
    """Raise UsageError where a size was set that has no effect because of another setting; null is as good as usual."""
    usual = usual_sizes(arguments["name"])
    for key in keys:
        if arguments[key] is not None and arguments[key] != usual.get(key, arguments[key]):
            raise UsageError(
                f"dataset.{key}={arguments[key]} has no effect beside {because}, which says what rows these are. "
                f"Leave it out."
            )


def usual_sizes(name: str) -> Arguments:
    """Return the sizes in the YAML file of the option of this name; nothing where there is no such file."""
    file = option_files("dataset").get(name)
    return {} if file is None else sizes_in(file, file.stat().st_mtime_ns)


@functools.cache
def sizes_in(file: Path, _changed: int) -> Arguments:
    """Return the sizes in the YAML file of an option, which is read again after a change."""
    return {key: value for key, value in read_option(file).items() if key in PARTS}


def check_brought(arguments: Arguments, asked: str) -> None:
    """Raise UsageError for a setting that draws rows beside a split that names them."""
    check_usual(arguments, ("train_size", "test_size"), asked)
    if arguments["max_rows"] is not None:
        raise UsageError(
            f"dataset.max_rows={arguments['max_rows']} draws rows, but {asked} names them. Set dataset.max_rows=null."
        )


def check_order(arguments: Arguments, asked: list[str]) -> None:
    """Raise UsageError where rows are to be split in an order and in another way at once."""
    group = [f"dataset.group={arguments['group']}"] if arguments.get("group") is not None else []
    if asked or group:
        raise UsageError(
            f"dataset.order_by={arguments['order_by']} splits rows in an order, and {(asked + group)[0]} in another "
            "way. Set one of the two."
        )


def without_unused(arguments: Arguments, brought_by: str | None = None) -> Arguments:
    """Return the arguments of a source that determine its task; what nobody asks for is left out altogether.

    So a run without folds has the fingerprint that it had before there were folds.
    """
    unused = {key for key in ("folds", brought_by, "order_by") if key and arguments.get(key) is None}
    if arguments.get("scaling") == "standard":
        unused.add("scaling")
    if arguments["folds"] is None:
        unused |= {"fold", "repeat"}
    elif arguments["fold"] == REFIT:
        unused |= {"folds", "repeat"}  # all rows are trained on, into however many folds they could be cut
    if arguments.get("order_by") is not None:
        unused.add("split_seed")
    if brought_by is not None and arguments[brought_by] is None:
        unused |= {key for key in FOLDS if key.startswith("test_")}
    elif brought_by is not None:
        unused |= {"train_size", "test_size"} | ({"val_size"} if arguments["folds"] is not None else set())
    return {key: value for key, value in arguments.items() if key not in unused}
