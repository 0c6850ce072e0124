"""A log with a cascade values its parts without bias, and its intervals cover what they say.

The made world: a query is easy or hard; the edge answers right with .9 or .4, the cloud with .85 or
.8. The edge's confidence z is high or low and tells of *this answer* (high with .8 if it is right,
else with .3), so that what the gate lets through is no random part of the edge's answers: accepted
with .9 or .3. The cascade is drawn with .5, the edge with .3, the cloud with .2.

Quality is 1 for right and 0 for wrong; only the delivered answer is judged. Of 500 logs with 160
decisions each, a right 95 % interval covers in a share with standard deviation .0097: [.93, .97]
is 2.1 of them on either side, and the seed is fixed.
"""

from dataclasses import replace

import numpy as np
import pytest

from bandit.primitives import Arm, Estimate, Gating, Prediction
from bandit.utility import Scenario
from simulator.candidates import Candidate, always, as_logged
from simulator.evaluate import EvaluationConfig, evaluate
from simulator.evidence import EvaluationRecord, gates_of
from tests.makers import ARMS, context, logged, outcome

pytestmark = pytest.mark.statistical

N_LOGS, N = 500, 160
PMF = (0.3, 0.2, 0.5)
NAMES = ("edge", "cloud", "both")
RIGHT = {"edge": (0.9, 0.4), "cloud": (0.85, 0.8)}
HIGH_IF = {True: 0.8, False: 0.3}
ACCEPT = {True: 0.9, False: 0.3}
CASCADE = Arm("both", "cascade", "small, then large", parts=("edge", "cloud"))
QUALITY = EvaluationConfig(scenario=Scenario("plain", 1.0, 0.0, 0.0), floor=0.1, n_steps=2)


def value_of(arm):
    """True mean quality."""
    if arm != "both":
        return float(np.mean(RIGHT[arm]))
    total = 0.0
    for kind in (0, 1):
        for right in (True, False):
            chance = RIGHT["edge"][kind] if right else 1 - RIGHT["edge"][kind]
            high = HIGH_IF[right]
            accept = high * ACCEPT[True] + (1 - high) * ACCEPT[False]
            total += chance * (accept * right + (1 - accept) * RIGHT["cloud"][kind])
    return total / 2


def one_log(rng, n=N, *, broken=0.0):
    """``broken``: share of cascades whose answer had begun to be sent, so that it was accepted."""
    prediction = Prediction(NAMES, PMF, "v1", (Estimate(0.5, 0.0, 1.0, 0.5),) * 3)
    base = logged("d", arms=(*ARMS, CASCADE), prediction=prediction)
    kinds = [context(x=[kind, 0.0, 1.0]) for kind in (0.0, 1.0)]
    records = []
    for i in range(n):
        kind, arm = int(rng.random() < 0.5), NAMES[rng.choice(3, p=PMF)]
        edge_right, cloud_right = (rng.random() < RIGHT[a][kind] for a in ("edge", "cloud"))
        cost, latency, gating = (0.001, 1.0, None) if arm == "edge" else (0.01, 2.0, None)
        right = edge_right if arm == "edge" else cloud_right
        if arm == "both":
            p = ACCEPT[bool(rng.random() < HIGH_IF[bool(edge_right)])]
            forced = bool(rng.random() < broken)
            accepted = forced or bool(rng.random() < p)
            right = edge_right if accepted else cloud_right
            cost, latency = (0.001, 1.0) if accepted else (0.011, 3.0)
            gating = Gating(
                "edge",
                "cloud",
                {},
                Prediction(("accept", "escalate"), (p, 1 - p), "v1"),
                "accept" if accepted else "escalate",
                1.0 if forced else (p if accepted else 1 - p),
                forced=forced,
                edge_cost_usd=0.001,
                edge_latency_s=1.0,
            )
        made = replace(
            base.decision,
            decision_id=f"d{i}",
            context=kinds[kind],
            arm=arm,
            propensity=PMF[NAMES.index(arm)],
        )
        seen = outcome(f"d{i}", arm=arm, cost_usd=cost, latency_s=latency, gating=gating)
        records.append(EvaluationRecord(replace(base, decision=made), seen, float(right)))
    return records


def mixture(weights):
    return Candidate("mixture", lambda _: weights)


