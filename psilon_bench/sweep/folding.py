"""The jobs of a cross-validation: each job of a sweep once for each fold, and once for all rows but the test rows."""

from collections.abc import Iterable, Sequence

from omegaconf import DictConfig, OmegaConf

from psilon_bench.config.repeated import PARTITION, REFIT
from psilon_bench.errors import UsageError
from psilon_bench.metrics.out_of_fold import FoldValue, OutOfFold, is_root, out_of_fold, scale_of
from psilon_bench.records.run_json import RunDict
from psilon_bench.sweep.composer import Compose
from psilon_bench.sweep.grids import check_size
from psilon_bench.sweep.refusals import in_job

Job = list[str]  # overrides
SET_BY_CV = ("dataset.folds", "dataset.fold")


def fold_count(cfg: DictConfig) -> int | None:
    """Return into how many folds cv asks to cut; None without it, and where it is wrong, which the check will say."""
    asked = OmegaConf.select(cfg, "cv")
    return asked if isinstance(asked, int) and asked > 1 else None


def folded_jobs(jobs: Sequence[Job], folds: int, compose: Compose) -> list[Job]:
    """Return every job on each of its folds, then every job as a refit.

    UsageError where a job chooses folds itself, or data that have none, and for more runs than a sweep may have.
    """
    check_size(len(jobs) * (folds + 1))
    for job in jobs:
        in_job(job, lambda: check_foldable(folds, compose(job)))  # noqa: B023  (called at once)
    return [*(fold for job in jobs for fold in folds_of(job, folds)), *refits_of(jobs, folds)]


def folds_of(job: Job, folds: int) -> list[Job]:
    """Return a job on each of its folds."""
    return [[*job, *on_fold(folds, fold)] for fold in range(folds)]


def refits_of(jobs: Iterable[Job], folds: int) -> list[Job]:
    """Return jobs that train on all rows but those of the test."""
    return [[*job, *on_fold(folds, REFIT)] for job in jobs]


def on_fold(folds: int, fold: int | str) -> Job:
    """Return the overrides by which one fold validates, or none."""
    return [f"dataset.folds={folds}", f"dataset.fold={fold}"]


def out_of_fold_of(runs: Sequence[RunDict], metric: str) -> OutOfFold:
    """Return the out-of-fold value of a metric, of runs of all folds of a setting, which are finished and have it."""
    values = [
        FoldValue(
            tuple(run["params"].get(key) for key in PARTITION),
            run["metrics"][metric],
            run["task"].get("val_weight") or run["task"]["rows"]["val"],
            scale_of(metric, run["task"]["target"]["scale"]),
        )
        for run in runs
    ]
    return out_of_fold(values, is_root(metric, runs[0]["task"]["kind"]))


def check_foldable(folds: int, cfg: DictConfig) -> None:
    """Raise UsageError where a job chooses its fold itself, or its data cannot be cut into folds."""
    if "folds" not in cfg.dataset:
        raise UsageError(
            f"cv={folds} cuts the rows of a table into folds, and dataset={cfg.dataset.name} is none that can be cut. "
            "Take another data set, or set cv=null."
        )
    if cfg.dataset.get("order_by") is not None:
        raise UsageError(
            f"cv={folds} cuts rows into folds at random, and dataset.order_by={cfg.dataset.order_by} trains on the "
            "past. Set one of them to null."
        )
    for key in SET_BY_CV:
        value = OmegaConf.select(cfg, key)
        if value is not None:
            raise UsageError(
                f"cv={folds} trains on each fold in turn, and {key}={value} is set beside it. Leave that out, or set "
                "cv=null."
            )
