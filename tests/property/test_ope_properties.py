"""What holds of the estimators for every log."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bandit.confseq import lift_sequence, value_sequence
from bandit.intervals import score_interval
from bandit.ope import cressie_read, dr, estimate_all, ips, snips, switch_dr
from bandit.sample import Sample

unit = st.integers(0, 1000).map(lambda k: k / 1000)


def arrays(elements, n):
    return hnp.arrays(np.float64, n, elements=elements)


@st.composite
def samples(draw, *, least=2, target=unit):
    n = draw(st.integers(least, 40))
    propensity = draw(arrays(st.floats(0.02, 1.0), n))
    return Sample(
        draw(arrays(unit, n)),
        propensity,
        draw(arrays(target, n)),
        draw(arrays(unit, n)),
        draw(arrays(unit, n)),
    )


@given(samples(target=st.floats(0.1, 1.0)), st.floats(-0.5, 0.5))
def test_snips_moves_with_the_reward(sample, shift):
    """Adding a constant to every reward adds it to the value; rewards kept within [0, 1]."""
    halved = sample.reward / 2 + 0.25
    moved = halved + shift / 2
    before = snips(Sample(halved, sample.propensity, sample.target)).value
    after = snips(Sample(moved, sample.propensity, sample.target)).value
    np.testing.assert_allclose(after - before, shift / 2, atol=1e-9)


@given(samples())
def test_intervals_contain_their_point_and_stay_in_range(sample):
    for found in estimate_all(sample, w_max=50.0):
        if np.isnan(found.value):
            continue
        assert found.low <= found.high
        assert found.low >= -1e-12
        if found.method in {"snips", "dr", "switch_dr"}:
            assert found.high <= 1 + 1e-12
            assert found.low - 1e-9 <= np.clip(found.value, 0, 1) <= found.high + 1e-9


@given(samples())
def test_a_smaller_alpha_widens_every_interval(sample):
    for wide, narrow in zip(
        estimate_all(sample, w_max=50.0, alpha=0.01),
        estimate_all(sample, w_max=50.0, alpha=0.2),
        strict=True,
    ):
        assert wide.low <= narrow.low + 1e-9
        assert wide.high >= narrow.high - 1e-9


@given(samples(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(sample, random):
    order = list(range(sample.n))
    random.shuffle(order)
    names = ("reward", "propensity", "target", "q_logged", "q_target")
    mixed = Sample(*(getattr(sample, name)[order] for name in names))
    for a, b in zip(estimate_all(sample), estimate_all(mixed), strict=True):
        np.testing.assert_allclose([a.value, a.low, a.high], [b.value, b.low, b.high], atol=1e-8)


@given(samples(target=st.just(0.0)), st.integers(0, 2**32 - 1))
def test_dr_is_exact_when_its_model_is(sample, seed):
    """Rewards equal to the model's leave no correction, whatever the weights."""
    target = np.random.default_rng(seed).random(sample.n)
    exact = Sample(sample.reward, sample.propensity, target, sample.reward, sample.q_target)
    np.testing.assert_allclose(dr(exact).value, sample.q_target.mean(), atol=1e-12)
    np.testing.assert_allclose(switch_dr(exact).value, sample.q_target.mean(), atol=1e-12)


@st.composite
def enumerable_worlds(draw):
    """Three arms, one query, fixed rewards; logged and target pmfs, and a wrong model."""
    raw = draw(st.lists(st.floats(0.05, 1.0), min_size=3, max_size=3))
    wanted = draw(st.lists(st.integers(0, 10), min_size=3, max_size=3).filter(sum))
    rewards = draw(st.lists(unit, min_size=3, max_size=3))
    model = draw(st.lists(unit, min_size=3, max_size=3))
    return (
        np.array(raw) / sum(raw),
        np.array(wanted) / sum(wanted),
        np.array(rewards),
        np.array(model),
    )


