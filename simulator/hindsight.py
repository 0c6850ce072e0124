"""What hindsight gives those that know no budget, so that they are compared at like spend."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from bandit.policies.linear import LinearConfig, LinearPolicy
from simulator.drift import NO_DRIFT
from simulator.driver import Driver
from simulator.study import Study
from simulator.workload import even_arrivals

_BISECTIONS = 7


@dataclass(frozen=True, slots=True)
class Like:
    """Arm shares and mean cost of another policy's run."""

    share: Mapping[str, float]
    cost_usd: float


def matched(config: LinearConfig, study: Study, seed: int) -> LinearConfig:
    """``config`` with the least penalty at which it keeps the budget, had nothing drifted.

    Found by running it over and over in the same world without its events: what hindsight has to
    give, so that the comparison is not with a badly set rival.
    """
    calm = replace(study, plan=NO_DRIFT, rounds=min(study.rounds, len(study.table)))
    contexts = calm.bank.contexts()

    def spend(penalty: float) -> float:
        policy = LinearPolicy(replace(config, cost_penalty=penalty))
        drive = replace(calm.drive(seed), edge_queue=False)
        driver = Driver(
            calm.world(seed),
            policy,
            drive,
            contexts=contexts,
            arrivals=even_arrivals(calm.rounds),
        )
        return float(driver.run().cost_usd.mean(dtype=np.float64))

    low, high = 0.0, 2.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if spend(middle) <= (study.budget_usd or 0.0) else (middle, high)
    return replace(config, cost_penalty=high)


def equal_spend(like: Like, edge: str, costs: Mapping[str, float]) -> dict[str, float]:
    """Shares that cost ``like.cost_usd`` a query: the edge's is moved until they do.

    The others keep their proportions. A policy that learned which queries are dear spends other
    than its shares at mean cost, so that matching the shares would not match the spend.

    Examples
    --------
    >>> shares = equal_spend(Like({"e": 0.5, "c": 0.5}, 0.7), "e", {"e": 0.0, "c": 1.0})
    >>> round(shares["c"], 3)
    0.7
    """
    # A cascade is no arm of a policy that has no gate: its share goes to edge and cloud by spend.
    others = {arm: share for arm, share in like.share.items() if arm != edge and arm in costs}
    if like.share.keys() - costs.keys() and not sum(others.values()):
        others = dict.fromkeys([*costs][-1:], 1.0)
    total = sum(others.values())
    dearer = sum(share * (costs[arm] - costs[edge]) for arm, share in others.items())
    if total <= 0.0 or dearer <= 0.0:
        return dict(like.share)
    factor = min(1.0 / total, max(0.0, (like.cost_usd - costs[edge]) / dearer))
    return {edge: 1.0 - factor * total} | {arm: factor * share for arm, share in others.items()}
