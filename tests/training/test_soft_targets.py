"""A teacher changes what networks are trained on, by its rows' numbers, and nothing else."""

import copy
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from lone_runs import assert_lone_runs, ran
from stoppable import rows_of, saved
from torch import Tensor

from psilon_bench.config.schema import Config
from psilon_bench.config.sections import TEACHER
from psilon_bench.data.task import Task
from psilon_bench.data.teacher import DATA, TEST_ROWS, digest_of_rows, read_teacher, teacher_targets
from psilon_bench.errors import UsageError
from psilon_bench.metrics import prediction
from psilon_bench.run.checks import member_of
from psilon_bench.training.class_weight import balanced_classes
from psilon_bench.training.engines import build_trainer
from psilon_bench.training.soft_targets import blended_targets, labels, taught_splits

KINDS = ("regression", "binary", "multiclass")
TINY = ("trainer.epochs=3", "trainer.eval_every=1", "model.hidden=4", "model.depth=1", "optimizer.lr=0.1")
TAUGHT = ("trainer.teacher=t", "trainer.teacher_weight=0.3")


@pytest.fixture
def numbered(task: Callable[..., Task]) -> Callable[..., Task]:
    """numbered("binary", fold=1): of the same rows, in an order of the seed, a fold that validates, and test rows."""

    def numbered(kind: Any, fold: int = 0, **more: Any) -> Task:
        made = task(kind, **more)
        x, y = (torch.cat([getattr(made.train, name), getattr(made.val, name)]) for name in ("x", "y"))
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(4)).roll(11 * fold)
        parts = {"train": order[11:], "val": order[:11]}
        splits: Any = {name: replace(made.train, x=x[rows], y=y[rows], rows=rows + 100) for name, rows in parts.items()}
        splits["test"] = replace(made.test, rows=torch.arange(len(made.test)))
        scale: Any = {"target_center": 3.0, "target_scale": 0.2} if kind == "regression" else {}
        return replace(made, **splits, **scale)

    return numbered


def frame_of_rows(task: Task, one_hot: bool = False) -> pd.DataFrame:
    """A teacher of all rows that are no test rows, in another order; with one_hot it predicts the labels."""
    rows = torch.cat([task.train.rows, task.val.rows]).numpy()  # type: ignore[list-item]
    y = torch.cat([task.train.y, task.val.y]).double()
    draw = np.random.default_rng(5)
    if task.kind == "regression":
        target = task.target_center + task.target_scale * y[:, 0].numpy()
        values = {"prediction": target if one_hot else target + draw.normal(size=len(rows))}
    else:
        codes, names = y.flatten().long().numpy(), task.classes
        target = np.array(names)[codes]
        likely = np.eye(len(names))[codes] if one_hot else draw.dirichlet(np.ones(len(names)), len(rows))
        values = {f"probability/{name}": likely[:, k] for k, name in enumerate(names)}
    return pd.DataFrame({"row": rows, "target": target} | values).sample(frac=1, random_state=0)


def write(task: Task, frame: pd.DataFrame, folder: str = "t") -> None:
    Path(folder).mkdir(exist_ok=True)
    assert task.test.rows is not None
    table = pa.Table.from_pandas(frame, preserve_index=False)
    metadata = {DATA: task.checksum, TEST_ROWS: digest_of_rows(task.test.rows.numpy())}
    pq.write_table(table.replace_schema_metadata(metadata), Path(folder, TEACHER))


def of_row(frame: pd.DataFrame, number: int, task: Task) -> list[float]:
    """What a row's targets are by hand: scaled, of class 1, or of all classes."""
    row = frame.set_index("row").loc[number]
    if task.kind == "regression":
        return [(row["prediction"] - task.target_center) / task.target_scale]
    likely = [float(row[f"probability/{name}"]) for name in task.classes]
    return likely[1:] if task.kind == "binary" else likely


@pytest.mark.parametrize("kind", KINDS)
def test_targets_are_means_of_label_and_teacher_by_hand(kind: Any, numbered: Any, settings: Any) -> None:
    """Row by row, found by number; of splits that are shared one copy is made; validation and test rows stay."""
    task = numbered(kind)
    frame = frame_of_rows(task)
    write(task, frame)
    one, other = taught_splits([task.train] * 2, [task] * 2, settings(teacher="t", teacher_weight=0.3))
    assert one is other
    for k, number in enumerate(task.train.rows.tolist()):
        y = task.train.y[k]
        label = np.eye(3)[int(y)] if kind == "multiclass" else np.array([float(y)])
        expected = 0.7 * label + 0.3 * np.array(of_row(frame, number, task))
        assert one.y[k].numpy() == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert torch.equal(one.x, task.train.x)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_of_soft_targets_is_a_slow_loops(kind: Any, weighted: bool, numbered: Any) -> None:
    """Of classes it is the same mean of two cross-entropies, row by row: -sum_k y_k log p_k."""
    task = numbered(kind)
    write(task, frame_of_rows(task))
    hard, soft = labels(task), teacher_targets(read_teacher(Path("t")), task)
    logits, draw = torch.randn(len(hard), 3 if kind == "multiclass" else 1).double(), torch.rand(len(hard)).double()
    shares = draw / draw.sum() if weighted else None
    loss = prediction.loss(kind, logits, blended_targets(hard, soft, 0.3), shares)
    each = [slow_loss(kind, *row) for row in zip(logits, 0.7 * hard + 0.3 * soft, strict=True)]
    assert loss.item() == pytest.approx(np.average(each, weights=draw if weighted else None), rel=1e-12)
    if kind != "regression":
        both = [prediction.loss(kind, logits, targets, shares).item() for targets in (hard, soft)]
        assert loss.item() == pytest.approx(0.7 * both[0] + 0.3 * both[1], rel=1e-12)


