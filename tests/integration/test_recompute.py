"""Every logged pmf can be computed again from what is stored."""

import asyncio

import numpy as np

from bandit.policies.config import PolicyConfig
from bandit.policies.factory import make_policy
from bandit.primitives import Context
from feedback.outcome import Feedback
from feedback.sql import SqlDecisionLog
from feedback.writer import DecisionWriter
from serving.learner import Learner, LearnerConfig
from serving.snapshots import PolicyHolder, load_snapshot
from tests.scripted import GATED, NOW, ScriptedBackend, make_router, query

SWAPS, A_SWAP = 20, 50
SIZES = {"bias": 1, "embedding": 24, "text": 6}


class HashedFeaturizer:
    """Features drawn with the query's text as the seed."""

    schema_version = "hashed-1"
    schema = {name: tuple(map(str, range(n))) for name, n in SIZES.items()}  # noqa: RUF012 - never changed

    def featurize(self, query):
        rng = np.random.default_rng(list(query.messages[0]["content"].encode()))
        return Context(
            {name: rng.normal(0.0, 0.5, n).astype(np.float32) for name, n in SIZES.items()},
            self.schema_version,
        )


def fresh():
    return make_policy(PolicyConfig(schema=SIZES))


async def ask(router, text):
    answer, _ = await router.complete(await router.decide(query(text)))
    return answer


def judged(answer, n):
    decision = answer.routed.decision
    # Edge is good at one half of the queries, cloud at the other.
    good = (decision.context.namespaces["embedding"][0] > 0) == (decision.arm == "edge")
    return Feedback(f"f{n}", decision.decision_id, "judge", 0.9 if good else 0.2, "grader")


async def test_pmfs_of_1000_decisions_over_20_swaps_equal_the_logged_ones(dsn):
    log = SqlDecisionLog(dsn, clock=lambda: NOW)
    holder, writer = PolicyHolder(log, fresh), DecisionWriter(log)
    learner = Learner(
        SqlDecisionLog(dsn, clock=lambda: NOW), fresh, lambda: NOW, LearnerConfig(publish_s=0.0)
    )
    backends = (ScriptedBackend("edge"), ScriptedBackend("cloud"))
    router = make_router(
        *backends, holder=holder, log=log, writer=writer, featurizer=HashedFeaturizer()
    )
    for swap in range(SWAPS):
        await learner.step()
        assert await holder.refresh()
        first = swap * A_SWAP
        answers = await asyncio.gather(*(ask(router, f"q{first + n}") for n in range(A_SWAP)))
        await log.add_feedback([judged(answer, first + n) for n, answer in enumerate(answers)])
    await router.aclose()

    logged = {event.logged.decision.decision_id: event.logged for event in await log.read(0, 9999)}
    decisions = [one.decision for one in logged.values()]
    versions = {decision.prediction.policy_version for decision in decisions}
    policies = {name: load_snapshot(await log.get_snapshot(name), fresh) for name in versions}
    await learner.aclose()
    await log.aclose()

    assert (len(decisions), len(versions)) == (SWAPS * A_SWAP, SWAPS)
    assert max(abs(a - b) for d in decisions for a, b in pmfs(d, policies)) <= 1e-6
    assert all(d.propensity == d.prediction.propensity(d.arm) for d in decisions)
    # The pmf followed query and snapshot, or all this would prove little.
    assert len({round(d.prediction.pmf[0], 3) for d in decisions}) > 100


def pmfs(decision, policies):
    policy = policies[decision.prediction.policy_version]
    again = policy.predict(decision.context, decision.arms, decision.scenario)
    return zip(again.pmf, decision.prediction.pmf, strict=True)


async def test_pmfs_of_both_stages_of_cascades_equal_the_logged_ones(dsn):
    log = SqlDecisionLog(dsn, clock=lambda: NOW)
    holder, writer = PolicyHolder(log, fresh), DecisionWriter(log)
    learner = Learner(
        SqlDecisionLog(dsn, clock=lambda: NOW), fresh, lambda: NOW, LearnerConfig(publish_s=0.0)
    )
    router = make_router(
        *(ScriptedBackend("edge"), ScriptedBackend("cloud")),
        holder=holder,
        log=log,
        writer=writer,
        featurizer=HashedFeaturizer(),
        specs=GATED,
    )
    for swap in range(6):
        await learner.step()
        assert await holder.refresh()
        first = swap * A_SWAP
        answers = await asyncio.gather(*(ask(router, f"q{first + n}") for n in range(A_SWAP)))
        # The gate's own lessons need outcomes, which are written a little later.
        await asyncio.gather(*(answer.outcome for answer in answers))
        await log.add_feedback([judged(answer, first + n) for n, answer in enumerate(answers)])
    await router.aclose()

    events = await log.read(0, 9999)
    decisions = {e.logged.decision.decision_id: e.logged.decision for e in events}
    gatings = {e.logged.decision.decision_id: e.outcome.gating for e in events if e.outcome}
    gated = [(decisions[name], gating) for name, gating in gatings.items() if gating is not None]
    versions = {d.prediction.policy_version for d in decisions.values()}
    versions |= {gating.prediction.policy_version for _, gating in gated}
    policies = {name: load_snapshot(await log.get_snapshot(name), fresh) for name in versions}
    await learner.aclose()
    await log.aclose()

    assert (len(decisions), len(gatings)) == (6 * A_SWAP, 6 * A_SWAP)
    assert {gating.verdict for _, gating in gated} == {"accept", "escalate"}
    assert not any(gating.forced for _, gating in gated)
    both = [pair for d in decisions.values() for pair in pmfs(d, policies)]
    both += [pair for d, gating in gated for pair in gate_pmfs(d, gating, policies)]
    assert max(abs(a - b) for a, b in both) <= 1e-6
    assert all(g.propensity == g.prediction.propensity(g.verdict) for _, g in gated)
    assert len({round(g.prediction.pmf[0], 3) for _, g in gated}) > 20


def gate_pmfs(decision, gating, policies):
    arms = {arm.arm_id: arm for arm in decision.arms}
    policy = policies[gating.prediction.policy_version]
    parts = (arms[gating.edge], arms[gating.cloud])
    again = policy.gate(decision.context, *parts, decision.scenario, gating.signals)
    return zip(again.pmf, gating.prediction.pmf, strict=True)
