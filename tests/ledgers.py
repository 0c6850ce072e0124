"""Made logs with sessions and a known truth, as a report reads them."""

import numpy as np

from bandit.primitives import Arm, Estimate, Prediction
from bandit.utility import PRESETS
from feedback.log import LogEvent
from tests.makers import context, logged, outcome, vote

ARMS = (Arm("edge", "edge", "small", 0.0, 0.0), Arm("cloud", "cloud", "large", 1.0, 3.0))
NAMES = ("edge", "cloud")
KINDS = 3
# By kind of query: mean quality of each arm, what the policy believes of it, and p(edge).
RIGHT = ((0.8, 0.85), (0.5, 0.9), (0.2, 0.7))
BELIEVED = ((0.80, 0.82), (0.55, 0.85), (0.3, 0.75))
P_EDGE = (0.9, 0.5, 0.1)
COST = (0.001, 0.01)
LATENCY = (1.0, 3.0)


def made_log(rng, n_sessions, *, per_session=4, judged=(0.7, 0.7), cost=COST, believed=BELIEVED,
             tags=None, p_edge=P_EDGE):  # fmt: skip
    """Sessions stick to a kind of query and share their luck; events in the order of the log.

    Half of the sessions have a third more, the other a third less quality than the kind's mean
    allows (cut to [0, 1] symmetrically), which makes answers within a session alike.
    """
    events = []
    for s in range(n_sessions):
        kind = int(rng.integers(KINDS))
        mood = 1.0 if rng.random() < 0.5 else -1.0
        for t in range(per_session):
            events.append(_event(rng, f"s{s}", f"s{s}-{t}", kind, mood, judged, cost, believed,
                                 tags, p_edge, len(events) + 1))  # fmt: skip
    return events


def _event(rng, session, name, kind, mood, judged, cost, believed, tags, p_edge, position):  # noqa: PLR0917 - one call
    p = p_edge[kind]
    arm = int(rng.random() >= p)
    mean = RIGHT[kind][arm]
    quality = mean + mood * 0.6 * min(mean, 1 - mean) * rng.random()
    estimates = tuple(
        Estimate(believed[kind][a], cost[a], LATENCY[a], believed[kind][a]) for a in (0, 1)
    )
    made = logged(
        name,
        context=context(x=np.eye(KINDS)[kind]),
        arms=ARMS,
        prediction=Prediction(NAMES, (p, 1 - p), "v1", estimates),
        arm=NAMES[arm],
        propensity=(p, 1 - p)[arm],
        scenario=PRESETS["balanced"],
        masked={},
        tags={"session_id": session, **(tags or {})},
    )
    bill = None if cost[arm] is None else cost[arm] * (0.5 + rng.random())
    seen = outcome(
        name,
        arm=NAMES[arm],
        cost_usd=bill,
        cost_source="unknown" if bill is None else "usage",
        latency_s=LATENCY[arm] * (0.5 + rng.random()),
    )
    votes = ()
    if rng.random() < judged[arm]:
        votes = ((position, vote(name, float(quality), metric="judge", source="grader")),)
    return LogEvent(position, "outcome", made, seen, position, votes)


def truth(believed=BELIEVED, p_edge=P_EDGE, cost=COST):
    """The figures of an endless log."""
    right, p = np.array(RIGHT), np.stack([p_edge, 1 - np.array(p_edge)], axis=1)
    cost = np.array(cost)
    served_q, served_c = float((p * right).sum(1).mean()), float((p * cost).sum(1).mean())
    edge_q, cloud_q = right.mean(axis=0)
    share = (served_c - cost[0]) / (cost[1] - cost[0])
    gain = np.array(believed)[:, 1] - np.array(believed)[:, 0]
    # Kinds go to the cloud in the order of what is believed to be gained.
    order = np.argsort(-gain)
    steps = [(cost[0], edge_q)]
    for kind in order:
        c, q = steps[-1]
        steps.append(
            (c + (cost[1] - cost[0]) / KINDS, q + (right[kind, 1] - right[kind, 0]) / KINDS)
        )
    c, q = np.array(steps).T
    area = np.trapezoid(q, c) / (c[-1] - c[0])
    return {
        "quality": served_q,
        "cost_usd": served_c,
        "latency_s": float((p * np.array(LATENCY)).sum(1).mean()),
        "always_cloud": float(cloud_q),
        "always_edge": float(edge_q),
        "kept": float(np.mean(p_edge)),
        "saved": float(cost[1] - served_c),
        "gap": served_q - float((1 - share) * edge_q + share * cloud_q),
        "aiq": float(area - (edge_q + cloud_q) / 2),
    }
