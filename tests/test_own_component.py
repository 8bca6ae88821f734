"""Components of a person's own: the page that tells how, its examples, and what is said where they are wrong."""

import gc
import math
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from component_page import EXAMPLE, blocks, commands, python
from omegaconf import OmegaConf

from psilon_bench.cli import report, run
from psilon_bench.config.components import BASES, check_target, import_file, locate
from psilon_bench.config.conf_folder import CONF, add_folder, option_files, own_folders
from psilon_bench.config.options import options
from psilon_bench.errors import UsageError
from psilon_bench.machine.signals import SIGNALS

QUICK = ("trainer.epochs=2", "trainer.eval_every=1", "tracking=none")
PROGRAMS = {"psilon-run": run.main, "psilon-report": report.main}


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """own(folder): add a folder until the test is over."""
    monkeypatch.setenv("PSILON_COMPONENTS", "")
    return add_folder


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int | str]]:
    """command("psilon-run", "model=snet"): the exit code, in this process."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}

    def command(program: str, *arguments: str) -> int | str:
        monkeypatch.setattr(sys, "argv", [program, *arguments])
        monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
        with pytest.raises(SystemExit) as stop:
            PROGRAMS[program]()
        return stop.value.code or 0

    yield command
    gc.enable()  # a command that ends early does not come to it
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.slow
def test_the_commands_of_the_page(own: Any, command: Any, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """From an empty folder, with --config-dir alone, and few epochs: all succeed; the Python of the page runs."""
    assert len(commands(EXAMPLE)) >= 6
    for program, *arguments in commands(EXAMPLE):
        quick = () if "--help" in arguments or program == "psilon-report" else QUICK
        assert command(program, *arguments, *quick) == 0, capfd.readouterr().err
    said = capfd.readouterr().out
    assert re.search(r"^reg: .*\blog_sum\b", said, re.MULTILINE)
    assert "test/spherical_loss" in said
    assert (tmp_path / "results/spirals/report/figures/spherical_against_loss.svg").exists()
    exec(compile(python(EXAMPLE), "component.md", "exec"), {})


def test_the_page_lists_the_example() -> None:
    """Every file of the folder, and none that is not there; each option is named after its file."""
    listed = set(re.findall(r"[\w/]+\.(?:py|yaml)", blocks("text")[0]))
    assert listed == {
        str(path.relative_to(EXAMPLE)) for path in EXAMPLE.rglob("*.*") if path.suffix in (".py", ".yaml")
    }
    for path in EXAMPLE.glob("*/*.yaml"):
        assert OmegaConf.load(path).name == path.stem


def test_options_know_the_folder(own: Any) -> None:
    """Every option of the example is one of its group, after those of the package, and of the group's kind."""
    package = {group: [*option_files(group)] for group in BASES}
    own(EXAMPLE)
    for group in BASES:
        mine = sorted(path.stem for path in EXAMPLE.glob(f"{group}/*.yaml"))
        assert [*options(group)] == package[group] + mine
        for name in mine:
            check_target(group, options(group)[name].target)
    assert {path.parent.name for path in EXAMPLE.glob("*/*.yaml")} == {"reg", "model", "dataset"}


@pytest.mark.parametrize("group", BASES)
def test_a_group_is_never_without_its_options(
    own: Any, command: Any, capfd: pytest.CaptureFixture[str], group: Any
) -> None:
    """What is said of a group that is to have none, or of an unknown option, names those of the folder."""
    own(EXAMPLE)
    assert command("psilon-run", f"{group}=null", "tracking=none") == 2
    choices = capfd.readouterr().err.rpartition("Choose from: ")[2].strip().rstrip(".").split(", ")
    assert set(choices) == {*option_files(group)}


