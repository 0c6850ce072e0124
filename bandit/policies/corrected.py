"""Any policy, taught a judge's scores as people would have given them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from bandit.auditing import AuditPlan
from bandit.errors import BadSnapshotError
from bandit.judging import Account, Tallies
from bandit.policies.archive import read_archive, write_archive
from bandit.policies.config import BadPolicyConfigError, PolicyConfig
from bandit.policies.inputs import Layout, check_interaction, check_judgement
from bandit.policies.voters import Voters
from bandit.policies.wrapping import Wrapping
from bandit.policy import Policy
from bandit.primitives import (
    Arm,
    Context,
    Decision,
    Gating,
    Interaction,
    Judgement,
    Prediction,
    Reward,
)
from bandit.utility import Scenario

SHIFT = "quality_shift"
"""Live feature of an arm: what to add to its expected quality."""


@dataclass(frozen=True, slots=True)
class CorrectedConfig:
    """What a `CorrectedPolicy` corrects.

    Attributes
    ----------
    schema
        Namespace to vector length, of the policy inside.
    voters
        Weigh voluntary verdicts by the inverse of the chance that anybody gives one.
    most_weight
        Largest such weight, at least 1.
    """

    schema: Mapping[str, int]
    voters: bool = False
    most_weight: float = 5.0

    def __post_init__(self) -> None:
        if not 1.0 <= self.most_weight <= 1000.0:
            raise BadPolicyConfigError("most_weight", self.most_weight, "a number in [1, 1000]")


class CorrectedPolicy(Wrapping):
    """Teaches ``inner`` corrected scores, and adds to its expectations what came to light later.

    State is a fold of interactions, as of any policy, and part of the snapshot:

    - a judge's score is taught plus the judge's correction for that arm (`bandit.judging`);
    - a verdict beside a score teaches that correction, and `inner` nothing: audits are not drawn
      evenly, and what they say of the score is in the correction;
    - what was taught with an older correction is made good by a shift of the arm's expected quality
      (`bandit.judging.Account`), on the very next query.

    Parameters
    ----------
    inner
        Reads the shift from the arms' features if it estimates quality, as ``composed`` does;
        any other is taught corrected scores and no more.
    """

    def __init__(self, inner: Policy, config: CorrectedConfig) -> None:
        super().__init__(inner)
        self.config = config
        self.name = f"corrected-{inner.name}"
        self._layout = Layout(config.schema)
        self._small = self._layout.places(config.schema.keys() - {"embedding", "image_embedding"})
        self._load({})

    def _load(self, state: Mapping[str, Any]) -> None:
        tallies = Tallies.of_state(state.get("tallies", {}))
        accounts = {arm: Account(**sums) for arm, sums in state.get("accounts", {}).items()}
        plan = AuditPlan.of_state(state["plan"]) if "plan" in state else AuditPlan()
        voters = Voters(len(self._small), state.get("voters"))
        self.tallies, self._accounts, self.plan, self.voters = tallies, accounts, plan, voters
        self.n_answers: int = state.get("n_answers", 0)

    @classmethod
    def around(cls, inner: Policy, config: PolicyConfig, **settings: Any) -> "CorrectedPolicy":
        """The wrapper of a policy that was made from ``config``."""
        return cls(inner, CorrectedConfig(config.schema, **settings))

    # -- choosing -------------------------------------------------------------------------------

    def predict(self, context: Context, arms: Sequence[Arm], scenario: Scenario) -> Prediction:
        """Probabilities over ``arms``; see `bandit.policy.Policy.predict`."""
        return self.inner.predict(context, [self._shifted(arm) for arm in arms], scenario)

    def gate(
        self,
        context: Context,
        edge: Arm,
        cloud: Arm,
        scenario: Scenario,
        signals: Mapping[str, float],
    ) -> Prediction:
        """Probabilities of accepting and escalating; see `bandit.gate.Gatekeeper.gate`."""
        parts = self._shifted(edge), self._shifted(cloud)
        return super().gate(context, *parts, scenario, signals)

    def _shifted(self, arm: Arm) -> Arm:
        shift = self.shift(arm.arm_id)
        return replace(arm, features={**arm.features, SHIFT: shift}) if shift else arm

    def _as_predicted(self, interaction: Interaction) -> Interaction:
        """With the arms as `predict` shows them: a policy inside may ask what it would do now."""
        decision = interaction.decision
        arms = tuple(map(self._shifted, decision.arms))
        return replace(interaction, decision=replace(decision, arms=arms))

    def shift(self, arm: str) -> float:
        """What is added to an arm's expected quality for what it was taught before."""
        account = self._accounts.get(arm)
        if account is None or not account.scores:
            return 0.0
        return account.shift({j: self.tallies.correction(j, arm) for j in account.scores})

    # -- learning -------------------------------------------------------------------------------

    def learn(self, interaction: Interaction) -> None:
        """Update from one interaction; see `bandit.policy.Policy.learn`."""
        check_interaction(interaction)
        check_judgement(interaction)
        said, quality = interaction.judgement, interaction.reward.quality
        if quality is None:
            if said is not None and said.score is not None and said.verdict is not None:
                self._learn_pair(interaction, said, said.score, said.verdict)
            else:
                self._learn_outcome(interaction)
        elif said is not None and said.score is not None:
            self._learn_score(interaction, said, said.score)
        else:
            self._learn_verdict(interaction, quality)

    def _learn_outcome(self, interaction: Interaction) -> None:
        x = self._x(interaction.decision)
        self.inner.learn(interaction)
        self.n_answers += 1
        if x is not None:
            self.voters.answered(x, interaction.decision.arm)

    def _learn_verdict(self, interaction: Interaction, verdict: float) -> None:
        arm, x = interaction.decision.arm, self._x(interaction.decision)
        weight = 1.0
        voluntary = interaction.judgement is not None
        if x is not None and voluntary:
            weight = self.voters.weight(x, arm, most=self.config.most_weight)
        taught = self._as_predicted(interaction)
        self.inner.learn(replace(taught, weight=interaction.weight * weight))
        self._account(_answerer(interaction)).add_verdict(verdict, weight)
        if x is not None and voluntary:
            self.voters.voted(x, arm)

    def _learn_score(self, interaction: Interaction, said: Judgement, score: float) -> None:
        decision, arm = interaction.decision, _answerer(interaction)
        self._teach_score(interaction, said.judge, score)
        self.tallies.of(said.judge, arm).judged(score)
        self.plan.judged(said.judge, arm, score=score, expected=expected_quality(decision))
        if said.probe_arm is not None and said.probe_score is not None and said.probe_rate:
            # Drawn by a coin of its own, so its propensity is that coin's, not the pmf's.
            other = replace(decision, arm=said.probe_arm, propensity=said.probe_rate)
            reward = Reward(quality=said.probe_score)
            self._teach_score(Interaction(other, reward), said.judge, said.probe_score)
            self.tallies.of(said.judge, said.probe_arm).judged(said.probe_score)

    def _teach_score(self, interaction: Interaction, judge: str, score: float) -> None:
        arm = _answerer(interaction)
        taught = min(1.0, max(0.0, score + self.tallies.correction(judge, arm)))
        interaction = self._as_predicted(interaction)
        reward, scenario = interaction.reward, interaction.decision.scenario
        value = reward.value
        if value is not None:
            gain = scenario.quality_term(taught) - scenario.quality_term(score)
            value = min(1.0, max(0.0, value + scenario.w_quality * gain))
        self.inner.learn(replace(interaction, reward=replace(reward, quality=taught, value=value)))
        self._account(arm).add_score(judge, score, taught)

    def _learn_pair(
        self, interaction: Interaction, said: Judgement, score: float, verdict: float
    ) -> None:
        decision, judge, arm = interaction.decision, said.judge, _answerer(interaction)
        tally = self.tallies.of(judge, arm)
        if said.audited and said.audit_probability:
            weight = 1.0 / said.audit_probability
            residual = verdict - score - self.tallies.correction(judge, arm)
            tally.audited(score, verdict, weight)
            self.plan.audited(
                judge,
                arm,
                score=score,
                expected=expected_quality(decision),
                residual=residual,
                weight=weight,
            )
            return
        weight, x = 1.0, self._x(decision)
        if x is not None:
            weight = self.voters.weight(x, decision.arm, most=self.config.most_weight)
            self.voters.voted(x, decision.arm)
        tally.volunteered(score, verdict, weight)

    def _account(self, arm: str) -> Account:
        return self._accounts.setdefault(arm, Account())

    def _x(self, decision: Decision) -> Any:
        """What the model of voters knows of a query; None where it is off."""
        if not self.config.voters:
            return None
        return self._layout.flatten(decision.context).take(self._small)

    # -- explaining and keeping -----------------------------------------------------------------

    def explain(self, context: Context, arms: Sequence[Arm]) -> Mapping[str, Mapping[str, float]]:
        """Each feature's share, by the policy inside; it tells the shift too if it heeds it."""
        return super().explain(context, [self._shifted(arm) for arm in arms])

    def snapshot(self) -> bytes:
        """All state; restoring it continues exactly from here."""
        header = {
            "policy": self.name,
            "config": asdict(self.config),
            "tallies": self.tallies.state(),
            "accounts": {arm: asdict(account) for arm, account in self._accounts.items()},
            "n_answers": self.n_answers,
            "plan": self.plan.state(),
            "voters": self.voters.state(),
        }
        return write_archive(header, {"inner": self.inner.snapshot()})

    def restore(self, blob: bytes) -> None:
        """Become the saved policy; see `bandit.policy.Policy.restore`."""
        header, blobs = read_archive(blob)
        if header["policy"] != self.name:
            raise BadSnapshotError(f"it holds a {header['policy']!r} policy, not {self.name!r}")
        if header["config"]["schema"] != dict(self.config.schema):
            raise BadSnapshotError("its features have another layout")
        self.inner.restore(blobs["inner"])
        self._load(header)


def answering_arm(arm: str, gating: Gating | None) -> str:
    """Whose answer was judged: of a cascade, that of the stage whose answer was delivered."""
    if gating is None:
        return arm
    return gating.edge if gating.verdict == "accept" else gating.cloud


def _answerer(interaction: Interaction) -> str:
    return answering_arm(interaction.decision.arm, interaction.gating)


def expected_quality(decision: Decision) -> float | None:
    """What the policy expected of the drawn arm when it was drawn; None if it did not say."""
    prediction = decision.prediction
    if not prediction.estimates or decision.arm not in prediction.arms:
        return None
    return prediction.estimates[prediction.arms.index(decision.arm)].quality


def correction_of(policy: object) -> CorrectedPolicy | None:
    """The corrected policy that ``policy`` is, or wraps at some depth; None if there is none."""
    while policy is not None and not isinstance(policy, CorrectedPolicy):
        policy = getattr(policy, "inner", None)
    return policy
