"""The simulated arms: how they present themselves, what they answer, how long callers wait."""

from collections.abc import Sequence

from bandit.primitives import Arm, Decision
from feedback.outcome import Outcome
from serving.arms import LatencyBoard
from simulator.changes import Block
from simulator.second_stage import SecondStage, cascade_of
from simulator.workload import EdgeQueue

_FRESH = 32
"""Rounds between two looks at the arms' recent latency."""


class Fleet:
    """The arms of one run, named by their models; the first is the edge.

    Parameters
    ----------
    queue
        Where queries wait for the edge; None when it takes any number at once.
    second
        Who judges the edge's answers; None where no cascade is offered.
    """

    def __init__(
        self,
        models: Sequence[str],
        *,
        queue: EdgeQueue | None = None,
        second: SecondStage | None = None,
    ) -> None:
        self._second = second
        self._models = tuple(models)
        self._column = {model: j for j, model in enumerate(models)}
        self._queue = queue
        self._board = LatencyBoard()
        self._key: list[bytes] = []
        self._arms: tuple[Arm, ...] = ()

    def at(self, block: Block, i: int, now_s: float) -> tuple[Arm, ...]:
        """The eligible arms as they are now: prices, recent latency, predicted wait."""
        parts = (block.eligible, block.price_in, block.price_out, block.digest)
        key = [part[i].tobytes() for part in parts]
        if key != self._key or i % _FRESH == 0 or self._queue is not None:
            self._key = key
            self._arms = tuple(
                self._arm(block, i, j, now_s)
                for j in range(len(self._models))
                if block.eligible[i, j]
            )
            cascade = cascade_of(self._arms) if self._second else None
            if cascade is not None:
                self._arms = (*self._arms, cascade)
        if self._queue and len(self._arms) > 1 and self._queue.overloaded(now_s):
            return tuple(arm for arm in self._arms if arm.tier == "cloud") or self._arms
        return self._arms

    def _arm(self, block: Block, i: int, j: int, now_s: float) -> Arm:
        model = self._models[j]
        features = {"queue_s": self._queue.wait_s(now_s) if self._queue and j == 0 else 0.0}
        recent_s = self._board.recent_s(model)
        if recent_s is not None:
            features["latency_s"] = recent_s
        return Arm(
            model,
            "edge" if j == 0 else "cloud",
            model,
            float(block.price_in[i, j]),
            float(block.price_out[i, j]),
            digest=f"{model}:{block.digest[i, j]}",
            features=features,
        )

    def answer(self, block: Block, i: int, decision: Decision, now_s: float) -> tuple[int, Outcome]:
        """Ask the drawn arm and, where it fails, the others in turn, as the service does.

        Returns
        -------
        The column of the arm that answered, and its outcome.
        """
        if self._second and decision.chosen.parts:
            return self._cascade(self._second, block, i, decision, now_s)
        drawn = self._column[decision.arm]
        j = drawn
        if block.failing[i, drawn]:
            others = (self._column[arm.arm_id] for arm in decision.arms)
            j = next((other for other in others if not block.failing[i, other]), drawn)
        latency_s = float(block.latency_s[i, j])
        if self._queue and j == 0:
            latency_s = self._queue.serve(now_s, latency_s)
        if j != drawn:
            latency_s += float(block.latency_s[i, drawn])
        failed = bool(block.failing[i, j])
        if not failed:
            self._board.record(self._models[j], latency_s)
        outcome = Outcome(
            decision.decision_id,
            self._models[j],
            self._models[j],
            latency_s,
            cost_usd=0.0 if failed else float(block.cost_usd[i, j]),
            cost_source="usage",
            tokens_in=int(block.tokens_in[i, j]),
            tokens_out=0 if failed else int(block.tokens_out[i, j]),
            failure="unavailable" if failed else None,
            confidence=self._second.shown(block, i, j) if self._second and j == 0 else {},
        )
        return j, outcome

    def _cascade(
        self, second: SecondStage, block: Block, i: int, decision: Decision, now_s: float
    ) -> tuple[int, Outcome]:
        latency_s, cost_usd = float(block.latency_s[i, 0]), float(block.cost_usd[i, 0])
        if self._queue:
            latency_s = self._queue.serve(now_s, latency_s)
        if block.failing[i, 0]:
            cost_usd = 0.0
        stages = second.decide(block, i, decision, (cost_usd, latency_s))
        j, asked = stages.delivers, [0] if stages.delivers == 0 else [0, len(self._models) - 1]
        if j:
            latency_s += float(block.latency_s[i, j])
            cost_usd += float(block.cost_usd[i, j])
        failed = bool(block.failing[i, j])
        if not failed:
            self._board.record(self._models[j], float(block.latency_s[i, j]))
        outcome = Outcome(
            decision.decision_id,
            decision.arm,
            decision.chosen.model,
            latency_s,
            cost_usd=cost_usd,
            cost_source="usage",
            tokens_in=int(block.tokens_in[i, asked].sum()),
            tokens_out=int(block.tokens_out[i, asked].sum()),
            failure="unavailable" if failed else None,
            gating=stages.gating,
        )
        return j, outcome
