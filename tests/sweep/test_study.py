"""The study of a search: stopped anywhere and gone on with, it has the trials of one that never stopped."""

import json
import multiprocessing
import random
from pathlib import Path
from typing import Any

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.trial import TrialState

from psilon_bench.errors import UsageError
from psilon_bench.records import places
from psilon_bench.records.studies import STUDY, load_study, locked_study, study_storage
from psilon_bench.sweep.optuna_internals import reopened
from psilon_bench.sweep.search_section import SearchSection
from psilon_bench.sweep.search_space import SearchSpace, search_space
from psilon_bench.sweep.study import check_same, next_trials, open_study, sampler

ASKED: dict[str, Any] = {
    "space": {"a": "1,2"},
    "conditions": {},
    "objectives": {"val/loss": "minimize"},
    "average": {},
    "settings": {"trainer.epochs": 3},
    "data": {"checksums": ["0"]},
    "code": {"versions": ["1"]},
    "search": {"hydra.sweeper.sampler": "tpe", "hydra.sweeper.seed": 0},
}


def section(**settings: Any) -> SearchSection:
    plain = {"n_trials": 14, "batch_size": 4, "sampler": "tpe", "seed": 0}
    empty: dict[str, Any] = {"objectives": None, "average": [], "params": None, "conditions": None}
    return SearchSection.model_validate(plain | empty | settings)


@pytest.fixture
def space() -> SearchSpace:
    parse = OverridesParser.create().parse_overrides
    keys = ["x=tag(log,interval(1e-3,1))", "kind=a,b", "depth=range(1,5)"]
    return search_space(section(conditions={"depth": "kind=b"}), keys, parse)


def value(overrides: list[str]) -> float:
    """The value of a trial, by its overrides alone."""
    setting = dict(one.split("=") for one in overrides)
    return (float(setting["x"]) - 0.1) ** 2 + float(setting.get("depth", 3))


def searched(sweep: Path, space: SearchSpace, asked: SearchSection, stops: random.Random | None = None) -> list[Any]:
    """Search to the end, and return the trials; stops: where the process is lost, as often as these say."""
    while batch := next_trials(study := open_study(sweep, ASKED), space, asked):
        for trial, overrides in batch:
            if stops is not None and stops.random() < 0.3:
                break
            if value(overrides) > 3.7:
                study.tell(trial, state=TrialState.FAIL)
            else:
                study.tell(trial, value(overrides))
    return [(trial.params, trial.values) for trial in open_study(sweep, ASKED).get_trials()]


@pytest.mark.parametrize("proposed_by", ["tpe", "random", "nsga2"])
def test_a_search_that_is_stopped_has_the_same_trials(tmp_path: Path, space: SearchSpace, proposed_by: str) -> None:
    """Lost some twenty times in the middle of a batch: every trial, its values, its number, and no trial more."""
    (tmp_path / "once").mkdir()
    (tmp_path / "often").mkdir()
    asked = section(sampler=proposed_by)
    once = searched(tmp_path / "once", space, asked)
    assert len(once) == 14
    assert searched(tmp_path / "often", space, asked, random.Random(0)) == once
    assert len({json.dumps(params) for params, _ in once}) > 11


def test_a_longer_search_begins_with_the_shorter_one(tmp_path: Path, space: SearchSpace) -> None:
    """n_trials=8, then 14; what is there is not asked again, and fewer than there are ask for nothing."""
    short = searched(tmp_path, space, section(n_trials=8))
    assert searched(tmp_path, space, section(n_trials=5)) == short
    assert searched(tmp_path, space, section())[:8] == short
    (tmp_path / "other").mkdir()
    assert searched(tmp_path / "other", space, section(n_trials=8, seed=1)) != short


