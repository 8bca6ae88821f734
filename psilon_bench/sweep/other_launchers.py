"""Stacks on other cores or machines: another of Hydra's launchers runs them, one stack a job."""

import contextlib
import copy
import math
import os
import pickle
import shutil
import signal
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import JobStatus
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from psilon_bench.config.overrides import quoted
from psilon_bench.config.schema import Config
from psilon_bench.errors import UsageError
from psilon_bench.machine.signals import Stopped

# hydra.launcher.inner -> the extra of this package that brings it
EXTRAS = {"joblib": "joblib", "submitit_local": "slurm", "submitit_slurm": "slurm", "ray": "ray"}
LOOK_EVERY_S = 1.0


@dataclass
class StackJob:
    """Hydra's task function in a worker: trains the stack that was laid down for its job."""

    folder: Path

    def __call__(self, cfg: DictConfig) -> None:
        """What fails is in the records. A signal is passed on when the checkpoint is written: submitit requeues."""
        from psilon_bench.machine.device import set_up
        from psilon_bench.sweep.retries import train_quietly

        set_up()
        configs: list[Config] = pickle.loads((self.folder / f"{HydraConfig.get().job.num}.pkl").read_bytes())
        try:
            train_quietly(configs)
        except Stopped as stop:
            signal.raise_signal(stop.exit_code - 128)


@dataclass
class Inner:
    """The launcher that was asked for, ready for stacks."""

    name: str
    launcher: DictConfig
    hydra_context: HydraContext
    config: DictConfig

    @classmethod
    def of(cls, config: DictConfig, hydra_context: HydraContext) -> "Inner | None":
        """hydra.launcher.inner with its options; None where none is asked for, UsageError for a wrong one."""
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

    def size(self, runs: int, size: int) -> int:
        """Networks in a stack, so that every core that joblib may use has one; elsewhere as the plan says."""
        if self.name != "joblib":
            return size
        jobs = self.launcher.n_jobs if self.launcher.n_jobs > 0 else os.cpu_count() or 1
        return min(size, math.ceil(runs / jobs))

    def run(self, stacks: Sequence[list[Config]], folder: Path, look: Callable[[], None]) -> str | None:
        """Run all; `look` is called from time to time. What went wrong beyond the runs' own failures, in one line."""
        place = folder / ".inner" / uuid.uuid4().hex[:8]
        place.mkdir(parents=True)
        for number, stack in enumerate(stacks):
            (place / f"{number}.pkl").write_bytes(pickle.dumps(stack))
        try:
            with called_every(LOOK_EVERY_S, look):
                returned = self.instantiate(place).launch([self.job(place)] * len(stacks), initial_job_idx=0)
        except Exception as error:  # whatever a worker, a queue or a cluster may raise
            return f"{self.name} ended with {type(error).__name__}: {' '.join(str(error).split())}"[:300]
        errors = [job._return_value for job in returned if job.status != JobStatus.COMPLETED]
        if errors:
            return f"{type(errors[0]).__name__}: {' '.join(str(errors[0]).split())}"[:300]
        shutil.rmtree(place)
        return None

    def job(self, place: Path) -> list[str]:
        """The overrides of a job: its configuration is in its file, these keep Hydra's own folders out of the way."""
        return [f"hydra.sweep.dir={quoted(str(place))}", "hydra.sweep.subdir=."]

    def instantiate(self, place: Path) -> Any:
        """Hydra's launcher, set up on a copy of the configuration that names it."""
        config = copy.deepcopy(self.config)
        with open_dict(config):
            config.hydra.launcher = self.launcher
            config.hydra.sweep.dir, config.hydra.sweep.subdir = str(place), "."
        return Plugins.instance().instantiate_launcher(
            hydra_context=self.hydra_context, task_function=StackJob(place), config=config
        )


@contextlib.contextmanager
def called_every(seconds: float, function: Callable[[], None]) -> Iterator[None]:
    """Within, function is called that often by a thread, and once more at the end."""
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
