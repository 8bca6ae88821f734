"""psilon-export: what is written predicts as the network, its card tells the truth, and a mistake writes nothing."""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from export_commands import exporting
from sklearn.datasets import load_wine

from psilon_bench.export import numpy_file
from psilon_bench.export.equality import feeds
from psilon_bench.export.finished_run import finished_run
from psilon_bench.export.program import program_of
from psilon_bench.export.runtimes import onnx_session
from psilon_bench.records.networks import load

PRUNED = ("pruner=magnitude", "pruner.amount=0.9")


def test_both_forms_and_the_card(finished: Any, tmp_path: Path) -> None:
    """The compact network by default; checksums, scores, command, columns and data are those of files and record."""
    folder = finished("dataset=wine", "dataset.scaling=quantile", *PRUNED).folder
    said = exporting(folder, "--to", "onnx", "--to", "numpy")
    assert (said.code, said.err) == (None, "") or said.code == 0
    written = [Path(line) for line in said.out.splitlines()]
    assert [path.name for path in written] == ["model.onnx", "model.py", "model_card.md"]
    assert {path.parent for path in written} == {folder / "export"}
    frame = load_wine(as_frame=True).data
    right, program = load(folder, "compact").predict(frame), program_of(load(folder, "compact"))
    label, likely = onnx_session(written[0].read_bytes()).run(None, feeds(program, frame))
    np.testing.assert_allclose(likely, right, atol=1e-5)
    assert label.tolist() == np.array(program.output.classes)[right.argmax(axis=1)].tolist()
    module: dict[str, Any] = {"__name__": "exported"}
    exec(written[1].read_text(), module)
    np.testing.assert_allclose(module["predict_proba"](frame), right, atol=1e-5)
    card, run = written[2].read_text(), json.loads((folder / "run.json").read_text())
    for path in (*written[:2], folder / "compact.pt"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() in card
    for word in (run["task"]["checksum"], run["task"]["licence"], run["task"]["source"], run["code_version"]):
        assert word in card
    for name in ("test/loss", "test/accuracy", "val/loss", "lipschitz_bound"):
        assert f"| {name} | {run['metrics'][name]:.4g} |" in card
    assert "| dataset.scaling | quantile |" in card
    assert f"reads {program.num_inputs} of 13 inputs" in card
    assert card.count("| numbers |") == len(program.columns)
    assert f"{run['task']['rows']['test']} test rows and 200 drawn rows" in card


def test_data_that_are_gone_are_said(finished: Any, table: Any, tmp_path: Path) -> None:
    """Or have changed: drawn rows alone are compared."""
    path = tmp_path / "my.csv"
    table.to_csv(path, index=False)
    folder = finished(
        "dataset=table", f"dataset.path={path}", "dataset.target=number", "dataset.drop=[two,three]"
    ).folder
    out = tmp_path / "out"
    for words, change in (
        (" test rows and 200", lambda: None),
        ("not at hand", lambda: table.head(80).to_csv(path, index=False)),
        ("not at hand", path.unlink),
    ):
        change()
        assert exporting(folder, "--to", "numpy", "--out", out).code in (None, 0)
        assert words in (out / "model_card.md").read_text()


def test_an_export_that_predicts_something_else_is_not_written(
    finished: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A weight that is lost on the way: exit code 1, one line, no file."""
    folder = finished("dataset=wine").folder
    arrays = numpy_file.arrays_of
    monkeypatch.setattr(
        numpy_file, "arrays_of", lambda *about: arrays(*about) | {"bias2": np.array([9, 0, 0], np.float32)}
    )
    said = exporting(folder, "--to", "numpy")
    assert (said.code, said.out, said.err.count("\n")) == (1, "", 1)
    assert "does not predict as the network does" in said.err
    assert not (folder / "export").exists()


def test_what_cannot_be_exported_is_one_line(finished: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is none, a place that cannot be written, a package that is not installed."""
    folder = finished("dataset=wine").folder
    (tmp_path / "file").write_text("")
    cases: list[tuple[list[Any], str]] = [
        ([tmp_path / "no", "--to", "card"], "RUN must be the folder of a run or of a sweep, but .*no is none"),
        ([folder, "--to", "numpy", "--out", tmp_path / "file/x"], "--out .*file/x cannot be written"),
        ([folder, "--to", "numpy", "--which", "compact"], r"has none\. Take --which full"),
    ]
    for arguments, message in cases:
        said = exporting(*arguments)
        assert (said.code, said.out, said.err.count("\n")) == (2, "", 1), said.err
        assert pd.Series(said.err).str.contains(message).all(), said.err
    monkeypatch.setitem(sys.modules, "onnx", None)  # as if it were not installed
    said = exporting(folder, "--to", "onnx")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "--to onnx needs onnx, which is not installed. Install it: pip install 'psilon-bench[onnx]'." in said.err


def test_a_column_that_has_no_form_is_named(finished: Any, tmp_path: Path) -> None:
    """The empty text as a level; the card alone is written all the same."""
    draw = np.random.default_rng(0)
    frame = pd.DataFrame({"x": draw.normal(size=60), "word": ["", "a", "b"] * 20, "y": draw.normal(size=60)})
    frame.to_parquet(tmp_path / "my.parquet")
    folder = finished("dataset=table", f"dataset.path={tmp_path}/my.parquet", "dataset.target=y").folder
    said = exporting(folder, "--to", "onnx")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "Column 'word' cannot be exported: it has the empty text as a level" in said.err
    assert exporting(folder, "--to", "card").code in (None, 0)
    assert "Whole inputs of the shape" in (folder / "export/model_card.md").read_text()
    assert finished_run(folder).smallest() == "full"
