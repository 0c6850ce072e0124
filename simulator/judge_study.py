"""A made-up world where a judge likes the wrong arm, and runs that see who wins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bandit.auditing import AuditConfig, AuditPlan
from bandit.judging import Interval, Tally
from bandit.policies.config import PolicyConfig
from bandit.policies.corrected import CorrectedPolicy
from bandit.policies.factory import make_policy
from bandit.utility import Scenario
from simulator.callers import DriveConfig
from simulator.drift import NO_DRIFT
from simulator.driver import Driver
from simulator.embeddings import FeatureBank
from simulator.environment import World
from simulator.fill import CLOUD_PRICE, EDGE_PRICE, Assumptions, complete
from simulator.judges import JUDGE, PanelConfig
from simulator.metrics import bootstrap
from simulator.table import ReplayTable
from simulator.workload import even_arrivals

EDGE, CLOUD = "edge", "cloud"
_PRICED = Assumptions({EDGE: EDGE_PRICE, CLOUD: CLOUD_PRICE})
_QUALITY = Scenario("quality-only", 1.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class JudgeWorld:
    """Two arms of which ``cloud`` is better by ``gap`` on every kind of query, on average.

    Attributes
    ----------
    noise
        Standard deviation of an answer's quality around what the query lets expect.
    """

    rows: int = 4000
    gap: float = 0.05
    noise: float = 0.15
    seed: int = 0


@dataclass(frozen=True, slots=True)
class JudgeRun:
    """How one run ended.

    Attributes
    ----------
    right
        Share of the better arm over the last quarter.
    labels
        Answers that people gave.
    intervals, truth
        Each arm's corrected mean quality with its interval, and the mean of what it answered.
    """

    right: float
    labels: int
    regret: float
    intervals: dict[str, Interval]
    truth: dict[str, float]


def make_world(config: JudgeWorld) -> tuple[ReplayTable, FeatureBank]:
    """The world's table and features, the same for the same seed."""
    rng = np.random.default_rng([config.seed, 41])
    n = config.rows
    x = rng.standard_normal((n, 4)).astype(np.float32)
    expected = 0.68 + 0.06 * x[:, 0]
    quality = np.stack([expected, expected + config.gap], axis=1)
    quality += config.noise * rng.standard_normal((n, 2))
    unknown = np.full((n, 2), np.nan)
    table = ReplayTable(
        name="a judge's world",
        models=(EDGE, CLOUD),
        prompts=tuple(f"query {i}" for i in range(n)),
        domain=np.zeros(n, dtype=np.int64),
        domain_names=("any",),
        t_s=None,
        quality=np.clip(quality, 0.0, 1.0),
        cost_usd=np.tile([0.0001, 0.001], (n, 1)),
        latency_s=np.tile([1.0, 1.0], (n, 1)),
        tokens_in=unknown,
        tokens_out=unknown,
    )
    features = np.concatenate([np.ones((n, 1), np.float32), x], axis=1)
    return complete(table, _PRICED), FeatureBank("made", {"constant": 1, "text": 4}, features)


def run_judged(
    world: JudgeWorld,
    panel: PanelConfig,
    *,
    rounds: int,
    seed: int,
    correct: bool = True,
    voters: bool = False,
) -> JudgeRun:
    """One run of the default policy, corrected or not, under a panel."""
    table, bank = make_world(replace(world, seed=seed))
    config = PolicyConfig("composed", bank.sizes)
    inner = make_policy(config)
    policy = CorrectedPolicy.around(inner, config, voters=voters) if correct else inner
    driver = Driver(
        World(table, NO_DRIFT, n_arms=2, rounds=rounds, seed=seed),
        policy,
        DriveConfig(_QUALITY, seed=seed, panel=panel),
        contexts=bank.contexts(),
        arrivals=even_arrivals(rounds),
    )
    trace = driver.run()
    late = trace.window(rounds - rounds // 4, rounds)
    labels = driver.counts.audits + driver.counts.votes if driver.counts else 0
    intervals = {}
    if isinstance(policy, CorrectedPolicy):
        intervals = {a: policy.tallies.of(JUDGE, a).quality() for a in (EDGE, CLOUD)}
    return JudgeRun(
        float((late.arm == 1).mean()),
        labels,
        float((trace.best - trace.reward).mean()),
        intervals,
        {
            arm: float(trace.quality[trace.arm == j].mean(dtype=np.float64))
            for j, arm in enumerate((EDGE, CLOUD))
        },
    )


def audited_scores(
    config: AuditConfig, *, seed: int, n: int = 250, rare: float = 0.4
) -> tuple[Tally, float]:
    """Scores of one arm, audited as a plan says, and the true mean of the answers that were scored.

    The judge is .3 too kind on a third of the answers and right on the others; the arm is ``rare``
    of the traffic. No policy learns here, so that hundreds of seeds take seconds.
    """
    rng = np.random.default_rng([seed, 43])
    plan, tally, truths = AuditPlan(), Tally(), []
    for _ in range(n):
        arm = EDGE if rng.random() < rare else CLOUD
        truth = float(np.clip(0.5 + 0.1 * rng.standard_normal(), 0.0, 1.0))
        score = float(np.clip(truth + 0.3 * (rng.random() < 1 / 3), 0.0, 1.0))
        p = plan.probability(config, JUDGE, arm, score=score, expected=0.5)
        plan.judged(JUDGE, arm, score=score, expected=0.5)
        verdict = float(np.clip(truth + 0.05 * rng.standard_normal(), 0.0, 1.0))
        drawn = rng.random() < p
        if drawn:
            plan.audited(
                JUDGE, arm, score=score, expected=0.5, residual=verdict - score, weight=1.0 / p
            )
        if arm == EDGE:
            truths.append(truth)
            tally.judged(score)
            if drawn:
                tally.audited(score, verdict, 1.0 / p)
    return tally, float(np.mean(truths))


def spread(values: Sequence[float], digits: int) -> str:
    """Mean and standard deviation, as the tables show them."""
    return f"{np.mean(values):.{digits}f} ± {np.std(values):.{digits}f}"


def ends(runs: Sequence[JudgeRun]) -> tuple[str, ...]:
    """How runs ended, for a table: seeds won, share of the better arm, regret and its mean."""
    regret = [run.regret for run in runs]
    low, high = bootstrap(regret)
    return (
        f"{sum(run.right > 0.5 for run in runs)} of {len(runs)}",
        spread([run.right for run in runs], 2),
        spread(regret, 4),
        f"{low:.4f}–{high:.4f}",
    )


def last_quarter(series: Mapping[str, Any]) -> float:
    """Regret a query over the last quarter of a run, from `simulator.series.summarise`.

    Examples
    --------
    >>> last_quarter({"rounds": [2, 4, 6, 8], "regret": [1.0, 1.5, 1.75, 2.25]})
    0.25
    """
    rounds, regret = series["rounds"], series["regret"]
    start = len(rounds) - len(rounds) // 4 - 1
    return float((regret[-1] - regret[start]) / (rounds[-1] - rounds[start]))


def biased(
    *, bias: float = 0.1, fooled: float = 1.0, rate: float = 0.05, strategy: str = "neyman"
) -> PanelConfig:
    """A judge of everything, ``bias`` too kind to the edge arm, and people who check a share."""
    audits = AuditConfig(rate, "uniform" if strategy == "uniform" else "neyman")
    return PanelConfig(bias=bias, fooled=fooled, noise=0.05, people_noise=0.1, audits=audits)
