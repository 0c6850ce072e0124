"""What drift handling finds, does and costs: seeded, each threshold derived in its test."""

from dataclasses import replace

import numpy as np
import pytest

from bandit.drift import Detector, DetectorConfig
from bandit.policies.composed import ComposedPolicy
from bandit.policies.config import PolicyConfig
from bandit.policies.factory import make_policy
from bandit.primitives import Decision
from feedback.joiner import lesson
from feedback.log import LogEvent, LoggedDecision
from feedback.outcome import Feedback, Outcome
from simulator.callers import DriveConfig
from simulator.drift import parse_plan
from simulator.driver import Driver
from simulator.environment import World as SimulatedWorld
from simulator.workload import even_arrivals
from tests import studies
from tests.drifting import CLOUD, EDGE, SCHEMA, START, THIRD, World, at

pytestmark = pytest.mark.statistical


def scores(rng, n, mean):
    """Judged scores as real models get them: most near 1, a long tail below; mean .92, sd .11."""
    return np.clip(1.0 - rng.gamma(0.55, 0.145, n) + (mean - 0.92), 0.0, 1.0)


def wait(detector, values):
    return next((n for n, v in enumerate(values, 1) if detector.update(float(v))), None)


def test_at_most_one_run_in_a_hundred_of_2000_pulls_has_a_false_alarm():
    """If that share were .01, four or more of 80 runs would have one with probability .009
    (binomial); the study with 600 runs is a command of the documentation."""
    alarms = 0
    for seed in range(80):
        rng = np.random.default_rng([seed, 0])
        alarms += wait(Detector(DetectorConfig()), scores(rng, 2000, 0.92) - 0.92) is not None
    assert alarms < 4


def test_a_drop_from_92_to_75_is_found_within_30_judged_pulls():
    """The median of 60 waits: if the true median were 30, all sixty medians of such samples would
    scatter around it; below 25 is what a median of 17 (the study's) gives with certainty."""
    waits = []
    for seed in range(60):
        rng = np.random.default_rng([seed, 1])
        detector = Detector(DetectorConfig())
        wait(detector, scores(rng, 300, 0.92) - 0.92)
        waits.append(wait(detector, scores(rng, 600, 0.75) - 0.92) or 600)
    assert np.median(waits) < 25


def test_a_broken_arm_is_left_within_60_rounds_and_found_again():
    """Before the drop the cloud is .17 better, after it .15 worse. An arm that is .15 worse than
    the other, with a typical gap of about that, is drawn in 1 / (2 + 20) of rounds, or the tenth
    that a watch adds at most: below 20 % with four standard errors of sqrt(.1 * .9 / 240)."""
    world = World(seed=1)
    before, _ = world.run(500)
    world.means["cloud"] = 0.6
    world.run(60)
    broken, _ = world.run(240)
    assert ("quality", "cloud") in world.kinds()
    assert np.mean(broken == "cloud") < 0.2
    world.means["cloud"] = 0.92
    world.run(250)
    after, _ = world.run(200)
    assert np.mean(before[-200:] == "cloud") > 0.8
    assert np.mean(after == "cloud") > 0.8


def test_an_arm_that_only_thumbs_judge_is_left_when_it_breaks():
    """From .92 to .5 the detector alone takes 22 votes, 32 in nine of ten runs; the arm has nearly
    all of these 120 rounds until then. The same policy, restored on the way, goes the same way."""
    world = World(seed=2, thumbs=True)
    world.run(400)
    assert world.kinds() == []
    world.means["cloud"] = 0.5
    world.run(20)
    twin = make_policy(world.policy.config)
    twin.restore(world.policy.snapshot())
    other = replace(world, policy=twin)
    other.rng.bit_generator.state = world.rng.bit_generator.state
    drawn, _ = world.run(100)
    assert drawn.tolist() == other.run(100)[0].tolist()
    assert ("quality", "cloud") in world.kinds()
    assert not any(record.graded for record in world.policy._lookout.records)
    world.thumbs = False
    world.run(60)
    assert all(record.graded for record in world.policy._lookout.records)


def test_an_explanation_names_the_drift_and_sums_to_the_quality():
    """The prior is .7, the sums are of float32: six digits."""
    world = World(seed=1)
    world.run(400)
    world.means["cloud"] = 0.6
    world.run(80)
    probe = at(np.random.default_rng(0))
    shifted = tuple(replace(arm, features={"quality_shift": 0.03}) for arm in world.arms)
    shares = world.policy.explain(probe, shifted)
    estimates = world.policy.predict(probe, shifted, world.scenario).estimates
    sums = [0.7 + sum(adds.values()) for adds in shares.values()]
    assert sums == pytest.approx([e.quality for e in estimates], abs=1e-5)
    assert shares["cloud"]["drift"] < -0.05


