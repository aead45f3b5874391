"""The one exception that a user, not a programmer, is meant to read."""


class UserError(ValueError):
    """Bad input, told in one sentence: what was wrong, where, what was expected, how to mend it.

    Programs print it without a traceback and exit with status 2 (`--debug` shows the traceback)."""
