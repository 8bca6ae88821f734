"""Hydra's hooks: folders of your own; for multiruns the sweepers, of a grid or a search, and the launcher of all jobs.

Hydra finds plugins only below the namespace package `hydra_plugins` and imports them at every start, so this file stays
light; the work is done in psilon_bench.sweep.
"""

import importlib.util
from collections.abc import Callable, Sequence
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
from psilon_bench.errors import Raised, UsageError


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


class OptunaSweeper(Sweeper):
    """A search for the best values, whose trials Optuna proposes in batches; see psilon_bench.sweep.adaptive."""

    def __init__(self, **settings: Any) -> None:
        """The settings are read from the configuration, not here."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra."""
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Search; UsageError where Optuna is missing, or where another launcher than ours is to run the batches."""
        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        settings = {str(key): value for key, value in plain(self.config.hydra.sweeper).items() if key != "_target_"}
        try:
            if importlib.util.find_spec("optuna") is None:
                raise UsageError("hydra/sweeper=optuna needs Optuna. Do: pip install 'psilon-bench[optuna]'.")
            if not isinstance(self.launcher, StackedLauncher):
                raise UsageError(
                    "hydra/sweeper=optuna trains in stacks. Set hydra.launcher.inner in place of a launcher."
                )
            from psilon_bench.sweep.adaptive import search

            compose, inner = self.launcher.compose_and_inner()
            return search(settings, arguments, parser.parse_overrides, compose, inner, at_end=close_sweep)
        except Exception as error:
            raise Raised from error


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

        compose, inner = self.compose_and_inner()
        try:
            return launch([list(job) for job in job_overrides], compose, inner, at_end=close_sweep)
        except Exception as error:
            raise Raised from error

    def compose_and_inner(self) -> tuple[Callable[[list[str]], DictConfig], Any]:
        """Return what composes a job, and the launcher that hydra.launcher.inner asks for, None for this process."""
        from psilon_bench.sweep.other_launchers import OtherLauncher

        loader = self.hydra_context.config_loader
        inner = OtherLauncher.of(self.config, self.hydra_context)
        return lambda job: loader.load_sweep_config(self.config, job), inner


def close_sweep(config: Any) -> None:
    """Make the ensembles of a sweep, say what to look at, and register its choice, as far as that was asked for."""
    from psilon_bench.cli.suggestions import suggest
    from psilon_bench.records.places import sweep_folder
    from psilon_bench.tracking.server import tracked_at

    if config.ensemble:
        from psilon_bench.cli.ensembles import make_and_show

        make_and_show(sweep_folder(config))
    if not config.plan:
        suggest(sweep_folder(config), tracked_at(config))
    if config.tracking.registered_name is not None:
        from psilon_bench.cli.registration import register_choice

        register_choice(config, sweep_folder(config))


def plain(config: DictConfig) -> dict[Any, Any]:
    """Return a part of the configuration as a dictionary."""
    return dict(OmegaConf.to_container(config, resolve=True))  # type: ignore[arg-type]


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
searched = {  # untyped, for psilon_bench.sweep.search_section checks it, and says in a line what is wrong
    "_target_": "hydra_plugins.psilon_stacked.plugins.OptunaSweeper",
    "n_trials": 64,  # in all, those of an earlier call of the same command included
    "batch_size": 16,  # trials that are proposed, and train, at once
    "sampler": "tpe",  # tpe | random | nsga2
    "seed": 0,  # of the sampler
    "objectives": None,  # metric -> minimize | maximize; null: val/loss is minimized
    "average": [],  # keys, such as seed, over whose values the value of a trial is a mean
    "params": None,  # key -> values as a command line has them; a command line that has the key counts
    "conditions": None,  # key -> "other=value": it is searched only where the other has that value
}
optuna = OmegaConf.create(searched)
OmegaConf.set_struct(optuna, False)
store = ConfigStore.instance()
store.store(group="hydra/launcher", name="stacked", node=stacked, provider="psilon_bench")
store.store(group="hydra/sweeper", name="grid", node=GridSweeperConf, provider="psilon_bench")
store.store(group="hydra/sweeper", name="optuna", node=optuna, provider="psilon_bench")
