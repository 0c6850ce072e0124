"""A judge's worker beside a router, whose arms say what their answers are worth."""

import asyncio
import json
import re
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import numpy as np

from feedback.outcome import Feedback
from feedback.sql import SqlDecisionLog
from serving.backends.base import Completion, Load
from serving.backends.cloud import CloudBackend, CloudConfig
from serving.backends.retrying import RetryConfig
from serving.judge_client import JudgeClient
from serving.judging import JudgeWorker, JudgingConfig
from serving.judging_watch import JudgingWatcher
from serving.pricing import Price
from serving.router import RouterConfig
from tests.makers import Clock
from tests.scripted import FixedPolicy, Holder, make_router, query
from tests.upstream import Upstream, completion, whole

PRICE = Price(100.0, 100.0, "config")
TRUTH = re.compile(r"worth (\d\.\d+)")


class Arm:
    """Answers with a text that says what it is worth, so that a grader can know."""

    def __init__(self, arm_id, worth, *, extra=""):
        self.arm_id, self.worth, self.extra = arm_id, worth, extra
        self.rng = np.random.default_rng(len(arm_id))
        self.calls = 0

    async def complete(self, query):
        self.calls += 1
        worth = float(np.clip(self.worth + 0.1 * self.rng.standard_normal(), 0, 1))
        return Completion(completion(f"{self.arm_id} answers, worth {worth:.3f} {self.extra}"))

    def load(self):
        return Load()

    def health(self):
        return True, ""

    async def aclose(self):
        pass


def says(score):
    return whole(completion(json.dumps({"reason": "r", "score": score})))


def judging(lie):
    """A judge that is asked about a text that says its worth, and replies with ``lie`` of it."""

    def reply(body):
        text = body["messages"][1]["content"]
        arm = "edge" if "edge answers" in text else "cloud"
        return lie(arm, float(TRUTH.search(text)[1]))

    return reply


def kind(bias, seed=0):
    rng = np.random.default_rng(seed)

    def lie(arm, worth):
        score = worth + bias.get(arm, 0.0) + 0.05 * rng.standard_normal()
        return says(10 * float(np.clip(score, 0, 1)))

    return judging(lie)


@asynccontextmanager
async def panel(dsn, *replies, arms=None, policy=None, holder=None, cap_usd=100.0, keep=True,
                timeout_s=5.0, **config):  # fmt: skip
    """A router, a judge's worker and a log; ``ask`` asks and waits for nobody."""
    clock = Clock()
    log = SqlDecisionLog(dsn, clock=clock)
    arms = arms or [Arm("edge", 0.6), Arm("cloud", 0.7)]
    async with Upstream(*replies) as upstream:
        cloud = CloudConfig(
            upstream.base_url, "judge-1", deadline_s=timeout_s, retry=RetryConfig(most=0)
        )
        backend = CloudBackend(cloud, arm_id="judge")
        await backend.start()
        numbers = iter(range(10**9))
        client = JudgeClient(
            backend, model="judge-1", price=PRICE, book=log.judges, cap_usd=cap_usd,
            new_nonce=lambda: f"{next(numbers):032x}", now=clock,
        )  # fmt: skip
        holder = holder or Holder(policy or FixedPolicy(edge=1.0, cloud=1.0))
        settings = {"sample_rate": 1.0, "per_minute": 1e6, "queue_limit": 1000, **config}
        worker = JudgeWorker(
            client, log, holder, JudgingConfig(**settings),
            backends={arm.arm_id: arm for arm in arms}, rng=np.random.default_rng(1),
            new_id=lambda: f"{next(numbers):032x}", now=clock,
        )  # fmt: skip
        router = make_router(
            *arms, holder=holder, log=log, watcher=JudgingWatcher(worker),
            config=RouterConfig(keep_answers=keep, keep_prompts=keep),
        )  # fmt: skip
        running = asyncio.create_task(worker.run())
        try:
            yield Panel(log, worker, router, upstream, clock)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await router.aclose()
            await backend.aclose()
            await log.aclose()


class Panel:
    def __init__(self, log, worker, router, upstream, clock):
        self.log, self.worker, self.router = log, worker, router
        self.upstream, self.clock = upstream, clock

    async def ask(self, text="What?", wish=None, *, reference=None, **more):
        asked = replace(query(text, **more), reference=reference)
        routed = await self.router.decide(asked, *([wish] if wish else []))
        await self.router.complete(routed)
        return routed.decision

    async def judged(self, n=1, what=("scored",)):
        """Wait until so many answers came to any of these ends."""
        try:
            async with asyncio.timeout(60):
                while sum(self.worker.counts[name] for name in what) < n:  # noqa: ASYNC110 - a poll
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"{self.worker.status()}") from None

    async def rows(self, decision):
        return (await self.log.get(decision.decision_id)).feedback

    async def text(self, decision_id):
        """The stored answer; outcomes are written in the background."""
        async with asyncio.timeout(30):
            while (found := (await self.log.get(decision_id)).outcome) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return found.answer

    async def answer_audits(self):
        """Every audit that waits is answered by somebody who sees what the answer is worth."""
        found = await self.log.judges.waiting(1000, since=self.clock() - timedelta(days=1))
        for id_ in found.decision_ids:
            text = await self.text(id_)
            value = 1.0 + 4.0 * float(TRUTH.search(text)[1])
            row = Feedback(f"a-{id_}", id_, "rating", value, "auditor", tags={"audit": "answer"})
            await self.log.add_feedback([row])
        return len(found.decision_ids)
