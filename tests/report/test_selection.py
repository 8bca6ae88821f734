"""Settings are chosen by validation alone, over seeds, and everything doubtful is said."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from made_records import write_grid, write_record

from psilon_bench.config.repeated import REPLICATES
from psilon_bench.errors import UsageError
from psilon_bench.report.grouping import groups_of
from psilon_bench.report.keys import has_effect, varying
from psilon_bench.report.metric import chosen_by
from psilon_bench.report.records import scan
from psilon_bench.report.selection import choose


@pytest.fixture
def choices(tmp_path: Path) -> Any:
    """choices(metric="val/loss"): what is chosen among the records of tmp_path."""

    def choices(metric: Any = "val/loss", direction: Any = None, by: Any = ()) -> Any:
        groups, _ = groups_of(scan([tmp_path]).runs, by)
        return [choose(group, chosen_by(metric, direction)) for group in groups]

    return choices


@pytest.fixture
def choice(choices: Any) -> Any:
    """The only one."""

    def choice(**how: Any) -> Any:
        (only,) = choices(**how)
        return only

    return choice


def flags(choice: Any) -> Any:
    return [doubt.flag for doubt in choice.doubts]


def note(choice: Any, flag: Any) -> Any:
    (found,) = [doubt.note for doubt in choice.doubts if doubt.flag == flag]
    return found


def test_validation_decides_over_seeds_and_test_does_not(tmp_path: Path, choice: Any) -> None:
    """1e-3 has the best mean; 1e-4 the best single seed; 1e-2 the best test loss. Numbers equal pandas."""
    losses = {1e-4: [0.05, 0.9, 0.9], 1e-3: [0.3, 0.4, 0.38], 1e-2: [0.6, 0.7, 0.8]}
    write_grid(tmp_path, losses)
    made = choice()
    assert dict(made.setting.values) == {"reg.lam": 1e-3}
    frame = pd.DataFrame(losses)
    assert made.validation.mean == pytest.approx(frame.mean().min(), rel=1e-15)
    assert made.validation.sd == pytest.approx(frame.std()[1e-3], rel=1e-12)
    assert made.validation.n == 3
    assert made.setting.numbers("test/loss") == [1 - x for x in losses[1e-3]]
    assert made.doubts == []


def test_a_metric_that_is_maximised(tmp_path: Path, choice: Any) -> None:
    """More accuracy is better, less loss is; a name that says nothing needs --direction."""
    for lam, accuracy in ((1e-4, 0.7), (1e-3, 0.9), (1e-2, 0.8)):
        write_record(tmp_path, lam, 0, {"val/accuracy": accuracy, "val/loss": accuracy, "charm": accuracy})
    assert choice(metric="val/accuracy").setting.value("reg.lam") == 1e-3
    assert choice(metric="val/loss").setting.value("reg.lam") == 1e-4
    assert choice(metric="charm", direction="max").setting.value("reg.lam") == 1e-3
    with pytest.raises(UsageError, match=r"charm is better is not known\. Say --direction min or max"):
        choice(metric="charm")


def test_the_test_rows_choose_nothing() -> None:
    """A metric of the test rows is refused."""
    with pytest.raises(UsageError, match=r"--metric test/loss is measured on the test rows.*Take --metric val/loss"):
        chosen_by("test/loss", None)


def test_a_lucky_seed_does_not_win(tmp_path: Path, choice: Any) -> None:
    """The best mean is that of a setting with one seed of three: passed over, and said so."""
    write_grid(tmp_path, {1e-4: [0.5, 0.6, 0.7], 1e-3: [0.4, 0.5, 0.6], 1e-2: [0.1], 1e-1: [0.8, 0.8, 0.8]})
    made = choice()
    assert made.setting.value("reg.lam") == 1e-3
    assert note(made, "passed over").startswith("lam=0.01 has a better mean (0.1, n=1)")
    assert note(made, "seeds") == "lam=0.01 lacks seed 1, 2"


def test_of_two_settings_the_one_with_all_seeds(tmp_path: Path, choice: Any) -> None:
    """Half of the settings is not enough: three seeds against one."""
    write_grid(tmp_path, {1e-4: [0.5, 0.6, 0.7], 1e-3: [0.1]})
    made = choice()
    assert made.setting.value("reg.lam") == 1e-4
    assert set(flags(made)) == {"edge", "seeds", "passed over"}


def test_diverged_seeds_do_not_make_a_setting_better(tmp_path: Path, choice: Any) -> None:
    """The mean over the two seeds that survived is the best, but one diverged."""
    write_grid(tmp_path, {1e-4: [0.5, 0.6, 0.7], 1e-3: [0.1, 0.1], 1e-2: [0.8, 0.8, 0.8]})
    write_record(tmp_path, 1e-3, 2, {}, status="failed", reason="diverged: the objective is inf at step 7")
    made = choice()
    assert made.setting.value("reg.lam") == 1e-4
    assert note(made, "seeds") == "lam=0.001 lacks seed 2 (failed)"
    assert set(flags(made)) == {"seeds", "passed over", "edge"}


def test_a_finished_run_without_the_metric_is_missing(tmp_path: Path, choice: Any) -> None:
    """A validation loss that was not finite is not in run.json: that seed does not count."""
    write_grid(tmp_path, {1e-4: [0.5, 0.6], 1e-3: [0.4, 0.3]})
    write_record(tmp_path, 1e-2, 0, {"val/loss": 0.1})
    write_record(tmp_path, 1e-2, 1, {"test/loss": 0.1})
    made = choice()
    assert made.setting.value("reg.lam") == 1e-3
    assert note(made, "seeds") == "lam=0.01 lacks seed 1"


def test_ties_are_said_and_the_largest_lambda_wins(tmp_path: Path, choice: Any) -> None:
    """Equal up to rounding of the mean."""
    write_grid(tmp_path, {1e-4: [0.1, 0.2, 0.3], 1e-3: [0.3, 0.1, 0.2], 1e-2: [0.2, 0.3, 0.1], 1e-1: [0.9, 0.9, 0.9]})
    made = choice()
    assert made.setting.value("reg.lam") == 1e-2
    assert note(made, "tie") == "same mean: lam=0.0001; lam=0.001"


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ({1e-4: [0.1], 1e-3: [0.2], 1e-2: [0.3]}, "reg.lam=0.0001 is the smallest of 3 tried"),
        ({1e-4: [0.3], 1e-3: [0.2], 1e-2: [0.1]}, "reg.lam=0.01 is the largest of 3 tried"),
        ({1e-4: [0.3], 1e-3: [0.1], 1e-2: [0.2]}, None),
        ({0.0: [0.1], 1e-3: [0.2], 1e-2: [0.3]}, None),
        ({1e-3: [0.2]}, None),
    ],
)
def test_a_choice_at_the_edge_of_the_grid(tmp_path: Path, choice: Any, losses: Any, expected: Any) -> None:
    """Either end, but not 0, below which there is nothing, and not a single value."""
    write_grid(tmp_path, losses)
    made = choice()
    assert [doubt.note for doubt in made.doubts if doubt.flag == "edge"] == ([expected] if expected else [])
    assert "one seed" in flags(made)
    assert made.validation.sd is None


def test_several_values_are_tuned_together(tmp_path: Path, choice: Any) -> None:
    """lambda x learning rate; what the scheduler copies from the optimizer is not shown twice."""
    for lam, lr, loss in ((1e-3, 0.1, 0.4), (1e-3, 0.2, 0.3), (1e-2, 0.1, 0.2), (1e-2, 0.2, 0.5)):
        for seed in (0, 1):
            metrics = {"val/loss": loss + seed / 100}
            write_record(tmp_path, lam, seed, metrics, params={"optimizer.lr": lr, "scheduler.max_lr": lr})
    made = choice()
    assert made.setting.text == "lam=0.01 lr=0.1"
    assert len(made.group.settings) == 4


def test_a_scheduler_value_of_its_own_is_tuned(tmp_path: Path, choice: Any) -> None:
    """One that does not follow from the rest."""
    for rate, warm, loss in ((0.1, 0.2, 0.4), (0.1, 0.3, 0.3), (0.2, 0.2, 0.6)):
        params = {"optimizer.lr": rate, "scheduler.pct_start": warm}
        write_record(tmp_path, 1e-3, 0, {"val/loss": loss}, params=params)
    assert choice().setting.text == "lr=0.1 pct_start=0.3"


def test_a_key_can_make_methods_instead(tmp_path: Path, choices: Any) -> None:
    """--by reg.bound: each bound has its own best lambda."""
    for bound, lam, loss in (("improved", 1e-3, 0.1), ("improved", 1e-2, 0.2), ("original", 1e-3, 0.4)):
        write_record(tmp_path, lam, 0, {"val/loss": loss}, params={"reg.bound": bound})
    write_record(tmp_path, 1e-2, 0, {"val/loss": 0.3}, params={"reg.bound": "original"})
    (together,) = choices()
    assert dict(together.setting.values) == {"reg.lam": 1e-3, "reg.bound": "improved"}
    apart = {one.group.method: one.setting.text for one in choices(by=("reg.bound",))}
    assert apart == {
        "pnet pathnorm bound=improved": "lam=0.001",
        "pnet pathnorm bound=original": "lam=0.01",
    }


def test_other_rows_are_another_data_set(tmp_path: Path, choices: Any) -> None:
    """Two sizes of one data set are not compared, though the file's place may differ."""
    for rows, place, loss in ((100, "a.csv", 0.3), (200, "a.csv", 0.1), (100, "b.csv", 0.2)):
        seed = int(loss * 10)
        params = {"dataset.max_rows": rows, "dataset.path": place}
        write_record(tmp_path, 1e-3, seed, {"val/loss": loss}, params=params)
    found = {one.group.dataset: one.validation.n for one in choices()}
    assert found == {"wine max_rows=100": 2, "wine max_rows=200": 1}


