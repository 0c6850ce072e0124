"""Policies that know more than a policy may: yardsticks, not candidates.

Fitted ones (static-by-domain, threshold) learn from full information on stated rows and then never
again; ridge-full learns every arm's reward of every round, ridge-uniform one of them, drawn evenly;
the oracle looks before it chooses.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bandit.alarm import Alarm
from bandit.errors import NoEligibleArmError
from bandit.policies.linear import Ridge, Vector, dense
from bandit.primitives import Arm, Context, Estimate, Interaction, Prediction
from bandit.utility import Scenario
from simulator.driver import View
from simulator.table import Floats


@dataclass(frozen=True, slots=True)
class FitRows:
    """Full information to fit on: features (n, d + 1), rewards (n, k), domains (n,)."""

    features: Floats
    rewards: Floats
    domain: NDArray[np.int64]


def greedy(
    arms: Sequence[Arm], values: Mapping[str, float], version: str, *, margin: float = 0.0
) -> Prediction:
    """All probability on the best arm.

    Parameters
    ----------
    margin
        How much better than the first arm another must look to be chosen.
    """
    if not arms:
        raise NoEligibleArmError
    ids = tuple(arm.arm_id for arm in arms)
    scores = [values.get(name, 0.0) - (margin if i else 0.0) for i, name in enumerate(ids)]
    best = max(range(len(ids)), key=scores.__getitem__)
    return Prediction(
        ids,
        tuple(float(i == best) for i in range(len(ids))),
        version,
        tuple(Estimate(None, None, None, values.get(name, 0.0)) for name in ids),
    )


class _Reference:
    """What all yardsticks share: they learn from no interaction and are not saved."""

    alarms: tuple[Alarm, ...] = ()

    def __init__(self, name: str, arms: Sequence[str]) -> None:
        self.name = name
        self.version = name
        self.arms = tuple(arms)

    def learn(self, interaction: Interaction) -> None:
        """Nothing."""

    def explain(self, context: Context, arms: Sequence[Arm]) -> Mapping[str, Mapping[str, float]]:  # noqa: ARG002 - a yardstick gives no reasons
        """No reasons."""
        return {arm.arm_id: {} for arm in arms}

    def snapshot(self) -> bytes:
        """The name."""
        return self.name.encode()

    def restore(self, blob: bytes) -> None:
        """Nothing."""

    def foresee(self, view: View) -> None:
        """Nothing."""

    def hindsight(self, context: Context, view: View) -> None:
        """Nothing."""


class Oracle(_Reference):
    """The best arm of every round, by its true reward."""

    def foresee(self, view: View) -> None:
        """Look."""
        self._values = dict(zip(view.arms, np.maximum(view.reward, -1.0).tolist(), strict=True))

    def predict(self, context: Context, arms: Sequence[Arm], scenario: Scenario) -> Prediction:  # noqa: ARG002 - knows the answer
        """A point mass on the best."""
        return greedy(arms, self._values, self.version)


class RidgeFull(_Reference):
    """Ridge regression of every arm's reward, told all of them after every round.

    All arms share the rows, so one inverse serves them all.
    """

    def __init__(self, name: str, arms: Sequence[str], *, ridge: float = 10.0) -> None:
        super().__init__(name, arms)
        self._ridge = ridge
        self._models: list[Ridge] = []

    def predict(self, context: Context, arms: Sequence[Arm], scenario: Scenario) -> Prediction:  # noqa: ARG002 - the reward has the scenario in it
        """A point mass on the arm with the largest expected reward."""
        x = dense(context)
        values = [float(model.theta @ x) for model in self._models] or [0.0] * len(self.arms)
        return greedy(arms, dict(zip(self.arms, values, strict=True)), self.version)

    def hindsight(self, context: Context, view: View) -> None:
        """Learn every arm's reward."""
        x = dense(context)
        if not self._models:
            self._models = [Ridge(len(x), ridge=self._ridge) for _ in self.arms]
        for model, reward in zip(self._models, view.reward.tolist(), strict=True):
            if np.isfinite(reward):
                model.learn(x, reward)


