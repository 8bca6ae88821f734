"""What Hydra makes of command lines, composed once a process for each choice of groups; test_composer.py compares."""

import functools
import os
from collections.abc import Sequence
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from psilon_bench.config.conf_folder import CONF
from psilon_bench.sweep.composer import Composer
from psilon_bench.sweep.jobs import launch


def by_hydra(job: list[str]) -> DictConfig:
    """What Hydra itself makes of a command line, with its own part."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return compose("config", job, return_hydra_config=True)


@functools.cache
def _composer(_folders: str) -> Composer:
    return Composer(by_hydra)


def compose_job(job: list[str]) -> DictConfig:
    """What Hydra makes of a command line, without its own part."""
    return _composer(os.environ.get("PSILON_COMPONENTS", ""))(job)


def launched(jobs: Sequence[list[str]]) -> list[Any]:
    """launch(jobs) of a multirun, whose every job returns the outcomes by identity."""
    return launch(jobs, compose_job)
