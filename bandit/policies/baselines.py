"""Policies that learn nothing: a fixed arm, and a random mix."""

from collections.abc import Mapping, Sequence

from bandit.alarm import Alarm
from bandit.errors import BadSnapshotError, NoEligibleArmError
from bandit.primitives import Arm, Context, Interaction, Prediction
from bandit.utility import Scenario


class MixPolicy:
    """Draws every arm with a fixed probability, whatever the query.

    Arms that are not eligible leave their share to the others, in proportion.

    Examples
    --------
    >>> arms = [Arm("edge", "edge", "m"), Arm("cloud", "cloud", "m")]
    >>> policy = MixPolicy({"cloud": 1.0}, name="always-cloud")
    >>> policy.predict(Context({}, "v"), arms, Scenario("q", 1.0, 0.0, 0.0)).pmf
    (0.0, 1.0)
    """

    alarms: tuple[Alarm, ...] = ()

    def __init__(self, shares: Mapping[str, float] | None = None, *, name: str = "random") -> None:
        self.name = name
        self.version = name
        self._shares = shares

    def predict(self, context: Context, arms: Sequence[Arm], scenario: Scenario) -> Prediction:  # noqa: ARG002 - looks at neither
        """The shares over ``arms``; uniform where none of them has one."""
        if not arms:
            raise NoEligibleArmError
        weights = [1.0 if self._shares is None else self._shares.get(a.arm_id, 0.0) for a in arms]
        total = sum(weights)
        pmf = [w / total for w in weights] if total > 0.0 else [1.0 / len(arms)] * len(arms)
        return Prediction(tuple(a.arm_id for a in arms), tuple(pmf), self.version)

    def learn(self, interaction: Interaction) -> None:
        """Nothing."""

    def explain(self, context: Context, arms: Sequence[Arm]) -> Mapping[str, Mapping[str, float]]:  # noqa: ARG002 - looks at nothing
        """No feature matters."""
        return {arm.arm_id: {} for arm in arms}

    def snapshot(self) -> bytes:
        """The name; there is nothing else to keep."""
        return self.name.encode()

    def restore(self, blob: bytes) -> None:
        """Check that the bytes are ours."""
        if blob != self.name.encode():
            raise BadSnapshotError(f"not saved by {self.name!r}")