def slow_loss(kind: str, logits: Tensor, y: Tensor) -> float:
    if kind == "regression":
        return float((logits[0] - y[0]) ** 2)
    z, likely = logits.tolist(), y.tolist()
    if kind == "binary":
        z, likely = [0.0, *z], [1 - likely[0], *likely]
    total = sum(np.exp(one) for one in z)
    return -sum(p * (one - np.log(total)) for p, one in zip(likely, z, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_weight_0_is_no_teacher_and_a_teacher_of_labels_teaches_labels(kind: Any, numbered: Any, config: Any) -> None:
    """The first to the last bit; the second to rounding, with balanced classes too, which count by the labels."""
    task = numbered(kind)
    write(task, frame_of_rows(task, one_hot=True))
    balanced = () if kind == "regression" else ("trainer.class_weight=balanced",)
    asked = [(), ("trainer.teacher=t", "trainer.teacher_weight=0"), ("trainer.teacher=t", "trainer.teacher_weight=1")]
    fits = [ran([member_of(config(*TINY, *balanced, *own), task)]) for own in asked]
    for name, value in fits[0][0].last.items():
        assert torch.equal(fits[1][0].last[name], value)
        torch.testing.assert_close(fits[2][0].last[name], value, rtol=1e-5, atol=1e-5)
    assert fits[1][1] == fits[0][1]
    write(task, frame_of_rows(task))
    changed, rows = ran([member_of(config(*TINY, *balanced, *asked[2]), task)])
    assert rows[0]["train/loss"] != pytest.approx(fits[0][1][0]["train/loss"], rel=1e-3)
    logits = changed.evaluation.logits(changed.evaluation.val)[0]  # type: ignore[arg-type]
    y = task.val.y if kind == "multiclass" else task.val.y.double()
    assert rows[0]["val/loss"] == pytest.approx(prediction.scores(kind, logits, y)["loss"].item(), rel=1e-9)


def test_balanced_classes_keep_their_weights(numbered: Any, settings: Any) -> None:
    """They are those of the labels, whatever the teacher says."""
    task = numbered("multiclass")
    write(task, frame_of_rows(task))
    balanced = balanced_classes(task.train)
    (taught,) = taught_splits([balanced], [task], settings(teacher="t", teacher_weight=1.0))
    assert taught.weights is balanced.weights


@pytest.mark.sampled(every=2)
@pytest.mark.parametrize("batches", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_a_stack_with_a_teacher_is_lone_runs(kind: Any, batches: int, numbered: Any, config: Any) -> None:
    """Folds and lambdas in one program, in float64; neighbours that share a split too."""
    tasks = [numbered(kind, fold=0), numbered(kind, fold=1)]
    write(tasks[0], frame_of_rows(tasks[0]))
    asked = [*TINY, *TAUGHT, f"trainer.num_batches={batches}"]
    each = [config(*asked, f"reg.lam={lam}", f"seed={seed}") for seed, lam in ((0, 0.1), (1, 0.5))]
    assert_lone_runs([(one, task) for task in tasks for one in each])


def test_a_training_with_a_teacher_goes_on_to_the_last_bit(numbered: Any, config: Any) -> None:
    task = numbered("multiclass")
    write(task, frame_of_rows(task))
    whole, first, second = (build_trainer([member_of(config(*TINY, *TAUGHT), task)]) for _ in range(3))
    expected, before = rows_of(whole), rows_of(first, 7)
    second.load_state(copy.deepcopy(saved(first)))
    assert before[0] + rows_of(second)[0] == expected[0]
    assert all(torch.equal(second.last[name], value) for name, value in whole.last.items())


def test_the_identity_is_the_content(numbered: Any, config: Callable[..., Config]) -> None:
    """Not the place; without a teacher it is the one before there were any, whatever the weight."""
    task = numbered("binary")
    frame = frame_of_rows(task)
    write(task, frame)
    shutil.copytree("t", "elsewhere")
    own = config(*TAUGHT).fingerprint()
    assert config(*TAUGHT, "trainer.teacher=elsewhere").fingerprint() == own
    assert config(*TAUGHT, "trainer.teacher_weight=0.4").fingerprint() != own
    assert config("trainer.teacher_weight=0.3").fingerprint() == config().fingerprint() != own
    assert not {"teacher", "teacher_weight"} & set(config().trainer.determining())
    assert Path(str(config(*TAUGHT).trainer.teacher)).is_absolute()
    write(task, frame.assign(target=frame["target"].to_numpy()[::-1]))
    assert config(*TAUGHT).fingerprint() != own


def without(frame: pd.DataFrame, task: Task) -> pd.DataFrame:
    return frame[~frame["row"].isin(task.train.rows.numpy()[:5])]  # type: ignore[union-attr]


def with_a_nan(frame: pd.DataFrame, _task: Task) -> pd.DataFrame:
    frame.iloc[3, -1] = np.nan
    return frame


REFUSED: list[tuple[str, Any, Any, str]] = [
    (
        "rows it lacks",
        without,
        None,
        r"must predict every training row, but lacks 5 of the 23 of made up: without cv=5 ",
    ),
    (
        "other targets",
        lambda f, t: f.assign(target=f["target"].to_numpy()[::-1]),
        None,
        r"have the targets .* \d+ of the",
    ),
    (
        "other classes",
        lambda f, t: f.rename(columns={"probability/class 0": "probability/z"}),
        None,
        r"class 0, .*another target\.",
    ),
    ("a NaN", with_a_nan, None, r"teacher.parquet cannot be read \(.*a number is not finite\)\. Train both"),
    ("a row twice", lambda f, t: pd.concat([f, f[:1]]), None, r"cannot be read \(.*a row is there twice"),
    ("no target", lambda f, t: f.drop(columns="target"), None, r"cannot be read \("),
    (
        "other test rows",
        None,
        lambda t: replace(t, test=replace(t.test, rows=t.test.rows + 1)),
        r"may have trained on test rows of made up, .* these 7: it is of another split",
    ),
    (
        "a file in another order",  # of which the targets alone may be the same, row by row
        None,
        lambda t: replace(t, checksum="f" * 64),
        r"may have trained on test rows of made up, for it is of other data \(checksum \w{8}, not f{8}\)",
    ),
    (
        "rows without numbers",
        None,
        lambda t: replace(t, train=replace(t.train, rows=None)),
        r"and those of made up have no",
    ),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case[0])
def test_what_cannot_teach_is_told(case: Any, numbered: Any, config: Any) -> None:
    """One line, before anything is trained, at weight 0 too."""
    _, spoil, other, message = case
    task = numbered("multiclass")
    frame = frame_of_rows(task)
    write(task, spoil(frame, task) if spoil else frame)
    with pytest.raises(UsageError, match=message) as raised:
        member_of(config(*TINY, *TAUGHT, "trainer.teacher_weight=0"), other(task) if other else task)
    assert "\n" not in str(raised.value)


def test_who_cannot_be_taught_is_told(numbered: Any, config: Any) -> None:
    """Baselines; a folder that is no ensemble's; another kind of task; a weight that is no share."""
    task = numbered("multiclass")
    with pytest.raises(
        UsageError, match=r"^trainer.teacher=.*/t must be the folder of an ensemble, with teacher.parquet"
    ):
        member_of(config(*TINY, *TAUGHT), task)
    write(task, frame_of_rows(task))
    with pytest.raises(UsageError, match=r"^trainer.teacher changes .* and model=ridge is fitted to the labels"):
        member_of(config(*TAUGHT, "model=ridge", "reg=none"), task)
    with pytest.raises(UsageError, match=r"predicts probability/class 0, .* where made up asks for prediction"):
        member_of(config(*TINY, *TAUGHT), numbered("regression"))
    with pytest.raises(UsageError, match=r"trainer.teacher_weight=1.5 is not valid"):
        config("trainer.teacher_weight=1.5")
    with pytest.raises(UsageError, match=r"trainer.teacher='' is not valid: it should be the folder of an ensemble"):
        config("trainer.teacher=''")
    Path("t", TEACHER).write_bytes(b"PAR1")
    with pytest.raises(UsageError, match=r"teacher.parquet cannot be read"):
        member_of(config(*TINY, *TAUGHT), task)


def test_targets_of_a_regression_agree_up_to_rounding_alone(numbered: Any, config: Any) -> None:
    """A thousandth of the scale is another target, however small the unit."""
    task = replace(numbered("regression"), target_scale=1e-9, target_center=0.0)
    frame = frame_of_rows(task)
    write(task, frame.assign(target=frame["target"] * (1 + 1e-6)))
    member_of(config(*TINY, *TAUGHT), task)
    write(task, frame.assign(target=frame["target"] + 1e-12))
    with pytest.raises(UsageError, match=r"must have the targets of made up, but 23 of the 23"):
        member_of(config(*TINY, *TAUGHT), task)
