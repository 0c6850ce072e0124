"""The router with the real features, the real policy, the real edge model and a real upstream."""

import asyncio
import secrets
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import numpy as np
import pytest

from bandit.policies.config import PolicyConfig
from bandit.policies.factory import make_policy
from bandit.utility import PRESETS
from features.featurizer import FeatureConfig, build_featurizer
from features.query import Query
from feedback.memory import MemoryDecisionLog
from feedback.outcome import Feedback
from feedback.writer import DecisionWriter
from serving.arms import ArmSpec
from serving.backends.breaker import Breaker, BreakerConfig
from serving.backends.cloud import CloudBackend, CloudConfig
from serving.backends.edge import EdgeBackend, EdgeConfig
from serving.backends.edge_chat import EDGE_CAPABILITIES
from serving.backends.standin import StandIn
from serving.learner import Learner, LearnerConfig
from serving.pricing import Price
from serving.router import Router
from serving.selector import Wish
from serving.snapshots import PolicyHolder
from tests.running import MODELS


@pytest.fixture(scope="module")
def featurizer():
    return build_featurizer(FeatureConfig(), MODELS)


@pytest.fixture
def make(featurizer):
    sizes = {name: len(names) for name, names in featurizer.schema.items()}
    return lambda: make_policy(PolicyConfig(schema=sizes))


@pytest.fixture
def log():
    return MemoryDecisionLog()


@pytest.fixture
async def router(featurizer, make, log):
    async with AsyncExitStack() as stack:
        stand_in = StandIn()
        edge = EdgeBackend(EdgeConfig(), arm_id="edge")
        for part in (stand_in, edge):
            stack.push_async_callback(part.aclose)
            await part.start()
        cloud = CloudBackend(CloudConfig(stand_in.base_url, "pointsman-stand-in"), arm_id="cloud")
        stack.push_async_callback(cloud.aclose)
        await cloud.start()
        writer = DecisionWriter(log)
        router = Router(
            featurizer=featurizer,
            holder=PolicyHolder(log, make),
            arms=(
                ArmSpec(
                    *("edge", "edge", "smollm2", Price(0.0, 0.0, "config"), EDGE_CAPABILITIES),
                    context_tokens=edge.context_tokens,
                    digest=edge.digest,
                ),
                ArmSpec("cloud", "cloud", "stand-in", Price(2.5, 10.0, "config"), frozenset("*")),
            ),
            backends={"edge": edge, "cloud": cloud},
            breakers={
                arm: Breaker(BreakerConfig(), clock=time.monotonic) for arm in ("edge", "cloud")
            },
            writer=writer,
            log=log,
            scenarios=PRESETS,
            default_scenario="balanced",
            rng=np.random.default_rng(3),
            new_id=lambda: secrets.token_hex(16),
            now=lambda: datetime.now(UTC),
        )
        stack.push_async_callback(router.aclose)
        yield router


def query(text, **fields):
    messages = [{"role": "user", "content": text}]
    body = {"messages": messages, "max_tokens": 8, **fields}
    return Query(messages, datetime.now(UTC), body)


async def completed(router, asked, wish=None):
    return await router.complete(await router.decide(asked, wish or Wish()))


@pytest.mark.parametrize("arm", ["edge", "cloud"])
async def test_each_arm_answers_and_is_accounted_for(router, log, arm):
    answer, completion = await completed(router, query("What is 17 + 25?"), Wish(arm))
    await router.aclose()
    outcome = (await log.get(answer.routed.decision.decision_id)).outcome
    assert completion.body["choices"][0]["message"]["content"]
    assert (outcome.arm, outcome.cost_source, outcome.failure) == (arm, "usage", None)
    assert (outcome.cost_usd > 0.0) is (arm == "cloud")
    assert outcome.latency_s > 0.0


async def test_a_decision_has_real_features_and_a_proper_pmf(router):
    decision = (await router.decide(query("Prove that there are infinitely many primes."))).decision
    assert decision.context.features_ok
    assert np.linalg.norm(decision.context.namespaces["embedding"]) > 0.0
    assert sum(decision.prediction.pmf) == pytest.approx(1.0)
    assert min(decision.prediction.pmf) > 0.0
    assert decision.arms[0].features["queue_s"] == 0.0


async def test_when_the_edge_model_dies_the_cloud_answers_its_queries(router):
    routed = [await router.decide(query(f"Say {n}.")) for n in range(40)]
    drawn = next(one for one in routed if one.decision.arm == "edge")
    edge = router._backends["edge"]
    await edge.aclose()
    answer, _ = await router.complete(drawn)
    assert (answer.arm, answer.reason, answer.attempts) == ("cloud", "fallback", 2)
    assert (await router.decide(query("Say 41."))).decision.masked == {"edge": "unhealthy"}


async def test_an_abandoned_stream_frees_the_edge_model(router):
    asked = query("Write all the numbers from 1 to 500, one per line.", temperature=0)
    routed = await router.decide(asked, Wish("edge"))
    async with router.stream(routed) as (_, chunks):
        await anext(chunks)
        assert router._backends["edge"].load().running == 1
    assert router._backends["edge"].load().running == 0


async def test_thirty_votes_move_a_query_to_the_other_arm(router, log, make):
    learner = Learner(log, make, lambda: datetime.now(UTC), LearnerConfig(publish_s=0.0))
    holder = router._decider._holder
    text = "Write a limerick about a signal box."
    before = await pmf(router, text)
    worse = max(before, key=before.get)
    for n in range(30):
        routed = await router.decide(query(text))
        assert await router.write(routed)
        await log.add_feedback([judged(routed.decision, n, bad=worse)])
        await learner.step()
        await holder.refresh()
    after = await pmf(router, text)
    await learner.aclose()
    assert before[worse] >= 0.5 > after[worse]


async def pmf(router, text):
    prediction = (await router.decide(query(text))).decision.prediction
    return dict(zip(prediction.arms, prediction.pmf, strict=True))


def judged(decision, n, *, bad):
    value = 0.0 if decision.arm == bad else 1.0
    return Feedback(f"f{n}", decision.decision_id, "thumbs", value, "ann")


async def test_many_queries_at_once_all_get_their_own_answer(router, log):
    answers = await asyncio.gather(
        *(completed(router, query(f"What is {n} + 1?"), Wish("cloud")) for n in range(20))
    )
    said = [completion.body["choices"][0]["message"]["content"] for _, completion in answers]
    assert [str(n + 1) in text for n, text in enumerate(said)] == [True] * 20
