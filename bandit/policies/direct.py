"""The plain form: VW's own contextual bandit on the combined reward."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from bandit.alarm import Alarm
from bandit.errors import NoEligibleArmError
from bandit.policies.archive import read_policy, write_archive
from bandit.policies.config import PolicyConfig
from bandit.policies.inputs import Blocks, Layout, check_interaction
from bandit.policies.vw import VW_VERSION, SquareCB
from bandit.primitives import Arm, Context, Estimate, Interaction, Prediction
from bandit.utility import Scenario

_TYPICAL_GAP = 0.05
"""Gap of combined reward in which ``gamma`` counts; VW takes a fixed one."""


class DirectPolicy:
    """``--cb_explore_adf --squarecb`` on the combined reward, lifted to the exploration floor.

    It learns from the reward of the scenario that was asked for, so that another scenario or price
    has to be learned anew: the baseline that `ComposedPolicy` is compared with.

    Parameters
    ----------
    config
        Schema, gamma and floor.
    """

    name = "direct"
    alarms: tuple[Alarm, ...] = ()

    def __init__(self, config: PolicyConfig) -> None:
        self.config = config
        self.version = "direct-0"
        self.n_interactions = 0
        self._layout = Layout(config.schema)
        self._blocks = Blocks()
        self._gamma = config.gamma / _TYPICAL_GAP
        self._bandit = SquareCB(self._layout.n_features, gamma=self._gamma)

    def _numbers(self, arms: Sequence[Arm]) -> list[int]:
        free = len(self._blocks.arms)
        numbers = [self._blocks.of(arm.arm_id) for arm in arms]
        # Several arms that were never seen share the first free block: all weights are 0 there.
        return [min(n, free) for n in numbers]

    def predict(self, context: Context, arms: Sequence[Arm], scenario: Scenario) -> Prediction:
        """Probabilities over ``arms``; ``scenario`` only names what was asked for."""
        del scenario
        if not arms:
            raise NoEligibleArmError
        names = tuple(arm.arm_id for arm in arms)
        k = len(arms)
        raw = [1.0]
        if k > 1:
            raw = self._bandit.predict(self._layout.flatten(context), self._numbers(arms))
        best = max(range(k), key=raw.__getitem__)
        least = min(self.config.floor, 1.0 / k)
        pmf = [max(least, p) for p in raw]
        pmf[best] = 1.0 - sum(p for i, p in enumerate(pmf) if i != best)
        # SquareCB gives p = 1 / (K + gamma gap), which says how far behind the best an arm is.
        gaps = [0.0 if i == best else (1.0 / p - k) / self._gamma for i, p in enumerate(raw)]
        estimates = tuple(Estimate(None, None, None, -gap) for gap in gaps)
        return Prediction(names, tuple(pmf), self.version, estimates)

    def learn(self, interaction: Interaction) -> None:
        """Update from the combined reward; interactions without one teach nothing."""
        check_interaction(interaction)
        decision, value = interaction.decision, interaction.reward.value
        x = self._layout.flatten_to_learn(decision.context)
        for arm in decision.arms:
            self._blocks.add(arm.arm_id)
        if value is not None and len(decision.arms) > 1:
            names = [arm.arm_id for arm in decision.arms]
            self._bandit.learn(
                x,
                self._numbers(decision.arms),
                names.index(decision.arm),
                loss=1.0 - value,
                propensity=decision.propensity,
            )
        self.n_interactions += 1

    def explain(self, context: Context, arms: Sequence[Arm]) -> Mapping[str, Mapping[str, float]]:
        """How the probability of each arm falls when a feature is left out."""
        x = self._layout.flatten(context)
        numbers = self._numbers(arms)
        full = self._bandit.predict(x, numbers)
        result: dict[str, dict[str, float]] = {arm.arm_id: {} for arm in arms}
        for i, name in enumerate(self._layout.names()):
            without = x.copy()
            without[i] = 0.0
            for arm, p, q in zip(arms, full, self._bandit.predict(without, numbers), strict=True):
                result[arm.arm_id][name] = p - q
        return result

    def snapshot(self) -> bytes:
        """All state; restoring it continues exactly from here."""
        header = {
            "policy": self.name,
            "version": self.version,
            "vw": VW_VERSION,
            "config": asdict(self.config),
            "n_interactions": self.n_interactions,
            "arms": self._blocks.arms,
        }
        return write_archive(header, {"bandit": self._bandit.dump()})

    def restore(self, blob: bytes) -> None:
        """Become the saved policy; see `bandit.policy.Policy.restore`."""
        header, blobs = read_policy(blob, name=self.name, schema=self.config.schema)
        self._bandit = SquareCB(self._layout.n_features, gamma=self._gamma, saved=blobs["bandit"])
        self._blocks = Blocks(header["arms"])
        self.version = header["version"]
        self.n_interactions = header["n_interactions"]
