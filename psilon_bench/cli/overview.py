"""What psilon-run --help, --help all and --list GROUP show: the groups, their options, and what each option is.

It is made of the names and first comments of YAML files, so that it needs neither Hydra nor anything that takes time.
"""

import re
import shutil
import textwrap
from pathlib import Path

from psilon_bench.config.conf_folder import CONF, header_of, option_files, own_folders
from psilon_bench.errors import UsageError, short

PRESETS = ("experiment", "suite", "effort")  # groups that are added to a configuration: +experiment=NAME
WIDEST = 120
INDENT = "  "

USE = """\
psilon-run: train a regularised network and record everything about the run

Use
  psilon-run
    P-Net with path-norm regularisation on breast_cancer
  psilon-run model=snet reg=l2 reg.lam=1e-2
    choose a group's option, set a value
  psilon-run -m model=pnet,snet reg.lam=1e-4,1e-3 seed=0,1,2
    every combination (12 runs)
  psilon-run -m +experiment=small dataset.path=my.csv dataset.target=price
    a preset: one command for a new table
  psilon-run --cfg job
    print the configuration, run nothing

"""
VALUES = """\
Values (key=value; psilon-run --cfg job prints them all)
  name seed results_dir reg.lam optimizer.lr
  trainer.{epochs,num_batches,batch_size,eval_every,early_stopping,select}
  hardware.{device,threads,precision} tracking.{uri,experiment}

"""
MORE = """\
More
  psilon-run --list model      what each option of a group is
  psilon-run --list            the groups, presets among them
  psilon-run --help all        all of these in one
  psilon-run --verbose ...     the traceback of an error
  psilon-doctor                what would stop a run here
  eval "$(psilon-run --shell-completion install=bash)"
    completion (bash, zsh, fish)
  psilon-run --hydra-help      options of Hydra (https://hydra.cc)"""


def short_help() -> str:
    """Return how psilon-run is used, with the names of all options but presets."""
    return f"{USE}Groups and their options (group=option)\n{names(usual_groups())}\n\n{VALUES}{MORE}"


def long_help() -> str:
    """Return the same with what each option is, presets among them."""
    groups = "\n\n".join(f"{group}\n{listed(group)}" for group in [*usual_groups(), *PRESETS])
    head = filled("Groups and their options (group=option; presets as +experiment=NAME)", "", INDENT)
    return f"{USE}{VALUES}{MORE}\n\n{head}\n\n{groups}"


def listing(group: str) -> str:
    """Return the options of a group with a line on each; for "" the groups. UsageError for no name of a group."""
    if not group:
        return names([*usual_groups(), *PRESETS])
    known = [*usual_groups(), *PRESETS]
    if group not in known:
        raise UsageError(f"--list {short(group)} is no group. Groups: {', '.join(known)}.")
    return listed(group)


def usual_groups() -> list[str]:
    """Return the groups of which a configuration has one option each, in alphabetical order."""
    folders = {file.parent.name for place in [CONF, *own_folders()] for file in place.glob("*/*.yaml")}
    return sorted(folders - {*PRESETS})


def names(groups: list[str]) -> str:
    """Return a line for each group with the names of its options; long lines go on below, indented."""
    lines = [f"{group}: {', '.join(sorted(option_files(group)))}" for group in groups]
    return "\n".join(filled(line, "", INDENT) for line in lines)


def listed(group: str) -> str:
    """Return a line for each option of a group: its name, and what its file's first comment says."""
    options = {name: about(file) for name, file in sorted(option_files(group).items())}
    column = max(map(len, options)) + 2 * len(INDENT)
    if column > width() // 2:  # a narrow terminal: what it is stands below the name
        return "\n".join(f"{INDENT}{name}\n{filled(what, 2 * INDENT, 2 * INDENT)}" for name, what in options.items())
    rows = (f"{INDENT}{name}".ljust(column) + what for name, what in options.items())
    return "\n".join(filled(row, "", " " * column).rstrip() for row in rows)


def filled(text: str, first: str, rest: str) -> str:
    """Return the text in lines of the terminal's width, the first and the others with such white space before them."""
    return textwrap.fill(text, width(), initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)


def about(file: Path) -> str:
    """Return the first line of the comment that a YAML file begins with, without a sentence that goes on below it."""
    lines = header_of(file.read_text(encoding="utf-8")).splitlines()
    line = next(filter(None, map(str.strip, lines)), "")
    whole = re.match(r".*[.?!](?= [A-Z])", line)
    return whole[0] if whole and line[-1] not in ".?!)]" else line


def width() -> int:
    """Return the letters in a line: those of the terminal, or of COLUMNS, at most as many as are easily read."""
    return max(20, min(WIDEST, shutil.get_terminal_size().columns))
