"""Ours among published numbers: ranks and scores by hand, and the same numbers in every order and spelling."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from drawn import only, points, xy
from made_records import write_record
from published_files import LOSS, compared, frame_of, write_runs
from scipy.stats import rankdata

from psilon_bench.errors import UsageError
from psilon_bench.report.against_tables import against_tables
from psilon_bench.report.figures import against
from psilon_bench.report.material import Material
from psilon_bench.report.report import make


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return write_runs(tmp_path / "runs")


def records(made: Any, name: str) -> list[dict[str, Any]]:
    (table,) = [table for table in against_tables(made) if table.name == name]
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def texts(made: Any) -> list[Any]:
    return [(table.name, table.texts(), table.note) for table in against_tables(made)]


def test_ranks_and_scores_by_hand(runs: Path) -> None:
    """Ranks are scipy's; a score is (median - cost) / (median - best), at least 0, downwards as upwards."""
    frame = frame_of()
    made = compared(runs, frame)
    signs = {"sea": 1, "air": -1, "soil": 1}
    choices = make([runs], LOSS).choices
    metrics = {"sea": "test/rmse", "air": "test/roc_auc", "soil": "test/loss"}
    for one in made.standings:
        own = frame[frame.dataset == one.dataset]
        value = dict(zip(own.method, own.value, strict=True))
        value |= {
            f"{c.group.method} (ours)": float(np.mean([run.metrics[metrics[one.dataset]] for run in c.group.runs]))
            for c in choices
            if c.group.dataset == one.dataset
        }
        cost = signs[one.dataset] * np.array([round(value[method], 6) for method in one.costs.index])
        assert len(cost) == (9 if one.dataset != "soil" else 8)
        np.testing.assert_array_equal(one.ranks, rankdata(cost))
        median = np.median(cost)
        np.testing.assert_allclose(one.scores, np.clip((median - cost) / (median - cost.min()), 0, 1), atol=1e-4)
    by_method = {row["method"]: row["mean rank"] for row in records(made, "against_ranks")}
    costs = pd.DataFrame({one.dataset: one.costs for one in made.standings}).dropna()
    for row in records(made, "against_ranks"):
        own, other = costs.loc[row["method"]], costs.loc["pnet pathnorm (ours)"]
        counts = [int(sum(won)) for won in (own < other, own == other, own > other)]
        expected = None if row["method"] == "pnet pathnorm (ours)" else " / ".join(map(str, counts))
        assert row["against pnet pathnorm (ours)"] == expected
    assert "m6" not in by_method
    np.testing.assert_allclose([by_method[m] for m in costs.index], np.mean([rankdata(c) for _, c in costs.items()], 0))


def test_ours_against_ourselves_are_ties(runs: Path) -> None:
    """What we publish with all digits, in whatever order, has the rank and the score of ours, and neither wins."""
    frame = frame_of()
    ours = [
        {"dataset": one.dataset, "method": f"again {s.method[:-7]}", "metric": metric, "value": s.value, "seconds": 1}
        for one, metric in zip(compared(runs, frame).standings, ("roc_auc", "rmse", "log_loss"), strict=True)
        for s in one.ours
    ]
    made = compared(runs, pd.DataFrame(ours))
    for row in records(made, "against_pairs"):
        if row["against"] == f"again {row['method'][:-7]}":
            assert (row["wins / ties / losses"], row["score difference"]) == ("0 / 3 / 0", 0.0)
    for one in made.standings:
        assert all(one.ranks[s.method] == one.ranks[f"again {s.method[:-7]}"] for s in one.ours)
        assert sorted(one.ranks) == [1.5, 1.5, 3.5, 3.5]


