"""psilon-run: parse, call, exit code. What is heavy is imported inside functions, so that --help stays quick."""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

import hydra
from omegaconf import DictConfig

from psilon_bench.cli.overview import listing, long_help, short_help
from psilon_bench.cli.suggestions import suggest
from psilon_bench.cli.working_folder import check_working_folder
from psilon_bench.config.addresses import redacted
from psilon_bench.config.command_line import arranged, given, parsed
from psilon_bench.config.conf_folder import CONF
from psilon_bench.config.hydra_internals import list_options_in_place
from psilon_bench.errors import Raised, RunFailed, StackFailed, UsageError, shortened
from psilon_bench.machine import garbage
from psilon_bench.machine.signals import Stopped, install

GOES_ON = "The same command goes on where it was"


def main() -> NoReturn:
    """Entry point. Exit codes: 0 done, 1 a run failed, 2 asked wrongly, 128 + n stopped by signal n."""
    garbage.pause()
    list_options_in_place()
    sys.exit(exit_code(begin_as_asked))


def begin_as_asked() -> None:
    """Show help or a list where they are asked for, else let Hydra compose the configurations and start `job`."""
    options = parsed(sys.argv[1:])
    if options.config_dir is not None and not os.path.isdir(options.config_dir):
        raise UsageError(
            f"--config-dir {options.config_dir} is not a folder. Name yours, as in docs/tutorials/component.md."
        )
    if options.help:
        print(long_help() if "all" in options.overrides else short_help())
    elif options.list is not None:
        print(listing(options.list))
    else:
        hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(job)()


def job(cfg: DictConfig) -> None:
    """Hydra's task function."""
    try:
        train(cfg)
    except Exception as error:
        raise Raised from error


def train(cfg: DictConfig) -> None:
    """One run from its composed configuration."""
    from psilon_bench.tracking.sender import sending, wants_mlflow

    with sending(wants_mlflow(cfg)) as sender:
        from psilon_bench.config.check import check
        from psilon_bench.machine.arithmetic import set_up
        from psilon_bench.run.display import Display
        from psilon_bench.run.run import check_places, run_alone
        from psilon_bench.tracking.server import tracked_at

        set_up()
        config = check(cfg)
        if config.plan:
            raise UsageError("plan=true shows what several runs would do, and this is one. Add -m, or take --cfg job.")
        if config.race:
            raise UsageError("race=true compares several runs, and this is one. Add -m and values, or leave it out.")
        if config.cv is not None:
            raise UsageError(f"cv={config.cv} trains several runs, and this is one. Add -m, or leave it out.")
        if config.ensemble:
            raise UsageError("ensemble=true chooses among several networks, and this is one run. Add -m and values.")
        check_places(config)
        garbage.resume()
        display = Display()
        record = run_alone(config, display, sender)
        display.result(record, config.metrics.functions)
    if record.run["status"] == "failed":
        raise RunFailed(f"{record.run['reason']}; see {record.folder}")
    suggest(record.folder, tracked_at(config))
    if config.tracking.registered_name is not None:
        from psilon_bench.cli.registration import register_choice

        register_choice(config, record.folder)


def exit_code(command: Callable[[], Any]) -> int:
    """Call Hydra's main; turn what it raises into one line and an exit code."""
    verbose = "--verbose" in sys.argv or os.environ.get("HYDRA_FULL_ERROR") == "1"
    sys.argv = [argument for argument in sys.argv if argument != "--verbose"]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises instead of printing and exiting itself
    install()
    try:
        check_working_folder()
        sys.argv[1:] = arranged(sys.argv[1:])
        command()
    except Stopped as stop:
        anew = any(argument.startswith("rerun=") and argument != "rerun=false" for argument in sys.argv)
        print(f"psilon-run: stopped. {'With rerun=true it begins anew' if anew else GOES_ON}.", file=sys.stderr)
        return stop.exit_code
    except BrokenPipeError:  # the reader has gone: --help | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter's last flush fails, too
        return 128 + signal.SIGPIPE
    except (Exception, Raised) as raised:
        error = raised.__cause__ if isinstance(raised, Raised) else raised
        assert error is not None
        if verbose:
            traceback.print_exception(error)
        code, line = told(error, ours=isinstance(raised, Raised))
        print(f"psilon-run: {redacted(' '.join(line.splitlines()))}", file=sys.stderr)
        return code
    return 0


def told(error: BaseException, ours: bool) -> tuple[int, str]:
    """Exit code and line of an exception: 2 for what was asked wrongly, 1 for everything else of ours."""
    if isinstance(error, UsageError):
        return 2, shortened(str(error), sys.argv)
    if isinstance(error, RunFailed | StackFailed):
        return 1, str(error)
    from psilon_bench.config.messages import one_line

    line = one_line(error, given(sys.argv[1:]))
    if line is None and ours:
        return 1, f"{type(error).__name__}: {error} (--verbose shows where)"
    return 2, shortened(line or f"{error} (--verbose shows where)", sys.argv)