class RidgeUniform(RidgeFull):
    """`RidgeFull` told the reward of one arm a round, every arm being as likely, whatever it plays.

    What a bandit with this model could know at best: no exploration tells more of the differences
    between arms than even draws, and these cost it nothing, for it plays the arm that looks best.

    Parameters
    ----------
    rng
        Draws the arm that is shown.
    """

    def __init__(
        self, name: str, arms: Sequence[str], *, rng: np.random.Generator, ridge: float = 10.0
    ) -> None:
        super().__init__(name, arms, ridge=ridge)
        self._rng = rng

    def hindsight(self, context: Context, view: View) -> None:
        """Learn one arm's reward."""
        known = np.flatnonzero(np.isfinite(view.reward))
        shown = np.full(len(view.reward), -np.inf)
        if len(known):
            drawn = self._rng.choice(known)
            shown[drawn] = view.reward[drawn]
        super().hindsight(context, replace(view, reward=shown))


class StaticByDomain(_Reference):
    """The arm with the best mean reward in the query's domain.

    Means are drawn a little towards the overall mean (as if two average rows more had been seen),
    so that a domain of three rows is not taken at its word.
    """

    def __init__(self, name: str, arms: Sequence[str], fit: FitRows) -> None:
        super().__init__(name, arms)
        overall = fit.rewards.mean(axis=0)
        n_domains = int(fit.domain.max(initial=0)) + 1
        sums = np.zeros((n_domains, len(self.arms)))
        np.add.at(sums, fit.domain, fit.rewards)
        counts = np.bincount(fit.domain, minlength=n_domains)[:, None]
        self._means = (sums + 2.0 * overall) / (counts + 2.0)
        self._overall = overall
        self._domain = 0

    def foresee(self, view: View) -> None:
        """Be told the domain, which is all it looks at."""
        self._domain = view.domain

    def predict(self, context: Context, arms: Sequence[Arm], scenario: Scenario) -> Prediction:  # noqa: ARG002 - looks at the domain only
        """A point mass on the domain's arm."""
        known = self._domain < len(self._means)
        means = self._means[self._domain] if known else self._overall
        return greedy(arms, dict(zip(self.arms, means.tolist(), strict=True)), self.version)


class ThresholdRouter(_Reference):
    """Ridge regression of the arms' rewards, fitted once; the threshold is the best on its rows."""

    def __init__(
        self, name: str, arms: Sequence[str], fit: FitRows, *, ridge: float = 10.0
    ) -> None:
        super().__init__(name, arms)
        x = fit.features
        prior = ridge * np.eye(x.shape[1])
        self._theta: Vector = np.asarray(np.linalg.solve(x.T @ x + prior, x.T @ fit.rewards))
        self._margin = 0.0
        if len(self.arms) == 2:
            self._margin = best_threshold(x @ self._theta @ np.array([-1.0, 1.0]), fit.rewards)

    def predict(self, context: Context, arms: Sequence[Arm], scenario: Scenario) -> Prediction:  # noqa: ARG002 - the reward has the scenario in it
        """The last arm where its predicted advantage is above the threshold."""
        values = (dense(context) @ self._theta).tolist()
        named = dict(zip(self.arms, values, strict=True))
        return greedy(arms, named, self.version, margin=self._margin)


def best_threshold(advantage: Floats, rewards: Floats) -> float:
    """The threshold on predicted advantage with the largest total reward on the given rows.

    Examples
    --------
    >>> best_threshold(np.array([0.1, 0.3]), np.array([[1.0, 0.0], [0.0, 1.0]]))
    0.2
    """
    order = np.argsort(-advantage, kind="stable")
    gains = np.cumsum((rewards[:, 1] - rewards[:, 0])[order])
    best = int(np.argmax(np.concatenate([[0.0], gains])))
    ranked = advantage[order]
    if best == 0:
        return float(ranked[0]) + 1e-9
    if best == len(ranked):
        return float(ranked[-1]) - 1e-9
    return float(ranked[best - 1] + ranked[best]) / 2.0


class CrossFitted(_Reference):
    """One yardstick for the first rounds, another for the rest: each fitted on the other's rows."""

    def __init__(self, first: "Fitted", second: "Fitted", *, switch_at: int) -> None:
        super().__init__(first.name, first.arms)
        self._parts = (first, second)
        self._switch_at = switch_at
        self._round = 0

    @property
    def _now(self) -> "Fitted":
        return self._parts[self._round >= self._switch_at]

    def foresee(self, view: View) -> None:
        """Pass on."""
        self._now.foresee(view)

    def predict(self, context: Context, arms: Sequence[Arm], scenario: Scenario) -> Prediction:
        """Whatever the part says whose turn it is."""
        return self._now.predict(context, arms, scenario)

    def hindsight(self, context: Context, view: View) -> None:  # noqa: ARG002 - only counts
        """Count the rounds."""
        self._round += 1


Fitted = StaticByDomain | ThresholdRouter