def test_a_baseline_has_no_regularizer(tmp_path: Path, choice: Any) -> None:
    """Ridge is fitted as a whole: only values of its own are tuned, and its name is the whole method."""
    for lam, alpha, loss in ((1e-3, 1.0, 0.4), (1e-2, 1.0, 0.4), (1e-3, 10.0, 0.3)):
        params = {"model.name": "ridge", "model.alpha": alpha}
        title = f"ridge alpha={alpha} seed=0"
        write_record(tmp_path, lam, 0, {"val/loss": loss}, params=params, title=title)
    made = choice()
    assert (made.group.method, made.setting.text, len(made.group.settings)) == ("ridge", "alpha=10", 2)


def test_devices_and_names_are_no_settings(tmp_path: Path, choice: Any) -> None:
    """What the fingerprint leaves out is not tuned, and the split's seed follows the seed."""
    for seed, name in enumerate(("one", "two", "three")):
        params = {"name": name, "hardware.threads": seed, "tracking.uri": name, "retries": seed, "plan": bool(seed)}
        write_record(tmp_path, 1e-3, seed, {"val/loss": seed / 10}, params=params)
    made = choice()
    assert made.setting.values == ()
    assert made.validation.n == 3


@pytest.mark.filterwarnings("ignore:Pydantic serializer")
def test_what_is_no_setting_is_what_the_fingerprint_leaves_out(config: Any) -> None:
    """Every key of a real configuration: it has an effect where, and only where, it changes the fingerprint."""
    first = config()
    for key in first.flat():
        # which count with certificate=exact, and beside a teacher
        conditional = ("dataset.offline", "metrics.exact_seconds", "trainer.teacher_weight")
        if key in REPLICATES or key in conditional or key.endswith("_target_"):
            continue
        *section, last = key.split(".")
        changed = {last: "other"}  # unchecked: only the hash reads it
        if section:
            changed = {section[0]: getattr(first, section[0]).model_copy(update=changed)}
        assert has_effect(key) == (first.model_copy(update=changed).fingerprint() != first.fingerprint()), key


