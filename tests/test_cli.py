"""psilon-run from the command line to its exit code: what it says, what it writes, and how it is stopped."""

import gc
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from programs import ENVIRONMENT, Said, end, records, run_json
from tiny import TINY

from psilon_bench.cli import run as cli
from psilon_bench.machine.signals import SIGNALS


@pytest.fixture
def psilon_run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Said]]:
    """psilon_run("model=snet"): the command in this process, from its arguments to its exit code."""
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    handlers = {number: signal.getsignal(number) for number in SIGNALS}

    def psilon_run(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["psilon-run", *arguments])
        monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert isinstance(stop.value.code, int)
        return Said(stop.value.code, *capfd.readouterr())

    yield psilon_run
    gc.enable()  # a command that is refused never comes to it
    for number, handler in handlers.items():
        signal.signal(number, handler)


WRONG = {
    ("model=pnett",): r"model=pnett is not an option of the group model\. Did you mean .*pnet",
    ("dataset=qqqq",): r"dataset=qqqq is not an option of the group dataset\. Choose from: breast_cancer, .*wine",
    ("reg.lamb=1",): r"reg\.lamb is not a known key\. Did you mean reg\.lam",
    ("trainer.epoch=1",): r"trainer\.epoch is not a known key\. Did you mean trainer\.epochs",
    ("reg.lam=-1",): r"reg\.lam=-1 is not valid: it should be greater than or equal to 0\.",
    (
        "trainer.batch_size=342",
    ): r"trainer\.batch_size=342 is more than the 341 training rows of breast_cancer\. Set .* 341\.",
    (
        "model.activation=gelu",
    ): r"reg=pathnorm does not fit model=pnet: .* slope at most 1.* Take reg=l2, lasso, none, [a-z_, ]+\.",
    (
        "hardware.device=cuda:63",
    ): r"hardware\.device=cuda:63 is not there \(\d+ cuda devices\)\. Set hardware\.device=cpu or auto\.",
    (
        "results_dir=/proc/nowhere",
    ): r"results_dir=/proc/nowhere cannot be written: .* Set results_dir=<a folder of yours>\.",
    ("optimizer=sgd", "optimizer.nesterov=true"): r"sgd refuses its values: Nesterov momentum requires .*\.",
    ("dataset.train_size=0.9", "dataset.test_size=0.9"): r"The splits must fit into the 569 rows",
    (
        "tracking=none",
        "tracking.register=a",
    ): r"tracking\.register=a is a name in MLflow's registry, but tracking=none\.",
    ("tracking.register=a/b",): r"tracking\.register='a/b' is not valid: it should be a name without / and :\.",
    ("-m", "dataset=wine,digits", "tracking.register=a"): r"tracking\.register=a takes .* has 2: wine, digits\.",
    ("seed=",): r"seed=.* is not valid",
    (
        "tracking=mlflow",
        "tracking.uri=http://127.0.0.1:9",
    ): r"tracking\.uri=http://127\.0\.0\.1:9 does not answer: .* Start it",
    ("tracking=mlflow", "tracking.uri=file:./mlruns"): r"tracking\.uri=file:\./mlruns is none of sqlite, http",
    (
        "tracking=mlflow",
        "tracking.uri=sqlite:////proc/x.db",
    ): r"tracking\.uri=sqlite:////proc/x\.db cannot be used: No such file.*",
    (
        "-m",
        "reg.lam=0.1,-1",
        "seed=0,1",
    ): r"reg\.lam=-1 is not valid: .* In the run: .*reg\.lam=-1.* No run was started\.",
    ("-m", "model=pnet,pnett"): r"model=pnett is not an option of the group model\. .* No run was started\.",
    ("--nonsense",): r"unrecognized arguments: --nonsense\. psilon-run --help shows what there is\.",
    ("--resolve",): r"The --resolve flag can only be used in conjunction with --cfg",
    ("seed=0,1",): r"seed=0,1 stands for several runs, and this is one\. Add -m for a sweep",
    ("dataset.path=a=b",): r"dataset\.path=a=b cannot be read\. Put the value in quotes: 'dataset\.path=\"a=b\"'$",
    ("model=[pnet,snet]",): r"model=\[pnet,snet\] is not an option of the group model, .* psilon-run -m model=a,b\.",
    ("model=null",): r"model=null is not an option of the group model, and a run has exactly one\. Choose from: basis",
    ("~tracking",): r"~tracking is not an option of the group tracking, .* Choose from: mlflow, none\.",
    ("model._target_=subprocess.getoutput",): r"model\._target_='subprocess\.getoutput' cannot be imported: ",
    ("model._target_=torch.nn.Identity",): r"model=pnet \(torch\.nn\.Identity\) has no parameters to train\.",
    ("dataset=sparse_recovery",): r"dataset=sparse_recovery has one solution to recover .* Take model=diagonal_linear",
    ("scheduler.total_steps=1",): r"scheduler\.total_steps=1 is less than the run's 200 epochs\. ",
    ("scheduler=cosine", "scheduler.T_max=9"): r"cosine gives a learning rate of 0 in epoch 10 of 200; each should be ",
    ("scheduler.div_factor=-1",): r"scheduler\.div_factor=-1 is not valid: it should be at least 0\.",
    ("optimizer=sgd", "optimizer.momentum=3.5"): r"sgd makes steps that do not fade where there is no gradient any m",
    (
        "model.hidden=100000000",
    ): r"model=pnet has 20,.* takes about [\d,.]+ GB of memory, and [\d.]+ GB are free\. Take a ",
    ("dataset=toy2d", "dataset.train_size=1000000000"): r"dataset=toy2d takes about 500\.\d GB of memory, and ",
    ("seed=9223372036854775808",): r"seed=9223372036854775808 is not valid: it should be at most 9223372036854775807\.",
    ("model=ridge", "reg=none", "seed=4294967296"): r"seed=4294967296 is too large for model=ridge, which takes ",
    ("name=" + "a" * 101,): r"name='aaa.* is not valid: it should be letters, digits and \. _ \+ -, at most 100 ",
    (
        "model.activation=" + "b" * 10_000,
    ): r"model\.activation='b{20,40} \.\.\. \(10002 letters\) \.\.\. b+' is not valid: ",
    ("-m", "seed=range(0)"): r"seed=range\(0\) has no values, so no run is asked for\.",
    (
        "-m",
        "seed=interval(0,1)",
    ): r"seed=interval\(0,1\) has no end of values\. Name some: seed=1,2,3 or =range\(1,4\)\.",
    ("-m", "seed=range(1000000000)"): r"A sweep has at most 100,000 runs, but this one has 1,000,000,000\. Sweep over ",
}


