"""The searches below the folders of a report: their trials, the best of them, and which keys mattered."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psilon_bench.errors import UsageError
from psilon_bench.records import places
from psilon_bench.report.escaping import visible
from psilon_bench.report.keys import value_text
from psilon_bench.report.table import Cell, Table

MOST_ROWS = 10  # of the best trials of a search with one objective
ENOUGH_TRIALS = 10  # with values, to say which keys mattered


@dataclass(frozen=True)
class TrialResult:
    """A trial of a search that has ended; one that failed has no values."""

    number: int
    setting: dict[str, Any]
    values: list[float]  # in the order of the objectives
    on_front: bool

    @property
    def text(self) -> str:
        """Return the values of the searched keys, as a command line has them."""
        return visible(" ".join(f"{key}={value_text(value)}" for key, value in self.setting.items()))


@dataclass(frozen=True)
class SearchResult:
    """A search: objectives with their directions (minimize or maximize), trials by number, importances of keys."""

    name: str
    goals: dict[str, str]
    trials: list[TrialResult]
    importances: dict[str, float]

    @property
    def complete(self) -> list[TrialResult]:
        """Return the trials that have values."""
        return [trial for trial in self.trials if trial.values]

    def signs(self) -> list[int]:
        """Return 1 for each objective of which less is better, else -1."""
        return [1 if direction == "minimize" else -1 for direction in self.goals.values()]

    def best(self) -> list[TrialResult]:
        """Return the Pareto front of several objectives, or the best trials of one, the best first."""
        several = len(self.goals) > 1
        trials = [trial for trial in self.complete if trial.on_front or not several]
        ordered = sorted(trials, key=lambda trial: [s * v for s, v in zip(self.signs(), trial.values, strict=True)])
        return ordered if several else ordered[:MOST_ROWS]


def load_searches(sweeps: Iterable[Path]) -> tuple[list[SearchResult], list[str]]:
    """Return the searches in these folders, and a note on each that is left out."""
    searches: list[SearchResult] = []
    notes: list[str] = []
    for sweep in sweeps:
        if not places.study_journal(sweep).exists():
            continue
        try:
            found = load_search(sweep)
        except ModuleNotFoundError:
            why = "Optuna, which is not installed, reads it: pip install 'psilon-bench[optuna]'"
            notes.append(f"The search in {visible(sweep.name)} is left out. {why}.")
        except UsageError as error:
            notes.append(f"The search in {visible(sweep.name)} is left out. {visible(str(error))}")
        else:
            searches += [found] if found and found.complete else []
    return searches, notes


def load_search(sweep: Path) -> SearchResult | None:
    """Return the search in the folder of a sweep, None where there is none; ModuleNotFoundError without Optuna."""
    from psilon_bench.records.studies import ASKED, load_study

    study = load_study(sweep)
    if study is None or ASKED not in study.user_attrs:
        return None
    goals = {visible(name): str(direction) for name, direction in study.user_attrs[ASKED]["objectives"].items()}
    front = {trial.number for trial in study.best_trials}
    trials = [
        TrialResult(trial.number, visible(trial.params), list(trial.values or []), trial.number in front)
        for trial in study.get_trials(deepcopy=False)
        if trial.state.is_finished()
    ]
    return SearchResult(visible(sweep.name), goals, trials, importances(study))


def importances(study: Any) -> dict[str, float]:
    """Return the share of each searched key in being among the best tenth of trials; empty for too few trials.

    PED-ANOVA (Watanabe, Bansal & Hutter 2023), of several objectives by their Pareto fronts. The shares sum to 1.
    """
    from optuna.importance import get_param_importances
    from optuna.trial import TrialState

    if len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))) < ENOUGH_TRIALS:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of keys that few trials have
        return {visible(key): share for key, share in get_param_importances(study).items()}


def search_tables(searches: Sequence[SearchResult]) -> list[Table]:
    """Return a table of the best trials and one of the importances for each search."""
    tables = []
    for number, search in enumerate(searches, start=1):
        ending = "" if len(searches) == 1 else f"_{number}"
        tables += [
            best_trials(search, f"search{ending}"),
            Table(
                f"search_importances{ending}",
                f"Search {search.name}: which keys mattered",
                ["key", "importance"],
                [[key, share] for key, share in search.importances.items()],
                "Shares, with sum 1, in being among the best tenth of the trials (PED-ANOVA).",
            ),
        ]
    return tables


def best_trials(search: SearchResult, name: str) -> Table:
    """Return the table of the best trials, or of the Pareto front."""
    rows: list[list[Cell]] = [[str(trial.number), *trial.values, trial.text] for trial in search.best()]
    goals = ", ".join(f"{direction} {goal}" for goal, direction in search.goals.items())
    failed = len(search.trials) - len(search.complete)
    told = f"{len(search.trials)} trials, {failed} failed. Objectives: {goals}."
    title = "Pareto front" if len(search.goals) > 1 else "best trials"
    return Table(name, f"Search {search.name}: {title}", ["trial", *search.goals, "values"], rows, told)