def test_the_remedy_is_a_regularizer_of_the_folder(own: Any, command: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """A regularizer that does not fit is answered with those that do."""
    own(EXAMPLE)
    assert command("psilon-run", "model=maxout", "reg=l2", "tracking=none") == 2
    assert re.search(r"reg=l2 does not fit model=maxout: .*Take reg=.*\blog_sum\b", capfd.readouterr().err)
    assert command("psilon-run", "reg=log_sums", "tracking=none") == 2
    assert "Did you mean log_sum" in capfd.readouterr().err
    assert command("psilon-run", "reg=log_sum", "reg.eps=0", "tracking=none") == 2
    assert "reg.eps=0 is not valid: it should be greater than 0" in capfd.readouterr().err


def test_folders_are_read_from_the_last_added(own: Any, tmp_path: Path) -> None:
    """The package's option stays; of two folders' the later one counts; one folder is never there twice."""
    for folder, depth in (("a", 1), ("b", 2)):
        (tmp_path / folder / "model").mkdir(parents=True)
        (tmp_path / folder / "model" / "mine.yaml").write_text(f"name: mine\n_target_: maxout.Maxout\ndepth: {depth}\n")
    for folder in ("a", "b", "b/../a", "b"):
        own(Path(folder))
    assert own_folders() == [tmp_path / "b", tmp_path / "a"]
    assert options("model")["mine"].arguments == {"depth": 2}
    assert option_files("model")["pnet"] == CONF / "model" / "pnet.yaml"


def test_a_name_of_the_package_is_refused(own: Any, tmp_path: Path) -> None:
    """Hydra would take the package's file without a word; the package's folder itself is no such case."""
    (tmp_path / "reg").mkdir()
    (tmp_path / "reg" / "l2.yaml").write_text("name: l2\n")
    with pytest.raises(UsageError, match=r"reg/l2\.yaml has the name of an option of this package.* my_l2\.yaml\.$"):
        own(tmp_path)
    own(CONF)
    assert own_folders() == [CONF]


def test_a_name_of_the_package_is_refused_however_the_folder_is_named(
    command: Any, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """PSILON_COMPONENTS is as --config-dir: one line, nothing is trained."""
    (tmp_path / "reg").mkdir()
    (tmp_path / "reg" / "l2.yaml").write_text("name: l2\n")
    monkeypatch.setenv("PSILON_COMPONENTS", str(tmp_path))
    assert command("psilon-run", "reg=l2", "trainer.epochs=1", "tracking=none") == 2
    assert "reg/l2.yaml has the name of an option of this package" in capfd.readouterr().err
    assert not Path("results").exists()


@pytest.mark.parametrize(
    "text",
    [
        "name: mine\nlam: 1\n",
        "name: [\n",
        "a word",
        "[1]",
        "name: mine\n_target_: maxout.Maxout\nlam: ???\n",
        "name: mine\n_target_: maxout.Maxout\nlam: ${oc.env:NOWHERE}\n",
        "defaults: [{other: mine}]\nname: mine\n",
    ],
)
def test_an_option_that_cannot_be_told_without_hydra_is_left_out(own: Any, tmp_path: Path, text: str) -> None:
    """Those beside it are known; a run that chooses it is told by Hydra, or by the check, what is wrong."""
    before = options("reg")
    (tmp_path / "reg").mkdir()
    (tmp_path / "reg" / "mine.yaml").write_text(text)
    add_folder(tmp_path)
    assert "mine" in option_files("reg")
    assert options("reg") == before


def test_the_log_sum_penalty(own: Any) -> None:
    """By its formula, with a zero; for large eps it is the lasso over eps."""
    own(EXAMPLE)

    class Two(torch.nn.Module):
        def weights(self) -> Any:
            return [torch.tensor([[0.0, -0.3]], dtype=torch.float64), torch.tensor([[2.0]], dtype=torch.float64)]

    log_sum = locate("log_sum.LogSum")
    assert log_sum(0.1).penalty(Two()).item() == pytest.approx(math.log(4) + math.log(21))
    assert log_sum(1e6).penalty(Two()).item() * 1e6 == pytest.approx(2.3, rel=1e-5)
    with pytest.raises(UsageError, match="it needs the weights, and Linear does not offer them"):
        log_sum(0.1).check(torch.nn.Linear(2, 1))


def test_the_spherical_loss(own: Any) -> None:
    """0 for what is sure and right, 1 for what is sure and wrong; two classes by one logit as by two."""
    own(EXAMPLE)
    loss = locate("spherical.spherical_loss")
    logits, y = torch.tensor([[800.0, 0, 0], [800.0, 0, 0]]), torch.tensor([0, 2])
    assert loss(logits[:1], y[:1]) == 0
    assert loss(logits, y) == 0.5
    z, right = torch.randn(9, 1, dtype=torch.float64), torch.arange(9) % 2
    pair = torch.cat([torch.zeros_like(z), z], dim=1)
    torch.testing.assert_close(loss(z, right[:, None].double()), loss(pair, right))


def test_two_figures_of_one_name(tmp_path: Path) -> None:
    """Files of two folders, and of a name that a library has, are modules of their own."""
    for folder in ("a", "b"):
        (tmp_path / folder / "figures").mkdir(parents=True)
        (tmp_path / folder / "figures" / "json.py").write_text(f"def draw(material):\n    return {folder!r}\n")
    files = [tmp_path / folder / "figures" / "json.py" for folder in ("a", "b")]
    assert [import_file(file).draw(None) for file in files] == ["a", "b"]
