"""The best run of a sweep is that of the setting with the smallest mean validation loss, whatever the test says."""

from pathlib import Path

import pytest
from made_records import write_grid, write_record

from psilon_bench.errors import UsageError
from psilon_bench.report.best_run import best_run


def test_the_setting_is_chosen_by_its_mean_and_the_seed_within_it(tmp_path: Path) -> None:
    """A lucky seed of a worse setting is not taken; test losses, which are the other way round, play no part."""
    write_grid(tmp_path, {1e-3: [0.1, 0.9, 0.8], 1e-2: [0.4, 0.3, 0.5]})
    write_grid(tmp_path, {1e-3: [0.7, 0.7, 0.7]}, params={"model.name": "snet"})
    folder, why = best_run(tmp_path)
    assert folder.name == "record_00004"
    assert "is the best of 9 finished runs: pnet pathnorm lam=0.01 has the smallest val/loss 0.4" in why
    assert "on average over 3 seeds, and of these seed 1 (0.3)" in why


def test_what_has_no_best_run_is_one_line(tmp_path: Path) -> None:
    """Several data sets are listed; nothing finished, and nothing at all."""
    write_record(tmp_path / "a", metrics={"val/loss": 1.0}, status="killed")
    with pytest.raises(UsageError, match=r"a has no finished run of a network with a validation loss"):
        best_run(tmp_path / "a")
    for name in ("wine", "iris"):
        write_record(tmp_path / "b", metrics={"val/loss": 1.0}, dataset=name)
    with pytest.raises(UsageError, match=r"has runs on 2: iris, wine\. Name the folder of a run\."):
        best_run(tmp_path / "b")
    (tmp_path / "c").mkdir()
    with pytest.raises(UsageError, match=r"c holds no record of a run"):
        best_run(tmp_path / "c")


def test_a_refit_stands_for_its_folds(tmp_path: Path) -> None:
    """Of a cross-validation the network that trained on all folds is taken, and none of a fold."""
    for lam, losses in {1e-3: [0.9, 0.1], 1e-2: [0.3, 0.3]}.items():
        for fold, loss in enumerate(losses):
            about = {"cv": 2, "dataset.folds": 2, "dataset.repeat": 0, "dataset.fold": fold, "dataset.split_seed": 0}
            write_record(tmp_path, lam, metrics={"val/loss": loss}, params=about, task={"rows": {"val": 10}})
    with pytest.raises(UsageError, match="has no finished refit"):
        best_run(tmp_path)
    refitted = {"cv": 2, "dataset.folds": 2, "dataset.repeat": 0, "dataset.fold": "all", "dataset.split_seed": 0}
    refit = write_record(tmp_path, 1e-2, metrics={"test/loss": 5.0}, params=refitted)
    folder, why = best_run(tmp_path)
    assert folder == refit
    assert "lam=0.01 has the smallest out-of-fold val/loss 0.3; seed 0 of its refits" in why
