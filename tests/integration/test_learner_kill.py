"""Learners that die at any moment, over a real Postgres."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from bandit.utility import PRESETS
from feedback.sql import SqlDecisionLog
from serving.learner import Learner, LearnerConfig
from serving.replaying import State, replay
from serving.snapshots import PolicyHolder
from tests.learner_supervisor import CONFIG, MAKERS
from tests.makers import ARMS, Clock, context, logged, outcome, vote
from tests.mean_policy import MeanPolicy

SUPERVISOR = Path(__file__).parents[1] / "learner_supervisor.py"


class Supervisor:
    """Starts and kills learner processes; knows how far the published policy is."""

    def __init__(self, process, connection):
        self._process = process
        self._connection = connection
        self.running = []

    def _ask(self, line):
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def start(self):
        self.running.append(int(self._ask("start")))
        return self.running[-1]

    def kill(self, pid):
        os.kill(pid, signal.SIGKILL)
        self.running.remove(pid)
        assert self._ask(pid) == "gone"

    def scalar(self, question):
        return self._connection.execute(question).fetchone()[0]

    def wait_for(self, question, enough):
        deadline = time.monotonic() + 60
        while (found := self.scalar(question)) is None or found < enough:
            assert time.monotonic() < deadline, f"{question} is {found}, want {enough}"
            time.sleep(0.005)
        return found


@contextmanager
def supervised(dsn, policy):
    command = [sys.executable, str(SUPERVISOR), dsn, policy]
    with (
        psycopg.connect(dsn.replace("+psycopg", ""), autocommit=True) as connection,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process,
    ):
        supervisor = Supervisor(process, connection)
        try:
            yield supervisor
        finally:
            for pid in tuple(supervisor.running):
                supervisor.kill(pid)


POSITION = "SELECT position FROM learner_state"
EPOCH = "SELECT epoch FROM learner_state"


class Traffic:
    """Decisions, outcomes and votes, some of which are changed or withdrawn later."""

    def __init__(self, log, seed):
        self._log = log
        self._rng = random.Random(seed)
        self._ids = []

    async def more(self, n):
        for _ in range(n):
            await self._one(f"k{len(self._ids)}", self._rng.choice(["edge", "cloud"]))
            if len(self._ids) % 5 == 0:
                old = self._rng.choice(self._ids)
                await self._log.add_feedback([vote(old, self._rng.choice([0, 1, None]))])

    async def _one(self, id_, arm):
        x = [self._rng.random() for _ in range(3)]
        await self._log.add_decisions([logged(id_, arm=arm, context=context(x=x))])
        await self._log.add_outcomes([outcome(id_, arm=arm, latency_s=self._rng.random())])
        (receipt,) = await self._log.add_feedback([vote(id_, self._rng.randint(0, 1))])
        assert receipt.will_apply
        self._ids.append(id_)


async def uninterrupted(log, make):
    """The state of a learner that nothing ever happened to."""

    async def base(_):
        return State(make())

    return await replay(log, base, 1, until=await log.last_position(), config=CONFIG)


@pytest.mark.parametrize(("policy", "n_rounds"), [("mean", 20), ("composed", 5)])
async def test_a_learner_killed_again_and_again_is_the_one_never_killed(dsn, policy, n_rounds):
    log = SqlDecisionLog(dsn, clock=Clock())
    try:
        traffic = Traffic(log, seed=1)
        with supervised(dsn, policy) as supervisor:
            for _ in range(n_rounds):
                enough = await log.last_position() + 3
                pid = supervisor.start()
                feeding = asyncio.create_task(traffic.more(5))
                await asyncio.to_thread(supervisor.wait_for, POSITION, enough)
                supervisor.kill(pid)
                await feeding
            supervisor.start()
            await asyncio.to_thread(supervisor.wait_for, POSITION, await log.last_position())
        wanted = await uninterrupted(log, MAKERS[policy])
        holder = PolicyHolder(log, MAKERS[policy])
        assert await holder.refresh()
        newest = await log.latest_snapshot()
        assert newest.manifest["n_interactions"] == wanted.n_interactions > 8 * n_rounds
        if policy == "mean":
            assert holder.current.history == wanted.policy.history
        for x in ([0.1, 0.2, 0.3], [0.9, 0.1, 0.5]):
            asked = (context(x=x), ARMS, PRESETS["balanced"])
            assert holder.current.predict(*asked).pmf == pytest.approx(
                wanted.policy.predict(*asked).pmf, abs=1e-6
            )
    finally:
        await log.aclose()


async def test_of_two_learners_one_leads_and_the_other_takes_over(dsn):
    log = SqlDecisionLog(dsn, clock=Clock())
    try:
        with supervised(dsn, "mean") as supervisor:
            first = supervisor.start()
            await asyncio.to_thread(supervisor.wait_for, EPOCH, 1)
            supervisor.start()
            await Traffic(log, seed=2).more(10)
            await asyncio.to_thread(supervisor.wait_for, POSITION, await log.last_position())
            assert supervisor.scalar(EPOCH) == 1
            supervisor.kill(first)
            await one_more(log)
            await asyncio.to_thread(supervisor.wait_for, POSITION, await log.last_position())
            assert supervisor.scalar(EPOCH) == 2
        holder = PolicyHolder(log, MeanPolicy)
        await holder.refresh()
        wanted = await uninterrupted(log, MeanPolicy)
        assert holder.current.history == wanted.policy.history
    finally:
        await log.aclose()


async def one_more(log):
    await log.add_decisions([logged("late-1")])
    await log.add_outcome(outcome("late-1"))
    await log.add_feedback([vote("late-1")])


async def test_changed_and_withdrawn_votes_leave_the_policy_of_the_corrected_log(dsn):
    clock = Clock()
    log, own = SqlDecisionLog(dsn, clock=clock), SqlDecisionLog(dsn, clock=clock)
    learner = Learner(own, MeanPolicy, clock, LearnerConfig(publish_s=0.0))
    try:
        await log.add_decisions([logged(id_) for id_ in "abc"])
        await log.add_outcomes([outcome(id_) for id_ in "abc"])
        for row in (vote("a", 1), vote("b", 1), vote("c", 0), vote("a", 0), vote("b", None)):
            await log.add_feedback([row])
            await learner.step()
        votes = [quality for _, quality, *_ in learner._state.policy.history if quality is not None]
        assert votes == [0.0, 0.0]
        assert learner.status.n_replays == 2
    finally:
        await learner.aclose()
        await log.aclose()


async def test_a_vote_is_served_within_two_seconds(dsn):
    """With the settings that ship: poll 0.2 s, publish 0.5 s."""
    clock = Clock()
    log, stop = SqlDecisionLog(dsn, clock=clock), asyncio.Event()
    learner = Learner(SqlDecisionLog(dsn, clock=clock), MeanPolicy, clock)
    running = asyncio.create_task(learner.run(stop))
    holder = PolicyHolder(log, MeanPolicy)
    try:
        await log.add_decisions([logged("d")])
        await log.add_outcome(outcome("d"))
        await log.add_feedback([vote("d", 0)])
        async with asyncio.timeout(2.0):
            while holder.current.mean("edge") == 0.5:
                await asyncio.sleep(0.05)
                await holder.refresh()
    finally:
        stop.set()
        await running
        await learner.aclose()
        await log.aclose()
