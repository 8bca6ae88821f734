"""A search in a report: the best trials, the front, the importances; and without Optuna a line."""

import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
from made_records import write_record
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial

from psilon_bench.records import places
from psilon_bench.records.studies import ASKED, STUDY, study_storage
from psilon_bench.report.figures import search as figure
from psilon_bench.report.material import Material
from psilon_bench.report.metric import chosen_by
from psilon_bench.report.report import Report, make
from psilon_bench.report.write import write_report

METRIC = chosen_by("val/loss", None)


def write_study(sweep: Path, goals: dict[str, str], values: list[list[float]]) -> None:
    """A search over a rate that decides the values and a word that does not, beside one record; the last one failed."""
    write_record(sweep, 1e-3, 0, {"val/loss": 0.5, "test/loss": 0.6})
    directions: list[Any] = list(goals.values())
    study = optuna.create_study(study_name=STUDY, storage=study_storage(sweep), directions=directions)
    study.set_user_attr(ASKED, {"objectives": goals})
    space = {"lr": FloatDistribution(0, 100), "word": CategoricalDistribution(["a\x1b[31m", "b"])}
    for number, value in enumerate(values):
        params = {"lr": float(number), "word": ["a\x1b[31m", "b"][number % 2]}
        study.add_trial(create_trial(values=value, params=params, distributions=space))
    study.add_trial(create_trial(state=TrialState.FAIL, params=params, distributions=space))


def rows(report: Report, name: str) -> list[list[Any]]:
    return next((table.rows for table in report.tables if table.name == name), [])


@pytest.mark.parametrize(("direction", "sign"), [("minimize", 1), ("maximize", -1)])
def test_the_best_trials_of_one_objective(tmp_path: Path, direction: str, sign: int) -> None:
    """Ten at most, the best first, by the direction; the key that decides matters most; the history gets better."""
    losses = [[sign * abs(number - 4.2)] for number in range(14)]
    write_study(tmp_path / "s", {"val/loss": direction}, losses)
    made = make([tmp_path / "s"], METRIC)
    assert [row[0] for row in rows(made, "search")] == ["4", "5", "3", "6", "2", "7", "1", "8", "0", "9"]
    assert rows(made, "search")[1][1:] == [pytest.approx(sign * 0.8), "lr=5 word=b"]
    assert "\x1b" not in str(rows(made, "search"))
    assert [row[0] for row in rows(made, "search_importances")] == ["lr", "word"]
    (table,) = [table for table in made.tables if table.name == "search"]
    assert table.note.startswith(f"15 trials, 1 failed. Objectives: {direction} val/loss.")
    history = next(figure.draw(Material(made.choices, METRIC, made.searches)))
    assert [row[4] for row in history.points] == [
        sign * min(sign * loss for (loss,) in losses[: n + 1]) for n in range(14)
    ]


def test_the_front_of_several_objectives(tmp_path: Path) -> None:
    """Those that no trial beats in both, as by hand; what is maximized is better where it is higher."""
    values = [[0.1 * (7 * number % 10), float(5 * number % 9)] for number in range(12)]
    write_study(tmp_path / "s", {"val/loss": "minimize", "val/accuracy": "maximize"}, values)
    made = make([tmp_path / "s"], METRIC)
    front = [i for i, (x, y) in enumerate(values) if not any(a <= x and b >= y and [a, b] != [x, y] for a, b in values)]
    assert {int(row[0]) for row in rows(made, "search")} == set(front)
    assert [row[1] for row in rows(made, "search")] == sorted(values[i][0] for i in front)
    drawings = {drawing.name: drawing for drawing in figure.draw(Material(made.choices, METRIC, made.searches))}
    assert set(drawings) == {"search_history_s", "search_front_s", "search_importances_s"}
    assert {row[1] for row in drawings["search_front_s"].points if row[4]} == set(front)


def test_in_the_page(tmp_path: Path) -> None:
    """Two searches below one folder: tables and figures of both, in files of their own."""
    for name in ("one", "two"):
        write_study(tmp_path / name, {"val/loss": "minimize"}, [[float(number)] for number in range(10)])
    made = make([tmp_path], METRIC)
    page = write_report(made, tmp_path / "out", Material(made.choices, METRIC, made.searches)).read_text()
    for name, number in (("one", 1), ("two", 2)):
        assert f"Search {name}: best trials" in page
        assert f"Search {name}: which keys mattered" in page
        assert (tmp_path / f"out/tables/search_{number}.csv").exists()
        assert (tmp_path / f"out/figures/search_history_{name}.png").exists()


def test_without_optuna(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report is made, and a line says what is missing and how to get it."""
    write_study(tmp_path / "s", {"val/loss": "minimize"}, [[1.0]])
    monkeypatch.delitem(sys.modules, "psilon_bench.records.studies")
    monkeypatch.setitem(sys.modules, "optuna", None)
    made = make([tmp_path / "s"], METRIC)
    assert rows(made, "search") == []
    why = "Optuna, which is not installed, reads it: pip install 'psilon-bench[optuna]'."
    assert f"The search in s is left out. {why}" in made.notes


def test_a_damaged_study(tmp_path: Path) -> None:
    """A line, and the report without it."""
    write_record(tmp_path / "s", 1e-3, 0, {"val/loss": 0.5})
    places.study_journal(tmp_path / "s").write_text("nonsense\n{}\n")
    made = make([tmp_path / "s"], METRIC)
    assert made.searches == []
    assert any(note.startswith("The search in s is left out.") and "cannot be read" in note for note in made.notes)
