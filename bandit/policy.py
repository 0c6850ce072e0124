"""The port that every policy implements."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from bandit.alarm import Alarm
from bandit.primitives import Arm, Context, Interaction, Prediction
from bandit.utility import Scenario


class Policy(Protocol):
    """Maps a context and the eligible arms to a pmf, and learns from interactions.

    Implementations are pure: no I/O, no clock, no randomness in `predict`. One thread owns one
    instance; others get their own through `snapshot` and `restore`.
    """

    name: str
    version: str

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """What it noticed lately, oldest first: a few dozen at most, and part of its state."""

    def predict(self, context: Context, arms: Sequence[Arm], scenario: Scenario) -> Prediction:
        """Probabilities over ``arms``, in their order. Never draws, never changes the policy.

        Raises
        ------
        NoEligibleArmError
            If ``arms`` is empty.
        """

    def learn(self, interaction: Interaction) -> None:
        """Update from one interaction.

        Raises
        ------
        BadInteractionError
            If a number is not finite or outside its range; nothing is learned then.
        """

    def explain(self, context: Context, arms: Sequence[Arm]) -> Mapping[str, Mapping[str, float]]:
        """For every arm, how much each feature (``namespace[i]``) adds to its predicted quality.

        What else adds to it has a name without brackets, such as ``drift``.
        """

    def snapshot(self) -> bytes:
        """Everything that `restore` needs to continue exactly from here."""

    def restore(self, blob: bytes) -> None:
        """Become the policy that was saved.

        Raises
        ------
        BadSnapshotError
            If ``blob`` is damaged or was saved by another kind of policy; nothing changes then.
        """
