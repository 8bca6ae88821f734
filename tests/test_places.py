"""The paths below results_dir, and the walk that knows records from copies of them."""

import ast
from pathlib import Path

import psilon_bench
from psilon_bench.records import places
from psilon_bench.records.places import run_json_files


def test_records_and_no_copies(tmp_path: Path) -> None:
    """Whatever they are called; not MLflow's artifacts, nothing below a record, nothing hidden."""
    run_id = "0123456789abcdef0123456789abcdef"
    ours = ["s/one", "s/artifacts", "artifacts/two", "mlartifacts/three", run_id, f"fetched/s/{'f' * 32}"]
    others = [f"mlartifacts/{run_id[::-1]}/artifacts", f"mlruns/1/{run_id[::-1]}/artifacts", "s/one/copy", ".trash/x"]
    others += [f"mlartifacts/models/m-{run_id}/artifacts/data", f"mlruns/1/models/m-{run_id}/artifacts/data"]
    for folder in (*ours, *others):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "run.json").write_text("{}")
    assert {str(path.parent.relative_to(tmp_path)) for path in run_json_files(tmp_path)} == set(ours)


def test_paths_of_a_sweep_do_not_collide(tmp_path: Path) -> None:
    """Every path that is built for one sweep is another one, and lies below its folder."""
    folder = places.checkpoints_folder(tmp_path)
    paths = [
        folder,
        places.outdated_checkpoints_folder(folder),
        places.run_lock(tmp_path, "0" * 16),
        places.checkpoint_index(folder, "0" * 16),
        places.checkpoint_reserve(folder, "0" * 16),
        places.new_checkpoint_state(folder, "0" * 16),
        places.new_launcher_folder(tmp_path),
        places.new_launcher_folder(tmp_path),
        places.study_journal(tmp_path),
        places.study_lock(tmp_path),
        places.mlflow_parent(tmp_path),
        places.mlflow_lock(tmp_path),
    ]
    assert len(set(paths)) == len(paths)
    assert all(path.is_relative_to(tmp_path) and path.relative_to(tmp_path).parts[0].startswith(".") for path in paths)


def test_a_new_state_of_a_checkpoint_is_at_a_free_path(tmp_path: Path) -> None:
    """The files of other stacks are not counted."""
    for name in ("a-0.pt", "a-2.pt", "b-1.pt"):
        (tmp_path / name).touch()
    assert places.checkpoint_states(tmp_path, "a") == {tmp_path / "a-0.pt", tmp_path / "a-2.pt"}
    assert places.new_checkpoint_state(tmp_path, "a") == tmp_path / "a-1.pt"
    assert places.new_checkpoint_state(tmp_path, "c") == tmp_path / "c-0.pt"


WRITERS = ("cli", "records", "report", "run", "sweep", "tracking")  # packages that touch files below results_dir


def test_no_other_file_names_the_files_of_a_record() -> None:
    """A string that is the name of such a file stands in places.py alone."""
    package = Path(psilon_bench.__file__).parent
    known = {value for name, value in vars(places).items() if name.isupper() and isinstance(value, str)}
    known |= {
        ".checkpoints",
        ".inner",
        "mlflow.db",
        "mlartifacts",
        ".mlflow.lock",
        ".mlflow-parent.json",
        ".study.jsonl",
        ".study.lock",
    }
    known |= set(map(places.weights_name, ("model", "best", "last", "pruned", "compact")))
    known |= set(map(places.table_name, ("inputs", "units")))
    assert {"run.json", "config.yaml", "model.pt", "report.html"} <= known
    for file in (file for folder in WRITERS for file in (package / folder).rglob("*.py")):
        if file == Path(places.__file__):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            literal = node.value if isinstance(node, ast.Constant) else None
            is_name = literal in known and "." in str(literal)
            assert not is_name, f"{file.relative_to(package)}:{getattr(node, 'lineno', '')} names {literal!r}"
