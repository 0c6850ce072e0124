"""The lead over a log: at most one learner has it, and one that lost it is fenced off."""

import asyncio
import logging

from bandit.errors import PointsmanError
from feedback.log import DecisionLog

_LOG = logging.getLogger(__name__)
_CHECK_S = 1.0
"""Between two looks at whether the lead is still held, in seconds."""


class Lead:
    """One learner's part in it; ``epoch`` is None while another learner leads."""

    def __init__(self, log: DecisionLog) -> None:
        self._log = log
        self._checked_at = float("-inf")
        self.epoch: int | None = None

    async def take(self) -> bool:
        """Whether the lead was free, and is held from now on."""
        self.epoch = await self._log.lead()
        return self.epoch is not None

    async def is_lost(self) -> bool:
        """Whether a lead that was taken is another's now; now and then the log is asked."""
        now = asyncio.get_running_loop().time()
        if self.epoch is None or now - self._checked_at < _CHECK_S:
            return False
        lost = not await self._log.still_leads(self.epoch)
        self._checked_at = now
        return lost

    async def resign(self) -> None:
        """Let another learner lead, if this one does; a log out of reach is no error."""
        epoch, self.epoch = self.epoch, None
        if epoch is None:
            return
        try:
            await self._log.resign(epoch)
        except PointsmanError as error:
            _LOG.warning("cannot resign: %s", error)
