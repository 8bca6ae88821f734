"""A hundred commands that cannot be meant: exit code 2, one line with the rule, the value, the remedy.

The words behind => must stand in that line, in this order. Nothing is trained, and nothing is written.
"""

import gc
import importlib
import json
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra
from programs import Said
from tiny import TINY

from psilon_bench.cli import run as psilon_run
from psilon_bench.config.command_line import given
from psilon_bench.machine.signals import SIGNALS

NOT_COMPOSED = ("-m", "--", "~", "+", "''")  # by Hydra itself, in 0.3 s; others by the tests' composer, in less
TABLE = """
psilon-run model=pnett => model=pnett is not an option of the group model | Did you mean pnet
psilon-run dataset=qqqq => dataset=qqqq is not an option | Choose from: breast_cancer, | wine
psilon-run -m +experiment=nothing => experiment=nothing is not an option | Choose from: | small
psilon-run -m experiment=small => experiment is a group of presets | +experiment=<preset>
psilon-run tracking=wandb => tracking=wandb is not an option | Choose from: mlflow, none
psilon-run modle=pnet => modle is not a known key | Did you mean model
psilon-run reg.lamb=1 => reg.lamb is not a known key | Did you mean reg.lam
psilon-run dataset=toy2d dataset.odd=1 => dataset.odd is not a known key | Choose from: | dataset.radius
psilon-run dataset.path=rows.csv dataset.target=y => dataset.path is not a known key here | , table. Choose
psilon-run reg.p=1 => reg.p is not a known key here: it is one of reg=l2, lasso, p_norm_decay, p_norm_penalty | Choose
psilon-run =5 => '' is not a key | as in reg.lam=1e-3
psilon-run '' => '' is neither an option nor key=value | --help
psilon-run reg.lam => reg.lam is neither an option nor key=value | --help
psilon-run --nonsense => unrecognized arguments: --nonsense | --help
psilon-run --cfg nothing => --cfg | 'nothing' | 'job', 'hydra', 'all'
psilon-run --list nodel => --list nodel is no group | Groups: dataset, | suite
psilon-run --config-dir nowhere => --config-dir nowhere is not a folder | Name yours
psilon-run reg.lam=1,2 => reg.lam=1,2 stands for several runs | Add -m | 'reg.lam="1,2"'
psilon-run reg.lam=${ => reg.lam=${ cannot be read | 'reg.lam="${"'
psilon-run name=[[[ => name=[[[ cannot be read | 'name="[[["'
psilon-run dataset.path=a=b.csv => dataset.path=a=b.csv cannot be read | 'dataset.path="a=b.csv"'
psilon-run ~model => ~model is not an option of the group model | exactly one | Choose from: | pnet
psilon-run -m seed=range(0) => seed=range(0) has no values | Give it one
psilon-run -m seed=range(1000000000) => at most 100,000 runs | 1,000,000,000 | Sweep over fewer
psilon-run reg.lam=-1 => reg.lam=-1 is not valid | greater than or equal to 0
psilon-run reg.lam=abc => reg.lam='abc' is not valid | a valid number
psilon-run reg.lam=nan => reg.lam=nan is not valid | a finite number
psilon-run trainer.epochs=0 => trainer.epochs=0 is not valid | greater than 0
psilon-run trainer.epochs=1.5 => trainer.epochs=1.5 is not valid | integer
psilon-run trainer.num_batches=1000 => trainer.num_batches=1000 | 341 training rows of breast_cancer | at most 341
psilon-run trainer.select=first => trainer.select='first' is not valid | 'last' or 'best'
psilon-run trainer.schedule=month => trainer.schedule='month' is not valid | 'epoch' or 'step'
psilon-run trainer.teacher=nowhere => trainer.teacher= | nowhere must be the folder of an ensemble | ensemble=true
psilon-run trainer.teacher_weight=2 => trainer.teacher_weight=2 is not valid | less than or equal to 1
psilon-run dataset=diabetes trainer.class_weight=balanced => trainer.class_weight=balanced | regression | =null
psilon-run seed=-1 => seed=-1 is not valid | greater than or equal to 0
psilon-run seed= => seed='' is not valid | integer
psilon-run name=a/b => name='a/b' is not valid | letters, digits
psilon-run results_dir=/proc/nowhere => results_dir=/proc/nowhere cannot be written | Set results_dir=
psilon-run results_dir=note.txt => note.txt cannot be written | Not a directory | Set results_dir=
psilon-run model.hidden=0 => model.hidden=0 is not valid | greater than 0
psilon-run model.activation=swish => model.activation='swish' is not valid | 'relu', 'leaky_relu', 'tanh' or 'gelu'
psilon-run model=ridge => reg=pathnorm does not fit model=ridge | Take reg=none
psilon-run model=resnet18 => takes images | (30,) | Take dataset=mnist
psilon-run model._target_=os.system => model._target_='os.system' cannot be imported | os is none of
psilon-run reg._target_=torch.nn.Linear => reg._target_='torch.nn.Linear' is not valid | subclass of | Regularizer
psilon-run optimizer.lr=0 => optimizer.lr=0 is not valid | greater than 0
psilon-run optimizer=sgd optimizer.momentum=2 => sgd makes steps that do not fade | Change optimizer.momentum
psilon-run scheduler=cosine scheduler.T_max=9 => learning rate of 0 in epoch 10 of 200 | Change scheduler.T_max
psilon-run pruner=l1_projection pruner.steps=100000 => pruner.steps=100000 is more than | at most 1000
psilon-run metrics.radii=[-1] => metrics.radii=-1 is not valid | greater than 0
psilon-run metrics.certificate=magic => metrics.certificate='magic' is not valid | 'pairwise', 'crown' or 'exact'
psilon-run metrics.coverage=90 => metrics.coverage=90 is not valid | less than 1
psilon-run metrics.functions=[nowhere.f] => metrics.functions='nowhere.f' cannot be imported | --config-dir
psilon-run dataset=diabetes metrics.calibrate=temperature => metrics.calibrate=temperature | regression | =none
psilon-run hardware.device=gpu0 => hardware.device='gpu0' is not valid | auto, cpu, mps, cuda or cuda:1
psilon-run hardware.device=cuda:63 => hardware.device=cuda:63 is not there | Set hardware.device=cpu or auto
psilon-run hardware.precision=tf32 hardware.device=cpu => hardware.precision=tf32 is a GPU's | =float32
psilon-run hardware.threads=100000 => hardware.threads=100000 is not valid | 'auto' or less than or equal to 256
psilon-run dataset=table => dataset=table reads a file | dataset.path=null | Set dataset.path=my.csv
psilon-run dataset=table dataset.path=nowhere.csv dataset.target=y => nowhere.csv is not | Check the path
psilon-run dataset=table dataset.path=rows.csv dataset.target=z => dataset.target=z is not a column | Columns: a, b, y
psilon-run dataset=table dataset.path=empty.csv dataset.target=y => empty.csv cannot be read | Check the file
psilon-run dataset=table dataset.path=ragged.csv dataset.target=y => header of ragged.csv has 3 | line 3 has 2 | Correct
psilon-run dataset=table dataset.path=words.csv dataset.target=y => 'b' | '#DIV/0!' in line 9 | dataset.missing=
psilon-run dataset=table dataset.path=twice.csv dataset.target=y => must be unique | repeat: a | Rename
psilon-run dataset=table dataset.path=x.bin dataset.target=y => must end in .csv, | x.bin | Convert or rename
psilon-run dataset=table dataset.path=rows.csv dataset.target=y dataset.group=no => dataset.group | no are none
psilon-run dataset=table dataset.path=rows.csv dataset.charset=klingon => dataset.charset=klingon | Set utf-8
psilon-run dataset=openml => dataset.task_id=null and dataset.data_id=null | Set one
psilon-run dataset=openml dataset.task_id=1 dataset.offline=true => task/1 is not | psilon-data fetch openml 1
psilon-run dataset=mnist dataset.path=nowhere => dataset.path must be the folder of an image set | Check the path
psilon-run dataset.train_size=0.9 dataset.test_size=0.9 => 569 rows | make 1138 | Ask for fewer rows
psilon-run dataset.folds=5 dataset.fold=5 => dataset.fold=5 | dataset.folds=5 | 0 to 4
psilon-run dataset.fold=0 => dataset.fold=0 needs folds | Set dataset.folds=5
psilon-run plan=true => plan=true shows what several runs would do | Add -m
psilon-run race=true => race=true compares several runs | Add -m
psilon-run cv=5 => cv=5 trains several runs | Add -m
psilon-run ensemble=true => ensemble=true chooses among several networks | Add -m
psilon-run tracking=mlflow tracking.uri=file:./mlruns => tracking.uri=file:./mlruns is none of sqlite, | Take sqlite:///FILE
psilon-run tracking=mlflow tracking.uri=http://127.0.0.1:9 => http://127.0.0.1:9 does not answer | Start it
psilon-run tracking=mlflow tracking.register=a/b => tracking.register='a/b' is not valid | a name without / and :
psilon-report => Say which runs | psilon-report results/<name>
psilon-report nowhere => nowhere is not a folder | Call psilon-report <results_dir>/<name>
psilon-report run --direction up => '--direction' | 'up' | 'min', 'max'
psilon-report run --by reg.nothing => --by reg.nothing is not a key of these runs | Take one such as
psilon-report run --metric val/nothing => val/nothing | not known | --direction min or max
psilon-report run --out note.txt => --out note.txt cannot be written | Not a directory | a folder of yours
psilon-report --mlflow x => --mlflow EXPERIMENT needs --uri
psilon-predict run => Missing argument 'ROWS'
psilon-predict nowhere rows.csv => RUN must be the folder of a run | nowhere is none | Take one below results
psilon-predict broken rows.csv => broken/run.json | not JSON | Take one of results/NAME
psilon-predict going rows.csv => going is running | Train it to its end
psilon-predict run lacking.csv => New rows must have the columns | b is not in lacking.csv | It has: a, y
psilon-predict run rows.csv --out out.txt => --out must end in .csv or .parquet | out.txt | Rename it
psilon-predict run rows.csv seed=1 => seed=1 does not say how ROWS is written | Set dataset.missing,
psilon-export run => Missing option '--to' | onnx, numpy, card
psilon-certify => Name the folder of a RUN | --check FILE
psilon-certify --check note.txt => --check needs a file of psilon-certify --exact --out | note.txt
psilon-sync nowhere => nowhere is not a folder | Call psilon-sync <results_dir>
psilon-data fetch openml zero => 'zero' is not a valid whole number
psilon-data info 5 => no task or data set 5 | psilon-data fetch openml 5
psilon-doctor extra => unexpected extra argument | extra
"""
ROWS = [line for line in TABLE.splitlines() if line]


