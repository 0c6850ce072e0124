"""The default policy: quality, cost and latency learned apart, utility composed when choosing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from bandit.alarm import Alarm
from bandit.errors import NoEligibleArmError
from bandit.pacing import affordable_floor
from bandit.policies.archive import read_policy, write_archive
from bandit.policies.cascades import Cascades, bills, judged_pair, stretched
from bandit.policies.config import PolicyConfig
from bandit.policies.doubt import Doubt
from bandit.policies.exploration import growing, inverse_gap_weighting
from bandit.policies.gatehouse import EdgeAnswer
from bandit.policies.inputs import Blocks, Layout, check_interaction, key_of
from bandit.policies.lookout import Lookout, token_price
from bandit.policies.magnitude import Magnitude, Seen
from bandit.policies.record import COST, LATENCY, QUALITY
from bandit.policies.vw import VW_VERSION, Regressor
from bandit.policies.worth import charge_of, clipped, utility_of
from bandit.primitives import Arm, Context, Estimate, FloatVector, Interaction, Prediction, Reward
from bandit.utility import Scenario

_PRIOR_QUALITY = 0.7
"""What an arm is expected to reach before anything is known."""
_PRIOR_TOKENS = 400.0
"""Tokens of an answer before any was seen; sets the scale of the first cost estimates."""
_PRIOR_LATENCY_S = 2.0
_NOBODY = Arm("", "cloud", "")
_MOST_SCENARIOS = 256
"""Scenarios whose typical gap is remembered; callers may bring numbers of their own."""


@dataclass(frozen=True, slots=True)
class _Heads:
    """What the models say of one query; lists have one value a block, None was not asked for."""

    common: float
    difference: list[float]
    cost: list[float] | None
    latency: list[float] | None


class ComposedPolicy:
    """Regression oracles for quality, cost and latency under inverse-gap weighting.

    Quality is the sum of what is common to all arms (how hard is the query?) and each arm's own
    difference. Under bandit feedback every vote teaches the first, whichever arm it was for, so the
    second has little left to explain. Cost is learned relative to the arm's token price, so that a
    new price acts on the next query. Of scenarios only the typical size of their gaps is learned,
    the unit in which ``gamma`` counts.

    Parameters
    ----------
    config
        Schema, gamma and floor.
    """

    name = "composed"

    def __init__(self, config: PolicyConfig) -> None:
        self.config = config
        self.version = "composed-0"
        self.n_interactions = 0
        self._n_votes = 0
        self._layout = Layout(config.schema)
        self._small = self._layout.places(
            config.schema.keys() - {"embedding", "cluster", "image_embedding"}
        )
        self._blocks = Blocks()
        self._spread: dict[str, list[float]] = {}
        self._doubt = Doubt()
        self._cascades = Cascades(config)
        self._lookout = Lookout(config, self._layout)
        self._build({})

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """What it noticed lately, oldest first."""
        return tuple(self._lookout.alarms)

    def _build(self, saved: Mapping[str, bytes]) -> None:
        n_small = len(self._small)
        models = (
            *self._quality_models(saved),
            Magnitude(n_small, saved=saved.get("cost")),
            Magnitude(n_small, saved=saved.get("latency")),
        )
        # All or nothing: a damaged model leaves the others as they were.
        self._common, self._difference, self._cost, self._latency = models

    def _quality_models(self, saved: Mapping[str, bytes]) -> tuple[Regressor, Regressor]:
        n = self._layout.n_features
        return (
            Regressor(n, n_blocks=1, saved=saved.get("common")),
            Regressor(n, saved=saved.get("difference")),
        )

    # -- choosing -------------------------------------------------------------------------------

    def predict(self, context: Context, arms: Sequence[Arm], scenario: Scenario) -> Prediction:
        """Probabilities over ``arms``; see `bandit.policy.Policy.predict`."""
        if not arms:
            raise NoEligibleArmError
        x = self._layout.flatten(context)
        heads = self._heads(x, scenario)
        estimates = self._estimates(arms, heads, scenario)
        charges = [charge_of(e, scenario) for e in estimates]
        values = [e.utility - charge for e, charge in zip(estimates, charges, strict=True)]
        floors = self._floors(arms, charges, self._typical_gap(scenario.name))
        for i, hope in self._watched(arms):
            # Only where it would be best had it recovered: elsewhere looking is of no use.
            hoped = self._estimate(arms[i], heads, scenario, hope)
            if hoped.utility - charge_of(hoped, scenario) >= max(values):
                floors[i] = max(floors[i], self._lookout.wanted(self._block(arms[i])))
        values = stretched(values, arms)
        pmf = inverse_gap_weighting(values, gamma=self._gamma(scenario), floor=floors)
        return Prediction(tuple(arm.arm_id for arm in arms), pmf, self.version, estimates)

    def _block(self, arm: Arm) -> int:
        return self._blocks.of(key_of(arm))

    def _floors(self, arms: Sequence[Arm], charges: Sequence[float], gap: float) -> list[float]:
        floors = [affordable_floor(self.config.floor, charges, gap)] * len(arms)
        for i, arm in enumerate(arms):
            if not arm.parts and self._lookout.is_new(key_of(arm), self._block(arm)):
                # Drawn evenly, or as often as can be afforded.
                dearer = (charges[i] - min(charges)) / gap
                floors[i] = max(floors[i], 1.0 / len(arms) / (1.0 + dearer) ** 1.5)
        return floors

    def _watched(self, arms: Sequence[Arm]) -> Iterator[tuple[int, Sequence[float]]]:
        if self._lookout.watches:
            for i, arm in enumerate(arms):
                hope = self._lookout.record(self._block(arm)).hope
                if hope is not None:
                    yield i, hope

    def _heads(self, x: FloatVector, scenario: Scenario) -> _Heads:
        # One block more than there are arms: what an arm that was never seen will get.
        n = len(self._blocks.arms) + 1
        small = x.take(self._small)
        costly = scenario.w_cost > 0.0 or scenario.cost_price > 0.0
        slow = scenario.w_latency > 0.0 or scenario.latency_price > 0.0
        return _Heads(
            _PRIOR_QUALITY + self._common.predict(x),
            self._difference.predict_blocks(x, n),
            self._cost.model.predict_blocks(small, n) if costly else None,
            self._latency.model.predict_blocks(small, n) if slow else None,
        )

    def _estimates(
        self, arms: Sequence[Arm], heads: _Heads, scenario: Scenario
    ) -> tuple[Estimate, ...]:
        found = {arm.arm_id: self._estimate(arm, heads, scenario) for arm in arms}
        for arm in arms:
            if arm.parts and found.keys() >= set(arm.parts):
                edge, cloud = (found[part] for part in arm.parts)
                found[arm.arm_id] = self._cascades.joined(edge, cloud, scenario)
        return tuple(found.values())

    def gate(
        self,
        context: Context,
        edge: Arm,
        cloud: Arm,
        scenario: Scenario,
        signals: Mapping[str, float],
    ) -> Prediction:
        """Probabilities of accepting and escalating; see `bandit.gate.Gatekeeper.gate`."""
        heads = self._heads(self._layout.flatten(context), scenario)
        parts = self._estimate(edge, heads, scenario), self._estimate(cloud, heads, scenario)
        answer = EdgeAnswer(signals, edge.digest, *(part.quality or 0.0 for part in parts))
        return self._cascades.gate(answer, parts, scenario, self.version)

    def _estimate(
        self, arm: Arm, heads: _Heads, scenario: Scenario, offsets: Sequence[float] | None = None
    ) -> Estimate:
        key = key_of(arm)
        block = self._blocks.of(key)
        record = self._lookout.record(block)
        offset = record.offsets if offsets is None else offsets
        quality = heads.common + heads.difference[block] + offset[QUALITY]
        quality += arm.features.get("quality_shift", 0.0)
        cost = latency = None
        if heads.cost is not None:
            cost = self._expected_cost(arm, heads.cost[block] + offset[COST])
        if heads.latency is not None:
            log_ratio = heads.latency[block] + offset[LATENCY]
            latency = self._latency.expected(log_ratio, key, _PRIOR_LATENCY_S)
            latency += arm.features.get("queue_s", 0.0)
        energy_j = arm.features.get("energy_j")
        sure = quality if offsets else quality - record.caution(self.config.caution)
        utility = utility_of(scenario, sure, cost, latency, energy_j=energy_j)
        return Estimate(clipped(quality), cost, latency, utility)

    def _expected_cost(self, arm: Arm, log_ratio: float) -> float | None:
        price, key = token_price(arm), key_of(arm)
        if price == 0.0:
            return 0.0
        known = key in self._cost.smear
        if price is None and not known:
            return None
        return self._cost.expected(log_ratio, key, _PRIOR_TOKENS * (price or 1e-6))

    def _gamma(self, scenario: Scenario) -> float:
        # Where money is short a blunt start is too dear: one arm may cost sixty budgets.
        votes = 0 if scenario.cost_price > 0.0 else self.config.gamma_votes
        sharpness = growing(self.config.gamma, self._n_votes, votes)
        return sharpness / self._typical_gap(scenario.name)

    def _typical_gap(self, scenario: str) -> float:
        total, weight = self._spread.get(scenario, (0.0, 0.0))
        # Ten gaps of .05 stand in until real ones are seen.
        return max(1e-6, (total + 10 * 0.05) / (weight + 10))

    # -- learning -------------------------------------------------------------------------------

    def learn(self, interaction: Interaction) -> None:
        """Update from one interaction; see `bandit.policy.Policy.learn`."""
        check_interaction(interaction)
        decision, reward = interaction.decision, interaction.reward
        x = self._layout.flatten_to_learn(decision.context)
        self._lookout.begin(decision, self.n_interactions)
        answer = self._edge_answer(x, interaction)
        if reward.quality is not None:
            if self._doubt.refutes(decision, reward.quality):
                self._common, self._difference = self._quality_models({})
                self._n_votes = 0
                self._lookout.forget_quality()
            arms = {arm.arm_id: arm for arm in decision.arms}
            for arm_id, quality in self._cascades.votes(interaction, answer):
                if arm_id in arms:
                    block = self._met(arms[arm_id])
                    said = self._learn_quality(x, block, quality, interaction.weight)
                    if arm_id == decision.arm:
                        # What a cascade's vote says of its parts is inferred: too noisy to watch.
                        self._lookout.look(block, QUALITY, modelled=said, value=quality)
            self._note_gap(decision.scenario.name, decision.prediction)
            self._n_votes += 1
        if reward.cost_usd is not None or reward.latency_s is not None:
            if answer is not None:
                self._cascades.note(answer)
            self._lookout.asked(x)
            for arm, bill in bills(interaction):
                block = self._met(arm)
                self._lookout.answered(block, arm)
                self._learn_magnitudes(x.take(self._small), block, arm, bill)
        self.n_interactions += 1

    def _met(self, arm: Arm) -> int:
        key = key_of(arm)
        if key not in self._blocks.arms:
            spare = self._lookout.spare(arm)
            if spare is not None:
                self._begin_anew(spare, key)
        block = self._blocks.add(key)
        self._lookout.meet(block, arm)
        return block

    def _begin_anew(self, block: int, key: str) -> None:
        """Give the block of a digest that is long gone to another."""
        for model in (self._difference, self._cost.model, self._latency.model):
            model.forget(block)
        for magnitude in (self._cost, self._latency):
            magnitude.start_over(self._blocks.arms[block])
        self._blocks.arms[block] = key

    def _edge_answer(self, x: FloatVector, interaction: Interaction) -> EdgeAnswer | None:
        pair = judged_pair(interaction)
        if pair is None:
            return None
        arms = {arm.arm_id: arm for arm in interaction.decision.arms}
        blocks = (self._block(arms.get(name, _NOBODY)) for name in (pair.edge, pair.cloud))
        expected = (
            clipped(self._modelled(x, b) + self._lookout.record(b).offsets[QUALITY]) for b in blocks
        )
        return EdgeAnswer(interaction.signals, pair.digest, *expected)

    def _modelled(self, x: FloatVector, block: int) -> float:
        """Quality by the models alone, without correction."""
        return _PRIOR_QUALITY + self._common.predict(x) + self._difference.predict(x, block)

    def _learn_quality(self, x: FloatVector, block: int, quality: float, weight: float) -> float:
        """Learn a vote; what the models had said before."""
        said = self._modelled(x, block)
        # Each part learns what the other leaves over, so that an arm seen rarely is not
        # explained away by the one seen often. Averages lag: they would leave too much.
        target = quality - self._lookout.record(block).offsets[QUALITY] - _PRIOR_QUALITY
        common = self._common.predict_latest(x)
        difference = self._difference.predict_latest(x, block)
        self._difference.learn(x, target - common, block, weight=weight)
        self._common.learn(x, target - difference, weight=weight)
        return said

    def _learn_magnitudes(self, small: FloatVector, block: int, arm: Arm, bill: Reward) -> None:
        offsets, key = self._lookout.record(block).offsets, key_of(arm)
        if bill.latency_s is not None:
            own = max(1e-3, bill.latency_s - arm.features.get("queue_s", 0.0))
            seen = Seen(key, own / _PRIOR_LATENCY_S, offsets[LATENCY])
            said, value = self._latency.learn(small, block, seen)
            if self._lookout.look(block, LATENCY, modelled=said, value=value):
                offsets[LATENCY] += self._latency.start_over(key)
        price = token_price(arm)
        if bill.cost_usd is not None and price != 0.0:
            prior = _PRIOR_TOKENS * (price or 1e-6)
            seen = Seen(key, bill.cost_usd / prior, offsets[COST])
            said, value = self._cost.learn(small, block, seen)
            if self._lookout.look(block, COST, modelled=said, value=value):
                offsets[COST] += self._cost.start_over(key)

    def _note_gap(self, scenario: str, prediction: Prediction) -> None:
        utilities = [e.utility for e in prediction.estimates]
        if len(utilities) < 2:
            return
        mean = sum(utilities) / len(utilities)
        gap = sum(abs(u - mean) for u in utilities) * 2 / len(utilities)
        total, weight = self._spread.pop(scenario, (0.0, 0.0))
        # Last in the order of the names: the one seen longest ago is the first to be forgotten.
        self._spread[scenario] = [0.99 * total + gap, 0.99 * weight + 1.0]
        if len(self._spread) > _MOST_SCENARIOS:
            del self._spread[next(iter(self._spread))]

    # -- explaining and keeping -----------------------------------------------------------------

    def explain(self, context: Context, arms: Sequence[Arm]) -> Mapping[str, Mapping[str, float]]:
        """Each feature's share of each arm's predicted quality; they sum to it, less the prior."""
        x = self._layout.flatten(context)
        common = self._common.contributions(x)
        names = self._layout.names()
        return {
            arm.arm_id: dict(zip(names, (common + own).tolist(), strict=True))
            for arm in arms
            for own in [self._difference.contributions(x, self._block(arm))]
        }

    def snapshot(self) -> bytes:
        """All state; restoring it continues exactly from here."""
        header = {
            "policy": self.name,
            "version": self.version,
            "vw": VW_VERSION,
            "config": asdict(self.config),
            "n_interactions": self.n_interactions,
            "arms": self._blocks.arms,
            "spread": self._spread,
            "doubt": self._doubt.state(),
            "n_votes": self._n_votes,
            "lookout": self._lookout.state(),
            "cost_smear": self._cost.smear,
            "latency_smear": self._latency.smear,
            "cascades": self._cascades.state(),
        }
        blobs = {
            "common": self._common.dump(),
            "difference": self._difference.dump(),
            "cost": self._cost.model.dump(),
            "latency": self._latency.model.dump(),
            **self._cascades.dump(),
        }
        return write_archive(header, blobs)

    def restore(self, blob: bytes) -> None:
        """Become the saved policy; see `bandit.policy.Policy.restore`."""
        header, blobs = read_policy(blob, name=self.name, schema=self.config.schema)
        self._build(blobs)
        self._blocks = Blocks(header["arms"])
        self._doubt = Doubt(header.get("doubt"))
        self._lookout = Lookout(self.config, self._layout, header.get("lookout"))
        self._n_votes = header.get("n_votes", header["n_interactions"])
        self._cascades = Cascades(self.config, header.get("cascades"), blobs)
        self._spread = {k: list(v) for k, v in header["spread"].items()}
        self._cost.smear = {k: list(v) for k, v in header["cost_smear"].items()}
        self._latency.smear = {k: list(v) for k, v in header["latency_smear"].items()}
        self.version = header["version"]
        self.n_interactions = header["n_interactions"]
