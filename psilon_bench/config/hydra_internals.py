"""Names of Hydra outside its documented interface; `tests/test_hydra_internals.py` fails when they change."""

from hydra.core.utils import JobReturn, JobStatus


def error_of_job(job: JobReturn) -> BaseException | None:
    """Return the exception of a job that failed, None for one that completed.

    The public `JobReturn.return_value` prints a line on stderr before it raises the exception
    (https://github.com/facebookresearch/hydra/blob/main/hydra/core/utils.py), so the field behind it is read.
    """
    if job.status == JobStatus.COMPLETED:
        return None
    error: BaseException | None = job._return_value
    return error or RuntimeError("a job did not complete")
