"""A decision log of either kind."""

import pytest

from feedback.engine import LogConfig
from feedback.memory import MemoryDecisionLog
from feedback.sql import SqlDecisionLog
from tests.makers import WINDOW_S, Clock


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["memory", "postgres"])
def make(request, clock):
    """Makes a log; ``most`` votes of one source count in an hour."""

    def made(most=None):
        if request.param == "memory":
            return MemoryDecisionLog(
                clock=clock, reward_window_s=WINDOW_S, max_votes_per_source_hour=most
            )
        dsn = request.getfixturevalue("dsn")
        config = LogConfig(reward_window_s=WINDOW_S, max_votes_per_source_hour=most)
        return SqlDecisionLog(dsn, clock=clock, config=config)

    return made


@pytest.fixture
async def log(make):
    made = make()
    yield made
    await made.aclose()
