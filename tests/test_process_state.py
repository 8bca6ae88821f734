"""State of the whole process is changed in psilon_bench/machine alone."""

import ast
import os
from pathlib import Path

import pytest

import psilon_bench
from psilon_bench.machine.mlflow_environment import set_mlflow_login, set_up_mlflow

PACKAGE = Path(psilon_bench.__file__).parent
CALLS = {
    "torch.set_num_threads",
    "torch.set_flush_denormal",
    "torch.set_default_dtype",
    "torch.set_default_device",
    "torch.use_deterministic_algorithms",
    "signal.signal",
    "signal.pthread_sigmask",
    "gc.disable",
    "gc.enable",
    "gc.freeze",
    "os.setsid",
    "os.chdir",
    "os.environ.setdefault",
    "os.environ.update",
    "logging.basicConfig",
}
ELSEWHERE = {
    "cli/run.py",  # HYDRA_FULL_ERROR, which Hydra reads when its main is called
    "config/conf_folder.py",  # folders of a user's own components, for the processes that this one starts
}


def changes(file: Path) -> list[str]:
    """What the file changes: names of calls, and assignments to os.environ."""
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and (name := ast.unparse(node.func)) in CALLS:
            found.append(name)
        targets = node.targets if isinstance(node, ast.Assign) else []
        found += [text for target in targets if (text := ast.unparse(target)).startswith("os.environ[")]
    return found


def test_no_other_package_changes_it() -> None:
    """Exceptions stand in ELSEWHERE with the reason, as long as they are needed."""
    changed = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        name = file.relative_to(PACKAGE).as_posix()
        if not name.startswith("machine/") and (found := changes(file)):
            changed[name] = found
    assert set(changed) == ELSEWHERE, changed


def test_the_search_sees_what_it_should() -> None:
    """In machine/ there are such calls."""
    found = {name for file in (PACKAGE / "machine").glob("*.py") for name in changes(file)}
    assert {"torch.set_num_threads", "signal.signal", "gc.disable", "os.setsid", "os.environ.setdefault"} <= found
    assert any(name.startswith("os.environ[") for name in found)


def test_variables_of_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the user has set stays; a login replaces the one before."""
    variables = {"HOME": "/home/user", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "5"}
    monkeypatch.setattr(os, "environ", variables)
    set_up_mlflow(8)
    assert variables["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "5"
    assert variables["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "8"
    for user in ("a", "b"):
        set_mlflow_login(user, "secret")
        assert (variables["MLFLOW_TRACKING_USERNAME"], variables["MLFLOW_TRACKING_PASSWORD"]) == (user, "secret")
