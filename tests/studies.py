"""Small studies made by hand: no model has to be loaded."""

import numpy as np

from bandit.utility import Scenario
from simulator.drift import NO_DRIFT
from simulator.embeddings import FeatureBank
from simulator.fill import Assumptions, complete
from simulator.study import Study
from simulator.table import ReplayTable

QUALITY = Scenario("quality-only", 1.0, 0.0, 0.0)


def table(n=200, models=("edge", "cloud"), *, seed=0, noise=0.05):
    """A world where the sign of the first feature decides which arm is better, by 0.4."""
    rng = np.random.default_rng(seed)
    x = features(n, seed)
    k = len(models)
    quality = np.full((n, k), 0.5) + noise * rng.standard_normal((n, k))
    quality[:, -1] += 0.2 * np.sign(x[:, 0]) + 0.1
    quality[:, 0] -= 0.2 * np.sign(x[:, 0])
    unknown = np.full((n, k), np.nan)
    made = ReplayTable(
        name="made",
        models=tuple(models),
        prompts=tuple(f"prompt {i}" for i in range(n)),
        domain=(x[:, 1] > 0).astype(np.int64),
        domain_names=("low", "high"),
        t_s=None,
        quality=np.clip(quality, 0.0, 1.0),
        cost_usd=np.tile(np.linspace(0.0001, 0.001, k), (n, 1)),
        latency_s=np.tile(np.linspace(1.0, 2.0, k), (n, 1)),
        tokens_in=unknown,
        tokens_out=unknown,
    )
    return complete(made, Assumptions())


def features(n, seed=0):
    """Normal features, shape (n, 4)."""
    return np.random.default_rng([seed, 99]).standard_normal((n, 4)).astype(np.float32)


def study(n=200, models=("edge", "cloud"), *, plan=NO_DRIFT, arms=None, **options):
    """A study of `table`; ``options`` go to `Study`."""
    defaults = {
        "policies": ("lints",),
        "scenario": QUALITY,
        "rounds": n,
    }
    return Study(
        table=table(n, models),
        bank=FeatureBank("made", {"first": 2, "second": 2}, features(n)),
        arms=tuple(arms or models),
        plan=plan,
        **(defaults | options),
    )