def test_without_drift_handling_the_broken_arm_stays_much_longer():
    """The same world, the policy without: what the handling is for."""
    shares = {}
    for drift in (True, False):
        world = World(1, make_policy(PolicyConfig("composed", SCHEMA, drift=drift)))
        world.run(800)
        world.means["cloud"] = 0.6
        drawn, _ = world.run(200)
        shares[drift] = np.mean(drawn == "cloud")
    assert shares[True] < 0.6 * shares[False]


def test_a_good_new_arm_is_adopted_within_142_rounds_after_some_twenty_even_draws():
    """Until it has twenty votes the new arm has probability 1/3: 60 rounds on average, with a
    standard deviation of sqrt(20 * (2/3)) * 3 = 11; then it is better by .05 on average."""
    world = World(seed=2)
    world.means["cloud"] = 0.85
    world.run(400)
    world.arms = (EDGE, CLOUD, THIRD)
    drawn, seen = world.run(142)
    third = [p.propensity("third") for p in seen]
    forced = int(np.flatnonzero(np.cumsum(drawn == "third") == 20)[0])
    assert third[0] == pytest.approx(1 / 3)
    assert min(third[: forced + 1]) >= 1 / 3 - 1e-9
    settled, _ = world.run(100)
    assert np.mean(settled == "third") > 0.5


def test_another_digest_counts_at_the_next_query_and_is_told_once():
    world = World(seed=3)
    world.run(400)
    probe = at(np.random.default_rng(0))
    known = world.policy.predict(probe, world.arms, world.scenario)
    world.change("cloud", digest="c2")
    fresh = world.policy.predict(probe, world.arms, world.scenario)
    assert fresh.propensity("cloud") >= 0.5
    assert abs(fresh.estimates[1].quality - known.estimates[1].quality) > 0.01
    world.run(150)
    assert world.kinds().count(("digest", "cloud")) == 1


def test_a_digest_that_comes_back_is_known_at_once():
    """What was learned of it is kept under it: a roll-back costs nothing."""
    world = World(seed=3)
    world.run(400)
    probe = at(np.random.default_rng(0))
    world.change("cloud", digest="c2")
    world.run(100)
    before = world.policy.predict(probe, (EDGE, CLOUD), world.scenario).estimates[1].quality
    assert before == pytest.approx(0.92, abs=0.06)


def test_an_arm_may_change_its_digest_any_number_of_times():
    """Two digests are kept of it; blocks of weights are few."""
    world = World(seed=3)
    for i in range(40):
        world.change("cloud", digest=f"c{i}")
        world.run(12)
    assert len(world.policy.alarms) > 10
    assert len(world.policy._oracles.blocks.arms) == 3
    probe = at(np.random.default_rng(0))
    world.change("cloud", digest="another")
    twin = make_policy(PolicyConfig("composed", SCHEMA))
    twin.restore(world.policy.snapshot())
    one, two = (p.predict(probe, world.arms, world.scenario) for p in (world.policy, twin))
    assert one.pmf == two.pmf


def test_a_block_that_is_given_away_has_forgotten_everything():
    """The third digest is met as a new arm would be: nothing of the first is in its estimate."""
    world = World(seed=3)
    probe = at(np.random.default_rng(0))
    world.run(200)
    oracles = world.policy._oracles
    oracles.give_away(world.policy._block(CLOUD), replace(CLOUD, digest="another"))
    block = oracles.blocks.of("cloud another")
    x = world.policy._layout.flatten(probe)
    for model in (oracles._difference, oracles._mirrored):
        assert model.predict(x, block) == 0.0
        assert model.predict_latest(x, block) == 0.0


def test_another_price_is_told_once():
    world = World(seed=4)
    world.run(150)
    world.change("cloud", price_in=0.1, price_out=0.1)
    world.run(60, cost_usd=0.0001)
    assert world.kinds().count(("price", "cloud")) == 1


@pytest.mark.parametrize(
    ("kind", "now"), [("latency", {"latency_s": 4.0}), ("cost", {"cost_usd": 0.004})]
)
def test_a_fourfold_bill_or_wait_is_found_and_expected(kind, now):
    world = World(seed=5)
    world.run(300)
    world.run(150, **now)
    assert (kind, "cloud") in world.kinds()


def test_other_queries_are_told_and_change_no_arm():
    world = World(seed=6)
    world.run(1000)
    assert ("mix", None) not in world.kinds()
    world.run(400, mix=1.0)
    assert ("mix", None) in world.kinds()
    assert not any(record.hope for record in world.policy._lookout.records)


