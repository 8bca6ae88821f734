"""A multirun: compose every job, check ALL of them, then run; a run that fails does not end the sweep."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, open_dict

from psilon_bench.config import Config, check
from psilon_bench.display import Display
from psilon_bench.errors import RunFailed, UsageError
from psilon_bench.hydra_errors import one_line
from psilon_bench.runner import prepare, run
from psilon_bench.sender import Sender, sending

Compose = Callable[[list[str]], DictConfig]
T = TypeVar("T")


def launch(jobs: Sequence[list[str]], compose: Compose) -> list[JobReturn]:
    """UsageError before the first job where any is wrong; RunFailed at the end where any failed."""
    configs = [in_job(job, partial(checked, job, compose)) for job in jobs]
    representatives = {config.structure(): (config, job) for config, job in zip(configs, jobs, strict=True)}
    for config, job in representatives.values():
        in_job(job, partial(prepare, config))
    display = Display()
    with sending(configs[0].tracking.name == "mlflow") as sender:
        returns = [run_one(config, job, display, sender) for config, job in zip(configs, jobs, strict=True)]
    display.summary([result.return_value for result in returns if result.status is JobStatus.COMPLETED])
    failed = sum(result.status is JobStatus.FAILED for result in returns)
    if failed:
        raise RunFailed(f"{failed} of {len(jobs)} runs failed")
    return returns


def checked(job: list[str], compose: Compose) -> Config:
    """The typed configuration of a job."""
    return check(task_config(compose(job)))


def run_one(config: Config, job: list[str], display: Display, sender: Sender | None) -> JobReturn:
    """Hydra's account of one job: its record, or the exception."""
    result = JobReturn(overrides=job, cfg=None, task_name="psilon-run")
    try:
        (record,) = run([config], display, sender)
    except Exception as error:
        display.failure(" ".join(job), f"{type(error).__name__}: {error}")
        result.return_value, result.status = error, JobStatus.FAILED
    else:
        result.return_value, result.status = record, JobStatus.COMPLETED
    return result


def in_job(job: list[str], step: Callable[[], T]) -> T:
    """step(), with the job's overrides in front of what is wrong about it."""
    try:
        return step()
    except Exception as error:
        line = str(error) if isinstance(error, UsageError) else one_line(error)
        if line is None:
            raise
        raise UsageError(f"{line} In the run: {' '.join(job)}. No run was started.") from error


def task_config(cfg: DictConfig) -> DictConfig:
    """The composed configuration without Hydra's own part."""
    with open_dict(cfg):
        del cfg["hydra"]
    return cfg
