"""From a context to a logged draw: mask, predict, draw. Synchronous, no I/O."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

from numpy.random import Generator

from bandit.policy import Policy
from bandit.primitives import Arm, Context, Decision, Prediction, Reason
from bandit.sampling import draw
from serving.eligibility import Eligibility, Needs, sift
from serving.errors import ServingError
from serving.selector import Selection

BASELINE_VERSION = "baseline"

_LOG = logging.getLogger(__name__)


class Holder(Protocol):
    """Whatever holds the policy that serves now."""

    @property
    def current(self) -> Policy:
        """The policy; another object after a swap."""


@dataclass(frozen=True, slots=True)
class Situation:
    """The arms at this moment.

    Attributes
    ----------
    troubles
        Those that are in trouble: arm id to reason.
    barred
        Those that there is no money for: arm id to what is raised if no other can answer.
    """

    arms: Sequence[Arm]
    troubles: Mapping[str, str]
    barred: Mapping[str, ServingError] = field(default_factory=dict)


class Decider:
    """Makes decisions; with the gate of a cascade, the only one that draws.

    Parameters
    ----------
    baseline_arm
        What answers when the policy cannot be asked; None takes the first eligible arm of the
        cloud tier, else the first eligible one.
    """

    def __init__(
        self,
        holder: Holder,
        rng: Generator,
        *,
        new_id: Callable[[], str],
        now: Callable[[], datetime],
        baseline_arm: str | None = None,
    ) -> None:
        self._holder = holder
        self._rng = rng
        self._new_id = new_id
        self._now = now
        self._baseline_arm = baseline_arm

    def decide(
        self,
        context: Context,
        situation: Situation,
        *,
        needs: Needs,
        selection: Selection,
        tags: Mapping[str, Any],
    ) -> Decision:
        """Choose an arm.

        Raises
        ------
        BadRequestError
            If no arm is able to answer.
        """
        eligible = _eligible(situation, needs, selection)
        prediction = self._predict(context, eligible.arms, selection)
        arm, propensity, reason = self._choose(prediction, eligible.arms, selection.pin)
        return Decision(
            self._new_id(),
            context,
            eligible.arms,
            selection.scenario,
            prediction,
            arm,
            propensity,
            reason,
            self._now(),
            eligible.masked,
            {**tags, "bypassed": True} if eligible.bypassed else tags,
        )

    def _predict(self, context: Context, arms: Sequence[Arm], selection: Selection) -> Prediction:
        if not context.features_ok:
            return self._baseline(arms)
        try:
            return self._holder.current.predict(context, arms, selection.scenario)
        except Exception:  # noqa: BLE001 - learning may break, serving may not
            _LOG.exception("the policy could not predict; the baseline arm serves")
            return self._baseline(arms)

    def _baseline(self, arms: Sequence[Arm]) -> Prediction:
        ids = tuple(arm.arm_id for arm in arms)
        cloud = (arm.arm_id for arm in arms if arm.tier == "cloud")
        chosen = self._baseline_arm if self._baseline_arm in ids else next(cloud, ids[0])
        return Prediction(ids, tuple(float(name == chosen) for name in ids), BASELINE_VERSION)

    def _choose(
        self, prediction: Prediction, arms: Sequence[Arm], pin: str | None
    ) -> tuple[str, float, Reason]:
        if pin is not None:
            return pin, 1.0, "pin"
        arm, propensity = draw(prediction, self._rng)
        if prediction.policy_version == BASELINE_VERSION:
            return arm, 1.0, "baseline"
        if len(arms) == 1:
            return arm, propensity, "mask"
        best = max(prediction.pmf)
        return arm, propensity, "policy" if propensity >= best else "explore"


def _eligible(situation: Situation, needs: Needs, selection: Selection) -> Eligibility:
    pin, only, barred = selection.pin, selection.only, situation.barred
    if pin is None:
        return sift(situation.arms, needs, troubles=situation.troubles, only=only, barred=barred)
    # The whole pmf is kept for the record; the caller's own choice stands, trouble or not.
    sift(situation.arms, needs, troubles={}, only=only, barred=barred)
    troubles = {arm: why for arm, why in situation.troubles.items() if arm != pin}
    needs = replace(needs, max_wait_s=math.inf)
    return sift(situation.arms, needs, troubles=troubles, barred=barred)
