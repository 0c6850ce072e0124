"""What the router asks about money; without budgets, nobody minds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from bandit.primitives import Arm
from bandit.utility import Scenario
from features.query import Query
from feedback.ledger import Claim
from serving.arms import ArmSpec
from serving.errors import BudgetExceededError, BudgetUnknownError, ServingError

Tags: TypeAlias = Mapping[str, str]
CALLER = "caller"
"""The entry of a decision's tags that holds the tags of its query."""
BudgetError: TypeAlias = BudgetExceededError | BudgetUnknownError


@dataclass(frozen=True, slots=True)
class Lease:
    """A reservation that an attempt spends from."""

    claim: Claim


class Purse:
    """Prices queries, and lets arms that cost money answer; this one has no budgets to keep."""

    def priced(self, scenario: Scenario, arms: Sequence[Arm], tags: Tags) -> Scenario:
        """The scenario with the price of money that is in force for these tags."""
        del arms, tags
        return scenario

    def barred(
        self, query: Query, specs: Mapping[str, ArmSpec], tags: Tags
    ) -> Mapping[str, ServingError]:
        """Those of the arms, by id, that there is no money for at the moment, and why."""
        del query, specs, tags
        return {}

    async def reserve(
        self, query: Query, asked: Sequence[ArmSpec], *, tags: Tags, attempt: str
    ) -> Lease | None:
        """Set aside the most that an attempt can cost; None where nothing has to be.

        Parameters
        ----------
        asked
            The arms that may be asked: one, or the parts of a cascade.
        attempt
            A name that no other attempt has.

        Raises
        ------
        BudgetExceededError, BudgetUnknownError
            The attempt must not be made.
        """
        del query, asked, tags, attempt
        return None

    def settle(self, lease: Lease, cost_usd: float) -> None:
        """Put the real bill in the place of the reservation, soon."""


def tags_of(logged: Mapping[str, Any]) -> Tags:
    """The tags of a query, as they are among those of its logged decision."""
    found = logged.get(CALLER)
    return found if isinstance(found, Mapping) else {}


NO_BUDGETS = Purse()
"""For whoever has none."""
