"""The walk that knows records from copies of them."""

from pathlib import Path

from psilon_bench.records.run_files import run_files


def test_records_and_no_copies(tmp_path: Path):
    """Whatever they are called; not MLflow's artifacts, nothing below a record, nothing hidden."""
    run_id = "0123456789abcdef0123456789abcdef"
    ours = ["s/one", "s/artifacts", "artifacts/two", "mlartifacts/three", run_id, f"fetched/s/{'f' * 32}"]
    others = [f"mlartifacts/{run_id[::-1]}/artifacts", f"mlruns/1/{run_id[::-1]}/artifacts", "s/one/copy", ".trash/x"]
    for folder in (*ours, *others):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "run.json").write_text("{}")
    assert {str(path.parent.relative_to(tmp_path)) for path in run_files(tmp_path)} == set(ours)
