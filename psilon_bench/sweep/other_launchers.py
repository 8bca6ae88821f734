"""Stacks on other cores or machines: another of Hydra's launchers runs them, one stack a job."""

import contextlib
import copy
import math
import os
import pickle
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from psilon_bench.config.hydra_internals import error_of_job
from psilon_bench.config.overrides import quoted
from psilon_bench.errors import UsageError, with_kind
from psilon_bench.machine.signals import Stopped
from psilon_bench.records.places import launcher_job, new_launcher_folder
from psilon_bench.sweep.attempt import Attempt

# hydra.launcher.inner -> the extra of this package that brings it
EXTRAS = {"joblib": "joblib", "submitit_local": "slurm", "submitit_slurm": "slurm", "ray": "ray"}
UPDATE_S = 1.0


@dataclass
class StackJob:
    """Hydra's task function in a worker: it trains the stack that was written down for its job."""

    folder: Path

    def __call__(self, _cfg: DictConfig) -> None:
        """Train the stack of this job; what fails is in the records.

        A signal is passed on after the checkpoint is written: submitit then puts the job back into the queue.
        """
        from psilon_bench.machine.arithmetic import set_up
        from psilon_bench.sweep.retries import train_quietly

        set_up()
        attempt: Attempt = pickle.loads(launcher_job(self.folder, HydraConfig.get().job.num).read_bytes())
        try:
            train_quietly(attempt)
        except Stopped as stop:
            signal.raise_signal(stop.exit_code - 128)


@dataclass
class OtherLauncher:
    """The launcher that hydra.launcher.inner asks for, ready for stacks."""

    name: str
    launcher: DictConfig
    hydra_context: HydraContext
    config: DictConfig

    @classmethod
    def of(cls, config: DictConfig, hydra_context: HydraContext) -> "OtherLauncher | None":
        """Return hydra.launcher.inner with its options; None where none is asked for, UsageError for a wrong one."""
        name, options = config.hydra.launcher.inner, config.hydra.launcher.options
        if name is None:
            return None
        if name not in EXTRAS:
            raise UsageError(f"hydra.launcher.inner={name} is none of {', '.join(EXTRAS)}. Leave it out to run here.")
        stored = ConfigStore.instance().repo["hydra"]["launcher"].get(f"{name}.yaml")
        if stored is None:
            remedy = f"pip install 'psilon-bench[{EXTRAS[name]}]'"
            raise UsageError(f"hydra.launcher.inner={name} is not installed. Do: {remedy}.")
        try:
            launcher = OmegaConf.merge(stored.node, options)
        except OmegaConfBaseException as error:
            known = ", ".join(key for key in stored.node if key != "_target_")
            reason = str(error).splitlines()[0]
            raise UsageError(f"hydra.launcher.options does not fit {name}: {reason}. It has {known}.") from error
        assert isinstance(launcher, DictConfig)
        return cls(name, launcher, hydra_context, config)

    def stack_size(self, runs: int, size: int) -> int:
        """Return networks in a stack, so that every core that joblib may use has one; elsewhere `size`."""
        if self.name != "joblib":
            return size
        jobs = self.launcher.n_jobs if self.launcher.n_jobs > 0 else os.cpu_count() or 1
        return min(size, math.ceil(runs / jobs))

    def run(self, attempts: Sequence[Attempt], sweep: Path, update: Callable[[], None]) -> str | None:
        """Run all stacks and races; return what went wrong beyond the runs' own failures, in one line.

        `sweep` is the folder of the sweep; `update` is called from time to time.
        """
        folder = new_launcher_folder(sweep)
        folder.mkdir(parents=True)
        for number, attempt in enumerate(attempts):
            launcher_job(folder, number).write_bytes(pickle.dumps(attempt))
        try:
            with called_every(UPDATE_S, update):
                returned = self.instantiate(folder).launch([self.job(folder)] * len(attempts), initial_job_idx=0)
        except Exception as error:  # whatever a worker, a queue or a cluster may raise
            return f"{self.name} ended with {with_kind(error)}"[:300]
        errors = [found for job in returned if (found := error_of_job(job)) is not None]
        if errors:
            return with_kind(errors[0])[:300]
        shutil.rmtree(folder)
        return None

    def job(self, folder: Path) -> list[str]:
        """Return the overrides of a job: its configuration is in its file, these only move Hydra's own folders."""
        return [f"hydra.sweep.dir={quoted(str(folder))}", "hydra.sweep.subdir=."]

    def instantiate(self, folder: Path) -> Any:
        """Return Hydra's launcher, set up on a copy of the configuration that names it."""
        config = copy.deepcopy(self.config)
        with open_dict(config):
            config.hydra.launcher = self.launcher
            config.hydra.sweep.dir, config.hydra.sweep.subdir = str(folder), "."
        return Plugins.instance().instantiate_launcher(
            hydra_context=self.hydra_context, task_function=StackJob(folder), config=config
        )


@contextlib.contextmanager
def called_every(seconds: float, function: Callable[[], None]) -> Iterator[None]:
    """Call the function within the block that often, by a thread, and once more at the end."""
    over = threading.Event()

    def loop() -> None:
        while not over.wait(seconds):
            function()

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        function()
