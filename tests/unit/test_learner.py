"""The learner over a log in memory."""

import asyncio
from datetime import timedelta

import pytest

from feedback.errors import LogUnavailableError
from feedback.memory import MemoryDecisionLog
from feedback.reward import RewardRules
from serving.learner import Learner, LearnerConfig
from serving.learner_thread import LearnerThread
from serving.snapshots import PolicyHolder
from tests.makers import Clock, context, logged, outcome, vote
from tests.mean_policy import MeanPolicy

EAGER = LearnerConfig(publish_s=0.0, poll_s=0.01)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def log(clock):
    return MemoryDecisionLog(clock=clock)


async def answered(log, *ids, **changes):
    await log.add_decisions([logged(id_, **changes) for id_ in ids])
    await log.add_outcomes([outcome(id_) for id_ in ids])


async def test_the_first_snapshot_is_there_before_anything_is_learned(log, clock):
    await Learner(log, MeanPolicy, clock, EAGER).step()
    assert (await log.latest_snapshot()).position == 0


async def test_a_vote_reaches_the_serving_policy(log, clock):
    learner, holder = Learner(log, MeanPolicy, clock, EAGER), PolicyHolder(log, MeanPolicy)
    await answered(log, "d")
    await log.add_feedback([vote("d", 0)])
    await learner.step()
    assert await holder.refresh()
    assert holder.current.mean("edge") == 0.25
    assert learner.status.n_interactions == 2
    assert learner.status.position == await log.last_position()


async def test_nothing_new_publishes_nothing(log, clock):
    learner = Learner(log, MeanPolicy, clock, EAGER)
    for _ in range(3):
        await learner.step()
    assert await log.latest_version() == "mean-1"


async def test_a_second_learner_stands_by_until_the_first_resigns(log, clock):
    first, second = (Learner(log, MeanPolicy, clock, EAGER) for _ in range(2))
    await answered(log, "d")
    await first.step()
    assert await second.step() == 0
    assert not second.status.leads
    await first.aclose()
    await second.step()
    assert second.status.leads
    assert second._state.policy.history == first._state.policy.history


async def test_a_fenced_learner_publishes_nothing_and_stands_by(log, clock):
    old = Learner(log, MeanPolicy, clock, EAGER)
    await old.step()
    await log.resign(1)
    new = Learner(log, MeanPolicy, clock, EAGER)
    await new.step()
    await answered(log, "d")
    old._lead._checked_at = float("inf")
    await old.step()
    assert not old.status.leads
    assert await log.latest_version() == "mean-1"
    assert await log.still_leads(2)


async def test_an_interaction_that_cannot_be_learned_is_left_out(log, clock):
    learner = Learner(log, MeanPolicy, clock, EAGER)
    await answered(log, "bad", tags={"poison": True})
    await answered(log, "good")
    await learner.step()
    assert (learner.status.n_poison, learner.status.n_interactions) == (1, 1)


async def test_decisions_with_other_features_teach_nothing(log, clock):
    config = LearnerConfig(publish_s=0.0, schema_version="schema-2")
    learner = Learner(log, MeanPolicy, clock, config)
    await answered(log, "d")
    await learner.step()
    assert learner.status.n_interactions == 0
    assert learner.status.position == await log.last_position()


async def test_what_other_features_left_out_is_counted_and_said_once(log, clock, caplog):
    config = LearnerConfig(publish_s=0.0, schema_version="schema-2", batch=2)
    await answered(log, "a", "b", "c")
    learner = Learner(log, MeanPolicy, clock, config)
    while await learner.step():
        pass
    await log.add_feedback([vote("a")])
    await learner.step()
    assert learner.status.n_foreign == 4
    assert len([r for r in caplog.records if "are not learned" in r.message]) == 1
    assert "3 outcomes and votes" in caplog.text
    await learner.aclose()
    restarted = Learner(log, MeanPolicy, clock, config)
    await restarted.step()
    assert restarted.status.n_foreign == 4
    assert "4 outcomes and votes" not in caplog.text


async def test_silence_is_learned_as_the_default_once_the_window_has_passed(log, clock):
    rules = RewardRules(default_quality=1.0)
    config = LearnerConfig(publish_s=0.0, rules=rules, reward_window_s=60.0)
    learner = Learner(log, MeanPolicy, clock, config)
    await answered(log, "d")
    await learner.step()
    assert learner._state.policy.mean("edge") == 0.5
    clock.advance(61)
    learner._closed_at = float("-inf")
    await learner.step()
    assert learner._state.policy.mean("edge") == 0.75


