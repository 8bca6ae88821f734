"""The check of a composed configuration: what is wrong is named, and the fingerprint knows what determines numbers."""

import inspect
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from psilon_bench.config.check import check
from psilon_bench.config.components import locate
from psilon_bench.config.conf_folder import CONF
from psilon_bench.config.option_file import read_option
from psilon_bench.config.schema import Config
from psilon_bench.config.signature import nearest
from psilon_bench.errors import UsageError

WRONG = {
    "reg.lam=-1": r"^reg\.lam=-1 is not valid: it should be greater than or equal to 0\.$",
    "reg.lam=nan": r"^reg\.lam=nan is not valid: it should be a finite number\.$",
    "reg.lam=inf": r"^reg\.lam=inf is not valid: it should be a finite number\.$",
    "reg.lam=abc": r"^reg\.lam='abc' is not valid: it should be a valid number\.$",
    "seed=abc": r"^seed='abc' is not valid: it should be a valid integer\.$",
    "seed=-1": r"^seed=-1 is not valid: it should be greater than or equal to 0\.$",
    "seed=1.5": r"^seed=1\.5 is not valid: it should be a valid integer",
    "seed=null": r"^seed=None is not valid",
    "name=../elsewhere": r"^name=.\.\./elsewhere. is not valid: it should be letters, .* \(it names a folder\)\.$",
    "results_dir=''": r"^results_dir='' is not valid: it should",
    "optimizer.lr=0": r"^optimizer\.lr=0 is not valid: it should be greater than 0\.$",
    "optimizer.lr=inf": r"^optimizer\.lr=inf is not valid: it should be a finite number\.$",
    "trainer.epochs=0": r"^trainer\.epochs=0 is not valid: it should be greater than 0\.$",
    "trainer.epochs=2.5": r"^trainer\.epochs=2\.5 is not valid: it should be a valid integer",
    "trainer.num_batches=0": r"^trainer\.num_batches=0 is not valid: it should be greater than 0\.$",
    "trainer.batch_size=-3": r"^trainer\.batch_size=-3 is not valid: it should be greater than 0\.$",
    "trainer.eval_every=0": r"^trainer\.eval_every=0 is not valid: it should be greater than 0\.$",
    "trainer.early_stopping=0": r"^trainer\.early_stopping=0 is not valid: it should be greater than 0\.$",
    "trainer.select=first": r"^trainer\.select='first' is not valid: it should be 'last' or 'best'\.$",
    "hardware.device=gpu": r"^hardware\.device='gpu' is not valid: it should be auto, cpu, mps, cuda or cuda:1\.$",
    "hardware.precision=float16": r"^hardware\.precision='float16' is not valid: it should be 'float32', 'tf32', ",
    "hardware.threads=0": r"^hardware\.threads=0 is not valid: it should be 'auto' or greater than 0\.$",
    "tracking.experiment=''": r"^tracking\.experiment='' is not valid",
    "model.hidden=0": r"^model\.hidden=0 is not valid: it should be greater than 0\.$",
    "model.hidden=8.5": r"^model\.hidden=8\.5 is not valid: it should be a valid integer",
    "model.depth=-2": r"^model\.depth=-2 is not valid: it should be greater than 0\.$",
    "model.activation=swish": r"^model\.activation='swish' is not valid: it should be 'relu', 'leaky_relu', ",
    "model.normalization=3": r"^model\.normalization=3 is not valid: it should be 1 or 2",
    "model.share=1": r"^model\.share=1 is not valid: it should be a valid boolean\.$",
    "dataset.train_size=0": r"^dataset\.train_size=0 is not valid: it should be greater than 0",
    "dataset.split_seed=x": r"^dataset\.split_seed='x' is not valid: it should be a valid integer",
    "+trainer.epoch=3": r"^trainer\.epoch is not a known key\. Did you mean epochs",
    "+model.qqq=2": r"^model\.qqq is not a known key\. Choose from: activation, depth, hidden, ",
    "+hardware.gpus=2": r"^hardware\.gpus is not a known key\. Choose from: compile, device, ",
    "+epochs=3": r"^epochs is not a known key",
    "+model.width=8": r"^model\.width is not a known key\. Did you mean depth\?$",
    "+optimizer.weight_dekay=8": r"^optimizer\.weight_dekay is not a known key\. Did you mean weight_decay or ",
    "+reg.q=1": r"^reg\.q is not a known key",
    "optimizer.betas=[0.9]": r"^optimizer\.betas=\[0\.9\] is not valid: it should be longer\.$",
    "~trainer.epochs": r"^trainer\.epochs is missing; set trainer\.epochs=<value>\.$",
    "~model.hidden": r"^model\.hidden is missing; set model\.hidden=<value>\.$",
    "~reg.lam": r"^reg\.lam is missing; set reg\.lam=<value>\.$",
    "reg.lam=???": r"^reg\.lam: Missing mandatory value: lam$",
    "reg.lam=${nowhere}": r"^reg\.lam: Interpolation key 'nowhere' not found$",
    "model._target_=psilon_bench.models.mlp.MLPP": r"^model\._target_='psilon_bench\.models\.mlp\.MLPP' cannot be",
    "model._target_=psilon_bench.errors": r"^model\._target_='psilon_bench\.errors' cannot be imported: it is",
}


