"""ParetoBandit, the nearest rival, driven in the same loop: the real package, an optional extra.

Taberner-Miller, "ParetoBandit", arXiv 2604.00136; package ``paretobandit`` 0.1.1. It gets **our
feature vectors** (through its service for precomputed ones, a constant last), cold, with its own
defaults for everything else: α = .01, γ = .997. With a budget it learns quality and paces cost with
its adaptive pacer, its static penalty off as in its own budgeted demonstrations; without one it
learns the same combined reward as the other linear bandits, in which the cost is.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bandit.alarm import Alarm
from bandit.errors import BadSnapshotError, NoEligibleArmError
from bandit.policies.linear import dense
from bandit.primitives import Arm, Context, Estimate, Interaction, Prediction
from bandit.utility import Scenario
from simulator.errors import BadStudyError, MissingExtraError, nearest
from simulator.study import Study

_SETTINGS = ("alpha", "forgetting_factor", "cost_penalty")


class ParetoBandit:
    """The package behind our port. Its router moves its clock when asked, so `predict` does too.

    Parameters
    ----------
    dimension
        Length of the dense features, constant included.
    budget_usd
        Mean US dollars a query, or None.
    options
        Keyword arguments of the package's ``BanditRouter.create``.
    """

    name = "paretobandit"
    version = "paretobandit"
    alarms: tuple[Alarm, ...] = ()

    def __init__(
        self,
        dimension: int,
        *,
        seed: int,
        budget_usd: float | None,
        options: Mapping[str, float],
    ) -> None:
        try:
            from pareto_bandit import BanditRouter  # noqa: PLC0415 - an optional extra
            from pareto_bandit.budget_pacer import BudgetPacer  # noqa: PLC0415
            from pareto_bandit.feature_service import FeatureService  # noqa: PLC0415
        except ImportError as error:
            raise MissingExtraError("paretobandit", "peers", "the policy paretobandit") from error
        logging.getLogger("pareto_bandit").setLevel(logging.ERROR)
        self._paced = budget_usd is not None
        self._pacer: Any = BudgetPacer(budget_usd) if self._paced else None
        self._create = BanditRouter.create
        self._arguments: dict[str, Any] = {
            "priors": "none",
            "feature_service": FeatureService.for_precomputed(dimension),
            "bandit_seed": seed,
            "cost_penalty": 0.0,
            "budget_pacer": self._pacer,
            **options,
        }
        self._router: Any = None
        self._prices: dict[str, tuple[float, float]] = {}
        self._resting: dict[str, Any] = {}

    @classmethod
    def for_study(cls, study: Study, seed: int, settings: Mapping[str, str]) -> "ParetoBandit":
        """The peer for a run, with settings of its own from the policy's label."""
        for key in settings:
            if key not in _SETTINGS:
                want = f"no setting {key!r}{nearest(key, _SETTINGS)}"
                raise BadStudyError("--policies", "paretobandit", want)
        return cls(
            sum(study.bank.sizes.values()) + 1,
            seed=seed,
            budget_usd=study.budget_usd,
            options={key: float(text) for key, text in settings.items()},
        )

    def predict(self, context: Context, arms: Sequence[Arm], scenario: Scenario) -> Prediction:  # noqa: ARG002 - not a notion of its
        """A point mass on the arm that its router takes."""
        if not arms:
            raise NoEligibleArmError
        self._meet(arms)
        x = dense(context)
        chosen, _ = self._router.route(x)
        ids = tuple(arm.arm_id for arm in arms)
        values = [self._router.bandit.get_expected_reward(name, x) for name in ids]
        return Prediction(
            ids,
            tuple(float(name == chosen) for name in ids),
            self.version,
            tuple(Estimate(v if self._paced else None, None, None, v) for v in values),
        )

    def _meet(self, arms: Sequence[Arm]) -> None:
        """Tell the router which arms there are, and what they cost now."""
        prices = {arm.arm_id: (arm.price_in or 0.0, arm.price_out or 0.0) for arm in arms}
        if prices == self._prices:
            return
        entries = {
            name: {"input_cost_per_m": cost_in, "output_cost_per_m": cost_out}
            for name, (cost_in, cost_out) in prices.items()
        }
        if self._router is None:
            self._router = self._create(model_registry=entries, **self._arguments)
        registry = self._router.registry
        for name in [name for name in registry if name not in prices]:
            self._resting[name] = registry.pop(name)
        for name, entry in entries.items():
            if name in self._resting:
                registry[name] = self._resting.pop(name)
            if name in registry:
                self._router.update_model_pricing(name, **entry)
            else:
                self._router.register_model(name, **entry)
        self._prices = prices

    def learn(self, interaction: Interaction) -> None:
        """Its own update, at its own clock; a cost moves its pacer."""
        reward = interaction.reward
        if self._pacer is not None and reward.cost_usd is not None:
            self._pacer.observe(reward.cost_usd)
        target = reward.quality if self._paced else reward.value
        if target is not None:
            x = np.asarray(dense(interaction.decision.context))
            self._router.update(interaction.decision.arm, x, target, advance_time=False)

    def explain(self, context: Context, arms: Sequence[Arm]) -> Mapping[str, Mapping[str, float]]:  # noqa: ARG002 - a peer gives no reasons here
        """No reasons."""
        return {arm.arm_id: {} for arm in arms}

    def snapshot(self) -> bytes:
        """Nothing: a peer lives for one run."""
        return b""

    def restore(self, blob: bytes) -> None:
        """Refuse: a peer lives for one run."""
        raise BadSnapshotError(f"{self.name} is not restored ({len(blob)} bytes)")
