"""The two exceptions that are told in one line."""


class UsageError(ValueError):
    """A mistake in what was asked. One line that names the rule, the value got and the remedy; exit code 2."""


class RunFailed(Exception):
    """What was asked was right and did not end well; the record says why. Exit code 1."""
