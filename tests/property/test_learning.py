"""However a log came about and was read, the policy is the one of the corrected log."""

import asyncio
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from feedback.memory import MemoryDecisionLog
from feedback.reward import RewardRules, combine
from serving.learner import Learner, LearnerConfig
from tests.makers import NOW, Clock, logged, outcome, vote
from tests.mean_policy import MeanPolicy

IDS = ("a", "b", "c", "d")
DEFAULT = 0.75
RULES = RewardRules(default_quality=DEFAULT)

votes = st.tuples(
    st.just("vote"),
    st.sampled_from(IDS),
    st.sampled_from([0, 1, None]),
    st.sampled_from(["ann", "ben"]),
)
outcomes = st.tuples(
    st.just("outcome"), st.sampled_from(IDS), st.sampled_from([None, None, None, "timeout"])
)
steps = st.tuples(st.just("step"))
kills = st.tuples(st.just("kill"))
closes = st.tuples(st.just("close"))
stories = st.lists(st.one_of(votes, votes, outcomes, steps, kills, closes), max_size=40)


def learner(log, clock, batch):
    config = LearnerConfig(publish_s=0.0, batch=batch, rules=RULES, reward_window_s=1e9)
    return Learner(log, MeanPolicy, clock, config)


async def tell(log, clock, story, batch):
    """Live through ``story``; return the learner's history at its end."""
    await log.add_decisions([logged(id_) for id_ in IDS])
    now = learner(log, clock, batch)
    for what, *how in story:
        if what == "vote":
            await log.add_feedback([vote(how[0], how[1], source=how[2])])
        elif what == "outcome":
            if (await log.get(how[0])).outcome is None:
                await log.add_outcome(outcome(how[0], failure=how[1]))
        elif what == "close":
            await log.close_windows(NOW + timedelta(seconds=1), 1)
        elif what == "step":
            await now.step()
        else:
            await log.resign(log._epoch)
            now = learner(log, clock, batch)
    while await now.step():
        pass
    return now._state.policy.history


async def corrected(log):
    """What there is to learn in the log as it is at its end, worked out from first principles."""
    history = []
    for event in await log.read(0, 1000):
        first = event.feedback[0][0] if event.feedback else None
        result, at = event.outcome, event.outcome_position
        if result is not None and result.failure:
            continue
        scenario = event.logged.decision.scenario
        quality = combine(row for _, row in event.feedback)
        if event.kind == "outcome":
            known = quality if first is not None and first < event.position else None
            cost, latency, own = result.cost_usd, result.latency_s, None
        elif event.kind == "default" or event.position == first:
            known = own = DEFAULT if event.kind == "default" else quality
            cost = latency = None
        else:
            continue
        if at is not None and at <= event.position and known is not None:
            value = scenario.reward(
                quality=known, cost_usd=result.cost_usd, latency_s=result.latency_s
            )
        else:
            value = None
        if (own, cost, latency) != (None, None, None):
            history.append(["edge", own, cost, latency, value])
    return history


@settings(max_examples=300, deadline=None)
@given(story=stories, batch=st.integers(1, 7))
def test_the_policy_is_that_of_the_corrected_log(story, batch):
    clock = Clock()
    log = MemoryDecisionLog(clock=clock, reward_window_s=1e9)

    async def check():
        assert await tell(log, clock, story, batch) == await corrected(log)

    asyncio.run(check())