def test_accuracies_in_float32_are_ties(tmp_path: Path) -> None:
    """229 of 300 rows are 229 of 300 rows, but 230 are more."""
    metrics = {"val/loss": 1.0, "test/accuracy": float(np.float32(229 / 300))}
    write_record(tmp_path / "runs", 1e-3, 0, metrics, dataset="soil", kind="multiclass")
    rows = [{"dataset": "soil", "method": k, "metric": "accuracy", "value": k / 300} for k in (229, 230)]
    (one,) = compared(tmp_path / "runs", pd.DataFrame(rows)).standings
    assert one.ranks.to_dict() == {"pnet pathnorm (ours)": 2.5, "229": 2.5, "230": 1}


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_lines_says_nothing(runs: Path, seed: int) -> None:
    """All tables are the same, with several metrics on a data set, too."""
    frame = pd.concat([frame_of(), frame_of(("r2", "accuracy", "test_ll"), 1)])
    again = frame.sample(frac=1, random_state=seed)
    assert texts(compared(runs, again)) == texts(compared(runs, frame))


@pytest.mark.parametrize("name", ["other.csv", "other.parquet"])
def test_spellings_say_the_same(runs: Path, name: str) -> None:
    """value, mean and metric_error; accuracy, 1 - accuracy and error; seconds and time_train_s; CSV and Parquet."""
    frame = frame_of(("rmse", "accuracy", "log_loss"))
    expected = texts(compared(runs, frame))
    turned = frame.metric == "accuracy"
    errors = frame.assign(value=frame.value.where(~turned, 1 - frame.value))
    for other in (
        frame.rename(columns={"value": "mean", "seconds": "time_train_s"}).assign(source="a paper"),
        errors.rename(columns={"value": "metric_error"}),
        errors.assign(metric=frame.metric.where(~turned, "error")),
        errors.assign(metric=frame.metric.where(~turned, "1 - accuracy")),
    ):
        assert texts(compared(runs, other, name=name)) == expected


def test_what_is_not_compared_is_listed(runs: Path) -> None:
    """By reason: metrics, data sets, methods, values that are missing or rounded; nothing is compared twice."""
    frame = pd.concat([frame_of(), frame_of(("test_ll", "mae", "roc_auc"), 1)])
    frame.loc[frame.metric == "roc_auc", "dataset"] = frame.loc[frame.metric == "roc_auc", "dataset"].replace(
        "soil", "moon"
    )
    frame["precision"] = ["1 decimal", *["exact"] * (len(frame) - 1)]
    frame.loc[(frame.dataset == "moon") & (frame.method == "m5"), "value"] = None
    made = compared(runs, frame)
    assert {reason: sorted(what) for reason, what in made.left_out.items()} == {
        "a published method has no value": ["m5 on moon"],
        "a data set of the file that we lack": ["moon"],
        "no metric of ours is test_ll": ["sea (7 numbers)"],
        "our data set is a task of binary, which has no mae": ["air (7 numbers)"],
        "compared all the same, but the file says of the number: 1 decimal": ["m0 on sea"],
        "a method that is not on all 3 data sets has no mean rank": ["m6"],
    }
    assert made.notes == [
        "air, sea, soil: that our test rows are the published ones is not proved, for no record says so."
    ]


def write_splits(runs: Path, splits: Any, lams: Any = (1e-3, 1e-2), name: str = "v3_split_{}") -> Any:
    """One data set on several splits; the worse setting on validation rows is the better one on test rows."""
    rmse = {split: 1.0 + 0.1 * split * split for split in splits}
    for split, value in rmse.items():
        for lam in lams:
            params = {"dataset.split": f"/data/of_7/{name.format(split)}.csv", "dataset.split_seed": 0}
            own = {"val/loss": lam, "test/rmse": value - lam + lams[0], "time/fit_s": 2.0 + split}
            write_record(runs, lam, 0, own, dataset="sea", kind="regression", params=params)
    return rmse


