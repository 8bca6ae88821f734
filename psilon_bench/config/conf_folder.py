"""Where configurations lie: in the package and in folders of your own.

`psilon-run --help` needs nothing else of this package, so this file imports nothing that takes time.
"""

import functools
import os
from pathlib import Path

from psilon_bench.errors import UsageError

# in the source tree conf/ lies beside the package, in a wheel inside it
CONF = next(folder for parent in Path(__file__).parents[1:3] if (folder := parent / "conf").is_dir())
VARIABLE = "PSILON_COMPONENTS"  # folders of your own, as in PYTHONPATH; the processes that a run starts read it too


def add_folder(folder: Path) -> None:
    """Make the files GROUP/*.yaml below a folder options from now on; their code may lie in the folder or beside it.

    UsageError as of `checked_folder`.
    """
    named = [checked_folder(os.path.abspath(folder)), *own_folders()]
    os.environ[VARIABLE] = os.pathsep.join(dict.fromkeys(map(str, named)))


def own_folders() -> list[Path]:
    """Return the folders of your own; what was added last comes first."""
    named = filter(None, os.environ.get(VARIABLE, "").split(os.pathsep))
    return [checked_folder(os.path.abspath(folder)) for folder in named]


@functools.cache
def checked_folder(path: str) -> Path:
    """Return a folder of your own.

    UsageError where one of its files has the name of an option of the package: Hydra would take the package's and say
    nothing.
    """
    folder = Path(path)
    for file in sorted(folder.glob("*/*.yaml")):
        same = CONF / file.parent.name / file.name
        if same.exists() and not same.samefile(file):
            raise UsageError(
                f"{file} has the name of an option of this package, which would be taken in its place. "
                f"Give the file another name, such as my_{file.name}."
            )
    return folder


def option_files(group: str) -> dict[str, Path]:
    """Return the file of every option of a group by its name: the package's options, then those of your own folders."""
    files: dict[str, Path] = {}
    for folder in [CONF, *own_folders()]:
        for file in sorted(folder.glob(f"{group}/*.yaml")):
            files.setdefault(file.stem, file)
    return files


def header_of(text: str) -> str:
    """Return the comment at the top of an option's file, without the line of Hydra's package."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            lines.append(line[1:].removeprefix(" "))
    return "\n".join(lines)
