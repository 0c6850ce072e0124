"""Every number that Prometheus may ask for."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

_LATENCY_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_OVERHEAD_BUCKETS_S = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 1)


class Metrics:
    """Every metric of a server, in a registry of its own.

    Labels come from configuration or fixed lists, never from what a client says, so that nobody can
    make them grow.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry(auto_describe=True)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"pointsman_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"pointsman_{name}", text, labels, registry=registry)

        def histogram(
            name: str, text: str, *labels: str, buckets: Sequence[float] = _LATENCY_BUCKETS_S
        ) -> Histogram:
            return Histogram(f"pointsman_{name}", text, labels, registry=registry, buckets=buckets)

        self.requests = counter("requests_total", "HTTP requests", "endpoint", "code")
        self.decisions = counter("decisions_total", "Decisions", "arm", "reason")
        self.unlogged = counter("unlogged_decisions_total", "Answers whose decision was not stored")
        self.routing_overhead_s = histogram(
            "routing_overhead_seconds",
            "Featurize, predict, draw and log",
            buckets=_OVERHEAD_BUCKETS_S,
        )
        self.arm_latency_s = histogram("arm_latency_seconds", "Whole answer", "arm")
        self.arm_ttft_s = histogram("arm_ttft_seconds", "First token", "arm")
        self.arm_inflight = gauge("arm_inflight", "Answers being made", "arm")
        self.arm_queue_depth = gauge("arm_queue_depth", "Queries that wait", "arm")
        self.breaker_state = gauge("breaker_state", "0 closed, 1 open or unhealthy", "arm")
        self.fallbacks = counter("fallbacks_total", "Answers by another arm", "from", "to", "cause")
        self.verdicts = counter("gate_verdicts_total", "Cascades", "arm", "verdict", "cause")
        self.cost_usd = counter("cost_usd_total", "Cost of answers in US dollars", "arm")
        self.energy_j = counter("energy_joules_total", "Energy of answers where known", "arm")
        self.feedback = counter("feedback_total", "Feedback by result", "metric", "status")
        self.learner_applied = gauge("learner_events_applied_total", "Interactions learned")
        self.learner_lag_events = gauge("learner_lag_events", "Log positions not yet learned")
        self.policy_info = gauge("policy_version", "1 for the policy that serves", "version")
        self.alarms = gauge("alarms_total", "What learning noticed", "kind")
        self.alarms_pending = gauge("alarms_pending", "Alarms that the webhook has not taken yet")
        self.budget_usd = gauge("budget_usd", "A budget in US dollars", "budget", "per")
        self.budget_spent_usd = gauge("budget_spent_usd", "Spent today, US dollars", "budget")
        self.budget_reserved_usd = gauge(
            "budget_reserved_usd", "Reserved by answers on their way, US dollars", "budget"
        )
        self.budget_price = gauge("budget_price", "Reward that a US dollar must bring", "budget")
        self.objective = gauge("objective", "What is aimed at, in its unit", "objective")
        self.objective_price = gauge(
            "objective_price", "Reward that a late answer, or quality from 0 to 1, must bring",
            "objective",
        )  # fmt: skip
        self.objective_balance = gauge(
            "objective_balance", "Late answers or quality saved, below 0 owed", "objective"
        )
        self.judged = counter(
            "judge_total", "Answers offered to the judge, by what came of it", "result"
        )
        self.judge_cost_usd = counter("judge_cost_usd_total", "Cost of judging in US dollars")
        self.judge_waiting = gauge("judge_waiting", "Answers that wait for the judge")
        self.draining = gauge("draining", "1 while the server stops")

    def render(self) -> bytes:
        """The registry in Prometheus's text format."""
        return generate_latest(self.registry)