def test_a_later_run_replaces_an_earlier_one(tmp_path: Path, choice: Any) -> None:
    """The latest finished run of a seed counts, a later failure does not undo it."""
    write_record(tmp_path, 1e-3, 0, {"val/loss": 0.5}, started="2030-01-01T12:00:00.000+00:00")
    write_record(tmp_path, 1e-3, 0, {"val/loss": 0.4}, started="2030-01-02T12:00:00.000+00:00")
    write_record(tmp_path, 1e-3, 0, {}, status="failed", started="2030-01-03T12:00:00.000+00:00")
    _, replaced = groups_of(scan([tmp_path]).runs)
    assert choice().validation.mean == 0.4
    assert len(replaced) == 2


def test_nothing_finished_is_no_choice(tmp_path: Path, choice: Any) -> None:
    """The group is there, without numbers."""
    write_record(tmp_path, 1e-3, 0, {}, status="killed")
    made = choice()
    assert (made.setting, made.validation, flags(made)) == (None, None, ["no metric"])


def test_the_precision_that_auto_took_is_part_of_a_setting(tmp_path: Path) -> None:
    """Two runs of one command that computed differently are two settings."""
    for seed, precision in enumerate(("float32", "bfloat16")):
        write_record(tmp_path, 1e-3, seed, params={"hardware.precision": "auto"}, precision=precision)
    runs = scan([tmp_path]).runs
    assert varying(runs) == ["hardware.precision"]
    assert [run.params["hardware.precision"] for run in runs] == ["float32", "bfloat16"]
