"""Tells the metrics what the router does."""

from feedback.outcome import Outcome
from serving.answering import Answer, Routed
from serving.metrics import Metrics
from serving.recording import Watcher


class MetricsWatcher(Watcher):
    """Counts decisions and answers."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def decided(self, routed: Routed) -> None:
        """Count a decision and the time it took."""
        decision = routed.decision
        self._metrics.decisions.labels(decision.arm, decision.reason).inc()
        self._metrics.routing_overhead_s.observe(routed.overhead_s)

    def began(self, answer: Answer) -> None:
        """Count an answer in flight, under the arm that was drawn."""
        self._metrics.arm_inflight.labels(answer.routed.decision.arm).inc()

    def ended(self, answer: Answer, outcome: Outcome) -> None:
        """Count an answer that ended."""
        drawn = answer.routed.decision.arm
        self._metrics.arm_inflight.labels(drawn).dec()
        if not answer.logged and outcome.failure is None:
            self._metrics.unlogged.inc()
        if outcome.arm != drawn:
            cause = answer.fallback_cause or "error"
            self._metrics.fallbacks.labels(drawn, outcome.arm, cause).inc()
        if outcome.gating is not None:
            gating = outcome.gating
            cause = gating.cause or "drawn"
            self._metrics.verdicts.labels(outcome.arm, gating.verdict, cause).inc()
        if outcome.failure is None and outcome.latency_s is not None:
            self._metrics.arm_latency_s.labels(outcome.arm).observe(outcome.latency_s)
        if outcome.ttft_s is not None:
            self._metrics.arm_ttft_s.labels(outcome.arm).observe(outcome.ttft_s)
        if outcome.cost_usd is not None:
            self._metrics.cost_usd.labels(outcome.arm).inc(outcome.cost_usd)
        if outcome.energy_j is not None:
            self._metrics.energy_j.labels(outcome.arm).inc(outcome.energy_j)