@pytest.fixture(scope="module")
def run_and_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run, damaged copies of it, and tables that cannot be read."""
    place = tmp_path_factory.mktemp("place")
    texts = {
        "rows": [f"{row},{row % 7},{row % 2}" for row in range(40)],
        "ragged": ["1,2,0", "1,2", *("3,4,1" for _ in range(9))],
        "words": [f"{row},{'#DIV/0!' if row == 7 else row},{row % 2}" for row in range(40)],
    }
    for name, lines in texts.items():
        (place / f"{name}.csv").write_text("\n".join(["a,b,y", *lines]), encoding="utf-8")
    (place / "twice.csv").write_text("a,a,y\n" + "1,2,0\n3,4,1\n" * 20, encoding="utf-8")
    (place / "lacking.csv").write_text("a,y\n1,0\n", encoding="utf-8")
    (place / "note.txt").write_text("hello", encoding="utf-8")
    (place / "empty.csv").touch()
    (place / "x.bin").touch()
    return place


@pytest.fixture
def place(run_and_files: Path, finished: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of the commands; its run is made once."""
    monkeypatch.chdir(run_and_files)
    monkeypatch.setenv("PSILON_DATA", str(run_and_files / "cache"))
    if not Path("run").exists():
        record = finished("dataset=table", "dataset.path=rows.csv", "dataset.target=y", *TINY)
        record.folder.rename("run")
        shutil.rmtree("results")
        run = json.loads(Path("run/run.json").read_text(encoding="utf-8"))
        for name, text in {"broken": "{", "going": json.dumps(run | {"status": "running"})}.items():
            shutil.copytree("run", name)
            Path(name, "run.json").write_text(text, encoding="utf-8")
    return run_and_files


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], composed: Any, place: Path
) -> Iterator[Callable[[str], Said]]:
    """command("psilon-run model=pnett"): in this process, from its arguments to its exit code."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}

    def command(line: str) -> Said:
        program, *arguments = shlex.split(line)
        quiet = ["tracking=none"] if program == "psilon-run" and "tracking=" not in line and "--" not in line else []
        monkeypatch.setattr(sys, "argv", [program, *quiet, *arguments])
        monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
        GlobalHydra.instance().clear()
        capfd.readouterr()
        if program == "psilon-run" and not any(word.startswith(NOT_COMPOSED) for word in line.split()[1:]):
            code = psilon_run.exit_code(lambda: psilon_run.job(composed(*given(sys.argv[1:]))))
        else:
            with pytest.raises(SystemExit) as stop:
                importlib.import_module(f"psilon_bench.cli.{program.removeprefix('psilon-')}").main()
            assert isinstance(stop.value.code, int)
            code = stop.value.code
        return Said(code, *capfd.readouterr())

    yield command
    gc.enable()  # a command that is refused never comes to it
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.sampled(every=3)
@pytest.mark.parametrize("row", ROWS, ids=[row.partition(" => ")[0].replace(" ", "_") for row in ROWS])
def test_one_line_says_what_is_wrong(command: Any, place: Path, row: str) -> None:
    """Rule, value and remedy; no traceback, no second line, no file."""
    line, _, words = row.partition(" => ")
    before = sorted(place.rglob("*"))
    said = command(line)
    program = line.partition(" ")[0]
    assert re.fullmatch(rf"{program}: [^\n]+\n", said.err), said
    assert re.search(".*".join(re.escape(word) for word in words.split(" | ")), said.err), said.err
    assert (said.code, said.out) == (2, "")
    assert [path for path in sorted(place.rglob("*")) if path not in before and "cache" not in path.parts] == []


def test_there_are_a_hundred() -> None:
    """Different ones, of each command."""
    commands = [row.partition(" => ")[0] for row in ROWS]
    assert len({*commands}) == len(commands) >= 100
    files = [file for file in Path(psilon_run.__file__).parent.glob("*.py") if "def main(" in file.read_text("utf-8")]
    assert {line.partition(" ")[0] for line in commands} == {f"psilon-{file.stem}" for file in files}