def test_a_vote_that_comes_late_is_not_taken_for_a_second_drop():
    """Votes on queries from before an alarm are measured against the models of now."""
    world = World(seed=7)
    world.run(400)
    world.means["cloud"] = 0.7
    world.run(300)
    assert world.kinds().count(("quality", "cloud")) <= 2


def test_alarms_and_a_watch_outlive_a_restart():
    world = World(seed=1)
    world.run(500)
    world.means["cloud"] = 0.6
    world.run(100)
    twin = make_policy(PolicyConfig("composed", SCHEMA))
    twin.restore(world.policy.snapshot())
    assert twin.alarms == world.policy.alarms != ()
    copy = World(9, twin, means=world.means, n=world.n)
    world.rng = np.random.default_rng(9)
    (_, one), (_, two) = world.run(200), copy.run(200)
    assert [p.pmf for p in two] == [p.pmf for p in one]


def test_the_same_log_raises_the_same_alarms_under_the_same_ids():
    ids = []
    for _ in range(2):
        world = World(seed=1)
        world.run(400)
        world.means["cloud"] = 0.6
        world.run(100)
        ids.append([alarm.alarm_id for alarm in world.policy.alarms])
    assert ids[0] == ids[1]
    assert all(name.endswith(":quality:cloud") for name in ids[0])
    assert len(set(ids[0])) == len(ids[0]) > 0


def test_answers_of_a_fallback_arm_in_an_outage_move_nothing():
    """Ten minutes of 503, a query a second: every answer comes from another arm than the one
    drawn, and is no lesson. Probabilities after it are those before it, to the last bit."""
    world = World(seed=8)
    world.run(400)
    probes = [at(np.random.default_rng(i)) for i in range(20)]
    before = [world.policy.predict(probe, world.arms, world.scenario) for probe in probes]
    lessons = [outage_lesson(world, i) for i in range(600)]
    assert lessons == [None] * 600
    after = [world.policy.predict(probe, world.arms, world.scenario) for probe in probes]
    gaps = [abs(a - b) for p, q in zip(before, after, strict=True)
            for a, b in zip(p.pmf, q.pmf, strict=True)]  # fmt: skip
    assert max(gaps) <= 0.01


def outage_lesson(world, i):
    """What the joiner makes of a decision for the cloud that the edge answered; learned, if any."""
    context = at(world.rng)
    prediction = world.policy.predict(context, world.arms, world.scenario)
    decision = Decision(
        f"o{i}", context, world.arms, world.scenario, prediction, "cloud",
        prediction.propensity("cloud"), "policy", START,
    )  # fmt: skip
    outcome = Outcome(f"o{i}", "edge", "small", 9.0, cost_usd=0.001, cost_source="usage")
    vote = (2, Feedback("v", f"o{i}", "judge", 0.4, "judge"))
    found = None
    for position, kind in ((1, "outcome"), (2, "feedback")):
        event = LogEvent(position, kind, LoggedDecision(decision), outcome, 1, (vote,))
        interaction = lesson(event, position=position, as_of=2)
        if interaction is not None:
            world.policy.learn(interaction)
            found = interaction
    return found


class Listener(ComposedPolicy):
    """Remembers its arms; one that is deaf hears nothing of the cloud from round 400 on."""

    deaf, asked, arms = False, 0, ()

    def predict(self, context, arms, scenario):
        self.asked, self.arms = self.asked + 1, arms
        return super().predict(context, arms, scenario)

    def learn(self, interaction):
        if not self.deaf or self.asked <= 400 or interaction.decision.arm != "cloud":
            super().learn(interaction)


def test_ten_minutes_of_a_failing_cloud_are_as_if_nobody_had_spoken_of_it():
    """Both runs learn alike from what the edge answers when drawn; all that the outage adds is 600
    rounds of failures and of answers that another arm gave, and that must move nothing."""
    made = studies.study(1000)
    contexts = made.bank.contexts()
    config = PolicyConfig(schema={name: len(v) for name, v in contexts[0].namespaces.items()})
    outage = [{"kind": "outage", "arm": "cloud", "start": 400, "end": 1000}]
    probabilities = []
    for deaf, events in ((False, outage), (True, [])):
        plan = parse_plan({"events": events}, source="here", rounds=1000)
        world = SimulatedWorld(made.table, plan, n_arms=2, rounds=1000, seed=3)
        arrivals, drive = even_arrivals(1000), DriveConfig(studies.QUALITY, seed=3)
        policy = Listener(config)
        policy.deaf = deaf
        trace = Driver(world, policy, drive, contexts=contexts, arrivals=arrivals).run()
        seen = [policy.predict(c, policy.arms, studies.QUALITY).pmf for c in contexts[:40]]
        probabilities.append(np.array(seen))
        assert (trace.arm[400:] == 0).all() == bool(events)
    np.testing.assert_allclose(*probabilities, atol=0.01)
