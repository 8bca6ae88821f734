"""The names of Hydra that are not documented: a new version that changes one of them fails here."""

import pytest
from hydra.core.utils import JobReturn, JobStatus

from psilon_bench.config.hydra_internals import error_of_job, hydras_parser


def test_the_error_of_a_job(capsys: pytest.CaptureFixture[str]) -> None:
    """The exception itself, without the line that the public property prints; none of a job that completed."""
    error = ValueError("broken")
    failed = JobReturn(overrides=["seed=1"], status=JobStatus.FAILED)
    failed.return_value = error
    assert error_of_job(failed) is error
    assert capsys.readouterr().err == ""
    with pytest.raises(ValueError, match="broken"):
        _ = failed.return_value
    assert "Error executing job" in capsys.readouterr().err  # once Hydra says nothing, the public name will do
    assert error_of_job(JobReturn(status=JobStatus.COMPLETED)) is None
    assert isinstance(error_of_job(JobReturn()), RuntimeError)


def test_the_parser_of_the_command_line() -> None:
    """It takes Hydra's options and leaves the overrides."""
    told = hydras_parser().parse_args(["--multirun", "seed=1,2", "reg=l2"])
    assert told.multirun
    assert told.overrides == ["seed=1,2", "reg=l2"]
