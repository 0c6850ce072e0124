"""Errors of the serving layer.

::

    PointsmanError
    └── ServingError
        ├── SettingsError           a setting that cannot be used, where, and the nearest valid name
        ├── ReloadRefusedError      settings that cannot be taken up; those in force stay
        ├── BadRequestError         a request that no arm could answer
        ├── ModelNotFoundError      a model name that is not configured
        ├── UnauthorizedError       no key, or an unknown one
        ├── ForbiddenError          a key without the scope
        ├── KeyLimitError           a scenario or number that the key may not ask for
        ├── RateLimitError          a key that asks more often than it may
        ├── ForeignPageError        a web page from elsewhere, at a server without keys
        ├── TooLargeError           a body over the limit
        ├── QuestionsError          a file of questions that cannot be used
        ├── BudgetExceededError     the day's money is spent, and no free arm can answer
        ├── BudgetUnknownError      nobody can say what is left of it, and no free arm can answer
        └── BackendError            the arm did not answer
            ├── BackendUnavailableError   down, refused, crashed, unreachable
            ├── BackendTimeoutError       too slow
            ├── BackendOverloadedError    queue full or rate limited; try later
            ├── BackendRejectedError      it refused the request itself (4xx), passed on as it came
            └── BackendProtocolError      it answered with something that is not an answer
"""

from collections.abc import Mapping
from typing import Any

from bandit.errors import PointsmanError


class ServingError(PointsmanError):
    """Something about serving a request."""


class SettingsError(ServingError):
    """A setting that cannot be used."""

    def __init__(self, where: str, why: str, remedy: str = "") -> None:
        super().__init__(f"{where}: {why}" + (f". {remedy}" if remedy else ""))
        self.where = where


class ReloadRefusedError(ServingError):
    """Changed settings that cannot be used, and why."""

    def __init__(self, why: str) -> None:
        super().__init__(f"not reloaded, the settings in force stay: {why}")


class BadRequestError(ServingError):
    """The request is malformed; ``param`` names the field."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code


class ModelNotFoundError(ServingError):
    """The model is not one that this server has."""

    def __init__(self, model: str, known: tuple[str, ...]) -> None:
        super().__init__(f"model {model[:80]!r} does not exist; known: {', '.join(known)}")
        self.model = model


class UnauthorizedError(ServingError):
    """No API key, or one that is not known."""

    def __init__(self) -> None:
        super().__init__("missing or invalid API key; send 'Authorization: Bearer <key>'")


class ForbiddenError(ServingError):
    """A key that lacks the scope."""

    def __init__(self, scope: str) -> None:
        super().__init__(f"this API key lacks the scope {scope!r}")
        self.scope = scope


class KeyLimitError(ServingError):
    """A request for what the key may not ask; ``param`` names the field."""

    def __init__(self, param: str, what: str, allowed: str = "") -> None:
        super().__init__(
            f"{param}: this API key may not ask for {what}"
            + (f"; it may ask for {allowed}" if allowed else "")
        )
        self.param = param


class RateLimitError(ServingError):
    """A key that asks more often than it may; ``retry_after_s`` until it may again."""

    def __init__(self, per_minute: int, retry_after_s: float) -> None:
        super().__init__(
            f"this API key may make {per_minute} requests a minute; try again in "
            f"{retry_after_s:.1f} s"
        )
        self.retry_after_s = retry_after_s


class ForeignPageError(ServingError):
    """A browser asks for a web page from elsewhere, at a server without keys."""

    def __init__(self) -> None:
        super().__init__(
            "web pages from other machines may not use a server without API keys; make a key with "
            "'pointsman keys create'"
        )


class TooLargeError(ServingError):
    """A body over the limit."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"the request body is larger than {limit_bytes} bytes")


class QuestionsError(ServingError):
    """A file of questions that cannot be used."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(f"questions {where}: {why}")


class BudgetExceededError(ServingError):
    """What the query may cost does not fit into what is left of a day's budget.

    Attributes
    ----------
    passing
        Whether it may fit once answers on their way have been paid for: most cost less than they
        might.
    """

    def __init__(
        self, budget: str, usd_per_day: float, *, retry_after_s: float, resets: str, passing: bool
    ) -> None:
        used = " until answers on their way are paid for" if passing else ""
        hint = "try again, or wait until it resets" if passing else "it resets"
        super().__init__(
            f"budget {budget!r}: what is left of its ${usd_per_day:g} of today does not cover the "
            f"most that this query may cost{used}, and no free arm can answer; {hint} at {resets}"
        )
        self.budget = budget
        self.retry_after_s = retry_after_s
        self.passing = passing


class BudgetUnknownError(ServingError):
    """The database that keeps the budgets is away, so nothing may be spent."""

    retry_after_s = 2.0

    def __init__(self, budget: str) -> None:
        super().__init__(
            f"budget {budget!r} cannot be checked while the database is away, and no free arm can "
            "answer; try again"
        )
        self.budget = budget


class BackendError(ServingError):
    """An arm did not answer."""

    def __init__(self, arm: str, why: str) -> None:
        super().__init__(f"{arm}: {why}")
        self.arm = arm


class BackendUnavailableError(BackendError):
    """Down, refused, crashed or unreachable."""


class BackendTimeoutError(BackendError):
    """It took longer than it may."""


class BackendOverloadedError(BackendError):
    """Its queue is full or it is rate limited."""

    def __init__(self, arm: str, why: str, retry_after_s: float) -> None:
        super().__init__(arm, why)
        self.retry_after_s = retry_after_s


class BackendRejectedError(BackendError):
    """It refused the request itself; ``body`` is its own error object."""

    def __init__(self, arm: str, status: int, body: Mapping[str, Any]) -> None:
        super().__init__(arm, f"refused the request with status {status}")
        self.status = status
        self.body = body


class BackendProtocolError(BackendError):
    """It answered with something that is not an answer."""
