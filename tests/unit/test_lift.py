"""Lift, row by row."""

import json
from dataclasses import replace

import numpy as np
import pytest

from bandit.confseq import lift_sequence
from bandit.lift import Contrast, LiftDetector, RunningLift

FLOOR = 0.05


def log(n, seed=0):
    """Weights and rewards of a target that prefers arm 1, logged by a policy that avoids it."""
    rng = np.random.default_rng(seed)
    drawn = rng.random(n) < FLOOR
    weight = np.where(drawn, 0.9 / FLOOR, 0.1 / (1 - FLOOR))
    reward = np.where(drawn, rng.random(n) < 0.8, rng.random(n) < 0.3) * 1.0
    return weight, reward


@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_row_by_row_it_is_the_batch_sequence(alpha):
    weight, reward = log(400)
    w_max = 1 / FLOOR
    batch = lift_sequence(weight, reward, w_max=w_max, alpha=2 * alpha)
    down, up = RunningLift(reach=w_max), RunningLift(reach=w_max)
    for i, (w, r) in enumerate(zip(weight.tolist(), reward.tolist(), strict=True)):
        contrast = Contrast(w - 1, w_max - 1, -1.0, w)
        down.add(contrast, r)
        up.add(contrast, 1 - r)
        assert down.low(alpha=alpha) == pytest.approx(batch.low[i], abs=1e-9)
        assert max(-1.0, min(1.0, -up.low(alpha=alpha))) == pytest.approx(batch.high[i], abs=1e-9)


def test_exceeding_is_being_above_the_lower_bound():
    weight, reward = log(3000, seed=1)
    lift, seen = RunningLift(), set()
    for w, r in zip(weight.tolist(), reward.tolist(), strict=True):
        lift.add(Contrast(w - 1, 17.0, -0.9, w), r)
        for margin in (-0.2, 0.0, 0.2):
            above = lift.low(alpha=0.05) > margin
            assert lift.exceeds(margin, alpha=0.05) == above
            seen.add((margin, above))
    assert len(seen) == 6


def test_knowing_both_pmfs_needs_no_largest_weight_of_all():
    rng = np.random.default_rng(0)
    plain, sharp = RunningLift(reach=50), RunningLift()
    target, logged = (0.35, 0.65), (0.65, 0.35)
    for _ in range(600):
        arm = int(rng.random() < logged[1])
        contrast = Contrast.between(target, logged, drawn=arm)
        reward = float(rng.random() < (0.4, 0.8)[arm])
        sharp.add(contrast, reward)
        plain.add(replace(contrast, highest=49.0, lowest=-1.0), reward)
    assert sharp.exceeds(0.0, alpha=1e-3)
    assert not plain.exceeds(0.0, alpha=1e-3)


def test_the_estimate_is_the_lift():
    rng = np.random.default_rng(0)
    lift = RunningLift()
    target, base, logged = (0.2, 0.8), (0.7, 0.3), (0.4, 0.6)
    for _ in range(20_000):
        arm = int(rng.random() < logged[1])
        contrast = Contrast.between(target, logged, drawn=arm, base=base)
        lift.add(contrast, float(rng.random() < (0.3, 0.7)[arm]))
    assert lift.value == pytest.approx(0.5 * 0.4, abs=0.02)


@pytest.mark.parametrize("made", [RunningLift, lambda **kw: LiftDetector(0.02, **kw)])
def test_a_saved_state_continues_exactly(made):
    weight, reward = log(300)
    rows = [
        (Contrast(w - 1, 17.0, -0.9, w), r)
        for w, r in zip(weight.tolist(), reward.tolist(), strict=True)
    ]
    whole, part = made(), made()
    for row in rows[:150]:
        whole.add(*row)
        part.add(*row)
    part = made(state=json.loads(json.dumps(part.state())))
    for row in rows[150:]:
        whole.add(*row)
        part.add(*row)
    assert part.state() == whole.state()


def test_two_policies_that_agree_give_no_evidence():
    lift, detector = RunningLift(), LiftDetector(0.0)
    for reward in (0.0, 1.0) * 500:
        contrast = Contrast.between((0.5, 0.5), (0.5, 0.5), drawn=0)
        lift.add(contrast, reward)
        detector.add(contrast, reward)
    assert lift.value == detector.value == 0.0
    assert not lift.exceeds(0.0, alpha=0.05)
    assert not detector.exceeds(20)


def test_old_success_does_not_hide_a_new_fault():
    rng = np.random.default_rng(0)
    detector, lift = LiftDetector(0.02), RunningLift()

    def rows(n, means):
        for _ in range(n):
            arm = int(rng.random() < 0.1)
            contrast = Contrast.between((0.1, 0.9), (0.9, 0.1), drawn=arm)
            reward = float(rng.random() < means[arm])
            detector.add(contrast, reward)
            lift.add(contrast, reward)

    rows(4000, (0.8, 0.2))
    assert not detector.exceeds(20)
    rows(1500, (0.2, 0.8))
    assert detector.exceeds(1e6)
    assert not lift.exceeds(0.02, alpha=0.05)
    assert detector.n <= 1600
    assert detector.value == pytest.approx(0.48, abs=0.15)