async def test_other_rules_learn_the_log_anew(log, clock):
    await answered(log, "d")
    await log.add_feedback([vote("d", 1), vote("d", 0.0, metric="judge")])
    first = Learner(log, MeanPolicy, clock, EAGER)
    await first.step()
    await first.aclose()
    rules = RewardRules(weights={"judge": 1.0})
    second = Learner(log, MeanPolicy, clock, LearnerConfig(publish_s=0.0, rules=rules))
    await second.step()
    assert second._state.policy.mean("edge") == 0.25
    assert (await log.latest_snapshot()).version == "mean-2"


async def test_a_damaged_newest_snapshot_is_passed_over(log, clock):
    first = Learner(log, MeanPolicy, clock, EAGER)
    for id_ in ("a", "b"):
        await answered(log, id_)
        await first.step()
    await first.aclose()
    newest = log._snapshots[-1]
    log._snapshots[-1] = type(newest)(newest.version, newest.position, newest.manifest, b"{}")
    second = Learner(log, MeanPolicy, clock, EAGER)
    await second.step()
    assert second._state.policy.history == first._state.policy.history


async def test_a_policy_that_is_not_fit_is_not_published_and_says_so(log, clock, monkeypatch):
    learner = Learner(log, MeanPolicy, clock, EAGER)
    await learner.step()
    await answered(log, "d")
    await log.add_feedback([vote("d")])
    monkeypatch.setattr(MeanPolicy, "mean", lambda *_: float("nan"))
    await learner._survive()
    assert "not published" in learner.status.error
    assert await log.latest_version() == "mean-1"


class Flaky(MemoryDecisionLog):
    """Not available until told otherwise."""

    down = True

    async def read(self, after, limit, *, until=None):
        if self.down:
            raise LogUnavailableError("down")
        return await super().read(after, limit, until=until)


async def until(true, deadline_s=10.0):
    async with asyncio.timeout(deadline_s):
        while not true():  # noqa: ASYNC110 - what is awaited has no event
            await asyncio.sleep(0.005)


async def test_a_learner_outlives_a_log_that_is_away(clock):
    log, stop = Flaky(clock=clock), asyncio.Event()
    await answered(log, "d")
    learner = Learner(log, MeanPolicy, clock, EAGER)
    running = asyncio.create_task(learner.run(stop))
    await until(lambda: learner.status.error is not None)
    log.down = False
    await until(lambda: learner.status.n_interactions == 1)
    assert learner.status.error is None
    stop.set()
    await running


async def test_a_learner_begins_again_after_an_error_nobody_expected(log, clock, monkeypatch):
    learner = Learner(log, MeanPolicy, clock, EAGER)
    await answered(log, "d")

    def broken(*_):
        raise RuntimeError("bug")

    with monkeypatch.context() as patch:
        patch.setattr(MeanPolicy, "learn", broken)
        await learner._survive()
        assert "bug" in learner.status.error
    await learner._survive()
    assert learner.status.n_interactions == 1


async def test_a_learner_in_a_thread_learns_and_publishes_when_stopped(log, clock):
    slow = LearnerConfig(publish_s=1000.0, poll_s=0.01)
    thread = LearnerThread(lambda: Learner(log, MeanPolicy, clock, slow))
    thread.start()
    await answered(log, "d")
    await until(lambda: thread.status.n_interactions == 1)
    assert thread.status.leads
    await thread.stop()
    assert (await log.latest_snapshot()).position == await log.last_position()
    assert not thread.status.alive


async def test_a_thread_whose_learner_cannot_be_made_says_why():
    def make():
        raise ValueError("no")

    thread = LearnerThread(make)
    thread.start()
    await thread.stop()
    assert "no" in thread.status.error


async def test_forced_and_featureless_decisions_teach_nothing(log, clock):
    learner = Learner(log, MeanPolicy, clock, EAGER)
    await answered(log, "pin", reason="pin")
    await answered(log, "blind", context=context(features_ok=False))
    await learner.step()
    assert learner.status.n_interactions == 0


async def test_a_long_log_is_learned_in_batches(log, clock):
    ids = [f"n{i}" for i in range(25)]
    await answered(log, *ids)
    learner = Learner(log, MeanPolicy, clock, LearnerConfig(publish_s=0.0, batch=10))
    counts = [await learner.step() for _ in range(4)]
    assert counts == [10, 10, 5, 0]
    clock.now += timedelta(days=1)
    assert learner.status.n_interactions == 25