@pytest.mark.sampled(every=3)
@pytest.mark.parametrize("override", WRONG)
def test_what_is_wrong_is_told_in_one_line(composed: Any, override: Any) -> None:
    """Key, value, rule, and the nearest or all known keys where one is unknown."""
    cfg = composed("scheduler=constant", override)
    with pytest.raises(UsageError, match=WRONG[override]) as caught:
        check(cfg)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(sys.platform == "darwin", reason="names of folders are UTF-8 there")
def test_a_working_folder_that_is_no_text_is_told(
    composed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name is part of every path, which config.yaml could not hold."""
    folder = tmp_path / os.fsdecode(b"d\xff")
    folder.mkdir()
    monkeypatch.chdir(folder)
    with pytest.raises(UsageError, match=r"^results_dir=.*udcff/results' is not valid: .* in UTF-8\.$"):
        check(composed())


def test_check_keeps_every_value(composed: Any) -> None:
    """The checked configuration holds the composed one, interpolations resolved."""
    cfg = composed("seed=3", "reg.lam=2e-3", "model=snet")
    nested = check(cfg).nested()
    values = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(values, dict)
    assert nested == values | {"results_dir": str(Path("results").absolute())}  # paths are resolved once
    assert nested["dataset"]["split_seed"] == 3
    assert nested["scheduler"]["max_lr"] == nested["optimizer"]["lr"]
    assert check(OmegaConf.create(nested)).fingerprint() == check(cfg).fingerprint()


NO_NUMBERS = """name=other results_dir=/elsewhere tracking=none tracking.uri=http://host:1 tracking.experiment=other
    hardware.device=auto hardware.threads=7 hardware.plan=serial hardware.stack_size=3
    plan=true rerun=true retries=2 trainer.checkpoint_every=1"""


@pytest.mark.parametrize("override", NO_NUMBERS.split())
def test_fingerprint_leaves_out_what_moves_no_number(config: Any, override: Any) -> None:
    """Names, places, devices, threads and tracking."""
    assert config(override).fingerprint() == config().fingerprint()


def test_fingerprint_tells_all_else_apart(config: Any) -> None:
    """Every change of a number, a component or the data is another run."""
    overrides = ["seed=1", "reg.lam=2e-3", "hardware.precision=float32", "trainer.epochs=201", "trainer.batch_size=9"]
    overrides += ["model=snet", "reg=lasso", "optimizer=sgd", "optimizer.lr=1e-3", "scheduler=constant", "dataset=wine"]
    overrides += ["trainer.num_batches=4", "trainer.early_stopping=3", "trainer.select=best", "dataset.split_seed=8"]
    overrides += ["trainer.eval_every=5", "model.hidden=400", "model.activation=tanh", "dataset.train_size=0.5"]
    prints = {override: config(override).fingerprint() for override in overrides}
    assert len({*prints.values(), config().fingerprint()}) == len(overrides) + 1


def test_fingerprint_knows_the_seed_beside_the_split(config: Any) -> None:
    """Two seeds of the weights on one split are two runs."""
    assert config("seed=1", "dataset.split_seed=0").fingerprint() != config("seed=0").fingerprint()


def test_fingerprint_is_of_values_not_of_spelling(config: Any) -> None:
    """The order of the overrides, 1e-3 for 0.001, and what is set to its default make no difference."""
    assert config("seed=1", "reg.lam=1e-3").fingerprint() == config("reg.lam=0.001", "seed=1").fingerprint()
    assert config("trainer.epochs=200").fingerprint() == config().fingerprint()


def test_structure_leaves_out_what_members_may_differ_in(config: Any) -> None:
    """Seed, split and lambda may differ within a stack; nothing else that determines numbers may."""
    assert config("seed=5", "reg.lam=0.3").structure() == config().structure()
    for override in ("model=snet", "trainer.epochs=3", "reg=lasso", "optimizer.lr=1", "dataset=wine"):
        assert config(override).structure() != config().structure()


def test_config_is_immutable(config: Any) -> None:
    """A checked configuration is what ran."""
    made = config()
    with pytest.raises(ValueError, match="frozen"):
        made.seed = 3
    assert isinstance(made, Config)


def test_flat_and_title(config: Any) -> None:
    """Dotted keys for MLflow; a title for people, without a lambda of 0."""
    made = config("reg.lam=1e-2", "seed=4")
    assert made.flat()["reg.lam"] == 0.01
    assert made.flat()["model.hidden"] == 500
    assert made.title == "pnet pathnorm lam=0.01 seed=4"
    assert config("model=snet", "reg=none").title == "snet none seed=0"


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("pnett", " Did you mean pnet or snet?"),
        ("vg", " Did you mean vgg?"),
        ("snet", " Did you mean snet or pnet?"),
        ("zzz", " Choose from: pnet, snet, vgg."),
    ],
)
def test_nearest(word: Any, expected: Any) -> None:
    """The nearest names, the best first; all of them where none is near."""
    assert nearest(word, ["vgg", "snet", "pnet"]) == expected


OPTIONS = [path for path in sorted(CONF.glob("*/*.yaml")) if path.parent.name in Config.model_fields]


@pytest.mark.sampled(every=3)
@pytest.mark.parametrize("path", OPTIONS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_an_option_is_read_as_hydra_composes_it(composed: Any, path: Any) -> None:
    """The options that a file builds on included; references to other sections are not resolved."""
    group = path.parent.name
    cfg = composed(f"{group}={path.stem}")
    composed_values = OmegaConf.to_container(cfg, resolve=False)
    assert isinstance(composed_values, dict)
    assert read_option(path) == composed_values[group]


def test_an_option_of_a_users_folder_builds_on_one_of_conf(tmp_path: Path) -> None:
    """A file's values lie over those of its bases, a later base's over an earlier one's; `_self_` is no option."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "narrow.yaml").write_text("name: narrow\nhidden: 7\ndepth: 9\n")
    (folder / "mine.yaml").write_text("defaults: [snet, narrow, _self_]\nname: mine\ndepth: 1\n")
    expected = read_option(CONF / "model" / "snet.yaml") | {"name": "mine", "hidden": 7, "depth": 1}
    assert read_option(folder / "mine.yaml") == expected
    (folder / "mine.yaml").write_text("defaults: [nowhere]\n")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_option(folder / "mine.yaml")


@pytest.mark.parametrize("path", OPTIONS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_value_stands_in_the_configuration_or_in_the_code(path: Any) -> None:
    """What an option sets has no default in its target. torch's defaults are torch's: writing them down pins them."""
    option = read_option(path)
    if not option.get("_target_", "").startswith("psilon_bench."):
        pytest.skip("torch's own class, or no class")
    parameters = inspect.signature(locate(option["_target_"])).parameters
    twice = [key for key in option if key in parameters and parameters[key].default is not inspect.Parameter.empty]
    assert twice == []


def test_a_name_of_digits_is_a_name(composed: Any) -> None:
    """YAML takes it for a number; truth values are no names."""
    config = check(composed("name=361078", "results_dir=2026", "tracking.experiment=7"))
    assert (config.name, Path(config.results_dir).name, config.tracking.experiment) == ("361078", "2026", "7")
    with pytest.raises(UsageError, match="name=True is not valid"):
        check(composed("name=true"))
