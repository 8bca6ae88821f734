"""The jobs of a multirun: all are composed, ALL of them are checked, then they are handed to the sweep."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

from psilon_bench.config.check import check
from psilon_bench.config.repeated import FOLDS
from psilon_bench.config.schema import Config
from psilon_bench.errors import UsageError
from psilon_bench.machine import garbage
from psilon_bench.sweep.composer import Compose, Composer
from psilon_bench.sweep.folding import fold_count, folded_jobs
from psilon_bench.sweep.other_launchers import OtherLauncher
from psilon_bench.sweep.refusals import in_job
from psilon_bench.tracking.sender import sending, wants_mlflow

if TYPE_CHECKING:
    from psilon_bench.training.member import Member  # imports torch

FOLD_KEYS = [f"dataset.{key}" for key in FOLDS]
COMMON = (  # keys that belong to a sweep as a whole
    *("name", "results_dir", "tracking", "plan", "rerun", "retries"),
    *("race", "race_keep", "cv", "cv_refit", "ensemble"),
)
IN_TITLE = ("model", "reg", "reg.lam", "seed", *FOLD_KEYS, "dataset")  # which stands beside the title where it differs


AtEnd = Callable[[Config], None]  # what is done with the configuration of one run when a sweep has ended


def no_more(config: Config) -> None:
    """Do nothing at the end of a sweep."""


def launch(
    jobs: Sequence[list[str]], compose: Compose, launcher: OtherLauncher | None = None, at_end: AtEnd = no_more
) -> list[JobReturn]:
    """Train the runs of these jobs; each job's return value is run.json of all runs by identity.

    at_end: is called when all runs are trained and sent. UsageError before the first run where any job is wrong;
    RunFailed at the end where any run failed.
    """
    compose = Composer(compose)
    first = in_job(jobs[0], partial(compose, jobs[0]))
    with sending(wants_mlflow(first) and not OmegaConf.select(first, "plan")) as sender:
        from psilon_bench.sweep.cross_validation import cross_validate  # imports torch, while the sender's process
        from psilon_bench.sweep.sweep import run_sweep  # imports MLflow

        folds = fold_count(first)
        folded = jobs if folds is None else folded_jobs(jobs, folds, compose)
        configs = titled(compose_all(folded, compose), folded)
        outcomes = (run_sweep if folds is None else cross_validate)(configs, launcher, sender)
    if not configs[0].plan:
        at_end(configs[0])
    returned = [JobReturn(overrides=job, task_name="psilon-run", status=JobStatus.COMPLETED) for job in jobs]
    for job in returned:
        job.return_value = outcomes
    return returned


def compose_all(
    jobs: Sequence[list[str]], compose: Compose, examine: Callable[["Member"], object] = lambda _: None
) -> list[Config]:
    """Return the configurations of all jobs, each checked by itself and all together.

    Of each structure, and of each fold of the data, one is built. examine: is called with what was built, and may raise
    UsageError, too.
    """
    from psilon_bench.machine.arithmetic import set_up
    from psilon_bench.run.checks import prepare
    from psilon_bench.run.run import check_places
    from psilon_bench.sweep.races import check_races

    set_up()
    configs = [in_job(jobs[0], partial(checked_config, jobs[0], compose))]  # imports what is to be imported
    garbage.resume()
    configs += [in_job(job, partial(checked_config, job, compose)) for job in jobs[1:]]
    check_common(configs)
    check_races(configs)
    check_registered(configs)
    check_ensemble(configs)
    check_places(configs[0])
    kinds = {
        (config.structure(), config.dataset.fold_key): (config, job) for config, job in zip(configs, jobs, strict=True)
    }
    for config, job in kinds.values():
        in_job(job, lambda: examine(prepare(config)))  # noqa: B023  (called at once)
    return configs


def check_common(configs: Sequence[Config]) -> None:
    """Raise UsageError where jobs differ in what belongs to the sweep as a whole."""
    for key in COMMON:
        values = [getattr(config, key) for config in configs]
        if any(value != values[0] for value in values):
            raise UsageError(f"{key} is one for all runs of a sweep. Start one sweep for each value of {key}.")


def check_registered(configs: Sequence[Config]) -> None:
    """Raise UsageError where a sweep over several data sets is to become one model of the registry."""
    names = list(dict.fromkeys(config.dataset.name for config in configs))
    name = configs[0].tracking.registered_name
    if name is not None and len(names) > 1:
        raise UsageError(
            f"tracking.register={name} takes the best network of one data set, and the sweep has {len(names)}: "
            f"{', '.join(names)}. Start one sweep for each."
        )


def check_ensemble(configs: Sequence[Config]) -> None:
    """Raise UsageError where the sweep will leave one network to choose an ensemble from."""
    if configs[0].ensemble and not any(not config.model.is_baseline for config in configs[1:]):
        raise UsageError("ensemble=true chooses among networks, and the sweep has none or one. Add reg.lam=1e-4,1e-3.")


def titled(configs: Sequence[Config], jobs: Sequence[list[str]]) -> list[Config]:
    """Return the configurations of these jobs with titles that tell them apart."""
    return [config.told_apart(text) for config, text in zip(configs, differences(jobs), strict=True)]


def differences(jobs: Sequence[list[str]]) -> list[str]:
    """Return for each job the overrides that not all jobs have, but for those that every title shows."""
    common = set.intersection(*map(set, jobs))
    return [
        " ".join(override for override in job if override not in common and key_in(override) not in IN_TITLE)
        for job in jobs
    ]


def key_in(override: str) -> str:
    """Return `optimizer.lr` of `+optimizer.lr=0.1`."""
    return override.partition("=")[0].lstrip("+~")


def checked_config(job: list[str], compose: Compose) -> Config:
    """Return the typed configuration of a job."""
    return check(compose(job))
