"""The environment variables by which MLflow is set up: it reads them when it is imported and when it connects."""

import logging
import os
import tempfile
from pathlib import Path


def set_up_mlflow(answer_within_s: int) -> None:
    """Let MLflow send no telemetry, show no progress bars or migrations, and fail once instead of trying for minutes.

    Variables that the user has set stay as they are.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # what is sent twice would be there twice
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(answer_within_s))
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "CRITICAL")  # its errors come to us as exceptions
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        Path.home()
    except RuntimeError:  # a container's user without a name: MLflow asks for the home when it is imported
        os.environ["HOME"] = tempfile.gettempdir()


def set_mlflow_login(user: str, password: str) -> None:
    """Let MLflow's client log in with these: it takes them from nowhere else, and so they are never in a message."""
    os.environ["MLFLOW_TRACKING_USERNAME"] = user
    os.environ["MLFLOW_TRACKING_PASSWORD"] = password