TARGETS = {
    "edge": (always("edge"), value_of("edge")),
    "cloud": (always("cloud"), value_of("cloud")),
    "mixture": (
        mixture((0.4, 0.3, 0.3)),
        0.4 * value_of("edge") + 0.3 * value_of("cloud") + 0.3 * value_of("both"),
    ),
}


@pytest.fixture(scope="module")
def estimates():
    """By target and method: points and ends of 500 logs, shape (500, 3)."""
    rng = np.random.default_rng(7)
    found = {(target, method): [] for target in TARGETS for method in ("ips", "dr")}
    for _ in range(N_LOGS):
        records = one_log(rng)
        for target, (candidate, _) in TARGETS.items():
            for e in evaluate(records, candidate, config=QUALITY).estimates:
                if e.method in ("ips", "dr"):
                    found[target, e.method].append((e.value, e.low, e.high))
    return {key: np.array(rows) for key, rows in found.items()}


@pytest.mark.parametrize("method", ["ips", "dr"])
@pytest.mark.parametrize("target", TARGETS)
def test_parts_and_whole_are_valued_without_bias(estimates, target, method):
    """The mean of 500 estimates lies within 4 of its standard errors of the truth."""
    values = estimates[target, method][:, 0]
    error = values.std() / np.sqrt(N_LOGS)
    assert abs(values.mean() - TARGETS[target][1]) <= 4 * error


@pytest.mark.parametrize("method", ["ips", "dr"])
@pytest.mark.parametrize("target", TARGETS)
def test_intervals_cover_what_they_say(estimates, target, method):
    _, low, high = estimates[target, method].T
    truth = TARGETS[target][1]
    assert 0.93 <= ((low <= truth) & (truth <= high)).mean() <= 0.97


def test_answers_inside_cascades_sharpen_what_is_known_of_the_edge(estimates):
    """Half of the queries drew the cascade; without them the edge has .3 of the rows."""
    with_them = estimates["edge", "ips"][:, 0].std()
    rng = np.random.default_rng(8)
    alone = []
    for _ in range(200):
        drawn = [float(r.logged.decision.arm == "edge") * r.quality for r in one_log(rng)]
        alone.append(np.mean(drawn) / 0.3)
    assert with_them < 0.8 * np.std(alone)


def test_taking_the_delivered_answers_as_they_come_would_be_biased():
    """The gate lets right answers through: without its probability the edge looks better."""
    rng = np.random.default_rng(9)
    records = one_log(rng, 20_000)
    accepted = [
        r.quality
        for r in records
        if r.outcome.gating is not None and r.outcome.gating.verdict == "accept"
    ]
    assert np.mean(accepted) > value_of("edge") + 0.1
    assert evaluate(records, always("edge"), config=QUALITY).estimates[0].value == pytest.approx(
        value_of("edge"), abs=0.03
    )


def test_verdicts_that_were_forced_hide_the_cloud_and_no_more():
    """A third of the cascades could not be called back: the cloud's value is still found."""
    rng = np.random.default_rng(10)
    found = {"edge": [], "cloud": []}
    for _ in range(60):
        records = one_log(rng, broken=1 / 3)
        for target, values in found.items():
            values.append(evaluate(records, always(target), config=QUALITY).estimates[0].value)
    for target, values in found.items():
        error = np.std(values) / np.sqrt(len(values))
        assert abs(np.mean(values) - value_of(target)) <= 4 * error


def test_a_cascades_cost_is_split_between_its_stages():
    """Under a scenario of cost alone the edge is worth .9 of its ceiling, the cloud nothing."""
    thrifty = replace(
        QUALITY, scenario=Scenario("thrifty", 0.0, 1.0, 0.0, cost_ceiling_usd=0.01), floor=0.1
    )
    records = one_log(np.random.default_rng(11), 2000)
    edge, cloud = (
        evaluate(records, always(arm), config=thrifty).estimates[1].value
        for arm in ("edge", "cloud")
    )
    assert edge == pytest.approx(0.9)
    assert cloud == pytest.approx(0.0)


def test_the_log_as_it_was_needs_no_gate():
    records = one_log(np.random.default_rng(12), 2000)
    report = evaluate(records, as_logged(), config=QUALITY)
    assert report.logged.value == pytest.approx(np.mean([r.quality for r in records]))
    assert gates_of(records).typical["both", "edge"] == pytest.approx(0.63, abs=0.05)
