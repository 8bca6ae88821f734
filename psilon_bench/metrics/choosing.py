"""Which metrics are measured on test rows, by which nothing may be chosen."""

MEASURED_THERE = ("lipschitz_local", "lipschitz_gap")  # the points are test rows


def is_of_test_rows(metric: str) -> bool:
    """Tell by its name whether a metric is measured on test rows: test/loss, constant/test/rmse, lipschitz_local."""
    parts = metric.split("/")
    return "test" in parts[:-1] or parts[0] in MEASURED_THERE


def instead_of(metric: str) -> str:
    """Return the metric of the validation rows that takes the place of one of the test rows."""
    return metric.replace("test/", "val/", 1) if "test/" in metric else "val/loss"
