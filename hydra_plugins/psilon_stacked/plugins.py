"""Hydra's hooks: folders of your own; for multiruns the sweeper that expands the grid, the launcher that gets all jobs.

Hydra finds plugins only below the namespace package `hydra_plugins` and imports them at every start, so this file stays
light; the work is done in psilon_bench.sweep.jobs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf
from typing_extensions import override

from psilon_bench.config.conf_folder import own_folders
from psilon_bench.errors import Raised


class OwnFolders(SearchPathPlugin):
    """Makes the files in folders of your own options of their groups; see psilon_bench.config.conf_folder."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Add the folders after the package's own configuration."""
        for folder in own_folders():
            search_path.append("psilon_components", f"file://{folder}")


class GridSweeper(Sweeper):
    """A product of values, or a union of such products (`grids`), with `params` in each; see psilon_bench.sweep.grids.

    Unlike Hydra's basic sweeper it writes no file and composes no job: the launcher checks them all.
    """

    def __init__(
        self,
        params: dict[str, str] | None,
        grids: dict[str, dict[str, Any]] | None,
        arms: str | list[str] | None,
    ) -> None:
        """The arms named take part, all of them without names."""
        self.params, self.grids, self.arms = params or {}, grids, arms

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra."""
        self.hydra_context = hydra_context
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Expand the grids and hand them over whole."""
        from psilon_bench.sweep.grids import selected_arms, union

        assert self.launcher is not None
        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        jobs = union(selected_arms(self.grids, self.arms), self.params, arguments, parser.parse_overrides)
        return self.launcher.launch(jobs, initial_job_idx=0)


class StackedLauncher(Launcher):
    """Runs the jobs of a multirun in stacks, in this process or by another launcher; see psilon_bench.sweep.jobs."""

    def __init__(self, inner: str | None, options: dict[str, Any]) -> None:
        """Both are read from the configuration, not here."""

    @override
    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra."""
        self.hydra_context, self.config = hydra_context, config

    @override
    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """One JobReturn per job, in order."""
        from psilon_bench.sweep.jobs import launch
        from psilon_bench.sweep.other_launchers import OtherLauncher

        launcher, loader = OtherLauncher.of(self.config, self.hydra_context), self.hydra_context.config_loader
        jobs = [list(job) for job in job_overrides]
        try:
            return launch(jobs, lambda job: loader.load_sweep_config(self.config, job), launcher)
        except Exception as error:
            raise Raised from error


@dataclass
class StackedLauncherConf:
    _target_: str = "hydra_plugins.psilon_stacked.plugins.StackedLauncher"
    inner: str | None = None  # joblib | submitit_local | submitit_slurm | ray
    options: dict[str, Any] = field(default_factory=dict)  # of the inner launcher


@dataclass
class GridSweeperConf:
    _target_: str = "hydra_plugins.psilon_stacked.plugins.GridSweeper"
    params: dict[str, str] | None = None  # key -> "values, separated by commas", in every arm
    grids: Any = None  # arm -> the same; the jobs are those of all arms together
    arms: Any = None  # name or names of those that take part


stacked = OmegaConf.structured(StackedLauncherConf)
OmegaConf.set_struct(stacked.options, False)  # any key: which there are is the inner launcher's own affair
store = ConfigStore.instance()
store.store(group="hydra/launcher", name="stacked", node=stacked, provider="psilon_bench")
store.store(group="hydra/sweeper", name="grid", node=GridSweeperConf, provider="psilon_bench")
