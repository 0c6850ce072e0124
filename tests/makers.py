"""Values for tests, made from as little as a test cares for."""

from datetime import UTC, datetime, timedelta
from itertools import count

import numpy as np

from bandit.primitives import Arm, Context, Decision, Estimate, Prediction
from bandit.utility import PRESETS
from feedback.log import LoggedDecision
from feedback.outcome import Feedback, Outcome

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
WINDOW_S = 3600.0
ARMS = (
    Arm("edge", "edge", "small", 0.0, 0.0, frozenset({"n"}), 2048, "sha", {"latency_s": 0.1}),
    Arm("cloud", "cloud", "large", 1.0, 3.0),
)
_ids = count()


class Clock:
    """A clock that stands still until told to move."""

    def __init__(self, now=NOW):
        self.now = now

    def __call__(self):
        return self.now

    def advance(self, seconds):
        self.now += timedelta(seconds=seconds)


def context(*, features_ok=True, x=None):
    x = [0.1, -0.25, 1.0] if x is None else x
    return Context(
        {"bias": np.ones(1, np.float32), "text": np.array(x, np.float32)}, "schema-1", features_ok
    )


def decision(decision_id=None, **changes):
    values = {
        "decision_id": decision_id or f"d{next(_ids)}",
        "context": context(),
        "arms": ARMS,
        "scenario": PRESETS["balanced"],
        "prediction": Prediction(
            ("edge", "cloud"),
            (1 / 3, 2 / 3),
            "mean-0",
            (Estimate(0.5, 0.0, 0.1, 0.3), Estimate(0.1 + 0.2, None, None, 0.7)),
        ),
        "arm": "edge",
        "propensity": 1 / 3,
        "reason": "policy",
        "decided_at": NOW,
        "masked": {"cascade": "breaker open"},
        "tags": {"app": "demo"},
    }
    return Decision(**{**values, **changes})


def logged(decision_id=None, *, kind="chat", key_id="", prompt=None, reference=None, **changes):
    made = decision(decision_id, **changes)
    return LoggedDecision(made, kind, key_id, "hash", prompt, reference)


def outcome(decision_id, **changes):
    values = {
        "decision_id": decision_id,
        "arm": "edge",
        "model": "small",
        "latency_s": 0.5,
        "ttft_s": 0.1,
        "cost_usd": 0.002,
        "cost_source": "usage",
        "tokens_in": 20,
        "tokens_out": 30,
        "finish_reason": "stop",
        "confidence": {"margin_mean": 0.25},
    }
    return Outcome(**{**values, **changes})


def vote(decision_id, value=1, *, metric="thumbs", source="ann", **changes):
    return Feedback(f"f{next(_ids)}", decision_id, metric, value, source, **changes)
