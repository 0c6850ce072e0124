"""Alarms on their way from a policy to the log."""

import pytest

from bandit.alarm import Alarm
from feedback.memory import MemoryDecisionLog
from serving.learner import Learner, LearnerConfig
from tests.makers import Clock, logged, outcome, vote
from tests.mean_policy import MeanPolicy

EAGER = LearnerConfig(publish_s=0.0, poll_s=0.01, tell_alarms=True)


class Worried(MeanPolicy):
    """Raises an alarm at every quality of 0 that it learns."""

    @property
    def alarms(self):
        zeros = [n for n, row in enumerate(self.history) if row[1] == 0.0]
        return tuple(Alarm(f"zero-{n}", "quality", "edge", f"d{n}", n, action="hm") for n in zeros)


@pytest.fixture
def log():
    return MemoryDecisionLog(clock=Clock())


async def judged(log, id_, value):
    await log.add_decisions([logged(id_)])
    await log.add_outcomes([outcome(id_)])
    await log.add_feedback([vote(id_, value)])


def learner(log, config=EAGER):
    return Learner(log, Worried, Clock(), config)


async def test_what_a_policy_notices_is_stored_with_the_position(log):
    await judged(log, "a", 0)
    await learner(log).step()
    (row,) = await log.alarms.newest(9)
    assert (row.alarm.alarm_id, row.position) == ("zero-1", await log.last_position())
    assert row.delivery == "pending"


async def test_without_a_webhook_nobody_is_to_be_told(log):
    await judged(log, "a", 0)
    await learner(log, LearnerConfig(publish_s=0.0)).step()
    assert (await log.alarms.newest(1))[0].delivery == "none"


async def test_a_learner_that_starts_again_raises_no_alarm_twice(log):
    await judged(log, "a", 0)
    first = learner(log)
    await first.step()
    await first.aclose()
    await judged(log, "b", 0)
    await learner(log).step()
    assert [row.alarm.alarm_id for row in await log.alarms.newest(9)] == ["zero-3", "zero-1"]


async def test_a_past_that_is_learned_anew_is_told_to_nobody(log):
    await judged(log, "a", 1)
    first = Learner(log, MeanPolicy, Clock(), EAGER)
    await first.step()
    await judged(log, "b", 0)
    await first.step()
    await first.aclose()
    other_lineage = LearnerConfig(publish_s=0.0, tell_alarms=True, schema_version="schema-1")
    second = learner(log, other_lineage)
    await second.step()
    await judged(log, "c", 0)
    await second.step()
    told = {row.alarm.alarm_id: row.delivery for row in await log.alarms.newest(9)}
    assert told == {"zero-3": "none", "zero-5": "pending"}
