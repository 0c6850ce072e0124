"""The second draw of a cascade: whether the edge's answer is delivered. Synchronous, no I/O."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from numpy.random import Generator

from bandit.gate import VERDICTS, Gatekeeper, gatekeeper_of
from bandit.policy import Policy
from bandit.primitives import Arm, Decision, Prediction, Verdict
from bandit.sampling import draw
from serving.signals import well_formed

FORCED_VERSION = "forced"
"""Policy version of a verdict that no policy was asked for."""

_LOG = logging.getLogger(__name__)
_TOLERANCE = 1e-6


class Holder(Protocol):
    """Whatever holds the policy that serves now."""

    @property
    def current(self) -> Policy:
        """The policy; another object after a swap."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """A verdict and how it came about, in the words of `bandit.primitives.Gating`."""

    prediction: Prediction
    verdict: Verdict
    propensity: float
    cause: str = ""

    def overruled(self, verdict: Verdict, cause: str) -> "Ruling":
        """The same pmf, for the record, under a verdict that was forced after the draw."""
        return replace(self, verdict=verdict, propensity=1.0, cause=cause)


def forced(verdict: Verdict, cause: str) -> Ruling:
    """A verdict that nobody drew.

    Examples
    --------
    >>> forced("escalate", "edge_failed").prediction.pmf
    (0.0, 1.0)
    """
    pmf = tuple(float(one == verdict) for one in VERDICTS)
    return Ruling(Prediction(VERDICTS, pmf, FORCED_VERSION), verdict, 1.0, cause)


class Gate:
    """Asks the policy that serves now, and draws.

    Where there is no policy to ask, an answer with nothing obviously wrong is accepted and any
    other escalated; such a verdict is forced.
    """

    def __init__(self, holder: Holder, rng: Generator) -> None:
        self._holder = holder
        self._rng = rng

    def rule(
        self, decision: Decision, parts: tuple[str, str], signals: Mapping[str, float]
    ) -> Ruling:
        """The verdict on an answer that showed ``signals``.

        Only arms that the decision kept are shown to the gate: what it was asked with can be read
        in the log, and asked again.
        """
        kept = {arm.arm_id: arm for arm in decision.arms}
        keeper = gatekeeper_of(self._holder.current)
        cause = _obstacle(keeper, decision, parts, kept)
        if cause or keeper is None:
            # An arm in trouble is no way out: what is there is delivered.
            fine = well_formed(signals) or parts[1] not in kept
            return forced("accept" if fine else "escalate", cause)
        edge, cloud = (kept[part] for part in parts)
        try:
            prediction = keeper.gate(decision.context, edge, cloud, decision.scenario, signals)
            _check(prediction)
        except Exception:  # noqa: BLE001 - learning may break, serving may not
            _LOG.exception("the gate could not be asked; well-formed answers are accepted")
            return forced("accept" if well_formed(signals) else "escalate", "gate_failed")
        verdict, propensity = draw(prediction, self._rng)
        return Ruling(prediction, "accept" if verdict == "accept" else "escalate", propensity)


def _obstacle(
    keeper: Gatekeeper | None, decision: Decision, parts: tuple[str, str], kept: Mapping[str, Arm]
) -> str:
    """Why the policy cannot be asked, in the words of `Gating.cause`; empty if it can."""
    if keeper is None:
        return "no_gate"
    if not decision.context.features_ok:
        return "no_features"
    return "" if all(part in kept for part in parts) else "part_masked"


def _check(prediction: Prediction) -> None:
    sound = all(0.0 <= p <= 1.0 for p in prediction.pmf)
    if prediction.arms != VERDICTS or not sound or abs(sum(prediction.pmf) - 1.0) > _TOLERANCE:
        raise ValueError(prediction)