def test_means_are_over_the_splits_in_common(tmp_path: Path) -> None:
    """Ours have 1, 2, 11, theirs 0 to 9 but for one method; a split of more seeds counts no more than another one."""
    rmse = write_splits(tmp_path / "runs", (1, 2, 11))
    params = {"dataset.split": "/data/of_7/v3_split_2.csv", "dataset.split_seed": 0}
    more = {"val/loss": 1e-3, "test/rmse": rmse[2] + 4, "time/fit_s": 10.0}
    write_record(tmp_path / "runs", 1e-3, 1, more, dataset="sea", kind="regression", params=params)
    write_record(tmp_path / "runs", 1e-2, 1, more | {"val/loss": 1.0}, dataset="sea", kind="regression", params=params)
    rmse[2] += 2
    rows = [
        {"dataset": "sea", "split": split, "method": method, "metric": "rmse", "value": 5.0 + split, "seconds": split}
        for method in ("a", "b")
        for split in range(10)
        if (method, split) != ("b", 2)
    ]
    made = compared(tmp_path / "runs", pd.DataFrame(rows), "dataset.split")
    ((ours,), (theirs,)) = made.standings[0].ours, made.standings[0].theirs
    assert ours.value == pytest.approx((rmse[1] + rmse[2]) / 2)
    assert ours.n == 2
    assert ours.sd == pytest.approx(np.std([rmse[1], rmse[2]], ddof=1))
    assert ours.seconds == pytest.approx(np.mean([2 * 3.0, 2 * 4.0 + 2 * 10.0]))
    assert (theirs.method, theirs.value, theirs.n, theirs.seconds) == ("a", 6.5, 2, 1.5)
    assert made.left_out == {"a published method lacks a split": ["b on sea"]}
    assert made.notes == [
        "sea: that our rows of a split are the published ones rests on dataset.split, from which its number is read.",
        "sea: compared on the 2 splits in common (1, 2), of 10 in the file.",
    ]


def test_means_of_other_splits_are_told(tmp_path: Path) -> None:
    """A file without splits is compared with the mean of ours; its standard error becomes a standard deviation."""
    rmse = write_splits(tmp_path / "runs", (1, 2, 4))
    row = {"dataset": "sea", "method": "a", "metric": "rmse", "mean": 3.0, "stderr": 0.5, "n_splits": 16}
    made = compared(tmp_path / "runs", pd.DataFrame([row]), "dataset.split")
    assert made.standings[0].ours[0].value == pytest.approx(np.mean(list(rmse.values())))
    assert (made.standings[0].theirs[0].sd, made.standings[0].theirs[0].n) == (2.0, 16)
    assert (
        "sea: ours are means over 3 splits, theirs are means over 16, some of which may be harder: ranks are rough."
        in made.notes
    )
    write_splits(tmp_path / "one/runs", (1,))
    one = compared(tmp_path / "one/runs", pd.DataFrame([row]), "dataset.split")
    assert any(note.startswith("sea: ours are numbers of one split, theirs are means over 16,") for note in one.notes)


def test_splits_that_were_drawn_are_not_counted(tmp_path: Path) -> None:
    """Each seed has its own rows, which nothing numbers: that they are others is said, not how many there are."""
    for seed in range(3):
        own = {"val/loss": 1.0, "test/rmse": 2.0}
        write_record(tmp_path / "runs", 1e-3, seed, own, dataset="sea", kind="regression")
    row = {"dataset": "sea", "method": "a", "metric": "rmse", "mean": 3.0, "n": 10}
    (note,) = compared(tmp_path / "runs", pd.DataFrame([row])).notes
    assert note.startswith("sea: our test rows were drawn")


def test_folds_of_openml_are_in_the_record(tmp_path: Path) -> None:
    """test_fold is the fold, of another repeat than the first it is none of the file's; no note says it is unproved."""
    for fold, repeat in ((0, 0), (1, 0), (0, 1)):
        params = {"dataset.splits": "openml", "dataset.test_fold": fold, "dataset.test_repeat": repeat}
        own = {"val/loss": 1.0, "test/rmse": 1.0 + fold + 10 * repeat}
        write_record(tmp_path / "runs", 1e-3, 0, own, dataset="sea", kind="regression", params=params)
    rows = [{"dataset": "sea", "fold": f, "method": "a", "metric": "rmse", "value": 1.0 + f} for f in range(2)]
    made = compared(tmp_path / "runs", pd.DataFrame(rows))
    assert made.standings[0].ours[0].value == made.standings[0].theirs[0].value == 1.5
    assert made.notes == ["sea: compared on the 2 splits in common (0, 1), of 2 in the file."]


