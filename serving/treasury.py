"""Budgets in the running service: a price on money, and a cap that no query can break."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time

from bandit.budget import Budget
from bandit.errors import PointsmanError
from bandit.primitives import Arm
from bandit.utility import Scenario
from features.query import Query
from feedback.errors import LogUnavailableError
from feedback.ledger import Account, Balance, Claim, nano_down, nano_up, usd
from feedback.sql_ledger import SqlLedger
from serving.arms import ArmSpec
from serving.errors import (
    BudgetExceededError,
    BudgetUnknownError,
    ServingError,
    SettingsError,
)
from serving.outages import Outage
from serving.pacing import PacerBoard
from serving.purse import BudgetError, Lease, Purse, Tags
from serving.steering import Aim, ObjectiveBoard
from serving.worst_case import check_arm, pays, worst_usd

_STALE_S = 2.0
"""Without news of the balances for so long, nothing is spent."""
_KEEP_EVERY_S = 1.0
_EXPIRE_EVERY_S = 1.0
_RETRY_S = 0.5
_SOON_S = 1.0

_LOG = logging.getLogger(__name__)


def check_budgets(budgets: Sequence[Budget], arms: Mapping[str, ArmSpec]) -> None:
    """Refuse budgets that cannot be kept with these arms.

    Raises
    ------
    SettingsError
        If a price or the longest answer of an arm that costs money is not known, or a cap is less
        than one of its answers may cost.
    """
    for spec in arms.values():
        if spec.parts or not pays(spec):
            continue
        if not spec.price.known:
            raise SettingsError(
                f"arms.{spec.arm_id}",
                f"no price is known for {spec.model!r}, so no budget can be kept",
                "set its price_in and price_out",
            )
        for budget in budgets:
            if budget.usd_per_day is not None and budget.usd_per_day < check_arm(spec):
                raise SettingsError(
                    f"budgets.{budget.name}.usd_per_day",
                    f"${budget.usd_per_day:g} is less than one answer of {spec.arm_id!r} may cost "
                    f"(${check_arm(spec):.6g})",
                    "raise it, or lower the arm's answer_tokens",
                )


@dataclass(frozen=True, slots=True)
class Standing:
    """How a budget stands, in US dollars; what it does not limit is None."""

    budget: Budget
    price: float | None
    balance_usd: float | None
    position: int | None
    spent_usd: float | None
    reserved_usd: float | None
    resets_at: datetime | None


class Treasury(Purse):
    """Keeps budgets; `run` has to run beside it.

    Parameters
    ----------
    hold_s
        Seconds after which a reservation that nobody settled counts as spent: longer than any
        answer takes.
    now, monotonic
        Wall clock in UTC, which says when a day ends, and a clock in seconds.
    objectives
        Kept beside the budgets, by prices as well.
    """

    def __init__(
        self,
        budgets: Sequence[Budget],
        ledger: SqlLedger,
        *,
        gamma: float,
        hold_s: float,
        now: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
        objectives: ObjectiveBoard | None = None,
    ) -> None:
        self.budgets = tuple(budgets)
        self.board = PacerBoard(budgets, ledger, gamma=gamma)
        self._objectives = objectives
        self._caps = {
            b.name: nano_down(b.usd_per_day) for b in budgets if b.usd_per_day is not None
        }
        self._ledger = ledger
        self._hold = timedelta(seconds=hold_s)
        self._now = now
        self._monotonic = monotonic
        self._day: date | None = None
        self._balances: Mapping[str, Balance] = {}
        self._seen_at = float("-inf")
        self._kept_at = self._expired_at = float("-inf")
        self._settling: set[asyncio.Task[None]] = set()

    # -- choosing ---------------------------------------------------------------------------------

    def priced(self, scenario: Scenario, arms: Sequence[Arm], tags: Tags) -> Scenario:
        """See `Purse`."""
        priced = self.board.priced(scenario, arms, tags)
        return priced if self._objectives is None else self._objectives.priced(priced)

    def barred(
        self, query: Query, specs: Mapping[str, ArmSpec], tags: Tags
    ) -> Mapping[str, ServingError]:
        """See `Purse`."""
        capped = self._capped(tags)
        if not capped:
            return {}
        found: dict[str, ServingError] = {}
        for spec in specs.values():
            try:
                worst = _worst_nusd(query, [specs[part] for part in spec.parts] or [spec])
            except SettingsError as error:  # a price that a reload took away
                found[spec.arm_id] = error
                continue
            short = next((b for b in capped if worst and self._room_nusd(b) < worst), None)
            if short is not None:
                found[spec.arm_id] = self._refusal(short, worst)
        return found

    # -- paying -----------------------------------------------------------------------------------

    async def reserve(
        self, query: Query, asked: Sequence[ArmSpec], *, tags: Tags, attempt: str
    ) -> Lease | None:
        """See `Purse`."""
        capped, worst = self._capped(tags), _worst_nusd(query, asked)
        if not capped or not worst:
            return None
        now = self._now()
        day = now.astimezone(UTC).date()
        caps: dict[Account, int] = {(b.name, day): self._caps[b.name] for b in capped}
        claim = Claim(attempt, caps, worst, now + self._hold)
        try:
            fits = await self._ledger.reserve(claim)
        except LogUnavailableError as error:
            _LOG.warning("nothing can be reserved: %s", error)
            self._seen_at = float("-inf")
            raise BudgetUnknownError(capped[0].name) from error
        if not fits:
            await self._look()
            short = next((b for b in capped if self._room_nusd(b) < worst), capped[0])
            raise self._exceeded(short, worst)
        return Lease(claim)

    def settle(self, lease: Lease, cost_usd: float) -> None:
        """See `Purse`."""
        bill = nano_up(cost_usd)
        if bill > lease.claim.amount_nusd:
            _LOG.warning(
                "attempt %s cost $%.9f, more than the $%.9f that it could cost at most",
                lease.claim.claim_id, cost_usd, usd(lease.claim.amount_nusd),
            )  # fmt: skip
        task = asyncio.get_running_loop().create_task(self._settle(lease.claim, bill))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def charge(self, tags: Tags, cost_usd: float) -> None:
        """Count a bill that a caller paid and reported.

        Raises
        ------
        LogUnavailableError
        """
        day = self._now().astimezone(UTC).date()
        accounts = [(budget.name, day) for budget in self._capped(tags)]
        if accounts and cost_usd > 0.0:
            await self._ledger.charge(accounts, nano_up(cost_usd))

    # -- keeping up -------------------------------------------------------------------------------

    async def run(self, *, every_s: float) -> None:
        """Follow balances and bills until cancelled."""
        outage = Outage(_LOG, "budgets cannot be followed")
        while True:
            try:
                await self.step()
                outage.worked()
            except PointsmanError as error:
                outage.failed(error)
            except Exception:  # noqa: BLE001 - nothing may end this for good
                _LOG.exception("budgets cannot be followed")
            await asyncio.sleep(every_s)

    async def step(self) -> None:
        """Look at balances, count bills, charge what expired, store pacers.

        Raises
        ------
        LogUnavailableError
        """
        if self._caps:
            await self._look()
            if self._due(self._expired_at, _EXPIRE_EVERY_S):
                if n := await self._ledger.expire(self._now()):
                    _LOG.warning("%d reservations were never settled: charged in full", n)
                self._expired_at = self._monotonic()
        await self.board.advance()
        if self._objectives is not None:
            await self._objectives.advance()
        if self._due(self._kept_at, _KEEP_EVERY_S):
            await self._keep()
            self._kept_at = self._monotonic()

    async def standings(self) -> list[Standing]:
        """How every budget stands now.

        Raises
        ------
        LogUnavailableError
        """
        if self._caps:
            await self._look()
        return [self._standing(budget) for budget in self.budgets]

    def aims(self) -> list[Aim]:
        """How every objective stands now."""
        return [] if self._objectives is None else self._objectives.aims()

    async def aclose(self, *, timeout_s: float = 10.0) -> None:
        """Settle what is left, store the pacers."""
        if self._settling:
            await asyncio.wait(tuple(self._settling), timeout=timeout_s)
        for task in tuple(self._settling):
            task.cancel()
        try:
            await self._keep()
        except PointsmanError as error:
            _LOG.warning("the pacers were not stored: %s", error)

    async def _keep(self) -> None:
        await self.board.keep()
        if self._objectives is not None:
            await self._objectives.keep()

    async def _settle(self, claim: Claim, bill_nusd: int) -> None:
        while True:
            try:
                await self._ledger.settle(claim, bill_nusd)
            except LogUnavailableError as error:
                # Until then it counts as reserved, and after its time as spent in full.
                _LOG.warning("a bill waits for the database: %s", error)
                await asyncio.sleep(_RETRY_S)
            else:
                return

    async def _look(self) -> None:
        day = self._now().astimezone(UTC).date()
        self._balances = await self._ledger.balances(day)
        self._day, self._seen_at = day, self._monotonic()

    def _due(self, last: float, every_s: float) -> bool:
        return self._monotonic() - last >= every_s

    def _capped(self, tags: Tags) -> list[Budget]:
        return [b for b in self.budgets if b.usd_per_day is not None and b.covers(tags)]

    def _room_nusd(self, budget: Budget) -> int:
        if self._due(self._seen_at, _STALE_S):
            return -1
        fresh = self._day == self._now().astimezone(UTC).date()
        balance = self._balances.get(budget.name, Balance()) if fresh else Balance()
        return balance.room_nusd(self._caps[budget.name])

    def _refusal(self, budget: Budget, worst_nusd: int) -> BudgetError:
        if self._due(self._seen_at, _STALE_S):
            return BudgetUnknownError(budget.name)
        return self._exceeded(budget, worst_nusd)

    def _exceeded(self, budget: Budget, worst_nusd: int) -> BudgetExceededError:
        now = self._now()
        resets = next_midnight(now)
        spent = self._balances.get(budget.name, Balance()).spent_nusd
        passing = spent + worst_nusd <= self._caps[budget.name]
        return BudgetExceededError(
            budget.name,
            budget.usd_per_day or 0.0,
            retry_after_s=_SOON_S if passing else (resets - now).total_seconds(),
            passing=passing,
            resets=resets.strftime("%Y-%m-%dT%H:%M:%SZ"),
        )

    def _standing(self, budget: Budget) -> Standing:
        pacer = self.board.pacers.get(budget.name)
        capped = budget.usd_per_day is not None
        balance = self._balances.get(budget.name, Balance())
        return Standing(
            budget,
            pacer.price if pacer else None,
            pacer.balance_usd if pacer else None,
            self.board.positions.get(budget.name),
            usd(balance.spent_nusd) if capped else None,
            usd(balance.reserved_nusd) if capped else None,
            next_midnight(self._now()) if capped else None,
        )


def _worst_nusd(query: Query, asked: Sequence[ArmSpec]) -> int:
    return sum(nano_up(worst_usd(query, spec)) for spec in asked)


def next_midnight(now: datetime) -> datetime:
    """When the day of ``now`` ends, in UTC.

    Examples
    --------
    >>> next_midnight(datetime(2026, 3, 1, 23, 30, tzinfo=UTC)).isoformat()
    '2026-03-02T00:00:00+00:00'
    """
    tomorrow = now.astimezone(UTC).date() + timedelta(days=1)
    return datetime.combine(tomorrow, clock_time(), tzinfo=UTC)
