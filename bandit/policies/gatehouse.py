"""The gate of a cascade: learned from what an edge answer shows of itself.

Ridge regressions correct what the policy expects of the edge and of the cloud at a context by
the signals of the edge's answer: how good is this answer, and how good would the cloud's be on a
query that made the edge answer like this? So it learns not to escalate what the cloud fails too.
A third says how much dearer the cloud will be on such a query: long answers come in pairs. The
edge's quality is calibrated per model digest. How much signals tell (the spread of corrections,
as far as such came true) is what looking at the edge's answer is worth, and prices the cascade as
an arm.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bandit.policies.isotonic import Calibration
from bandit.policies.linear import Ridge, Vector
from bandit.policies.proof import Proof
from bandit.policies.signals import MAX_SIGNALS, SignalScale

_PRIOR_QUALITY = 0.7
_HUNCH = 0.35
"""Quality between the answer that looks best and the one that looks worst, before any label."""
_RIDGE = 100.0
_RIDGE_BILL = 20.0
"""Bills are less noisy than verdicts."""
_MOST_DEARER = 8.0
"""A bill is expected to be so many times what it was before the answer was seen, at most."""
_CONSTANT = 3.0
"""The ridge holds on to a level that is learned from it a ninth as much as to a slope."""
_DOUBT = 1.0
"""What a correction's trust starts with: as much as a hundred corrections by a tenth."""
_KEEP = 0.999
"""What a label's weight becomes with every later label: a thousand are remembered."""
_N_FEATURES = 2 * MAX_SIGNALS + 4
_PROOFS = ("edge_proof", "cloud_proof")
_PARTS = ("gram", "inverse", "moment")


@dataclass(frozen=True, slots=True)
class Assessment:
    """What is expected once the signals of the edge's answer are known.

    Attributes
    ----------
    edge, cloud
        Quality of the edge's answer, and of the cloud's.
    dearer
        The cloud's bill over what was expected of it before, above 0; 1 on average over answers.
    """

    edge: float
    cloud: float
    dearer: float = 1.0


@dataclass(frozen=True, slots=True)
class EdgeAnswer:
    """An answer of the edge that is to be judged.

    Attributes
    ----------
    edge_quality, cloud_quality
        What was expected of either before the answer was seen.
    digest
        Of the edge's model.
    cloud_usd
        The cloud's bill that was expected before, in US dollars; None if unknown.
    """

    signals: Mapping[str, float]
    digest: str
    edge_quality: float
    cloud_quality: float
    cloud_usd: float | None = None