def test_a_name_is_that_of_the_data_or_of_the_file(tmp_path: Path) -> None:
    """The record's name first, then dataset.name, then the stem of dataset.path; drawn rows are told."""
    for label, params in (("task 7", {"dataset.name": "sea"}), ("b", {"dataset.path": "/x/air.csv"}), ("soil", {})):
        own = {"val/loss": 1.0, "test/rmse": 2.0}
        write_record(tmp_path / "runs", 1e-3, 0, own, dataset=label, kind="regression", params=params)
    made = compared(tmp_path / "runs", frame_of(("rmse", "rmse", "rmse")))
    assert {one.dataset for one in made.standings} == {"sea", "air", "soil"}
    assert re.match("air, soil, sea: our test rows were drawn, so they are others", made.notes[0])


def test_splits_that_nothing_tells_apart(tmp_path: Path) -> None:
    """Several of our data sets of one name are not averaged, a key needs a number, and one split is not four."""
    write_splits(tmp_path / "runs", (1, 2))
    rows = [{"dataset": "sea", "split": s, "method": "a", "metric": "rmse", "value": 1.0} for s in range(4)]
    frame = pd.DataFrame(rows)
    with pytest.raises(UsageError, match=r"must be named sea, not 2: sea .* --against-fold KEY"):
        compared(tmp_path / "runs", frame)
    with pytest.raises(UsageError, match=r"--against-fold dataset\.name must have a value with the number of a split"):
        compared(tmp_path / "runs", frame, "dataset.name")
    write_splits(tmp_path / "of/runs", (1, 2), name="split_{}_of_4")
    with pytest.raises(UsageError, match=r"named sea, not 2: .* All of them are split 4, by the last whole number; "):
        compared(tmp_path / "of/runs", frame, "dataset.split")
    write_splits(tmp_path / "one/runs", (1,))
    with pytest.raises(UsageError, match=r"our runs do not say on which split: --against-fold KEY"):
        compared(tmp_path / "one/runs", frame)


def test_a_diagram_shows_some_methods() -> None:
    """The best, the median one, and ours wherever they are; all where they are few."""
    ranked = [f"m{number}" for number in range(70)]
    assert against.shown_methods(ranked, ["m40", "m3"]) == [*ranked[: against.BEST], "m34", "m40"]
    assert against.shown_methods(ranked[:5], ["m4"]) == ranked[:5]


def test_figures_show_the_numbers_of_the_tables(runs: Path) -> None:
    """The front is what no other beats in time and score; mean ranks are those of the table; no time, no front."""
    frame = frame_of()
    made = compared(runs, frame)
    material = Material(make([runs], LOSS).choices, LOSS, comparisons=[made])
    table = {row["method"]: row for row in records(made, "against_ranks")}
    drawn = only(against, material, "against_seconds")
    found = points(drawn).set_index("method")
    assert set(found.index) == set(table)
    for method, row in found.iterrows():
        assert row["mean score above median"] == pytest.approx(table[method]["mean score above median"])
        own = (row["seconds"], -row["mean score above median"])
        others = [(r["seconds"], -r["mean score above median"]) for _, r in found.iterrows()]
        beaten = any(a <= own[0] and b <= own[1] and (a, b) != own for a, b in others)
        assert row["on the front"] != beaten
    assert found.loc["m0", "seconds"] == frame[frame.method == "m0"].seconds.mean()
    line = next(line for line in drawn.figure.axes[0].lines if line.get_label() == "Pareto front")
    assert len(xy(line)) == found["on the front"].sum()
    ranked = points(only(against, material, "against_ranks")).set_index("method")["mean rank"]
    assert ranked.to_dict() == pytest.approx({method: row["mean rank"] for method, row in table.items()})
    without = Material(material.choices, LOSS, comparisons=[compared(runs, frame.drop(columns="seconds"))])
    assert only(against, without).name == "against_ranks"
