"""How a click command of ours ends: one line for what was asked wrongly, and an exit code."""

import os
import signal
import sys
from typing import NoReturn

import click

from psilon_bench.cli.working_folder import check_working_folder
from psilon_bench.config.addresses import redacted
from psilon_bench.errors import UsageError, in_one_line, shortened


def run_command(command: click.Command, name: str, when_stopped: str) -> NoReturn:
    """Exit codes: the command's own, 2 asked for wrongly, 130 Ctrl-C, 141 where nobody reads the output any more."""
    try:
        check_working_folder()
        sys.exit(command(prog_name=name, standalone_mode=False))
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except click.Abort:
        print(f"{name}: {when_stopped}", file=sys.stderr)
        sys.exit(130)
    except click.exceptions.NoArgsIsHelpError as help_:
        print(help_.format_message())
        sys.exit(2)
    except BrokenPipeError:  # the reader has gone: psilon-predict ... | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter's last flush fails, too
        sys.exit(128 + signal.SIGPIPE)
    except (UsageError, click.ClickException) as error:
        line = in_one_line(error.format_message()) if isinstance(error, click.ClickException) else str(error)
        print(f"{name}: {redacted(shortened(line, sys.argv))}", file=sys.stderr)
        sys.exit(2)
