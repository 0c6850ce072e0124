"""The default policy with one of its choices taken away: what three arms are compared with."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bandit.alarm import Alarm
from bandit.policies.composed import ComposedPolicy
from bandit.primitives import Arm, Context, Interaction, Prediction
from bandit.utility import Scenario


class PreOnly:
    """Edge or cloud by the query alone: it has no gate, so that no cascade is offered to it."""

    def __init__(self, inner: ComposedPolicy, *, name: str = "pre-only") -> None:
        self.name = name
        self.version = inner.version
        self.inner = inner

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """The inner policy's."""
        return self.inner.alarms

    def predict(self, context: Context, arms: Sequence[Arm], scenario: Scenario) -> Prediction:
        """The inner policy's prediction."""
        return self.inner.predict(context, arms, scenario)

    def learn(self, interaction: Interaction) -> None:
        """Teach the inner policy."""
        self.inner.learn(interaction)

    def explain(self, context: Context, arms: Sequence[Arm]) -> Mapping[str, Mapping[str, float]]:
        """The inner policy's reasons."""
        return self.inner.explain(context, arms)

    def snapshot(self) -> bytes:
        """The inner policy's."""
        return self.inner.snapshot()

    def restore(self, blob: bytes) -> None:
        """Restore the inner policy."""
        self.inner.restore(blob)
        self.version = self.inner.version


class CascadeOnly(PreOnly):
    """Every query to the cascade where there is one: only the gate chooses."""

    has_gate = True

    def __init__(self, inner: ComposedPolicy) -> None:
        super().__init__(inner, name="always-cascade")

    def predict(self, context: Context, arms: Sequence[Arm], scenario: Scenario) -> Prediction:
        """A point mass on the cascade, with the inner policy's estimates."""
        found = self.inner.predict(context, arms, scenario)
        if not any(arm.parts for arm in arms):
            return found
        return replace(found, pmf=tuple(float(bool(arm.parts)) for arm in arms))

    def gate(
        self,
        context: Context,
        edge: Arm,
        cloud: Arm,
        scenario: Scenario,
        signals: Mapping[str, float],
    ) -> Prediction:
        """The inner policy's gate."""
        return self.inner.gate(context, edge, cloud, scenario, signals)
