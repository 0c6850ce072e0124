"""Yardsticks, the roster, warm starts and the peer."""

import numpy as np
import pytest

from simulator.engine import Task, run_task
from simulator.errors import BadStudyError
from simulator.labels import split_labels
from simulator.references import StaticByDomain, best_threshold
from simulator.roster import ROSTER, cast, default_labels, parse_label
from simulator.study import WarmStart
from tests import studies


def late(label, made=None, **options):
    """Measures of the second half of one run."""
    made = made or studies.study(600, **options)
    return run_task(made, Task(label, 0), made.bank.contexts()).windows["halves"][1]


@pytest.mark.parametrize("label", [name for name in ROSTER if name != "random"])
def test_every_policy_of_the_roster_runs(label):
    found = late(label, studies.study(120, cascade=label == "always-cascade"))
    assert 0.0 <= found["quality"] <= 1.0
    assert sum(found["share"].values()) == pytest.approx(1.0)


def test_fixed_arms_and_random_rank_at_chance():
    for label in ("always-edge", "always-cloud", "random"):
        assert late(label)["apgr"] == pytest.approx(0.5)


def test_the_oracle_has_no_regret_and_ranks_best():
    oracle = late("oracle")
    assert oracle["regret"] == pytest.approx(0.0, abs=1e-6)
    assert oracle["apgr"] > late("ridge-full")["apgr"] > 0.8


def test_full_information_beats_what_is_fixed():
    fixed = max(late("always-edge")["reward"], late("always-cloud")["reward"])
    assert late("ridge-full")["reward"] > fixed + 0.05
    assert late("threshold")["reward"] > fixed + 0.05


def test_a_static_router_knows_only_the_domain():
    # In the made world the domain says nothing: the static router is the better fixed arm.
    assert late("static-domain")["reward"] == pytest.approx(
        late("always-cloud")["reward"], abs=0.03
    )


def test_yardsticks_are_fitted_on_rows_of_the_other_half():
    made = studies.study(100)
    order = made.world(0).survey().order
    first, second = made.fit_sets(order)
    np.testing.assert_array_equal(first.features[:, :4], made.bank.matrix[np.sort(order[50:])])
    np.testing.assert_array_equal(second.features[:, :4], made.bank.matrix[np.sort(order[:50])])


def test_stated_rows_are_used_for_both_halves():
    made = studies.study(100)
    fit = made.rows_to_fit(np.arange(10))
    fixed = studies.study(100, fit=fit)
    assert fixed.fit_sets(made.world(0).survey().order) == (fit, fit)


def test_the_threshold_is_the_best_on_its_rows():
    rewards = np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    assert 0.1 < best_threshold(np.array([0.9, 0.5, 0.1]), rewards) < 0.5
    never = best_threshold(np.array([0.9, 0.5]), np.array([[1.0, 0.0], [1.0, 0.0]]))
    assert never > 0.9


def test_a_domain_never_seen_gets_the_overall_best():
    made = studies.study(50)
    fit = made.rows_to_fit(np.arange(20))
    policy = StaticByDomain("static-domain", made.arms, fit)
    policy._domain = 99
    arms = [type("A", (), {"arm_id": name})() for name in made.arms]
    assert policy.predict(None, arms, None).pmf == (0.0, 1.0)


def test_labels_carry_settings():
    assert parse_label("composed[gamma=30]") == ("composed", {"gamma": "30"})
    assert split_labels("linucb, composed[gamma=1,floor=0.1],linucb") == (
        "linucb",
        "composed[gamma=1,floor=0.1]",
    )


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("composd", "did you mean 'composed'"),
        ("composed[gama=3]", "did you mean 'gamma'"),
        ("composed[gamma=many]", "is not a number"),
        ("oracle[x=1]", "has no settings"),
    ],
)
def test_a_bad_label_says_what_is_valid(label, expected):
    with pytest.raises(BadStudyError) as caught:
        late(label, studies.study(20))
    assert expected in str(caught.value)


def test_settings_reach_the_policy():
    made = studies.study(20)
    from simulator.roster import Casting

    policy = cast(Casting(made, "composed[floor=0.2]", 0, made.world(0).survey()))
    assert policy.config.floor == 0.2
    assert set(default_labels()) <= set(ROSTER)


def test_a_warm_start_is_worth_something_from_the_first_round():
    made = studies.study(300, policies=("lints",))
    warm = studies.study(300, warm=WarmStart(made.table, made.bank))
    contexts = made.bank.contexts()

    def first(study):
        return run_task(study, Task("lints", 0), contexts).windows["halves"][0]["reward"]

    assert first(warm) > first(made) + 0.01


def test_a_wrong_warm_start_is_unlearned():
    """Inverted scores teach the opposite; forgetting (half-life 231 lessons) gets over it."""
    made = studies.study(2000)
    wrong = studies.study(2000, warm=WarmStart(made.table.inverted().take(np.arange(200)),
                                               made.bank.take(np.arange(200))))  # fmt: skip
    cold = late("forgetting", made)["reward"]
    assert late("forgetting", wrong)["reward"] >= 0.95 * cold


def test_a_budget_binds_the_peer():
    """Always-cloud costs .001 and always-edge .0001; half of the way is allowed."""
    paced = late("paretobandit", studies.study(1500, budget_usd=0.00055))
    # Its own claim is within 4 %; the first half is not counted here.
    assert paced["spend_over_budget"] < 1.1


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"rounds": 0}, "--rounds"),
        ({"feedback_rate": 1.5}, "--feedback-rate"),
        ({"judge_noise": float("nan")}, "--judge-noise"),
        ({"budget_usd": -1.0}, "--budget-usd"),
        ({"arms": ("edge", "edge")}, "at least two different models"),
    ],
)
def test_a_study_that_makes_no_sense_is_refused(change, expected):
    with pytest.raises(BadStudyError, match=expected):
        studies.study(50, **change)
