"""One stream of residuals: what raises an alarm, what is known of it, what is kept."""

import json

import numpy as np
import pytest

from bandit.drift import (
    BadDetectorError,
    Change,
    Detector,
    DetectorConfig,
    for_votes,
    latest_change,
    vote_noise,
)


def noise(seed, n, mean=0.0, sd=0.2):
    return (mean + sd * np.random.default_rng(seed).standard_normal(n)).tolist()


def alarms(detector, values):
    return [(i, found) for i, value in enumerate(values) if (found := detector.update(value))]


@pytest.mark.parametrize("step", [-0.3, 0.3])
def test_a_change_is_found_in_either_direction_with_its_size_and_age(step):
    """One and a half standard deviations; values are clipped there, so that a whole one is left and
    Page-Hinkley adds .65 a value beyond its tolerance: 26 after forty. It is dated closely."""
    found = alarms(Detector(DetectorConfig()), noise(1, 200) + noise(2, 80, step))
    at, change = found[0]
    assert 200 < at < 250
    assert change.mean == pytest.approx(step, abs=0.08)
    assert change.n == pytest.approx(at - 199, abs=8)


@pytest.mark.parametrize("name", ["page-hinkley", "adwin"])
def test_each_of_the_two_finds_a_change_by_itself(name):
    values = noise(1, 200) + noise(2, 200, -0.3)
    assert alarms(Detector(DetectorConfig(name)), values)


def test_without_a_detector_nothing_is_found():
    assert not alarms(Detector(DetectorConfig("off")), noise(1, 100) + noise(2, 100, 5.0))


def test_one_setting_suits_any_scale():
    """The same stream, a thousandfold: the same alarms."""
    values = noise(3, 150) + noise(4, 60, -0.3)
    small = alarms(Detector(DetectorConfig(noise=0.2)), values)
    large = alarms(Detector(DetectorConfig(noise=200.0)), [1000.0 * v for v in values])
    assert [at for at, _ in small] == [at for at, _ in large]


def test_values_that_never_change_are_no_alarm():
    assert not alarms(Detector(DetectorConfig()), [0.0] * 3000)


def test_one_wild_value_is_no_alarm():
    assert not alarms(Detector(DetectorConfig()), [*noise(5, 100), -1e9, *noise(6, 100)])


def test_a_restored_detector_raises_the_same_alarms():
    values = noise(7, 700) + noise(8, 60, -0.3) + noise(9, 100, 0.3)
    one = Detector(DetectorConfig())
    first = alarms(one, values[:720])
    two = Detector(DetectorConfig(), json.loads(json.dumps(one.state())))
    assert two.state() == one.state()
    assert alarms(two, values[720:]) == alarms(one, values[720:])
    assert two.state() == one.state()
    assert not first


def votes(seed, n, rate):
    return (np.random.default_rng(seed).random(n) < rate).astype(float) - 0.92


def thumbs(detector, values):
    noise = vote_noise(0.92)
    return [i for i, value in enumerate(values) if detector.update(float(value), noise)]


def test_the_noise_of_votes_is_known_before_any_came():
    """Ten thumbs down in a row where .92 are up: 3.1 standard deviations each, 26 after nine."""
    detector = Detector(for_votes(DetectorConfig(least=5)))
    assert thumbs(detector, [-0.92] * 12) == [9]


def test_a_detector_of_votes_is_restored_over_its_halving():
    values = np.concatenate([votes(11, 1200, 0.92), votes(12, 300, 0.6), votes(13, 300, 0.9)])
    one = Detector(for_votes(DetectorConfig()))
    first = thumbs(one, values[:900])
    two = Detector(for_votes(DetectorConfig()), json.loads(json.dumps(one.state())))
    later = thumbs(two, values[900:])
    assert (first, later) == ([], thumbs(one, values[900:]))
    assert 300 < later[0] < 340
    assert two.state() == one.state()


def test_a_state_of_before_noise_was_said_is_still_read():
    one = Detector(DetectorConfig())
    alarms(one, noise(14, 60))
    old = {key: one.state()[key] for key in ("noise", "last", "values")}
    two = Detector(DetectorConfig(), old)
    assert alarms(two, noise(15, 80, -0.3)) == alarms(one, noise(15, 80, -0.3)) != []


def test_what_is_kept_is_bounded():
    detector = Detector(DetectorConfig())
    for value in noise(10, 5000):
        detector.update(value)
    assert len(detector.state()["values"]) <= 512


def test_the_last_change_is_dated_by_likelihood():
    values = [0.1, -0.1] * 20 + [-0.3, -0.5] * 10
    assert latest_change(values) == Change(pytest.approx(-0.4), 20)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("name", "kswin"),
        ("tolerance", 0.0),
        ("threshold", float("nan")),
        ("confidence", 1.0),
        ("least", 4),
        ("anchor", -1),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(setting, value):
    with pytest.raises(BadDetectorError, match=setting):
        DetectorConfig(**{setting: value})
