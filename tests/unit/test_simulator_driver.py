"""One run: what a policy is shown and taught, and that it repeats."""

import numpy as np
import pytest

from bandit.policies.baselines import MixPolicy
from bandit.policies.linear import LinearConfig, LinearPolicy
from simulator.callers import DriveConfig
from simulator.delay import Delay, parse_delay
from simulator.drift import NO_DRIFT, parse_plan
from simulator.driver import Driver
from simulator.environment import World
from simulator.errors import BadStudyError
from simulator.workload import EdgeQueue, even_arrivals, trace_arrivals
from tests import studies
from tests.studies import QUALITY

COLUMNS = ("arm", "propensity", "advantage", "quality", "cost_usd", "reward", "best")


class Recorder(MixPolicy):
    """Uniform, and remembers its lessons and what arms it was shown."""

    def __init__(self):
        super().__init__()
        self.lessons, self.shown = [], []

    def predict(self, context, arms, scenario):
        self.shown.append(arms)
        return super().predict(context, arms, scenario)

    def learn(self, interaction):
        self.lessons.append((len(self.shown), interaction))


def drive(policy, *events, n=200, seed=0, arrivals=None, **options):
    plan = parse_plan({"events": list(events)}, source="here", rounds=n) if events else NO_DRIFT
    made = studies.study(n)
    world = World(made.table, plan, n_arms=2, rounds=n, seed=seed)
    config = DriveConfig(QUALITY, seed=seed, edge_queue=arrivals is not None, **options)
    times = even_arrivals(n) if arrivals is None else arrivals
    driver = Driver(world, policy, config, contexts=made.bank.contexts(), arrivals=times)
    return driver.run()


def qualities(policy):
    return [(at, i) for at, i in policy.lessons if i.reward.quality is not None]


def test_the_same_seed_gives_the_same_run_bit_for_bit():
    one, two = (drive(LinearPolicy(LinearConfig("ts"))) for _ in range(2))
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    other = drive(LinearPolicy(LinearConfig("ts")), seed=1)
    assert (one.quality != other.quality).any()


def test_every_answer_teaches_cost_and_every_vote_quality():
    policy = Recorder()
    trace = drive(policy)
    costs = [i for _, i in policy.lessons if i.reward.cost_usd is not None]
    assert len(costs) == len(qualities(policy)) == 200
    taught = [i.reward.quality for _, i in qualities(policy)]
    np.testing.assert_allclose(taught, trace.quality, rtol=1e-6)
    assert {i.decision.propensity for i in costs} == {0.5}


def test_a_fixed_delay_is_counted_in_rounds():
    policy = Recorder()
    drive(policy, feedback_delay=Delay(30))
    lags = {at - int(i.decision.decision_id) for at, i in qualities(policy)}
    assert lags == {30}
    assert len(qualities(policy)) == 170


def test_a_delay_in_seconds_follows_the_clock():
    policy = Recorder()
    drive(policy, feedback_delay=Delay(10.0, "s"), arrivals=even_arrivals(200, per_s=0.5))
    assert {at - int(i.decision.decision_id) for at, i in qualities(policy)} == {5}


def test_an_exponential_delay_has_its_mean():
    rng = np.random.default_rng(0)
    draws = [parse_delay("exp:50").draw(rng) for _ in range(4000)]
    # Standard error 50 / sqrt(4000) = 0.8; four of them.
    assert np.mean(draws) == pytest.approx(50, abs=3.2)


def test_only_a_share_of_answers_is_judged():
    policy = Recorder()
    drive(policy, n=2000, feedback_rate=0.1)
    # Binomial(2000, .1): sd 13.4; four of them.
    assert len(qualities(policy)) == pytest.approx(200, abs=54)


def test_noise_and_bias_change_votes_not_results():
    policy, calm = Recorder(), drive(Recorder())
    trace = drive(policy, judge_noise=0.05, judge_bias=0.1)
    np.testing.assert_array_equal(trace.quality, calm.quality)
    said = np.array([i.reward.quality for _, i in qualities(policy)]) - trace.quality
    # Mean of 200 with sd .05, and a little clipping at 1.
    assert said.mean() == pytest.approx(0.1, abs=0.02)
    assert said.std() > 0.03


def test_a_lying_source_is_averaged_with_the_judge():
    policy = Recorder()
    trace = drive(policy, {"kind": "poison", "arm": "edge", "share": 1.0, "value": 1.0})
    for at, i in qualities(policy):
        truth = float(trace.quality[at - 1])
        expected = (truth + 1.0) / 2 if i.decision.arm == "edge" else truth
        assert i.reward.quality == pytest.approx(expected, rel=1e-5)


def test_after_a_failure_another_arm_answers_and_nothing_is_learned():
    policy = Recorder()
    trace = drive(policy, {"kind": "outage", "arm": "cloud"})
    assert (trace.arm == 0).all()
    assert {i.decision.arm for _, i in policy.lessons} == {"edge"}
    # The failed call's time is on top.
    assert trace.latency_s.max() == pytest.approx(3.0)


def test_when_every_arm_fails_the_round_is_worth_nothing():
    trace = drive(Recorder(), {"kind": "outage", "arm": "cloud"}, {"kind": "outage", "arm": "edge"})
    assert (trace.quality == 0.0).all()
    assert (trace.reward == 0.0).all()
    assert (trace.cost_usd == 0.0).all()


def test_retired_arms_and_new_prices_are_seen_at_once():
    policy = Recorder()
    drive(
        policy,
        {"kind": "retire", "arm": "edge", "start": 77, "end": 79},
        {"kind": "price", "arm": "cloud", "times": 0.5, "start": 101},
    )
    assert [len(arms) for arms in policy.shown[76:80]] == [2, 1, 1, 2]
    before, after = (policy.shown[t][1].price_in for t in (100, 101))
    assert after == pytest.approx(before / 2)


def test_a_busy_edge_makes_queries_wait_and_then_refuses_them():
    # Each answer takes 1 s and four come a second: the queue grows until its limit.
    policy = MixPolicy({"edge": 1.0})
    trace = drive(policy, n=200, arrivals=even_arrivals(200, per_s=4.0))
    assert trace.latency_s[0] == pytest.approx(1.0)
    assert trace.latency_s[10] == pytest.approx(1.0 + 10 * 0.75)
    assert (trace.arm[60:] == 1).any()
    limit = EdgeQueue().limit_s + 1.0
    assert trace.latency_s[trace.arm == 0].max() <= limit + 1e-5


def test_a_trace_is_repeated_until_there_are_enough_rounds(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text("t_s\n5\n6\n8\n")
    times = trace_arrivals(path, 5, speed=2.0)
    np.testing.assert_allclose(times, np.array([0, 1, 3, 4.5, 5.5]) / 2)


@pytest.mark.parametrize("text", ["", "fifty", "-3", "exp:", "5m"])
def test_a_delay_that_is_none_is_refused(text):
    with pytest.raises(BadStudyError, match="--feedback-delay"):
        parse_delay(text)


def test_linear_bandits_find_what_the_context_decides():
    """Always the better arm is worth .65, a fixed one .55, on a gap of .5 and noise of .05."""
    for explore in ("ucb", "ts"):
        trace = drive(LinearPolicy(LinearConfig(explore)), n=1000)
        late = trace.window(500, 1000)
        assert late.quality.mean() > 0.5 * (late.best.mean() + late.cloud_quality.mean())
