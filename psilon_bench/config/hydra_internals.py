"""Names of Hydra outside its documented interface; `tests/test_hydra_internals.py` fails when they change."""

from argparse import ArgumentParser, _VersionAction
from importlib.metadata import version

from hydra.core.utils import JobReturn, JobStatus


def error_of_job(job: JobReturn) -> BaseException | None:
    """Return the exception of a job that failed, None for one that completed.

    The public `JobReturn.return_value` prints a line on stderr before it raises the exception
    (https://github.com/facebookresearch/hydra/blob/main/hydra/core/utils.py), so the field behind it is read.
    """
    if job.status == JobStatus.COMPLETED:
        return None
    error: BaseException | None = job._return_value
    return error or RuntimeError("a job did not complete")


def list_options_in_place() -> None:
    """Let --help and completion list each group from Hydra's store itself.

    Hydra copies the store whole for each, 100 times for --help (hydra/_internal/config_loader_impl.py), .6 s of it.
    """
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra.core.object_type import ObjectType

    copying = ConfigLoaderImpl.get_group_options

    def in_place(
        self: ConfigLoaderImpl,
        group_name: str,
        results_filter: ObjectType | None = ObjectType.CONFIG,
        config_name: str | None = None,
        overrides: list[str] | None = None,
    ) -> list[str]:
        if config_name or overrides:  # they may add places to look in
            return copying(self, group_name, results_filter, config_name, overrides)
        return self.repository.get_group_options(group_name, results_filter)

    ConfigLoaderImpl.get_group_options = in_place


def hydras_parser() -> ArgumentParser:
    """Return the parser with which hydra.main reads sys.argv (hydra/_internal/utils.py).

    Its --version, which names Hydra alone, names this package, too.
    """
    from hydra._internal.utils import get_args_parser

    parser: ArgumentParser = get_args_parser()
    (named,) = (action for action in parser._actions if isinstance(action, _VersionAction))
    named.version = f"psilon-bench {version('psilon-bench')}, Hydra {version('hydra-core')}"
    return parser
