"""A cross-validation: all settings train on every fold, and the best of each data set train again on all folds.

The best is the setting with the smallest out-of-fold loss (psilon_bench.metrics.out_of_fold), of equal ones that with
the largest lambda. A setting that lacks a fold, for it failed or was raced out, is no candidate.
Everything follows from the records: the same command chooses again, and trains what is missing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.table import Column

from psilon_bench.config.schema import Config
from psilon_bench.config.settings import replicate_of, setting_of, setting_title
from psilon_bench.metrics.out_of_fold import OutOfFold
from psilon_bench.records.run_json import RunDict
from psilon_bench.run.display import Display, number
from psilon_bench.run.printing import folding
from psilon_bench.sweep.folding import out_of_fold_of
from psilon_bench.sweep.other_launchers import OtherLauncher
from psilon_bench.sweep.plan import by_identity
from psilon_bench.sweep.sweep import Results, check_outcomes, train_missing
from psilon_bench.tracking.sender import Sender

LOSS = "val/loss"
TESTS = ("dataset.split_seed", "dataset.test_repeat", "dataset.test_fold")  # keys that choose the test rows
DIGITS = 11  # beyond which losses count as equal


ONE_CHOICE = (
    "The runs have several test sets, and settings are chosen by all their folds together: rows that test one network "
    "have validated others. Set dataset.split_seed=0 for test rows that no choice has seen."
)


@dataclass(frozen=True)
class RankedSetting:
    """A setting on a data set: its runs of folds with what came of them, its refits, and its out-of-fold loss.

    outcomes: an empty dictionary for a run that has not been trained. score: None where a fold is missing.
    """

    configs: list[Config]
    outcomes: list[RunDict]
    refits: list[Config]
    score: OutOfFold | None

    @property
    def title(self) -> str:
        """Return what a person calls it: `pnet pathnorm lam=0.001 on wine`."""
        names = [run["task"]["name"] for run in self.outcomes if "task" in run]
        return f"{setting_title(self.configs[0])} on {(names or [self.configs[0].dataset.name])[0]}"

    @property
    def rank(self) -> tuple[float, float]:
        """Return what candidates are sorted by: the out-of-fold loss, of equal ones the largest lambda first."""
        assert self.score is not None
        return float(f"{self.score.mean:.{DIGITS}e}"), -self.configs[0].reg.lam

    @property
    def why_not(self) -> str:
        """Return in words why it has no out-of-fold loss."""
        ended = {str(run.get("status", "not trained")) for run in self.outcomes if LOSS not in finished(run)}
        return f"no candidate ({', '.join(sorted(ended)) or 'fewer folds than others'})"


def cross_validate(
    configs: Sequence[Config], launcher: OtherLauncher | None, sender: Sender | None
) -> dict[str, RunDict]:
    """Train what is missing of these folds, choose, train what is missing of the refits of the chosen settings.

    Returns run.json of each run by identity. configs: every setting on its folds, and all that might be refitted.
    RunFailed where a run failed or diverged: at the end, or before the choice where a fold was stopped. With plan=true
    only show what would be done.
    """
    configs, display = list(by_identity(configs).values()), Display()
    folds = [config for config in configs if not config.dataset.is_refit]
    outcomes, problem = train_missing(folds, launcher, sender, display)
    by_data = ranked_settings(configs, outcomes)
    if configs[0].plan:
        return outcomes | plan_refits(by_data, display)
    stopped = any(run["status"] in ("running", "killed") for run in outcomes.values())
    if problem or stopped:
        check_outcomes(list(outcomes.values()), problem, display)
    show_candidates(by_data, configs[0].cv_refit, display)
    if has_many_tests(configs):
        display.say(ONE_CHOICE, soft_wrap=True)
    refits, problem = refit(best_settings(by_data, configs[0].cv_refit), launcher, sender)
    if refits:
        display.say("Trained again on all rows but those of the test:", soft_wrap=True)
        display.summary(list(refits.values()))
    check_outcomes([*outcomes.values(), *refits.values()], problem, display)
    return outcomes | refits


def has_many_tests(configs: Iterable[Config]) -> bool:
    """Tell whether runs on one data set, between which is chosen, have different test rows."""
    tests = {(config.dataset.rows(), *map(config.flat().get, TESTS)) for config in configs}
    return len(tests) > len({source for source, *_ in tests})


def ranked_settings(configs: Iterable[Config], outcomes: dict[str, RunDict]) -> list[list[RankedSetting]]:
    """Return the settings of each data set, those that can be chosen first, the best of them first of all."""
    by_data: dict[str, dict[str, list[Config]]] = {}
    for config in configs:
        by_data.setdefault(config.dataset.rows(), {}).setdefault(setting_of(config), []).append(config)
    return [ranked_on(list(settings.values()), outcomes) for settings in by_data.values()]


def ranked_on(settings: Sequence[Sequence[Config]], outcomes: dict[str, RunDict]) -> list[RankedSetting]:
    """Return the candidates of one data set, in their order; each needs every fold that was asked for."""
    wanted = {replicate_of(config) for runs in settings for config in runs if not config.dataset.is_refit}
    made = []
    for runs in settings:
        folds = [config for config in runs if not config.dataset.is_refit]
        ended = [outcomes.get(config.identity.key, {}) for config in folds]
        there = {replicate_of(config) for config, run in zip(folds, ended, strict=True) if LOSS in finished(run)}
        score = out_of_fold_of(ended, LOSS) if there == wanted else None
        made.append(RankedSetting(folds, ended, [config for config in runs if config.dataset.is_refit], score))
    able = sorted((one for one in made if one.score is not None), key=lambda one: one.rank)
    return able + [one for one in made if one.score is None]


def finished(run: RunDict) -> dict[str, float]:
    """Return the metrics of a run that is finished; none of others."""
    return dict(run["metrics"]) if run.get("status") == "finished" else {}


def best_settings(by_data: Sequence[Sequence[RankedSetting]], number_of: int) -> list[RankedSetting]:
    """Return the best so many candidates of each data set."""
    return [one for candidates in by_data for one in candidates[:number_of] if one.score is not None]


def refit(candidates: Sequence[RankedSetting], launcher: OtherLauncher | None, sender: Sender | None) -> Results:
    """Train what is missing of the refits of these candidates."""
    configs = [config for candidate in candidates for config in candidate.refits]
    return train_missing(configs, launcher, sender, Display()) if configs else ({}, None)


def plan_refits(by_data: Sequence[Sequence[RankedSetting]], display: Display) -> dict[str, RunDict]:
    """Show which settings are trained again, as far as the folds are done, and return those that are."""
    number_of = by_data[0][0].configs[0].cv_refit
    if all(run for candidates in by_data for one in candidates for run in one.outcomes):
        show_candidates(by_data, number_of, display)
        return refit(best_settings(by_data, number_of), None, None)[0]
    runs = sum(len(one.refits) for candidates in by_data for one in candidates[:number_of])
    what = "setting" if number_of == 1 else f"{number_of} settings"
    display.say(
        f"Then the best {what} of each data set train again on all rows but those of the test (dataset.fold=all): "
        f"{runs} runs at most.",
        soft_wrap=True,
    )
    return {}


def show_candidates(by_data: Sequence[Sequence[RankedSetting]], number_of: int, display: Display) -> None:
    """Show the out-of-fold loss of each setting, and which are chosen."""
    best = [id(one) for one in best_settings(by_data, number_of)]
    rows = []
    for one in (one for candidates in by_data for one in candidates):
        numbers = ["", ""] if one.score is None else [number(one.score.mean), number(one.score.error)]
        ended = sum(LOSS in finished(run) for run in one.outcomes)
        choice = one.why_not if one.score is None else "chosen" if id(one) in best else ""
        rows.append([one.title, *numbers, str(ended), choice])
    heads = ("out-of-fold loss", "standard error", "folds")
    display.table([*folding("setting"), *(Column(head, justify="right") for head in heads), *folding("")], rows)
