"""The second stage of a cascade: whether the first arm's answer will do.

A cascade is an arm of tier ``cascade`` that joins two others (`bandit.primitives.Arm.parts`): its
edge answers first, then a gate draws ``accept`` (deliver that answer) or ``escalate`` (ask the
cloud as well). What was drawn, and with which probability, is a `bandit.primitives.Gating`.
"""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from bandit.primitives import Arm, Context, Prediction, Verdict
from bandit.utility import Scenario

VERDICTS: tuple[Verdict, Verdict] = ("accept", "escalate")
"""The "arms" of a gate's prediction, in this order."""


@runtime_checkable
class Gatekeeper(Protocol):
    """A policy that can also decide the second stage; one that cannot has no cascade to offer."""

    @property
    def has_gate(self) -> bool:
        """Whether it can now: one that stands around others can as far as those can."""

    def gate(
        self,
        context: Context,
        edge: Arm,
        cloud: Arm,
        scenario: Scenario,
        signals: Mapping[str, float],
    ) -> Prediction:
        """Probabilities of `VERDICTS`. Never draws, never changes the policy.

        Parameters
        ----------
        edge, cloud
            The arm that answered and the one that may answer instead, as they are now.
        scenario
            The one that the cascade was drawn under, price of money included.
        signals
            What the answer showed of itself, as in `feedback.outcome.Outcome.confidence`; any
            subset of what edge models give, and none at all will do.

        Returns
        -------
        Neither verdict below the exploration floor; ``estimates`` are of what would be delivered,
        with the cost and latency of both stages together, as the outcome will hold them.

        Raises
        ------
        BadInteractionError
            If a signal is not finite.
        """


def gatekeeper_of(policy: object) -> Gatekeeper | None:
    """The policy, if it has a gate now; None if it has not."""
    return policy if isinstance(policy, Gatekeeper) and policy.has_gate else None
