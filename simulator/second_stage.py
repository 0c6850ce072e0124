"""Cascades in the simulator: the edge answers, the policy's gate judges, perhaps the cloud answers.

As in the service: the verdict is drawn from the gate's pmf and logged with its probability; a cloud
that fails leaves the edge's answer, an edge that fails leaves the cloud's, and neither was drawn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from numpy.random import Generator

from bandit.gate import Gatekeeper
from bandit.primitives import Arm, Decision, Gating, Prediction, Verdict
from bandit.sampling import draw
from simulator.answers import NO_SIGNALS, Signals
from simulator.changes import Block

CASCADE = "cascade"


def cascade_of(arms: Sequence[Arm]) -> Arm | None:
    """The cascade of the first and the last of ``arms``; None where they are not edge and cloud."""
    if len(arms) < 2 or arms[0].tier != "edge" or arms[-1].tier != "cloud":
        return None
    edge, cloud = arms[0], arms[-1]
    return Arm(
        CASCADE,
        "cascade",
        f"{edge.model}+{cloud.model}",
        digest=f"{edge.digest}+{cloud.digest}",
        parts=(edge.arm_id, cloud.arm_id),
    )


@dataclass(frozen=True, slots=True)
class Stages:
    """What became of a cascade: who delivers (a column), and the second stage."""

    delivers: int
    gating: Gating

    @property
    def escalated(self) -> bool:
        """Whether the cloud was asked as well."""
        return self.gating.verdict == "escalate"


class SecondStage:
    """Draws verdicts for one run.

    Parameters
    ----------
    models
        Every model of the table, in the order of its columns.
    signals
        Per model, what every row's answer shows of itself.
    """

    def __init__(
        self,
        gate: Gatekeeper,
        models: Sequence[str],
        signals: Mapping[str, Sequence[Signals]],
        rng: Generator,
    ) -> None:
        self._gate = gate
        self._models = tuple(models)
        self._signals = signals
        self._rng = rng

    def shown(self, block: Block, i: int, j: int) -> Signals:
        """What the answer of arm ``j`` at round ``i`` of the block shows of itself."""
        rows = self._signals.get(self._models[int(block.model[i, j])])
        return NO_SIGNALS if rows is None else rows[int(block.rows[i])]

    def decide(self, block: Block, i: int, decision: Decision, bill: tuple[float, float]) -> Stages:
        """Let the edge answer and the gate judge.

        Parameters
        ----------
        bill
            What the edge's answer cost in US dollars, and took in seconds.
        """
        arms = {arm.arm_id: arm for arm in decision.arms}
        first, last = decision.chosen.parts
        edge, cloud = arms[first], arms[last]
        k = block.quality.shape[1]
        signals = self.shown(block, i, 0)
        judged = self._gate.gate(decision.context, edge, cloud, decision.scenario, signals)
        point, p = draw(judged, self._rng)
        verdict: Verdict = "accept" if point == "accept" else "escalate"
        forced = self._forced(block, i, verdict)
        return Stages(
            0 if (forced or verdict) == "accept" else k - 1,
            _gating((first, last), signals, judged, (forced or verdict, p, forced), bill),
        )

    def _forced(self, block: Block, i: int, drawn: Verdict) -> Verdict | None:
        if block.failing[i, 0]:
            return "escalate"
        return "accept" if drawn == "escalate" and block.failing[i, -1] else None


def _gating(
    parts: tuple[str, str],
    signals: Signals,
    judged: Prediction,
    drawn: tuple[Verdict, float, Verdict | None],
    bill: tuple[float, float],
) -> Gating:
    verdict, p, forced = drawn
    return Gating(
        *parts,
        signals,
        judged,
        verdict,
        1.0 if forced else p,
        forced=forced is not None,
        edge_cost_usd=bill[0],
        edge_latency_s=bill[1],
    )
