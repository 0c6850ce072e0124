"""The arithmetic of hard caps: what may be reserved, in whole billionths of a US dollar.

A query that may cost something reserves the most that it can cost before it is asked, from every
budget that covers it or from none. What is spent and what is reserved never exceed the cap, so
neither does what is spent, however many ask at once and whoever dies in between.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, TypeAlias

from bandit.primitives import Arm, Prediction
from bandit.utility import Scenario

_NANO = 1_000_000_000
Account: TypeAlias = tuple[str, date]
"""A budget's name and a day in UTC."""


def nano_up(usd: float) -> int:
    """US dollars in billionths, rounded up: a bill is never less than it was.

    Examples
    --------
    >>> nano_up(0.002), nano_up(1e-12), nano_up(0.0)
    (2000000, 1, 0)
    """
    # A ten-thousandth of a billionth is what floats add by themselves.
    return math.ceil(usd * _NANO - 1e-4)


def nano_down(usd: float) -> int:
    """US dollars in billionths, rounded down: a cap is never more than it was.

    Examples
    --------
    >>> nano_down(0.3), nano_down(0.1 + 0.2)
    (300000000, 300000000)
    """
    return math.floor(usd * _NANO + 1e-4)


def usd(nano: int) -> float:
    """Billionths in US dollars."""
    return nano / _NANO


@dataclass(frozen=True, slots=True)
class Balance:
    """What one budget has spent and reserved on one day, in billionths of a US dollar."""

    spent_nusd: int = 0
    reserved_nusd: int = 0

    def room_nusd(self, cap_nusd: int) -> int:
        """What may still be reserved; below 0 if the cap was lowered."""
        return cap_nusd - self.spent_nusd - self.reserved_nusd


@dataclass(frozen=True, slots=True)
class Claim:
    """A wish to reserve, from every account or from none.

    Attributes
    ----------
    claim_id
        Unique.
    caps_nusd
        What may be spent from each account in all.
    amount_nusd
        The most that the query can cost, above 0.
    expires_at
        When it counts as spent, if nobody has settled it by then.
    """

    claim_id: str
    caps_nusd: Mapping[Account, int]
    amount_nusd: int
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Bill:
    """An answer that was paid for, as the log has it, for whoever paces.

    ``forced`` is True where the answer is not of the arm that was drawn.
    """

    position: int
    cost_usd: float | None
    latency_s: float | None
    forced: bool
    tags: Mapping[str, Any]
    arms: tuple[Arm, ...]
    prediction: Prediction
    scenario: Scenario


@dataclass(frozen=True, slots=True)
class Judgement:
    """The first judgement of an answer, for whoever keeps a floor under quality.

    ``value`` is in the range of ``metric``; ``forced`` is as of `Bill`.
    """

    position: int
    metric: str
    value: float
    forced: bool
    prediction: Prediction
    scenario: Scenario


@dataclass(frozen=True, slots=True)
class PacerRow:
    """A stored pacer: the log position up to which it has counted, and its state if it has any."""

    position: int
    state: Mapping[str, Any] | None


def admit(
    balances: Mapping[Account, Balance], claims: Sequence[Claim]
) -> tuple[list[bool], dict[Account, Balance]]:
    """Which of the claims fit, in their order, and the balances afterwards.

    Examples
    --------
    >>> from datetime import UTC
    >>> today, end = ("all", date(2026, 3, 1)), datetime(2026, 3, 1, 12, tzinfo=UTC)
    >>> claims = [Claim(name, {today: 10}, 4, end) for name in "abc"]
    >>> admit({today: Balance(spent_nusd=1)}, claims)[0]
    [True, True, False]
    """
    now = dict(balances)
    verdicts = []
    for claim in claims:
        fits = all(
            now.get(account, Balance()).room_nusd(cap) >= claim.amount_nusd
            for account, cap in claim.caps_nusd.items()
        )
        verdicts.append(fits)
        if fits:
            for account in claim.caps_nusd:
                old = now.get(account, Balance())
                now[account] = replace(old, reserved_nusd=old.reserved_nusd + claim.amount_nusd)
    return verdicts, now
