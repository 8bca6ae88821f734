"""The study of a search: who proposes its trials, how it goes on after a stop, and what it may not be mixed with.

Each trial is proposed by a sampler with a seed of its own, made of hydra.sweeper.seed and the trial's number. What a
trial is depends therefore on the trials before it alone, and not on how often the search was stopped.
"""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.storages import InMemoryStorage
from optuna.study import Study
from optuna.trial import Trial, TrialState

from psilon_bench.config.identity import leaves
from psilon_bench.config.schema import Config
from psilon_bench.errors import UsageError, short
from psilon_bench.records.studies import ASKED, STUDY, load_study, study_storage
from psilon_bench.sweep.optuna_internals import reopened
from psilon_bench.sweep.search_section import SearchSection
from psilon_bench.sweep.search_space import SearchSpace

Asked = dict[str, Any]  # what a study is about, as JSON has it


def asked_of(space: SearchSpace, section: SearchSection, configs: Sequence[Config]) -> Asked:
    """Return what a study is about: space, objectives, all other settings, data and code.

    configs: with the checksums of their data, one at least of each extreme of the space.
    """
    asked = {
        "space": {parameter.key: "".join(parameter.text.split()) for parameter in space.parameters},
        "conditions": section.conditions or {},
        "objectives": section.goals,
        "average": {"runs": space.repeats},
        "settings": dict(leaves(configs[0].determining())),
        "data": {"checksums": sorted({config.identity.data for config in configs})},
        "code": {"versions": sorted({config.identity.code for config in configs})},
        "search": {"hydra.sweeper.sampler": section.sampler, "hydra.sweeper.seed": section.seed},
    }
    return dict(json.loads(json.dumps(asked)))


def open_study(sweep: Path, asked: Asked, in_memory: bool = False) -> Study:
    """Return the study of a sweep's folder, a new one where there is none; UsageError for one about something else.

    in_memory: a copy, with which nothing is written.
    """
    study = load_study(sweep)
    if study is not None and ASKED in study.user_attrs:
        check_same(study.user_attrs[ASKED], asked, sweep)
    directions = list(asked["objectives"].values())
    if in_memory:
        return copied(study, directions)
    if study is None or ASKED not in study.user_attrs:
        storage = study_storage(sweep)
        if study is not None:  # its process was killed before it could say what it is about
            optuna.delete_study(study_name=STUDY, storage=storage)
        study = optuna.create_study(study_name=STUDY, storage=storage, directions=directions)
        study.set_user_attr(ASKED, asked)
    return study


def copied(study: Study | None, directions: list[Any]) -> Study:
    """Return a study in memory with the trials of another, or with none."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    copy = optuna.create_study(study_name=STUDY, storage=InMemoryStorage(), directions=directions)
    if study is not None:
        copy.add_trials(study.get_trials())
    return copy


def check_same(before: Asked, now: Asked, sweep: Path) -> None:
    """Raise UsageError, which names the first difference, where a study is about something else."""
    for part in now:
        first, second = before.get(part, {}), now[part]
        keys = [key for key in {**first, **second} if first.get(key) != second.get(key)]
        if keys:
            there, here = (short(str(values.get(keys[0], "nothing"))) for values in (first, second))
            raise UsageError(
                f"{sweep} holds a search that differs in its {part}: {keys[0]} is {there} there, and {here} here. "
                "Trials of the two cannot be compared: take another name=<word>."
            )


def next_trials(study: Study, space: SearchSpace, section: SearchSection) -> list[tuple[Trial, list[str]]]:
    """Return the next trials with their overrides; none once there are n_trials.

    Batches begin at multiples of batch_size, so that a search that was stopped has those of one that was not. Trials
    that were stopped come first, with the values they had.
    """
    trials = study.get_trials(deepcopy=False)
    stopped = [trial for trial in trials if trial.state == TrialState.RUNNING]
    there, size = len(trials), section.batch_size
    end = there if stopped and there % size == 0 else (there // size + 1) * size
    batch = []
    for trial in stopped:
        study.sampler = sampler(section, trial.number)
        batch.append(reopened(study, trial))
        space.suggest(batch[-1])  # what is missing where the process was killed while it drew values
    for number in range(there, min(end, section.n_trials)):
        study.sampler = sampler(section, number)
        batch.append(study.ask())
        space.suggest(batch[-1])
    return [(trial, space.suggest(trial)) for trial in batch]


def sampler(section: SearchSection, number: int) -> BaseSampler:
    """Return what proposes the trial of this number.

    tpe: a tree of Parzen estimators over all parameters together, apart for those that trials have together (`group`),
    which takes trials that are under way for bad ones (`constant_liar`), so that a batch spreads out.
    """
    seed = int(np.random.SeedSequence([section.seed, number]).generate_state(1)[0])
    if section.sampler == "random":
        return RandomSampler(seed=seed)
    if section.sampler == "nsga2":
        return NSGAIISampler(seed=seed, population_size=max(2, section.batch_size))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # group
        return TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)
