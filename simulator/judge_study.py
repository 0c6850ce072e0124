"""A made-up world where a judge likes the wrong arm, and runs that see who wins."""

from dataclasses import dataclass, replace

import numpy as np

from bandit.auditing import AuditConfig
from bandit.judging import Interval
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
        Each arm's corrected mean quality with its interval, and its mean over the table.
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
    world: JudgeWorld, panel: PanelConfig, *, rounds: int, seed: int, correct: bool = True
) -> JudgeRun:
    """One run of the default policy, corrected or not, under a panel."""
    table, bank = make_world(replace(world, seed=seed))
    config = PolicyConfig("composed", bank.sizes)
    inner = make_policy(config)
    policy = CorrectedPolicy.around(inner, config) if correct else inner
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
        {EDGE: float(table.quality[:, 0].mean()), CLOUD: float(table.quality[:, 1].mean())},
    )


def biased(
    *, bias: float = 0.1, fooled: float = 1.0, rate: float = 0.05, strategy: str = "neyman"
) -> PanelConfig:
    """A judge of everything, ``bias`` too kind to the edge arm, and people who check a share."""
    audits = AuditConfig(rate, "uniform" if strategy == "uniform" else "neyman")
    return PanelConfig(bias=bias, fooled=fooled, noise=0.05, people_noise=0.1, audits=audits)
