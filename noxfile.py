#!/usr/bin/env -S uv run --script
# /// script
# dependencies = ["nox[uv]"]
# ///
"""Tests at both ends of the ranges of dependencies, and the checks of a release: `nox -s NAME`, `nox -l` lists them.

PSILON_TESTS="tests/data tests/test_cli.py" runs these files alone. nox and uv come by `pipx install 'nox[uv]'`.
"""

import os
import tempfile
from pathlib import Path

import nox

nox.needs_version = ">=2024.10"
nox.options.default_venv_backend = "uv"

PYTHONS = ["3.11", "3.12", "3.13"]
RESOLUTIONS = {"lowest": "lowest-direct", "newest": "highest"}
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
TESTS = os.environ.get("PSILON_TESTS", "tests").split()


def run_tests(session: nox.Session, *options: str) -> None:
    """Run the quick suite in the environment of a session."""
    session.run("pytest", "-n", "auto", "-m", "not slow", *options, *TESTS, *session.posargs, env=ONE_THREAD)


@nox.session(python=PYTHONS, default=False)
def tests(session: nox.Session) -> None:
    """Run the quick suite with the versions of constraints.txt, which are those that numbers were measured with."""
    session.install("--constraint", "constraints.txt", "--editable", ".[dev]")
    run_tests(session)


@nox.session(python=PYTHONS[0], default=False)
def lowest(session: nox.Session) -> None:
    """Run the quick suite with the lowest version of each dependency that pyproject.toml allows.

    Warnings are no errors here: old versions use what newer versions of their own dependencies discourage.
    """
    session.install("--resolution", RESOLUTIONS["lowest"], "--editable", ".[dev]")
    run_tests(session, "-W", "default")


@nox.session(python=PYTHONS[-1], default=False)
def newest(session: nox.Session) -> None:
    """Run the quick suite with the newest version of each dependency that pyproject.toml allows."""
    session.install("--resolution", RESOLUTIONS["newest"], "--upgrade", "--editable", ".[dev]")
    run_tests(session)


@nox.session
def package(session: nox.Session) -> None:
    """Build sdist and wheel, check them, and run the wheel in an environment that holds it and its dependencies."""
    session.install("build", "twine")
    with tempfile.TemporaryDirectory() as folder:
        session.run("python", "-m", "build", "--outdir", folder)
        made = sorted(map(str, Path(folder).iterdir()))
        session.run("twine", "check", "--strict", *made)
        (wheel,) = (file for file in made if file.endswith(".whl"))
        session.install("--constraint", "constraints.txt", wheel)
        session.chdir(folder)
        session.run("psilon-doctor")
        session.run("psilon-run", "trainer.epochs=2", "model.hidden=6", env=ONE_THREAD)
        session.run("psilon-report", "results/runs")


@nox.session(default=False)
def repository(session: nox.Session) -> None:
    """Compare the repository with the guide of Scientific Python; each exception is argued in pyproject.toml."""
    session.install("sp-repo-review[cli]", "zizmor")
    session.run("sp-repo-review", ".")
    session.run("zizmor", "--offline", ".github")


@nox.session(default=False)
def changelog(session: nox.Session) -> None:
    """Show what the next release's entry of CHANGELOG.md will say; `-- --version 1.1.0` writes it."""
    session.install("towncrier")
    session.run("towncrier", "build", *(session.posargs or ["--draft", "--version", "unreleased"]))


if __name__ == "__main__":
    nox.main()
