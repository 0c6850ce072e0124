"""What a policy that stands around another leaves to that one."""

from collections.abc import Mapping, Sequence

from bandit.alarm import Alarm
from bandit.errors import NoGateError
from bandit.gate import gatekeeper_of
from bandit.policy import Policy
from bandit.primitives import Arm, Context, Prediction
from bandit.utility import Scenario


class Wrapping:
    """The half of a wrapper that only passes on: version, alarms, gate and explanations.

    Parameters
    ----------
    inner
        The policy inside; a wrapper that exchanges it assigns the attribute of that name.
    """

    def __init__(self, inner: Policy) -> None:
        self.inner = inner
        self.name = inner.name

    @property
    def version(self) -> str:
        """The inner policy's."""
        return self.inner.version

    @version.setter
    def version(self, value: str) -> None:
        self.inner.version = value

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """The inner policy's."""
        return self.inner.alarms

    @property
    def has_gate(self) -> bool:
        """Whether the inner policy has one, which a promotion may change."""
        return gatekeeper_of(self.inner) is not None

    def gate(
        self,
        context: Context,
        edge: Arm,
        cloud: Arm,
        scenario: Scenario,
        signals: Mapping[str, float],
    ) -> Prediction:
        """The inner policy's gate; see `bandit.gate.Gatekeeper.gate`."""
        keeper = gatekeeper_of(self.inner)
        if keeper is None:
            raise NoGateError(self.inner.name)
        return keeper.gate(context, edge, cloud, scenario, signals)

    def explain(self, context: Context, arms: Sequence[Arm]) -> Mapping[str, Mapping[str, float]]:
        """The inner policy's explanation: what it expects, whoever serves."""
        return self.inner.explain(context, arms)


def oldest_first(*alarms: Alarm) -> tuple[Alarm, ...]:
    """The alarms of several, in the order in which they were noticed."""
    return tuple(sorted(alarms, key=lambda alarm: alarm.n_interactions))