@given(enumerable_worlds())
def test_ips_and_dr_are_unbiased_over_every_log_that_can_happen(world):
    """The estimates of all 27 logs of three rows, weighted by their probability, give the truth."""
    logged, target, rewards, model = world
    truth = float(target @ rewards)
    mean_ips = mean_dr = 0.0
    for arms in itertools.product(range(3), repeat=3):
        drawn = list(arms)
        chance = float(np.prod(logged[drawn]))
        sample = Sample(
            rewards[drawn],
            logged[drawn],
            target[drawn],
            model[drawn],
            np.full(3, float(target @ model)),
        )
        mean_ips += chance * ips(sample).value if sample.weight.any() else 0.0
        terms = sample.q_target + sample.weight * (sample.reward - sample.q_logged)
        mean_dr += chance * float(terms.mean())
        if sample.weight.any():
            np.testing.assert_allclose(dr(sample).value, terms.mean(), atol=1e-12)
    np.testing.assert_allclose([mean_ips, mean_dr], truth, atol=1e-9)


@given(samples(target=st.floats(0.1, 1.0)))
def test_equal_rewards_are_their_own_value(sample):
    same = Sample(np.full(sample.n, 0.4), sample.propensity, sample.target)
    np.testing.assert_allclose(snips(same).value, 0.4, atol=1e-9)
    np.testing.assert_allclose(cressie_read(same).value, 0.4, atol=0.4 + 1e-9)


@given(unit, st.floats(1e-6, 0.5), st.floats(1.0, 5.0), st.floats(1.0, 1e6))
def test_the_score_interval_solves_its_equation_or_ends_at_the_range(value, error, t, ess):
    low, high = score_interval(
        np.array(value), np.array(error), quantile=np.array(t), ess=np.array(ess)
    )
    assert -1e-9 <= low <= value + 1e-9
    assert value - 1e-9 <= high <= 1 + 1e-9


@settings(max_examples=50)
@given(samples(), st.sampled_from([0.01, 0.05, 0.2]))
def test_a_sequence_contains_its_running_estimate_and_nests(sample, alpha):
    for sequence in (value_sequence, lift_sequence):
        found = sequence(sample.weight, sample.reward, w_max=50.0, alpha=alpha)
        assert np.all(found.low <= found.value)
        assert np.all(found.value <= found.high)
        nested = found.nested()
        assert np.all(np.diff(nested.low) >= 0)
        assert np.all(np.diff(nested.high) <= 0)
        assert np.all(nested.low >= found.low)
        assert np.all(nested.high <= found.high)


@settings(max_examples=50)
@given(samples(least=8))
def test_a_sequence_does_not_look_ahead(sample):
    """What it says after k rows is the same whether or not more follow."""
    whole = value_sequence(sample.weight, sample.reward, w_max=50.0)
    part = value_sequence(sample.weight[:5], sample.reward[:5], w_max=50.0)
    np.testing.assert_allclose(whole.low[:5], part.low, atol=1e-9)
    np.testing.assert_allclose(whole.high[:5], part.high, atol=1e-9)


@settings(max_examples=50)
@given(samples())
def test_good_rewards_and_bad_ones_are_mirror_images(sample):
    """Bounds on the mean of r are one minus those on the mean of 1 - r."""
    up = value_sequence(sample.weight, sample.reward, w_max=50.0)
    down = value_sequence(sample.weight, 1 - sample.reward, w_max=50.0)
    np.testing.assert_allclose(up.low, 1 - down.high, atol=1e-8)


@settings(max_examples=50)
@given(samples())
def test_reporting_fewer_steps_changes_none_of_them(sample):
    steps = np.array([1, sample.n])
    few = value_sequence(sample.weight, sample.reward, w_max=50.0, steps=steps)
    every = value_sequence(sample.weight, sample.reward, w_max=50.0)
    np.testing.assert_allclose(few.low, every.low[steps - 1], atol=1e-9)
    assert few.final == (float(few.value[-1]), float(few.low[-1]), float(few.high[-1]))
