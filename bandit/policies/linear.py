"""Linear bandits, LinUCB and LinTS: what ours must beat, and a plain choice where it need not.

Each arm has a ridge regression of the combined reward on all features and a constant. LinUCB:
Li, Chu, Langford and Schapire, "A contextual-bandit approach to personalized news article
recommendation", WWW 2010, algorithm 1 (disjoint models). LinTS: Agrawal and Goyal, "Thompson
sampling for contextual bandits with linear payoffs", ICML 2013. Forgetting: Russac, Vernade and
Cappé, "Weighted linear bandits for non-stationary environments", NeurIPS 2019.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bandit.alarm import Alarm
from bandit.errors import BadInteractionError, BadSnapshotError, NoEligibleArmError
from bandit.policies.archive import read_archive, write_archive
from bandit.primitives import Arm, Context, Estimate, Interaction, Prediction
from bandit.utility import Scenario

Vector: TypeAlias = NDArray[np.float64]

# Sherman-Morrison steps between two fresh inverses: bounds rounding, restores the ridge that
# forgetting wears down.
_REFRESH = 128
_PARTS = ("gram", "inverse", "moment", "theta")
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(32)
_WEIGHTS = _WEIGHTS / math.sqrt(2.0 * math.pi)


@dataclass(frozen=True, slots=True)
class LinearConfig:
    """How a linear bandit explores and remembers.

    Attributes
    ----------
    explore
        ``ucb`` plays the best upper bound; ``ts`` plays each arm with the probability that its
        value, drawn from its posterior, is the largest; ``greedy`` plays the best mean.
    width
        Multiple of the posterior's standard deviation: α of LinUCB, v of LinTS.
    ridge
        Weight of the prior, in observations.
    forgetting
        Factor on everything learned so far, once per interaction; 1 forgets nothing.
    floor
        Least probability of an eligible arm.
    target
        What is regressed: the combined ``reward``, or ``quality`` alone.
    cost_penalty
        Subtracted from an arm's value per unit of `log_price`; 0 leaves cost to the reward.
    """

    explore: Literal["ucb", "ts", "greedy"] = "ucb"
    width: float = 0.1
    ridge: float = 1.0
    forgetting: float = 1.0
    floor: float = 0.0
    target: Literal["reward", "quality"] = "reward"
    cost_penalty: float = 0.0


def dense(context: Context) -> Vector:
    """All features in one vector, a constant 1 last; shape (d + 1,)."""
    return np.concatenate([*context.namespaces.values(), (1.0,)], dtype=np.float64)


class Ridge:
    """Ridge regression that learns one row at a time and can forget.

    Examples
    --------
    >>> model = Ridge(2, ridge=0.01)
    >>> for _ in range(50):
    ...     model.learn(np.array([1.0, 1.0]), 0.5)
    >>> round(float(model.theta @ np.array([1.0, 1.0])), 3)
    0.5
    """

    def __init__(self, d: int, *, ridge: float) -> None:
        self.ridge = ridge
        self.gram = np.zeros((d, d))
        self.moment: Vector = np.zeros(d)
        self.inverse: Vector = np.eye(d) / ridge
        self.theta: Vector = np.zeros(d)
        self.steps = 0

    def learn(self, x: Vector, y: float, *, keep: float = 1.0) -> None:
        """Take in one row; what was known counts ``keep`` times as much afterwards."""
        self.gram *= keep
        self.gram += np.outer(x, x)
        self.moment = keep * self.moment + y * x
        self.steps += 1
        if self.steps % _REFRESH == 0:
            self.refresh()
        else:
            self.inverse /= keep
            step = self.inverse @ x
            self.inverse -= np.outer(step, step / (1.0 + float(x @ step)))
        self.theta = self.inverse @ self.moment

    def refresh(self) -> None:
        """Invert anew, with the ridge at full weight."""
        prior = self.ridge * np.eye(len(self.moment))
        self.inverse = np.asarray(np.linalg.inv(self.gram + prior), dtype=np.float64)
        self.theta = self.inverse @ self.moment

    def deviation(self, x: Vector) -> float:
        """``sqrt(xᵀ A⁻¹ x)``: how little is known in the direction of ``x``."""
        return math.sqrt(max(0.0, float(x @ self.inverse @ x)))


class LinearPolicy:
    """Disjoint linear models of the combined reward, with LinUCB's or LinTS's exploration."""

    alarms: tuple[Alarm, ...] = ()

    def __init__(self, config: LinearConfig | None = None, *, name: str = "linear") -> None:
        self.config = config or LinearConfig()
        self.name = name
        self._models: dict[str, Ridge] = {}
        self._learned_at: dict[str, int] = {}
        self._n = 0
        self.version = f"{name}-0"

    def predict(self, context: Context, arms: Sequence[Arm], scenario: Scenario) -> Prediction:  # noqa: ARG002 - the reward has the scenario in it
        """Probabilities over ``arms``: a point mass for LinUCB, a posterior's for LinTS."""
        if not arms:
            raise NoEligibleArmError
        x = dense(context)
        means: Vector = np.zeros(len(arms))
        widths: Vector = np.zeros(len(arms))
        for i, arm in enumerate(arms):
            model = self._model(arm.arm_id, len(x))
            means[i] = float(model.theta @ x)
            if self.config.explore != "greedy":
                widths[i] = self.config.width * model.deviation(x)
        return Prediction(
            tuple(arm.arm_id for arm in arms),
            self._pmf(means - self._penalties(arms), widths),
            self.version,
            tuple(Estimate(None, None, None, m) for m in means.tolist()),
        )

    def _penalties(self, arms: Sequence[Arm]) -> Vector | float:
        if self.config.cost_penalty == 0.0:
            return 0.0
        prices = [log_price(arm.price_in, arm.price_out) for arm in arms]
        return self.config.cost_penalty * np.array(prices)

    def _pmf(self, values: Vector, widths: Vector) -> tuple[float, ...]:
        if self.config.explore == "ts":
            pmf = probability_of_best(values, widths)
        else:
            best = values + widths
            winners = best >= best.max()
            pmf = winners / winners.sum()
        floor = min(self.config.floor, 1.0 / len(pmf))
        return tuple((floor + (1.0 - floor * len(pmf)) * pmf).tolist())

    def _model(self, arm_id: str, d: int) -> Ridge:
        # A model nobody has taught predicts 0 and knows nothing: making it does not change us.
        return self._models.get(arm_id) or Ridge(d, ridge=self.config.ridge)

    def learn(self, interaction: Interaction) -> None:
        """Regress the target for the arm that was drawn; where it is unknown, learn nothing."""
        reward = interaction.reward
        value = reward.value if self.config.target == "reward" else reward.quality
        if value is None:
            return
        if not (math.isfinite(value) and 0.0 <= value <= 1.0):
            raise BadInteractionError(self.config.target, value)
        x = dense(interaction.decision.context)
        if not np.isfinite(x).all():
            raise BadInteractionError("context", "a feature that is not finite")
        arm_id = interaction.decision.arm
        model = self._models.setdefault(arm_id, Ridge(len(x), ridge=self.config.ridge))
        self._n += 1
        self.version = f"{self.name}-{self._n}"
        # Time passes for every arm, also for those that were not played.
        age = self._n - self._learned_at.get(arm_id, self._n - 1)
        self._learned_at[arm_id] = self._n
        model.learn(x, value, keep=self.config.forgetting**age)

    def explain(self, context: Context, arms: Sequence[Arm]) -> Mapping[str, Mapping[str, float]]:
        """Weight times value of every feature, by arm."""
        x = dense(context)
        names = [f"{ns}[{i}]" for ns, v in context.namespaces.items() for i in range(len(v))]
        return {
            arm.arm_id: dict(
                zip(names, (self._model(arm.arm_id, len(x)).theta * x).tolist(), strict=False)
            )
            for arm in arms
        }

    def snapshot(self) -> bytes:
        """Every arm's sums."""
        header = {
            "kind": self.name,
            "n": self._n,
            "arms": [
                {"id": arm_id, "d": len(model.moment), "steps": model.steps}
                | {"at": self._learned_at[arm_id]}
                for arm_id, model in self._models.items()
            ],
        }
        blobs = {
            f"{part}{i}": getattr(model, part).tobytes()
            for i, model in enumerate(self._models.values())
            for part in _PARTS
        }
        return write_archive(header, blobs)

    def restore(self, blob: bytes) -> None:
        """Become the policy that was saved."""
        header, blobs = read_archive(blob)
        if header.get("kind") != self.name:
            raise BadSnapshotError(f"saved by {str(header.get('kind'))[:40]!r}, not {self.name!r}")
        models: dict[str, Ridge] = {}
        for i, arm in enumerate(header["arms"]):
            models[arm["id"]] = model = Ridge(arm["d"], ridge=self.config.ridge)
            model.steps = arm["steps"]
            for part in _PARTS:
                shape = getattr(model, part).shape
                setattr(model, part, np.frombuffer(blobs[f"{part}{i}"]).reshape(shape).copy())
        self._models, self._n = models, header["n"]
        self.version = f"{self.name}-{self._n}"
        self._learned_at = {arm["id"]: arm["at"] for arm in header["arms"]}


