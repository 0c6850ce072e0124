"""Warm start: what another table knows, taught through the ordinary way of learning."""

from datetime import UTC, datetime

import numpy as np

from bandit.policies.doubt import WARM
from bandit.policy import Policy
from bandit.primitives import Arm, Decision, Interaction, Prediction
from feedback.outcome import Outcome
from feedback.reward import to_reward
from simulator.study import Study

_WHEN = datetime(1970, 1, 1, tzinfo=UTC)


def warm_up(policy: Policy, study: Study, seed: int) -> None:
    """Teach every row of the warm table: each arm's answer, as if drawn with equal probability."""
    if study.warm is None:
        return
    table, contexts = study.warm.table, study.warm.bank.contexts()
    arms = tuple(
        Arm(
            name,
            "edge" if j == 0 else "cloud",
            name,
            None if table.price_in is None else float(table.price_in[j]),
            None if table.price_out is None else float(table.price_out[j]),
            digest=f"{name}:0",
            features={"queue_s": 0.0},
        )
        for j, name in enumerate(study.arms)
    )
    k = len(arms)
    uniform = (1.0 / k,) * k
    for row in np.random.default_rng([seed, 5]).permutation(len(table)):
        prediction = policy.predict(contexts[row], arms, study.scenario)
        shown = Prediction(prediction.arms, uniform, WARM, prediction.estimates)
        for j, name in enumerate(study.arms):
            decision_id = f"warm-{row}-{j}"
            decision = Decision(
                decision_id,
                contexts[row],
                arms,
                study.scenario,
                shown,
                name,
                1.0 / k,
                "policy",
                _WHEN,
            )
            outcome = Outcome(
                decision_id,
                name,
                name,
                float(table.latency_s[row, j]),
                cost_usd=float(table.cost_usd[row, j]),
                tokens_in=int(table.tokens_in[row, j]),
                tokens_out=int(table.tokens_out[row, j]),
            )
            reward = to_reward(
                study.scenario, quality=float(table.quality[row, j]), outcome=outcome
            )
            policy.learn(Interaction(decision, reward, outcome.tokens_in, outcome.tokens_out))
