"""A multirun: compose all jobs, check ALL of them, then hand them to the sweep."""

import pickle
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, TypeVar

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from psilon_bench.config.check import check
from psilon_bench.config.messages import one_line
from psilon_bench.config.overrides import check_choice, parse
from psilon_bench.config.schema import Config
from psilon_bench.errors import UsageError, short
from psilon_bench.machine import garbage
from psilon_bench.sweep.other_launchers import Inner
from psilon_bench.tracking.sender import sending, wants_mlflow

Compose = Callable[[list[str]], DictConfig]
T = TypeVar("T")
TITLED = ("model", "reg", "reg.lam", "seed", "dataset")  # the data set stands beside the title where it differs


def launch(jobs: Sequence[list[str]], compose: Compose, inner: Inner | None = None) -> list[JobReturn]:
    """UsageError before the first job where any is wrong; RunFailed at the end where any failed."""
    compose = Composer(compose)
    first = in_job(jobs[0], partial(compose, jobs[0]))
    with sending(wants_mlflow(first) and not OmegaConf.select(first, "plan")) as sender:
        from psilon_bench.sweep import sweep

        configs = every(jobs, compose)
        told = [config.told_apart(own) for config, own in zip(configs, differences(jobs), strict=True)]
        outcomes = sweep.run(told, inner, sender)
    return [
        JobReturn(overrides=job, task_name="psilon-run", status=JobStatus.COMPLETED, _return_value=outcomes)
        for job in jobs
    ]


def every(jobs: Sequence[list[str]], compose: Compose) -> list[Config]:
    """The configurations of all jobs, each checked by itself and all together, one of each structure as it is built."""
    from psilon_bench.machine.device import set_up
    from psilon_bench.run.checks import prepare
    from psilon_bench.run.run import check_places

    set_up()
    configs = [in_job(jobs[0], partial(checked, jobs[0], compose))]  # imports what is to be imported
    garbage.release()
    configs += [in_job(job, partial(checked, job, compose)) for job in jobs[1:]]
    check_common(configs)
    check_places(configs[0])
    kinds = {config.structure(): (config, job) for config, job in zip(configs, jobs, strict=True)}
    for config, job in kinds.values():
        in_job(job, partial(prepare, config))
    return configs


def check_common(configs: Sequence[Config]) -> None:
    """UsageError where jobs differ in what belongs to the sweep as a whole."""
    for key in ("name", "results_dir", "tracking", "plan", "rerun", "retries"):
        values = [getattr(config, key) for config in configs]
        if any(value != values[0] for value in values):
            raise UsageError(f"{key} is one for all runs of a sweep. Start one sweep for each value of {key}.")


def differences(jobs: Sequence[list[str]]) -> list[str]:
    """Of each job the overrides that not all have, but for those that every title tells."""
    common = set.intersection(*map(set, jobs))
    return [" ".join(one for one in job if one not in common and key_of(one) not in TITLED) for job in jobs]


def key_of(override: str) -> str:
    """`optimizer.lr` of `+optimizer.lr=0.1`."""
    return override.partition("=")[0].lstrip("+~")


class Composer:
    """Hydra's composition once for each choice of groups (32 ms); values alone are set in copies of it.

    A copy by pickle takes 0.2 ms, by deepcopy 1.3.
    """

    def __init__(self, compose: Compose) -> None:
        self.compose = compose
        self.composed: dict[tuple[str, ...], bytes] = {}

    def __call__(self, job: list[str]) -> DictConfig:
        """What compose(job) gives, without Hydra's own part."""
        values = [parsed for override in job if (parsed := simple_value(override)) is not None]
        choices = tuple(override for override in job if simple_value(override) is None)
        if choices not in self.composed:
            for choice in choices:
                check_choice(parse(choice))
            self.composed[choices] = pickle.dumps(without_hydra(self.compose(list(choices))))
        cfg: DictConfig = pickle.loads(self.composed[choices])
        try:
            for key, value in values:
                OmegaConf.update(cfg, key, value)
        except OmegaConfBaseException:
            return without_hydra(self.compose(job))  # an unknown key, say: Hydra finds the words
        return cfg


@lru_cache(maxsize=10_000)
def simple_value(override: str) -> tuple[str, Any] | None:
    """(key, value) of an override that sets a leaf; None for a choice of a group, an addition, a deletion."""
    key = override.partition("=")[0]
    if "." not in key and key not in ("seed", "name", "results_dir", "retries"):
        return None
    parsed = OverridesParser.create().parse_override(override)
    if parsed.is_add() or parsed.is_delete() or parsed.is_force_add():
        return None
    return parsed.key_or_group, parsed.value()


def checked(job: list[str], compose: Compose) -> Config:
    """The typed configuration of a job."""
    return check(compose(job))


def in_job(job: list[str], step: Callable[[], T]) -> T:
    """step(), with the job's overrides behind what is wrong about it."""
    try:
        return step()
    except Exception as error:
        line = str(error) if isinstance(error, UsageError) else one_line(error, job)
        if line is None:
            raise
        line += "" if line.endswith((".", "?")) else "."
        raise UsageError(f"{line} In the run: {' '.join(map(short, job))}. No run was started.") from error


def without_hydra(cfg: DictConfig) -> DictConfig:
    """The configuration less Hydra's own part."""
    with open_dict(cfg):
        del cfg["hydra"]
    return cfg
