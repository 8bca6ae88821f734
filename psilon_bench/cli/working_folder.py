"""The working folder of a command, without which no path means anything."""

import os

from psilon_bench.errors import UsageError


def check_working_folder() -> None:
    """Raise UsageError where the working folder has been deleted."""
    try:
        os.getcwd()
    except OSError as error:
        raise UsageError("The working folder is not there any more. Go to one that is (cd).") from error
