"""The one exception that means: the request, not the program, is wrong."""


class UsageError(ValueError):
    """A mistake in what was asked. One line that names the rule, the value got and the remedy; exit code 2."""
