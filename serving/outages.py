"""Says that something is away once, however often it is tried, and once that it is back."""

import logging


class Outage:
    """One thing that may be away.

    Parameters
    ----------
    log
        Where to say so.
    what
        What cannot be done meanwhile, such as ``"budgets cannot be followed"``.
    """

    def __init__(self, log: logging.Logger, what: str) -> None:
        self._log = log
        self._what = what
        self._n_failed = 0

    def failed(self, error: Exception) -> None:
        """It was tried, and is away."""
        self._n_failed += 1
        level = logging.WARNING if self._n_failed == 1 else logging.DEBUG
        self._log.log(level, "%s: %s", self._what, error)

    def worked(self) -> None:
        """It was tried, and is there."""
        if self._n_failed:
            self._log.warning("over after %d failures: %s", self._n_failed, self._what)
        self._n_failed = 0
