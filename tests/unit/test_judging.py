"""The arithmetic of a judge's errors, and of what was taught before they were known."""

import numpy as np
import pytest

from bandit.auditing import AuditConfig, AuditPlan, BadAuditError
from bandit.judging import Account, Tallies, Tally
from simulator.judge_study import JudgeRun, ends


def tally(scores=(), audits=()):
    made = Tally()
    for score in scores:
        made.judged(score)
    for score, verdict, weight in audits:
        made.audited(score, verdict, weight)
    return made


def test_the_corrected_mean_is_the_mean_score_plus_the_mean_residual():
    made = tally([0.6, 0.8, 1.0], [(0.6, 0.5, 1.0), (1.0, 0.8, 3.0)])
    assert made.quality().value == pytest.approx(0.8 + (-0.1 * 1 - 0.2 * 3) / 4)


def test_without_audits_the_interval_says_that_nothing_is_known():
    found = tally([0.9, 0.8]).quality()
    assert (found.low, found.high, found.audits) == (0.0, 1.0, 0.0)


def test_the_variance_is_that_of_the_influence_of_each_decision():
    """z_i = (f_i - mean f) / N + A_i w_i (r_i - b) / sum w, squared and summed, is what the sums
    amount to; only the small-sample factor n / (n - 1) is on the residual part alone."""
    rng = np.random.default_rng(3)
    f = rng.random(40)
    verdicts, weights = rng.random(40), rng.uniform(1, 5, 40)
    audited = rng.random(40) < 0.4
    made = tally(f, zip(f[audited], verdicts[audited], weights[audited], strict=True))
    w, r = weights[audited], (verdicts - f)[audited]
    b = (w * r).sum() / w.sum()
    own = (f - f.mean()) / 40
    influence = own.copy()
    influence[audited] += w * (r - b) / w.sum()
    n = w.sum() ** 2 / (w**2).sum()
    residual = (w**2 * (r - b) ** 2).sum() / w.sum() ** 2
    expected = (influence**2).sum() + residual / (n - 1)
    found = made.quality()
    from bandit.intervals import student_quantile

    t = float(student_quantile(0.05, np.array(n - 1)))
    assert found.high - found.value == pytest.approx(t * np.sqrt(expected))


def test_a_correction_leaves_its_first_guess_behind_as_audits_come():
    known = Tallies()
    errors = []
    for n in (4, 40, 400):
        own = known.of("judge:m", "edge")
        while own.n_audits < n:
            own.audited(0.9, 0.7, 1.0)
        errors.append(abs(known.correction("judge:m", "edge") + 0.2))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.2 * (4 / 404) ** 2 * 2


def test_an_arm_without_audits_is_corrected_as_the_others_are():
    known = Tallies()
    for _ in range(100):
        known.of("judge:m", "edge").audited(0.9, 0.7, 1.0)
    assert known.correction("judge:m", "cloud") == pytest.approx(-0.2, abs=0.01)
    assert known.correction("judge:other", "cloud") == 0.0


def test_voluntary_votes_lead_only_until_audits_come():
    known = Tallies()
    own = known.of("judge:m", "edge")
    for _ in range(200):
        own.volunteered(0.5, 1.0, 1.0)
    assert known.correction("judge:m", "edge") > 0.4
    for _ in range(2000):
        own.audited(0.5, 0.4, 1.0)
    assert known.correction("judge:m", "edge") == pytest.approx(-0.1, abs=0.005)


def test_the_shift_makes_the_mean_what_it_would_be_had_all_been_known():
    """Scores .9, .95, 1 were taught uncorrected, and cut at 1; the judge is 0.3 too kind."""
    account = Account()
    taught = [0.9, 0.95, 1.0]
    for score, value in zip([0.9, 0.95, 1.0], taught, strict=True):
        account.add_score("judge:m", score, value)
    account.add_verdict(0.4, 1.0)
    wanted = (0.6 + 0.65 + 0.7 + 0.4) / 4
    assert np.mean([*taught, 0.4]) + account.shift({"judge:m": -0.3}) == pytest.approx(wanted)


def test_what_the_cut_took_away_is_given_back():
    account = Account()
    account.add_score("judge:m", 0.95, 1.0)
    assert account.shift({"judge:m": 0.2}) == pytest.approx(0.15)


def test_agreement_and_kappa_are_those_of_the_weighted_table():
    made = tally(audits=[(0.9, 1, 2.0), (0.9, 0, 1.0), (0.1, 0, 3.0), (0.1, 1, 2.0)])
    same, kappa = made.agreement()
    assert same == pytest.approx(5 / 8)
    chance = (3 / 8) * (4 / 8) + (5 / 8) * (4 / 8)
    assert kappa == pytest.approx((5 / 8 - chance) / (1 - chance))
    assert Tally().agreement() == (None, None)


def plan(*, rare=10, often=190):
    made = AuditPlan()
    for i in range(rare + often):
        arm = "cloud" if i % ((rare + often) // rare) == 0 else "edge"
        made.judged("judge:m", arm, score=0.7, expected=0.7)
    return made


def chance(made, arm="edge", score=0.7, config=None):
    config = config or AuditConfig(0.05)
    return made.probability(config, "judge:m", arm, score=score, expected=0.7)


def test_audits_go_where_the_score_is_a_surprise_and_where_the_arm_is_rare():
    made = plan()
    assert chance(made, score=0.1) > chance(made)
    assert chance(made, "cloud") > 3 * chance(made)


def test_audits_go_where_judge_and_people_were_found_to_differ():
    made = plan()
    before = chance(made, score=0.3)
    for _ in range(50):
        made.audited(
            "judge:m", "edge", score=0.3, expected=0.7, residual=0.0, weight=1.0
        )  # fmt: skip
    assert chance(made, score=0.3) < before


def test_every_answer_keeps_a_chance_and_none_has_more_than_one():
    made = plan()
    for _ in range(200):
        made.audited("judge:m", "edge", score=0.7, expected=0.7, residual=0.0, weight=1.0)
    assert chance(made) >= 0.05 * 0.2
    assert chance(made, "cloud", 0.0, AuditConfig(0.9)) == 1.0


def test_on_average_the_rate_is_kept():
    """200 answers as they came: the mean chance is the rate, but for what floor and caps move."""
    made = plan()
    arms = ["cloud" if i % 20 == 0 else "edge" for i in range(200)]
    assert np.mean([chance(made, arm) for arm in arms]) == pytest.approx(0.05, rel=0.35)


def test_uniform_is_uniform():
    config = AuditConfig(0.05, "uniform")
    assert chance(plan(), "cloud", 0.0, config) == chance(plan(), "edge", 0.7, config) == 0.05


@pytest.mark.parametrize(
    "wrong", [{"rate": 1.5}, {"rate": float("nan")}, {"strategy": "best"}, {"least": 0.0}]
)
def test_a_rule_that_cannot_be_followed_is_refused(wrong):
    with pytest.raises(BadAuditError, match=next(iter(wrong))):
        AuditConfig(**wrong)


def test_how_runs_ended_is_told_with_bounds():
    """The resampled mean of 0 and 1 lies between them: 0, .5 and 1 with 1/4, 1/2, 1/4."""
    runs = [JudgeRun(right, 5, regret, {}, {}) for right, regret in ((0.9, 0.0), (0.4, 1.0))]
    assert ends(runs) == ("1 of 2", "0.65 ± 0.25", "0.5000 ± 0.5000", "0.0000–1.0000")