@pytest.mark.sampled(every=3)
@pytest.mark.parametrize("arguments", WRONG, ids=" ".join)
def test_what_is_asked_wrongly_is_told_in_one_line(psilon_run: Any, tmp_path: Path, arguments: Any) -> None:
    """Exit code 2, one line with rule, value and remedy, no traceback, and not a file or folder written."""
    said = psilon_run("tracking=none", *arguments)
    assert re.match(rf"psilon-run: {WRONG[arguments]}", said.err), said.err
    assert said.err.count("\n") == 1
    assert said.code == 2
    assert not said.out
    assert not list(tmp_path.iterdir())


def test_a_component_from_a_folder_of_configurations(
    psilon_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--config-dir names where the module of an option's target lies, too: in that folder, or beside it."""
    monkeypatch.setenv("PSILON_COMPONENTS", "")
    (tmp_path / "own" / "model").mkdir(parents=True)
    (tmp_path / "own" / "model" / "wide.yaml").write_text(
        "defaults: [mlp]\nname: wide\n_target_: wide_of_mine.Wide\nhidden: 4\ndepth: 1\n", encoding="utf-8"
    )
    (tmp_path / "wide_of_mine.py").write_text(
        "from psilon_bench.models.mlp import MLP\nclass Wide(MLP):\n    pass\n", encoding="utf-8"
    )
    monkeypatch.chdir("/")
    arguments = ("model=wide", "trainer.epochs=1", "tracking=none", f"results_dir={tmp_path}/r", "reg=none")
    said = psilon_run(*arguments, "--config-dir", str(tmp_path / "own"))
    assert said.code == 0, said.err
    assert "wide none seed=0" in said.out


def test_verbose_shows_the_traceback(psilon_run: Any) -> None:
    """The same line, and where it comes from."""
    said = psilon_run("reg.lam=-1", "tracking=none", "--verbose")
    assert said.code == 2
    assert "Traceback (most recent call last)" in said.err
    assert said.err.splitlines()[-1].startswith("psilon-run: reg.lam=-1 is not valid")


def test_help_and_cfg_start_nothing_heavy() -> None:
    """--help lists groups, options and examples, --cfg job the configuration; neither imports torch or MLflow."""
    code = (
        "import sys; from psilon_bench.cli.run import main\ntry: main()\nexcept SystemExit as stop: print(stop.code)\n"
    )
    code += "print(sorted({'torch', 'mlflow', 'sklearn', 'pandas'} & set(sys.modules)))"
    outs, pipe = {}, subprocess.PIPE
    for argument in ("--help", "--cfg=job"):
        command = [sys.executable, "-c", code, argument, "reg.lam=0.125"]
        said = end(subprocess.Popen(command, env=ENVIRONMENT, stdout=pipe, stderr=pipe, text=True))
        assert said.err == ""
        assert said.out.endswith("0\n[]\n")
        outs[argument] = said.out
    for word in (" pnet, psilon_resnet, ", " l2, lasso, ", "psilon-run -m", "trainer.{"):
        assert word in outs["--help"]
    assert "  lam: 0.125" in outs["--cfg=job"]
    assert "  epochs: 200" in outs["--cfg=job"]


def test_the_same_seed_gives_the_same_history(psilon_run: Any, forking: Any, tmp_path: Path) -> None:
    """history.csv of two processes is the same to the last byte; another seed is another history."""
    run = (*TINY, "trainer.epochs=20", "seed=7")
    there = forking(run, tmp_path, environment=ENVIRONMENT)
    assert there.code == 0, there.err
    assert psilon_run(*run).code == 0
    assert psilon_run(*run, "seed=8").code == 0
    histories = [(folder / "history.csv").read_bytes() for folder in records(tmp_path)]
    assert len(histories) == 3
    assert len(set(histories)) == 2
    assert histories.count((records(tmp_path)[0] / "history.csv").read_bytes()) == 2
    assert "test/accuracy" in there.out
    assert "finished: results/runs/" in there.out
    assert "\x1b" not in there.out


def test_a_run_that_diverges_is_exit_code_one(psilon_run: Any, tmp_path: Path) -> None:
    """One line that says why and where the record is; the record says failed, with the step."""
    said = psilon_run(*TINY, "model=mlp", "dataset=diabetes", "optimizer=sgd", "optimizer.lr=1e3", "scheduler=constant")
    assert said.code == 1
    (folder,) = records(tmp_path)
    assert re.match(rf"psilon-run: diverged: the objective is \S+ at step \d+; see {folder}\n$", said.err)
    run = run_json(folder)
    assert run["status"] == "failed"
    assert re.match(r"diverged: the objective is \S+ at step \d+$", run["reason"])