class Gatehouse:
    """Judges edge answers by their signals, and learns to.

    Parameters
    ----------
    saved, blobs
        What `state` and `dump` gave, to continue from.
    """

    def __init__(
        self, saved: Mapping[str, Any] | None = None, blobs: Mapping[str, bytes] | None = None
    ) -> None:
        state = saved or {}
        self._scale = SignalScale(state.get("scale"))
        self._edge = _ridge(state.get("edge_steps", 0), "gate_edge", blobs or {})
        self._cloud = _ridge(state.get("cloud_steps", 0), "gate_cloud", blobs or {})
        self._bill = _ridge(state.get("bill_steps", 0), "gate_bill", blobs or {}, ridge=_RIDGE_BILL)
        # Ten answers that tell nothing of bills stand in until real ones are seen.
        self._factors: list[float] = list(state.get("factors", (10.0, 10.0)))
        self._calibrations = {
            digest: Calibration(**kept) for digest, kept in state.get("calibrations", {}).items()
        }
        self._edge_trust = _Trust(state.get("edge_trust", (_DOUBT, _DOUBT)))
        self._cloud_trust = _Trust(state.get("cloud_trust", (0.5 * _DOUBT, _DOUBT)))
        self._proofs = [Proof(state.get(name)) for name in _PROOFS]
        # Of what signals added to the edge and to the cloud, of the squares and the product, and
        # of one: ten additions of a tenth to the edge stand in until real ones are seen.
        self._added: list[float] = list(state.get("added", (0.0, 0.0, 0.1, 0.0, 0.0, 10.0)))

    def assess(self, answer: EdgeAnswer) -> Assessment:
        """What the answer and the alternative are worth, now that the answer is there.

        Raises
        ------
        BadInteractionError
            If a signal is not finite.
        """
        return self._assessed(answer, *self._features(answer))

    def _assessed(self, answer: EdgeAnswer, x: Vector, hunch: float) -> Assessment:
        raw = answer.edge_quality + self._edge_trust.share * (hunch + float(self._edge.theta @ x))
        calibration = self._calibrations.get(answer.digest)
        return Assessment(
            raw if calibration is None else calibration(raw),
            answer.cloud_quality + self._cloud_trust.share * float(self._cloud.theta @ x),
            self._factor(x) * self._factors[1] / self._factors[0],
        )

    def _features(self, answer: EdgeAnswer) -> tuple[Vector, float]:
        z, known = self._scale.vector(answer.signals, answer.digest)
        hunch = self._scale.hunch(z) - 0.5
        expected = (
            _CONSTANT,
            answer.edge_quality - _PRIOR_QUALITY,
            answer.cloud_quality - _PRIOR_QUALITY,
            2.0 * hunch,
        )
        return np.concatenate([z, 0.5 * (z * z - known), expected]), _HUNCH * hunch

    # -- learning -------------------------------------------------------------------------------

    def note(self, answer: EdgeAnswer) -> None:
        """Count an edge answer, judged or not: the scale of its signals, and what they tell."""
        x, hunch = self._features(answer)
        found = self._assessed(answer, x, hunch)
        edge, cloud = found.edge - answer.edge_quality, found.cloud - answer.cloud_quality
        values = (edge, cloud, edge * edge, cloud * cloud, edge * cloud, 1.0)
        for i, value in enumerate(values):
            self._added[i] = 0.995 * self._added[i] + value
        self._factors = [0.995 * self._factors[0] + self._factor(x), 0.995 * self._factors[1] + 1.0]
        self._scale.note(answer.signals, answer.digest)

    def learn_edge(self, answer: EdgeAnswer, quality: float) -> None:
        """Learn how good the edge's answer was."""
        x, hunch = self._features(answer)
        missed = quality - answer.edge_quality
        added = self._assessed(answer, x, hunch).edge - answer.edge_quality
        self._proofs[0].learn(added, missed)
        correction = hunch + float(self._edge.theta @ x)
        known = self._calibrations.pop(answer.digest, None) or Calibration()
        known.learn(answer.edge_quality + self._edge_trust.share * correction, quality)
        self._edge_trust.learn(correction, missed)
        # The latest digest lies last; the oldest goes.
        self._calibrations[answer.digest] = known
        while len(self._calibrations) > 4:
            del self._calibrations[next(iter(self._calibrations))]
        self._edge.learn(x, missed - hunch, keep=_KEEP)

    def learn_cloud(self, answer: EdgeAnswer, quality: float) -> None:
        """Learn how good the cloud's answer was where the edge's was not accepted."""
        x, hunch = self._features(answer)
        missed = quality - answer.cloud_quality
        added = self._assessed(answer, x, hunch).cloud - answer.cloud_quality
        self._proofs[1].learn(added, missed)
        self._cloud_trust.learn(float(self._cloud.theta @ x), missed)
        self._cloud.learn(x, missed, keep=_KEEP)

    def learn_bill(self, answer: EdgeAnswer, cost_usd: float) -> None:
        """Learn what the cloud charged where the edge's answer was not accepted."""
        if cost_usd > 0.0 and answer.cloud_usd is not None and answer.cloud_usd > 0.0:
            missed = math.log(cost_usd / answer.cloud_usd)
            most = math.log(_MOST_DEARER)
            self._bill.learn(self._features(answer)[0], max(-most, min(most, missed)), keep=_KEEP)

    def _factor(self, x: Vector) -> float:
        most = math.log(_MOST_DEARER)
        return math.exp(max(-most, min(most, float(self._bill.theta @ x))))

    @property
    def levels(self) -> tuple[float, float]:
        """Mean of what signals add to the edge's quality, and to the cloud's.

        Over all answers a gate that is right adds nothing: this is where it differs from what the
        policy expects of the two before an answer is seen.
        """
        return self._added[0] / self._added[-1], self._added[1] / self._added[-1]

    @property
    def told(self) -> float:
        """Standard deviation of what signals add to the cloud's advantage, above 0.

        Only what surely comes true of it is counted: where answers tell little, a cascade that was
        chosen for what they seem to tell would lose to a choice by the query alone.
        """
        edge, cloud, edges, clouds, both, _ = (total / self._added[-1] for total in self._added)
        a, b = (proof.slope for proof in self._proofs)
        variance = a * a * (edges - edge * edge) + b * b * (clouds - cloud * cloud)
        return math.sqrt(max(1e-6, variance - 2.0 * a * b * (both - edge * cloud)))

    # -- keeping --------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """All but the regressions, as JSON-ready data."""
        return {
            "scale": self._scale.state(),
            "calibrations": {d: c.state() for d, c in self._calibrations.items()},
            "added": self._added,
            **{name: proof.sums for name, proof in zip(_PROOFS, self._proofs, strict=True)},
            "edge_trust": self._edge_trust.sums,
            "cloud_trust": self._cloud_trust.sums,
            "edge_steps": self._edge.steps,
            "cloud_steps": self._cloud.steps,
            "bill_steps": self._bill.steps,
            "factors": self._factors,
        }

    def dump(self) -> dict[str, bytes]:
        """The regressions."""
        named = {"gate_edge": self._edge, "gate_cloud": self._cloud, "gate_bill": self._bill}
        return {
            f"{name}_{part}": getattr(model, part).tobytes()
            for name, model in named.items()
            for part in _PARTS
            if model.steps
        }


class _Trust:
    """How much of a correction came true: the slope of what was missed on what was corrected.

    A regression on few labels corrects too boldly, and whoever acts on the boldest corrections
    would believe that signals tell more than they do.
    """

    def __init__(self, sums: Sequence[float]) -> None:
        self.sums = list(sums)

    @property
    def share(self) -> float:
        """The share of a correction to make, in [0, 1]."""
        return min(1.0, max(0.0, self.sums[0] / self.sums[1]))

    def learn(self, correction: float, missed: float) -> None:
        """Take in a correction that was made before the truth was known, and the truth."""
        self.sums[0] = 0.998 * self.sums[0] + correction * missed
        self.sums[1] = 0.998 * self.sums[1] + correction * correction


def _ridge(steps: int, name: str, blobs: Mapping[str, bytes], *, ridge: float = _RIDGE) -> Ridge:
    model = Ridge(_N_FEATURES, ridge=ridge)
    if steps:
        model.steps = steps
        for part in _PARTS:
            shape = getattr(model, part).shape
            setattr(model, part, np.frombuffer(blobs[f"{name}_{part}"]).reshape(shape).copy())
        model.theta = model.inverse @ model.moment
    return model
