"""Objectives over a real Postgres: servers agree, a restart continues, slow arms lose traffic."""

import numpy as np
import pytest

from bandit.objectives import LatencyObjective, QualityFloor
from bandit.policies.config import PolicyConfig
from bandit.policies.factory import make_policy
from bandit.primitives import Arm, Decision, Estimate, Interaction, Prediction, Reward
from bandit.utility import Scenario
from feedback.engine import LogConfig
from feedback.log import LoggedDecision
from feedback.sql import SqlDecisionLog
from feedback.sql_ledger import SqlLedger
from serving.steering import ObjectiveBoard
from tests.makers import NOW, Clock, context, logged, outcome, vote

ARMS = (Arm("edge", "edge", "small", 0.0, 0.0), Arm("cloud", "cloud", "large", 1.0, 3.0))
ASKED = Scenario("asked", 1.0, 0.0, 0.0)
SLO_S = 4.0


@pytest.fixture
async def ledger(dsn):
    made = SqlLedger(dsn, config=LogConfig(n_connections=4))
    yield made
    await made.aclose()


@pytest.fixture
async def log(dsn):
    made = SqlDecisionLog(dsn, clock=Clock())
    yield made
    await made.aclose()


def board(ledger, *, p95_latency_s=SLO_S, quality=0.7):
    return ObjectiveBoard(
        LatencyObjective(p95_latency_s), QualityFloor(quality), ledger, metrics=("thumbs", "judge")
    )


def prices(of):
    return {aim.name: (aim.price, aim.balance, aim.position) for aim in of.aims()}


async def answer(log, names, *, latency_s=1.0, priced=ASKED, reason="policy"):
    """Decisions between a quick arm and a slow, better one, and their outcomes."""
    said = (Estimate(0.6, 0.0, 1.0, 0.6), Estimate(0.8, 0.002, 6.0, 0.8))
    prediction = Prediction(("edge", "cloud"), (0.5, 0.5), "v", said)
    more = {"arms": ARMS, "prediction": prediction, "scenario": priced, "reason": reason}
    await log.add_decisions([logged(n, arm="cloud", **more) for n in names])
    await log.add_outcomes([outcome(n, arm="cloud", latency_s=latency_s) for n in names])


async def judge(log, names, value, **changes):
    await log.add_feedback([vote(n, value, metric="judge", **changes) for n in names])


def named(first, last):
    return [f"d{n}" for n in range(first, last)]


async def test_servers_that_share_a_log_arrive_at_the_same_prices(log, ledger):
    """However the log is cut into looks."""
    one, two = board(ledger), board(ledger)
    await one.advance()
    await two.advance()
    await answer(log, named(0, 80), latency_s=6.0)
    await judge(log, named(0, 40), 0.5)
    await one.advance()
    await answer(log, named(80, 150), latency_s=1.0)
    await judge(log, named(40, 120), 0.9)
    assert await one.advance() == 70 + 80
    assert await two.advance() == 150 + 120
    assert prices(one) == prices(two)
    assert one.priced(ASKED) == two.priced(ASKED)
    assert one.priced(ASKED).latency_slo_s == SLO_S


async def test_a_server_that_starts_anew_continues_both_pacers(log, ledger):
    one = board(ledger)
    await one.advance()
    await answer(log, named(0, 100), latency_s=6.0)
    await judge(log, named(0, 100), 0.5)
    await one.advance()
    await one.keep()
    await answer(log, named(100, 120))
    await judge(log, named(100, 120), 0.9)
    again = board(ledger)
    assert await again.advance() == 40
    await one.advance()
    assert prices(again) == prices(one)
    late = dict(prices(one))["p95_latency_s"]
    assert late[1] == pytest.approx(120 * 0.05 - 100)


async def test_the_state_of_another_objective_is_not_continued(log, ledger):
    one = board(ledger)
    await one.advance()
    await answer(log, named(0, 50), latency_s=6.0)
    await one.advance()
    await one.keep()
    other = board(ledger, p95_latency_s=2 * SLO_S)
    await other.advance()
    price, balance, position = prices(other)["p95_latency_s"]
    assert (price, balance) == (pytest.approx(1.0), 0.0)
    assert position == prices(one)["p95_latency_s"][2]


async def test_an_answer_is_judged_once_for_the_floor(log, ledger):
    """Not again when it is judged anew; not at all by a metric that counts for nothing."""
    one = board(ledger)
    await one.advance()
    await answer(log, named(0, 3))
    await judge(log, ["d0"], 0.2)
    await judge(log, ["d0"], 0.9, source="another")
    await log.add_feedback([vote("d1", 4, metric="rating"), vote("d2", 1)])
    assert await one.advance() == 3 + 2
    assert await one.advance() == 0


async def test_a_pin_is_counted_though_it_says_nothing_of_draws(log, ledger):
    one = board(ledger)
    await one.advance()
    before = prices(one)
    await answer(log, named(0, 70), latency_s=9.0, reason="pin")
    await one.advance()
    price, balance, _ = prices(one)["p95_latency_s"]
    assert price == before["p95_latency_s"][0]
    assert balance == pytest.approx(70 * 0.05 - 70)


async def test_a_slow_arm_loses_its_share_once_latency_is_over_the_objective(log, ledger):
    """The better arm answers in a second, then in eight; the objective is four.

    Late answers are one in twenty at most, so its share must fall below .1 but for exploration;
    every pmf that was drawn from comes out again under the logged scenario.
    """
    rng = np.random.default_rng(0)
    schema = {"bias": 1, "text": 3}
    policy = make_policy(PolicyConfig(schema=schema, gamma_votes=0, newcomer=0, drift=False))
    made = ObjectiveBoard(LatencyObjective(SLO_S), None, ledger, metrics=())
    await made.advance()

    async def live(batch, cloud_s):
        seen = context(x=rng.standard_normal(3))
        scenario = made.priced(ASKED)
        prediction = policy.predict(seen, ARMS, scenario)
        lessons = []
        for n in range(16):
            j = int(rng.choice(2, p=prediction.pmf))
            arm, p = prediction.arms[j], prediction.pmf[j]
            choice = Decision(
                f"{batch}-{n}", seen, ARMS, scenario, prediction, arm, p, "policy", NOW
            )
            quality, latency_s = (0.9, cloud_s) if arm == "cloud" else (0.6, 0.5)
            latency_s *= rng.lognormal(0.0, 0.1)
            known = Reward(quality, 0.0, latency_s, quality)
            lessons.append(Interaction(choice, known))
        await log.add_decisions(
            [LoggedDecision(one.decision, "chat", "", "hash", None) for one in lessons]
        )
        await log.add_outcomes(
            [
                outcome(
                    one.decision.decision_id,
                    arm=one.decision.arm,
                    latency_s=one.reward.latency_s,
                    cost_usd=0.0,
                )
                for one in lessons
            ]
        )
        stored = (await log.get(f"{batch}-0")).logged.decision
        again = policy.predict(stored.context, stored.arms, stored.scenario)
        assert again.pmf == stored.prediction.pmf == prediction.pmf
        for one in lessons:
            policy.learn(one)
        await made.advance()
        return prediction.propensity("cloud")

    quick = [await live(f"quick{n}", 1.0) for n in range(25)]
    slow = [await live(f"slow{n}", 8.0) for n in range(25)]
    assert np.mean(quick[-8:]) > 0.8
    assert np.mean(slow[-8:]) < 0.1
    untouched = policy.predict(context(), ARMS, ASKED)
    assert untouched.propensity("cloud") > 0.8
