"""The command line as Hydra is to get it: options first, then overrides that its grammar and our groups know."""

import re
from pathlib import Path
from typing import Any, NoReturn

from psilon_bench.config.conf_folder import add_folder
from psilon_bench.config.hydra_internals import hydras_parser
from psilon_bench.errors import UsageError

HOME = re.compile(r"""(?<=[=,\[])~[^,\[\](){}"']*""")  # a value that begins with ~


def arranged(arguments: list[str]) -> list[str]:
    """Return Hydra's options, wherever they stood, and then the overrides; UsageError for what is neither."""
    options = parsed(arguments)
    if options.config_dir is not None:
        add_folder(Path(options.config_dir))
    told = options.help or options.list is not None or options.hydra_help or options.shell_completion or options.info
    overrides = options.overrides if told else checked(options.overrides, options.multirun)
    first = [one for one in arguments if one not in options.overrides and one != "--"]
    return [*first, *(["--"] if overrides and options.info else []), *overrides]  # else --info takes an override


def parsed(arguments: list[str]) -> Any:
    """Return Hydra's options as attributes, and all else as `overrides`; UsageError for an unknown option."""

    def refuse(message: str) -> NoReturn:
        raise UsageError(f"{message}. psilon-run --help shows what there is.")

    parser = hydras_parser()
    parser.error = refuse  # type: ignore[method-assign]
    parser.add_argument("--list", nargs="?", const="")
    return parser.parse_intermixed_args(arguments)


def checked(overrides: list[str], multirun: bool) -> list[str]:
    """Return the overrides, quoted where a value begins with ~; UsageError for the first that cannot be meant."""
    if not overrides:
        return []
    from psilon_bench.config.overrides import check_choice, check_lone, parse

    sweeps = multirun or any(one.startswith("hydra.mode=") for one in overrides)
    overrides = [in_quotes(one) for one in overrides]
    for override in map(parse, overrides):
        check_choice(override)
        if not sweeps:
            check_lone(override)
    return overrides


def in_quotes(override: str) -> str:
    """Return the override, quoted where Hydra's grammar needs it: it takes ~ as a first letter in quotes alone."""
    if not HOME.search(override):
        return override
    from psilon_bench.config.overrides import is_readable, quoted

    rewritten = HOME.sub(lambda value: quoted(value[0]), override)
    return override if is_readable(override) or not is_readable(rewritten) else rewritten


def given(arguments: list[str]) -> list[str]:
    """Return the overrides among them."""
    return list(parsed(arguments).overrides)