def log_price(price_in: float | None, price_out: float | None) -> float:
    """A price on a log scale: 0 at $0.1 and 1 at $100 per million tokens, within [0, 1].

    The scale is ParetoBandit's (arXiv 2604.00136, section 3), in dollars per million tokens.
    """
    price = 0.5 * ((price_in or 0.0) + (price_out or 0.0))
    return min(1.0, max(0.0, math.log10(max(price, 0.1) / 0.1) / 3.0))


def probability_of_best(means: Vector, deviations: Vector) -> Vector:
    """For independent normals, the probability that each is the largest.

    ``P(a) = ∫ φ(z) Π_b Φ((m_a + s_a z - m_b) / s_b) dz`` by 32-point Gauss-Hermite quadrature.

    Examples
    --------
    >>> probability_of_best(np.array([0.0, 0.0]), np.array([1.0, 1.0])).round(3).tolist()
    [0.5, 0.5]
    >>> probability_of_best(np.array([0.0, 1.0]), np.array([0.0, 0.0])).tolist()
    [0.0, 1.0]
    """
    spread = np.maximum(deviations, 1e-12)
    if len(means) == 2:
        z = (means[0] - means[1]) / math.hypot(spread[0], spread[1])
        first = 0.5 * math.erfc(-z / math.sqrt(2.0))
        return np.array([first, 1.0 - first])
    draws = means[:, None] + spread[:, None] * _NODES[None, :]
    z = (draws[:, None, :] - means[None, :, None]) / spread[None, :, None]
    below = np.vectorize(math.erfc)(-z / math.sqrt(2.0)) / 2.0
    for a in range(len(means)):
        below[a, a] = 1.0
    pmf: Vector = np.asarray(below.prod(axis=1) @ _WEIGHTS, dtype=np.float64)
    return pmf / float(pmf.sum())
