"""Reserves what an attempt can cost, and pays what it did cost."""

from collections.abc import Mapping

from serving.accounting import failure_of
from serving.answering import Answer
from serving.arms import ArmSpec
from serving.billing import bill
from serving.purse import Lease, Purse, tags_of

_TURNED_AWAY = frozenset({"unavailable", "overload", "error"})
"""Failures of attempts that nobody worked on, if nothing was said."""


class PursePayer:
    """Pays from a purse. A cascade reserves for both of its parts."""

    def __init__(self, purse: Purse, specs: Mapping[str, ArmSpec]) -> None:
        self._purse = purse
        self._specs = specs

    async def reserve(self, answer: Answer, arm_id: str) -> Lease | None:
        """See `serving.answering.Payer`."""
        decision, parts = answer.routed.decision, self._specs[arm_id].parts or (arm_id,)
        return await self._purse.reserve(
            answer.routed.query,
            [self._specs[part] for part in parts],
            tags=tags_of(decision.tags),
            attempt=f"{decision.decision_id}/{arm_id}",
        )

    def settle(self, answer: Answer) -> None:
        """See `serving.answering.Payer`."""
        lease, answer.lease = answer.lease, None
        if lease is not None:
            self._purse.settle(lease, self._cost_usd(answer))

    def _cost_usd(self, answer: Answer) -> float:
        """What is known or estimated; of an arm that fell silent, that it read the query."""
        known = bill(answer, self._specs).cost_usd or 0.0
        return known + sum(self._reading_usd(answer, arm_id) for arm_id in _silent(answer))

    def _reading_usd(self, answer: Answer, arm_id: str) -> float:
        unheard = answer.meter.afresh()
        return unheard.charge(self._specs[arm_id], answer.routed.chars_in).cost_usd or 0.0


def _silent(answer: Answer) -> set[str]:
    """Arms of this attempt that took the query, and failed without a word."""
    said = answer.meter.chars_out > 0 or answer.meter.usage is not None
    found = set()
    if answer.failure is not None and answer.failure not in _TURNED_AWAY and not said:
        found.add(answer.speaker)
    for part in answer.stage.parts if answer.stage is not None else ():
        error = answer.errors.get(part)
        lost = error is not None and failure_of(error) not in _TURNED_AWAY
        if lost and part != answer.speaker:
            found.add(part)
    return found
