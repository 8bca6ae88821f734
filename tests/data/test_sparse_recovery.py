"""A, b and x of sparse recovery: drawn as told, read from files, refused in one line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
import torch

from psilon_bench.data.sparse_recovery import basis_pursuit
from psilon_bench.errors import UsageError

SMALL = {"num_measurements": 7, "num_features": 12, "num_nonzero": 3}


@pytest.mark.parametrize(("entries", "allowed"), [("ones", {1.0}), ("signs", {1.0, -1.0}), ("normal", None)])
def test_a_drawn_task_is_consistent(load: Any, entries: Any, allowed: Any) -> None:
    """b = A x* with so many non-zero entries; validation and test rows read x* off; float64; the seed is split_seed."""
    task = load("sparse_recovery", **SMALL, entries=entries, split_seed=5)
    a, b, x = task.train.x, task.train.y, task.test.y
    assert (a.shape, b.shape, x.shape, a.dtype) == ((7, 12), (7, 1), (12, 1), torch.float64)
    torch.testing.assert_close(a @ x, b)
    assert torch.equal(task.test.x @ x, x)
    assert torch.equal(task.val.x, task.test.x)
    values = x[x != 0].tolist()
    assert len(values) == 3
    assert allowed is None or set(values) <= allowed
    again, other = (load("sparse_recovery", **SMALL, entries=entries, split_seed=seed) for seed in (5, 6))
    assert torch.equal(again.train.x, a)
    assert again.checksum == task.checksum == other.checksum  # what is drawn is known by its arguments and its seed
    assert not torch.equal(other.train.x, a)


def test_scale_of_what_is_drawn(load: Any) -> None:
    """Entries of A have variance 1/M, the noise of b its standard deviation."""
    sizes = {"num_measurements": 400, "num_features": 500, "num_nonzero": 3}
    task = load("sparse_recovery", **sizes, noise=0.3)
    assert task.train.x.std().item() == pytest.approx(400**-0.5, rel=0.01)
    noise = task.train.y - task.train.x @ task.test.y
    assert noise.std().item() == pytest.approx(0.3, rel=0.1)


@pytest.mark.parametrize("seed", range(4))
def test_basis_pursuit_is_the_oracles(seed: Any) -> None:
    """The same 1-norm as another program by another method, A x = b, and the planted vector where recovery holds."""
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((15, 30))
    for num_nonzero, recovers in ((2, True), (14, False)):
        x = np.zeros(30)
        x[rng.permutation(30)[:num_nonzero]] = rng.standard_normal(num_nonzero)
        own, slow = basis_pursuit(a, a @ x), reference.basis_pursuit(a, a @ x)
        np.testing.assert_allclose(a @ own, a @ x, atol=1e-9)
        assert np.abs(own).sum() == pytest.approx(np.abs(slow).sum(), rel=1e-6)
        assert bool(np.abs(own - x).max() < 1e-9) == recovers


@pytest.mark.parametrize("suffix", [".npy", ".csv"])
def test_files_of_ones_own(load: Any, tmp_path: Path, suffix: Any) -> None:
    """A, b and x* as they are in the files; b alone brings basis pursuit's x, and a note; A alone a planted one."""
    rng = np.random.default_rng(1)
    a, x = rng.standard_normal((6, 9)), np.zeros(9)
    x[[2, 5]] = 0.7, -1.3
    files = {"matrix": a, "measurements": a @ x, "vector": x}
    for name, values in files.items():
        path = tmp_path / f"{name}{suffix}"
        np.save(path, values) if suffix == ".npy" else np.savetxt(path, values, delimiter=",", fmt="%.17g")
    given = {name: str(tmp_path / f"{name}{suffix}") for name in files}
    whole = load("sparse_recovery", **given)
    assert np.array_equal(whole.train.x, a)
    assert np.array_equal(whole.train.y[:, 0], a @ x)
    assert np.array_equal(whole.test.y[:, 0], x)
    assert not whole.notes
    pursued = load("sparse_recovery", matrix=given["matrix"], measurements=given["measurements"])
    np.testing.assert_allclose(pursued.test.y[:, 0], reference.basis_pursuit(a, a @ x), atol=1e-6)
    assert pursued.notes == ["errors are distances from basis pursuit's solution"]
    planted = load("sparse_recovery", matrix=given["matrix"], num_nonzero=2)
    assert (planted.test.y != 0).sum() == 2
    torch.testing.assert_close(planted.train.y, planted.train.x @ planted.test.y)


BAD = {
    "matrix": (
        np.array([[1.0, 2.0], [np.nan, 1.0]]),
        r"matrix=.*a\.npy must hold finite numbers, but entry \(1, 0\) is nan",
    ),
    "measurements": (np.ones(3), r"measurements must have as many entries as the matrix has rows, 2, but it has 3\."),
    "vector": (np.ones((5, 1)), r"vector must have as many entries as the matrix has columns, 4, but it has 5\."),
}


@pytest.mark.parametrize("key", BAD)
def test_arrays_that_do_not_fit_are_told_in_a_line(load: Any, tmp_path: Path, key: Any) -> None:
    """NaN with its place; lengths with the expected one."""
    values, message = BAD[key]
    np.save(tmp_path / "a.npy", values)
    np.save(tmp_path / "good.npy", np.ones((2, 4)))
    given = {"matrix": str(tmp_path / "good.npy"), key: str(tmp_path / "a.npy")}
    with pytest.raises(UsageError, match=message) as told:
        load("sparse_recovery", **given)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "1,2", r"matrix=.*a\.txt must end in \.npy or \.csv"),
        ("a.csv", "1,2\n3,x\n", r"must hold numbers, but cannot be read"),
        ("a.csv", "1,2\n3\n", r"must hold numbers, but cannot be read"),
        ("a.npy", "no array", r"must hold numbers, but cannot be read"),
        ("missing.npy", None, r"must hold numbers, but cannot be read"),
    ],
)
def test_files_that_are_none_are_told_in_a_line(
    load: Any, tmp_path: Path, name: Any, content: Any, message: Any
) -> None:
    """Another ending, words, ragged rows, no file."""
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=message):
        load("sparse_recovery", matrix=str(tmp_path / name))


def test_more_dimensions_or_none_are_refused(load: Any, tmp_path: Path) -> None:
    """A vector is no matrix; measurements without any x are told as such; more ones than entries."""
    np.save(tmp_path / "v.npy", np.ones(4))
    with pytest.raises(UsageError, match=r"must have 2 dimensions and entries, but its shape is \(4,\)"):
        load("sparse_recovery", matrix=str(tmp_path / "v.npy"))
    np.save(tmp_path / "a.npy", np.ones((2, 3)))
    np.save(tmp_path / "b.npy", np.array([1.0, 2.0]))
    with pytest.raises(UsageError, match=r"Basis pursuit needs measurements that some x has"):
        load("sparse_recovery", matrix=str(tmp_path / "a.npy"), measurements=str(tmp_path / "b.npy"))
    with pytest.raises(UsageError, match=r"num_nonzero=13 is more than the 12 entries of x\. Set it to at most 12"):
        load("sparse_recovery", **(SMALL | {"num_nonzero": 13}))