def test_tpe_finds_what_chance_does_not(tmp_path: Path, space: SearchSpace) -> None:
    """Of 32 trials in batches of 8 the later half is better, by the median, than the same number of random ones."""
    values = {}
    for name in ("tpe", "random"):
        (tmp_path / name).mkdir()
        trials = searched(tmp_path / name, space, section(sampler=name, n_trials=32, batch_size=8))
        values[name] = sorted(found[0] for _, found in trials[16:] if found)
    assert values["tpe"][len(values["tpe"]) // 2] < values["random"][len(values["random"]) // 2]


def test_a_trial_that_was_half_drawn(tmp_path: Path, space: SearchSpace) -> None:
    """It keeps what it was given, and its number, and is given the rest; Optuna's names are those we use."""
    study = open_study(tmp_path, ASKED)
    study.sampler = sampler(section(), 0)
    drawn = study.ask().suggest_float("x", 1e-3, 1, log=True)
    again = open_study(tmp_path, ASKED)
    assert reopened(again, again.get_trials()[0]).params == {"x": drawn}
    batch = next_trials(again, space, section())
    assert [trial.number for trial, _ in batch] == [0, 1, 2, 3]
    assert batch[0][1][0] == f"x={drawn}"
    assert batch[0][0].params.keys() >= {"x", "kind"}


def test_a_plan_writes_nothing(tmp_path: Path, space: SearchSpace) -> None:
    """A study in memory proposes what the true one would."""
    searched(tmp_path, space, section(n_trials=6))
    before = places.study_journal(tmp_path).read_bytes()
    planned = next_trials(open_study(tmp_path, ASKED, in_memory=True), space, section())
    assert places.study_journal(tmp_path).read_bytes() == before
    assert [one for _, one in next_trials(open_study(tmp_path, ASKED), space, section())] == [one for _, one in planned]
    assert [trial.number for trial, _ in planned] == [6, 7]


@pytest.mark.parametrize(
    ("part", "now", "line"),
    [
        ("space", {"a": "1,3"}, r"differs in its space: a is 1,2 there, and 1,3 here\. .* take another name=<word>\.$"),
        ("space", {"b": "1"}, r"differs in its space: a is 1,2 there, and nothing here"),
        ("objectives", {"val/accuracy": "maximize"}, r"its objectives: val/loss is minimize there, and nothing here"),
        ("settings", {"trainer.epochs": 4}, r"its settings: trainer\.epochs is 3 there, and 4 here"),
        ("data", {"checksums": ["2"]}, r"its data: checksums is \['0'\] there"),
        ("code", {"versions": ["2"]}, r"its code: versions is \['1'\] there"),
        (
            "search",
            {"hydra.sweeper.sampler": "random"},
            r"its search: hydra\.sweeper\.sampler is tpe there",
        ),
    ],
)
def test_a_study_about_something_else(part: str, now: Any, line: str, tmp_path: Path, space: SearchSpace) -> None:
    """Its trials cannot be compared."""
    searched(tmp_path, space, section(n_trials=2))
    with pytest.raises(UsageError, match=line):
        open_study(tmp_path, ASKED | {part: now})
    check_same(ASKED, ASKED, tmp_path)


def test_a_study_that_was_never_told_what_it_is_about(tmp_path: Path) -> None:
    """Its process was killed in between: it is begun anew, with the objectives that are asked for."""
    optuna.create_study(study_name=STUDY, storage=study_storage(tmp_path), directions=["minimize"])
    both = ASKED | {"objectives": {"val/loss": "minimize", "val/accuracy": "maximize"}}
    assert len(open_study(tmp_path, both).directions) == 2
    assert len(open_study(tmp_path, both).directions) == 2


def hold(sweep: Path, held: Any, over: Any) -> None:
    with locked_study(sweep):
        held.set()
        over.wait(30)


def test_one_process_searches(tmp_path: Path) -> None:
    """Another one is told so at once; the lock of one that is killed is gone with it."""
    context = multiprocessing.get_context("fork")
    held, over = context.Event(), context.Event()
    process = context.Process(target=hold, args=(tmp_path, held, over))
    process.start()
    assert held.wait(30)
    with pytest.raises(UsageError, match=r"is being searched by another process\. Wait for it, or take another name"):
        locked_study(tmp_path).__enter__()
    process.kill()
    process.join()
    with locked_study(tmp_path):
        pass


def test_a_journal_that_is_cut_or_damaged(tmp_path: Path, space: SearchSpace) -> None:
    """Half a last line is taken off before more are written; anything else is one line with the way out."""
    trials = searched(tmp_path, space, section(n_trials=4))
    journal = places.study_journal(tmp_path)
    with journal.open("ab") as file:
        file.write(b'{"op_code":4,"wor')
    with locked_study(tmp_path):
        assert searched(tmp_path, space, section())[:4] == trials
    whole = journal.read_bytes()
    for damage in (b"nonsense\n", b"[]\n", b"{}\n", bytes(9) + b"\n"):
        journal.write_bytes(damage + whole)
        with pytest.raises(UsageError, match=r"\.study\.jsonl cannot be read \(.*\)\. Remove it: the search begins"):
            load_study(tmp_path)


def test_optuna_is_quiet(tmp_path: Path, space: SearchSpace, capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing on the terminal, and no warning: warnings are errors here."""
    optuna.logging.set_verbosity(optuna.logging.INFO)
    searched(tmp_path, space, section())
    assert capfd.readouterr() == ("", "")
