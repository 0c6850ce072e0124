"""What is believed while there are few votes."""

import json
from dataclasses import replace

import numpy as np
import pytest

from bandit.policies.beginning import NO_PULL, Pull, head_start
from bandit.policies.composed import ComposedPolicy
from bandit.policies.config import PolicyConfig
from bandit.primitives import Arm, Interaction, Judgement, Reward
from bandit.utility import PRESETS
from tests.makers import ARMS, context, decision

EDGE, CLOUD, CASCADE = (Arm(tier, tier, "m") for tier in ("edge", "cloud", "cascade"))


def taught(n, *, slope=1.0, noise=0.1, apart=0.1, seed=0, answers=10_000, corrected=True):
    """A pull after ``n`` votes that leave over ``slope`` of what was said, plus noise."""
    rng = np.random.default_rng(seed)
    pull = Pull(3)
    for _ in range(answers):
        pull.answered()
    for _ in range(n):
        said = apart * rng.standard_normal()
        left = slope * said + noise * rng.standard_normal()
        x = rng.standard_normal(3).astype(np.float32) + 5.0
        pull.note(x, apart=said, left=left)
        if corrected:
            pull.corrected()
    return pull


def test_the_cloud_begins_ahead_and_votes_end_that():
    ahead = [head_start(CLOUD, n, 1.0) for n in (0, 20, 180)]
    assert ahead == pytest.approx([0.15, 0.075, 0.015])
    assert head_start(EDGE, 0, 1.0) == head_start(CASCADE, 0, 1.0) == 0.0


def test_nobody_is_ahead_where_every_answer_is_voted_on():
    assert head_start(CLOUD, 1, 0.0) == 0.0
    assert head_start(CLOUD, 20, 0.4) == pytest.approx(0.4 * 0.075)


@pytest.mark.parametrize(
    ("votes", "answers", "lasting"), [(0, 0, 1), (0, 9, 1), (3, 4, 0.25), (5, 3, 0)]
)
def test_it_counts_the_answers_without_a_vote(votes, answers, lasting):
    assert taught(votes, answers=answers).lasting == lasting


def test_where_every_answer_is_voted_on_nothing_is_pulled():
    x = np.array([9.0, 5.0, -1.0], np.float32)
    assert taught(20, slope=-1.0, answers=20)(x) is x
    # 20 votes of what would be 250, were half of the answers to go without.
    assert taught(20, slope=-1.0, answers=40).slope == 20 / 250


def test_votes_that_leave_wrong_guesses_standing_do_not_end_the_doubt():
    pull = taught(20, slope=-1.0, answers=20, corrected=False)
    assert (pull.lasting, pull.slope) == (1.0, 20 / 500)


def test_before_any_vote_queries_do_not_differ():
    assert np.array_equal(Pull(3)(np.array([1.0, 2.0, 3.0], np.float32)), np.zeros(3))


def test_what_told_queries_apart_is_believed_soon():
    """200 votes, the last 100 of which count: a slope of 1 is known to .1 / (.1 √100) = .1, and
    shrunk by .1 / (100 · .01 + .1) = .09."""
    assert taught(200).slope > 1.0 - 0.09 - 4 * 0.1


def test_what_told_them_apart_wrongly_is_not():
    """As above, around 0; what is left is what 100 votes are worth by themselves, .2."""
    assert taught(100, slope=0.0).slope < 0.2 + 4 * 0.1
    assert taught(100, slope=-1.0).slope == pytest.approx(0.2, rel=0.02)


def test_a_query_is_pulled_to_the_mean_by_what_is_not_believed():
    pull = taught(300, slope=0.0)
    x = np.array([9.0, 5.0, -1.0], np.float32)
    assert pull(x) == pytest.approx(pull.mean + pull.slope * (x - pull.mean), abs=1e-5)
    assert pull.mean == pytest.approx([5.0] * 3, abs=0.3)


def test_after_five_hundred_votes_it_is_over():
    pull = taught(500, slope=-1.0)
    x = np.array([9.0, 5.0, -1.0], np.float32)
    assert pull.over
    assert pull(x) is x


def test_the_state_continues_exactly():
    first = taught(50)
    second = Pull(3, json.loads(json.dumps(first.state())))
    x = np.array([1.0, 2.0, 3.0], np.float32)
    for pull in (first, second):
        pull.note(x, apart=0.3, left=0.1)
    assert np.array_equal(first(x), second(x))
    assert first.state() == second.state()


def test_a_policy_that_was_saved_without_one_is_not_pulled():
    x = np.array([1.0, 2.0, 3.0], np.float32)
    assert Pull(3, NO_PULL)(x) is x


def ahead_after(*, votes, judgement=None, cost_price=0.0, answers=4):
    """How far the cloud is ahead for its tier after some answers, some of them voted on."""
    policy = ComposedPolicy(PolicyConfig("composed", {"bias": 1, "text": 3}))
    scenario = replace(PRESETS["balanced"], cost_price=cost_price)
    for i in range(answers):
        made = decision(scenario=scenario)
        policy.learn(Interaction(made, Reward(cost_usd=0.0, latency_s=1.0)))
        if i < votes:
            policy.learn(Interaction(made, Reward(quality=1.0), judgement=judgement))
    return policy.explain(context(), ARMS)["cloud"]["head_start"]


def test_a_policy_ends_the_doubt_by_what_people_say_of_its_answers():
    of_four = [ahead_after(votes=n) / head_start(CLOUD, n, 1.0) for n in (0, 1, 4)]
    assert of_four == pytest.approx([1.0, 0.75, 0.0])


def test_a_judge_or_a_price_of_money_leaves_the_doubt():
    full = pytest.approx(head_start(CLOUD, 4, 1.0))
    assert ahead_after(votes=4, judgement=Judgement("grader", score=1.0)) == full
    assert ahead_after(votes=4, cost_price=10.0) == full
    assert ahead_after(votes=4, judgement=Judgement(verdict=1.0)) == 0.0
