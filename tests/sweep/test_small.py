"""The preset for a new table: its dial is a group, and one command ends with an ensemble."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser

from psilon_bench.config.check import check
from psilon_bench.config.conf_folder import CONF
from psilon_bench.config.schema import Config
from psilon_bench.records.ensemble_json import read_ensemble
from psilon_bench.sweep.composer import Composer
from psilon_bench.sweep.grids import selected_arms, union


def jobs_of(effort: str) -> list[Config]:
    """All settings of the preset at this effort, before the folds."""
    preset = ["+experiment=small", "dataset=wine", *([f"effort={effort}"] if effort else [])]
    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        sweeper = compose("config", preset, return_hydra_config=True).hydra.sweeper
        composer = Composer(partial(compose, "config", return_hydra_config=True))
        parse = OverridesParser.create().parse_overrides
        return [
            check(composer(job))
            for job in union(selected_arms(sweeper.grids, None), sweeper.params or {}, preset, parse)
        ]


def test_more_effort_is_more_of_everything() -> None:
    """Settings, epochs and what a race keeps; `normal` is what the preset has without a word."""
    quick, normal, best = (jobs_of(effort) for effort in ("quick", "normal", "best"))
    for less, more in ((quick, normal), (normal, best)):
        assert len(less) < len(more)
        assert less[0].trainer.epochs < more[0].trainer.epochs
        assert less[0].race_keep < more[0].race_keep
        assert less[0].cv is not None
        assert more[0].cv is not None
        assert less[0].cv < more[0].cv
        assert {job.reg.lam for job in less} <= {job.reg.lam for job in more}
    assert [job.fingerprint() for job in jobs_of("")] == [job.fingerprint() for job in normal]
    for job in (*quick, *normal, *best):
        assert job.trainer.epochs == 4 * job.trainer.eval_every  # a race compares at quarters
        assert (job.ensemble, job.race, job.hardware.plan) == (True, True, "stacked")
        assert job.dataset.arguments["scaling"] in ("robust", "quantile")
        assert job.optimizer.lr == (5e-2 if job.model.arguments["normalization"] == 2 else 2e-2)


@pytest.mark.slow
def test_one_command_for_a_table(psilon: Any, capsys: Any) -> None:
    """It names a test accuracy, and the ensemble that it is of; the same command again trains nothing."""
    usual = ("trainer.epochs=100", "trainer.eval_every=25")  # not those of the tests
    command = (
        "-m",
        "+experiment=small",
        "effort=quick",
        "dataset=wine",
        "tracking=none",
        "results_dir=results",
        *usual,
    )
    code, said = psilon(*command)
    assert code == 0, said
    made = read_ensemble(Path("results/small/ensembles/wine"))
    assert made.candidates <= 6
    assert made.loss["val"] < 0.2
    assert made.temperature is not None
    records = len(list(Path("results/small").glob("*/run.json")))
    assert psilon(*command)[0] == 0
    assert len(list(Path("results/small").glob("*/run.json"))) == records
