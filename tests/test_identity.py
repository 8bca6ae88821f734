"""The identity of a run: same identity, same numbers; any other byte, value or code, another identity."""

import importlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny import TINY

from psilon_bench.config import code_version as code
from psilon_bench.config.identity import Identity, canonical, difference, digest
from psilon_bench.config.schema import Config
from psilon_bench.data import cache
from psilon_bench.data.tasks import load_task
from psilon_bench.errors import UsageError

TABLE = "x,target\n" + "".join(f"{i % 7}.25,{(i * 5) % 11}\n" for i in range(60))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A small table in the working folder."""
    path = tmp_path / "my.csv"
    path.write_text(TABLE)
    return path


def identity(config: Config) -> Identity:
    """With the data as they are now."""
    cache.tasks.clear()
    return config.with_data(load_task(config.dataset.text()).checksum).identity


ONE_RUN = [
    (["dataset=table", "dataset.path=my.csv"], ["dataset=table", "dataset.path=./there/../my.csv"]),
    (["dataset=table", "dataset.path=my.csv"], ["dataset=table", "dataset.path=copy.csv"]),
    (["trainer.batch_size=50"], ["trainer.batch_size=50", "trainer.num_batches=3"]),
    (["+optimizer.weight_decay=0"], ["+optimizer.weight_decay=0.0"]),
    (["trainer.checkpoint_every=1"], ["hardware.plan=serial", "name=b", "retries=3"]),
]


@pytest.mark.sampled(every=2)
@pytest.mark.parametrize(("one", "other"), ONE_RUN)
def test_what_determines_no_number_changes_no_identity(
    config: Any, finished: Any, table: Any, one: Any, other: Any
) -> None:
    """Two ways to ask for the same run: one identity, and the numbers are the same to the last bit."""
    shutil.copy(table, "copy.csv")
    assert identity(config(*TINY, *one)) == identity(config(*TINY, *other))
    left, right = (finished(*asked).run for asked in (one, other))
    assert left["identity"] == right["identity"]
    timed = {name for name in left["metrics"] if name.startswith("time/")}
    assert {k: v for k, v in left["metrics"].items() if k not in timed} == {
        k: v for k, v in right["metrics"].items() if k not in timed
    }


SAME = [
    (["dataset=openml", "dataset.task_id=3"], "dataset.offline=true"),
    (["dataset=openml", "dataset.task_id=3", "dataset.protocol=psilon"], "dataset.train_size=0.1"),
    (["dataset=openml", "dataset.task_id=3", "dataset.protocol=psilon"], "dataset.encoding=codes"),
    (["dataset=higgs", "dataset.path=HIGGS.csv"], "dataset.task_id=3"),
    (["dataset=mnist", "dataset.path=mnist"], "dataset.data_id=3"),
    (["dataset=mnist", "dataset.per_class=3"], "dataset.train_size=30"),
    (["dataset=mnist", "dataset.corrupted=null"], "dataset.corrupted_rows=3"),
    (["dataset=sparse_recovery", "dataset.matrix=a.npy"], "dataset.num_features=3"),
    (["dataset=sparse_recovery", "dataset.measurements=b.npy"], "dataset.noise=3.0"),
]


@pytest.mark.parametrize(("given_", "meaningless"), SAME)
def test_what_others_override_does_not_count(config: Any, given_: Any, meaningless: Any) -> None:
    """And counts where nothing overrides it."""
    assert config(*given_).fingerprint() == config(*given_, meaningless).fingerprint()
    if not {"offline", "corrupted_rows"} & set(meaningless.replace("=", ".").split(".")):
        assert config(given_[0]).fingerprint() != config(given_[0], meaningless).fingerprint()


def test_a_protocol_is_the_sizes_it_sets(config: Any) -> None:
    """Written out or by its name: one run."""
    asked = "dataset=openml", "dataset.task_id=3"
    sizes = "train_size=2000", "val_size=null", "test_size=null", "max_rows=20000", "encoding=codes"
    spelled = config(*asked, *(f"dataset.{size}" for size in sizes))
    assert spelled.fingerprint() == config(*asked, "dataset.protocol=psilon").fingerprint()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, len(TABLE) - 1), byte=st.integers(0, 255))
def test_any_other_byte_of_the_data_is_another_run(config: Any, table: Any, place: Any, byte: Any) -> None:
    """Or is refused: never the same identity."""
    table.write_text(TABLE)
    own = config("dataset=table", "dataset.path=my.csv")
    before = identity(own)
    content = bytearray(TABLE.encode())
    content[place] ^= byte or 1
    table.write_bytes(bytes(content))
    try:
        after = identity(own)
    except UsageError:
        return
    assert after.data != before.data
    assert after.fingerprint == before.fingerprint
    assert after.key != before.key
    assert difference(before, after).startswith("data changed since (checksum ")


@settings(max_examples=60, deadline=None)
@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_any_other_value_is_another_run(left: Any, right: Any) -> None:
    """Numbers are told apart to the last bit, and not by how they are written."""
    assert (digest({"lam": left}) == digest({"lam": right})) == (left == right)
    assert digest([canonical(left)]) == digest([left])


def test_any_other_byte_of_the_numeric_code_is_another_version(tmp_path: Path) -> None:
    """Of every file that computes; renaming one counts, too."""
    files = code.numeric_sources()
    assert {file.name for file in files} >= {"trainer.py", "mlp.py", "p_norm_decay.py", "outcomes.py", "split.py"}
    assert not {"cli.py", "tracking.py", "report.py", "display.py"} & {file.name for file in files}
    places = []
    for file in files:
        place = tmp_path / file.relative_to(code.PACKAGE)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place)
        places.append(place)
    assert code.digest_of(places, tmp_path) == code.OWN
    for place in places:
        content = place.read_bytes()
        place.write_bytes(content + b"#")
        assert code.digest_of(places, tmp_path) != code.OWN
        place.write_bytes(content)
    moved = places[0].rename(places[0].with_name("moved.py"))
    assert code.digest_of([moved, *places[1:]], tmp_path) != code.OWN


def forget() -> None:
    """The modules that a test has written."""
    for name in ("mine", "mine.other", "other"):
        sys.modules.pop(name, None)


@pytest.fixture
def own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """own_code("A = 1"): the version of a configuration whose regularizer is a class of this module."""

    def version_of(body: str, package: bool) -> str:
        place = tmp_path / "mine" / "__init__.py" if package else tmp_path / "mine.py"
        shutil.rmtree(tmp_path / "mine", ignore_errors=True)
        place.parent.mkdir(exist_ok=True)
        place.write_text(
            "from psilon_bench.regularizers.path_norm import PathNorm\n"
            + ("from . import other\n" if package else "import other\n")
            + "class Mine(PathNorm):\n    pass\n"
        )
        (place.parent / "other.py").write_text(body)
        forget()
        code.source_of.cache_clear()
        importlib.invalidate_caches()
        return code.code_version([importlib.import_module("mine").Mine])

    monkeypatch.syspath_prepend(tmp_path)
    yield version_of
    forget()


def test_code_of_your_own_counts_and_libraries_do_not(own_code: Any) -> None:
    """A package of yours counts whole, a file with what it imports; torch's classes stand in the record by version."""
    import torch

    assert own_code("A = 1", package=True) != own_code("A = 2", package=True)
    assert own_code("A = 1", package=True) != code.code_version([])
    assert own_code("A = 1", package=False) == own_code("A = 1", package=False) != own_code("A = 2", package=False)
    assert code.code_version([torch.optim.Adam]) == code.code_version([])


def test_a_class_may_move(config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it lives is no part of the fingerprint; what it is called is."""
    (tmp_path / "elsewhere.py").write_text("from psilon_bench.models.mlp import MLP\nclass Other(MLP): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert config("model._target_=elsewhere.MLP").fingerprint() == config().fingerprint()
    assert config("model._target_=elsewhere.Other").fingerprint() != config().fingerprint()


def test_the_working_folder_is_nobodys_business(config: Any, table: Any) -> None:
    """A link to nowhere beside the table, as editors make them, is not looked at."""
    Path(".#draft.txt").symlink_to("nowhere")
    assert identity(config("dataset=table", "dataset.path=my.csv", "dataset.decimal=.")).key
