"""The reference of the commands, from what their parsers know."""

import inspect
from collections.abc import Iterator
from typing import Any

import click
from markdown_text import code, table

from psilon_bench.cli.certify import certify
from psilon_bench.cli.data import commands as data
from psilon_bench.cli.doctor import doctor
from psilon_bench.cli.export import export
from psilon_bench.cli.predict import predict
from psilon_bench.cli.report import report
from psilon_bench.cli.sync import sync

COMMANDS: dict[str, click.Command] = {
    "psilon-certify": certify,
    "psilon-data": data,
    "psilon-doctor": doctor,
    "psilon-export": export,
    "psilon-predict": predict,
    "psilon-report": report,
    "psilon-sync": sync,
}
INTRO = """# Commands

Here is every command with its arguments, options and exit codes. `psilon-run` takes a configuration instead of options:
see [its keys](configuration.md); before them or behind them may stand

| option | what it does |
| - | - |
| `-m` | a sweep: every combination of the values that commas separate |
| `--cfg job` | print the configuration, run nothing |
| `--config-dir DIR` | a folder with [components of your own](../tutorials/component.md) |
| `--shell-completion install=bash` | what a shell evaluates to complete options and keys (`bash`, `zsh`, `fish`) |
| `--verbose` | the traceback of an error |
| `--help` | the groups, their options and examples; `--help all` with every preset |
| `--list model` | the options of a group, a line each |
| `--version` | the versions of this package and of Hydra |

The exit code is 0 when all is done, 1 when a run failed, 2 when something was asked for that cannot be met, and 128 + n
after signal n (130: Ctrl-C). The other commands have the same codes; what 1 means stands with each.
"""


def commands_page() -> str:
    """Return the page of the commands."""
    parts = [INTRO, *(described(name, command) for name, command in COMMANDS.items())]
    return "\n".join(parts)


def described(name: str, command: click.Command) -> str:
    """Return the part of a command and of its subcommands."""
    context = click.Context(command, info_name=name)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    parts = [f"\n## {name}\n", f"```text\n{usage}\n```\n", paragraphs(command.help or "")]
    parts += [f"\n{exit_codes(command)}\n"] if name in COMMANDS else []
    rows = [(usage_of(option, context), (option.help or "") + default_of(option)) for option in options_of(command)]
    if rows:
        parts.append("\n" + table(("option", "what it does"), rows))
    parts += [described(f"{name} {key}", one) for key, one in getattr(command, "commands", {}).items()]
    return "\n".join(parts) + "\n"


def exit_codes(command: click.Command) -> str:
    """Return the sentence on exit codes that the entry point of a command has."""
    module: Any = inspect.getmodule(command.callback)
    return module.main.__doc__.removeprefix("Entry point. ")


def paragraphs(text: str) -> str:
    """Return the help of a command without its indentation."""
    return "\n".join(line.strip() for line in text.splitlines())


def options_of(command: click.Command) -> Iterator[click.Option]:
    """Yield the options of a command."""
    return (parameter for parameter in command.params if isinstance(parameter, click.Option))


def usage_of(option: click.Option, context: click.Context) -> str:
    """Return the names of an option with what it takes."""
    record = option.get_help_record(context)
    return code(record[0] if record else option.name or "")


def default_of(option: click.Option) -> str:
    """Return the default of an option that shows one."""
    return f" Default: {code(str(option.default))}." if option.show_default and option.default is not None else ""
