"""An outage is told of twice: when it begins, and when it is over."""

import logging

from feedback.errors import LogUnavailableError
from feedback.memory import MemoryDecisionLog
from serving.outages import Outage
from serving.snapshots import PolicyHolder
from tests.mean_policy import MeanPolicy

AWAY = LogUnavailableError("away")


def told(caplog):
    return [r.message for r in caplog.records if r.levelno >= logging.WARNING]


def test_what_is_away_is_said_once_and_so_is_that_it_is_back(caplog):
    outage = Outage(logging.getLogger("pointsman.test"), "nothing can be had")
    outage.worked()
    for _ in range(5):
        outage.failed(AWAY)
    outage.worked()
    outage.worked()
    first, last = told(caplog)
    assert first.startswith("nothing can be had: the decision log is not available")
    assert last == "over after 5 failures: nothing can be had"


async def test_a_server_that_cannot_look_for_policies_does_not_fill_its_log(caplog):
    class Flaky(MemoryDecisionLog):
        down = True

        async def latest_version(self):
            if self.down:
                raise AWAY
            return await super().latest_version()

    log = Flaky()
    holder = PolicyHolder(log, MeanPolicy)
    for _ in range(20):
        await holder.refresh()
    log.down = False
    await holder.refresh()
    assert len(told(caplog)) == 2
