"""Who may spend what: a budget for everybody, or for the queries that carry a tag."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from bandit.errors import BanditError


class BadBudgetError(BanditError):
    """A budget that cannot be kept."""

    def __init__(self, name: str, field: str, value: object, want: str) -> None:
        self.field = field
        self.why = f"{field} = {value!r}; want {want}"
        super().__init__(f"budget {name!r}: {self.why}")


@dataclass(frozen=True, slots=True)
class Budget:
    """What the queries of one tag, or all of them, may cost.

    Attributes
    ----------
    name
        As shown and stored.
    tag
        ``(name, value)`` of the queries that it is for; None is for every query.
    usd_per_query
        Mean bill in US dollars that a pacer aims at; None does not pace.
    usd_per_day
        Most US dollars that may be spent between two midnights UTC; None does not cap.

    Examples
    --------
    >>> Budget("search", ("team", "search"), usd_per_day=5.0).covers({"team": "ads"})
    False
    """

    name: str
    tag: tuple[str, str] | None = None
    usd_per_query: float | None = None
    usd_per_day: float | None = None

    def __post_init__(self) -> None:
        for field in ("usd_per_query", "usd_per_day"):
            value = getattr(self, field)
            if value is not None and not (math.isfinite(value) and value > 0.0):
                raise BadBudgetError(self.name, field, value, "a number of US dollars above 0")
        if self.usd_per_query is None and self.usd_per_day is None:
            raise BadBudgetError(
                self.name, "usd_per_query and usd_per_day", None, "at least one of the two"
            )

    def covers(self, tags: Mapping[str, str]) -> bool:
        """Whether a query with these tags spends from it."""
        return self.tag is None or tags.get(self.tag[0]) == self.tag[1]
