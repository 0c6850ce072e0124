"""The default policy: quality, cost and latency learned apart, utility composed when choosing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from bandit.alarm import Alarm
from bandit.errors import NoEligibleArmError
from bandit.pacing import affordable_floor, lowered
from bandit.policies.archive import read_policy, write_archive
from bandit.policies.beginning import head_start
from bandit.policies.cascades import SHARPER, Cascades, judged_pair, taught_elsewhere
from bandit.policies.config import PolicyConfig
from bandit.policies.doubt import Doubt
from bandit.policies.exploration import growing, inverse_gap_weighting
from bandit.policies.gaps import Gaps
from bandit.policies.gatehouse import EdgeAnswer
from bandit.policies.inputs import Layout, check_interaction, key_of
from bandit.policies.lookout import Lookout, token_price
from bandit.policies.oracles import PRIOR_LATENCY_S, Heads, Oracles, prior_cost_usd
from bandit.policies.record import COST, LATENCY, QUALITY
from bandit.policies.vw import VW_VERSION
from bandit.policies.worth import charge_of, clipped, utility_of
from bandit.primitives import Arm, Context, Estimate, FloatVector, Interaction, Prediction, Reward
from bandit.utility import Scenario

_NOBODY = Arm("", "cloud", "")


def _corrects(interaction: Interaction) -> bool:
    """Whether a vote puts right what was guessed wrong of an arm; see `Pull.corrected`."""
    said = interaction.judgement
    scored = said is not None and said.score is not None
    return not scored and interaction.decision.scenario.cost_price <= 0.0


class ComposedPolicy:
    """Regression oracles for quality, cost and latency under inverse-gap weighting.

    Quality is the sum of what is common to all arms (how hard is the query?) and each arm's
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
    has_gate = True

    def __init__(self, config: PolicyConfig) -> None:
        self.config = config
        self.version = "composed-0"
        self.n_interactions = 0
        self._n_votes = 0
        self._layout = Layout(config.schema)
        self._oracles = Oracles(self._layout)
        self._gaps = Gaps()
        self._doubt = Doubt()
        self._cascades = Cascades(config)
        self._lookout = Lookout(config, self._layout)

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """What it noticed lately, oldest first."""
        return tuple(self._lookout.alarms)

    # -- choosing -------------------------------------------------------------------------------

    def predict(self, context: Context, arms: Sequence[Arm], scenario: Scenario) -> Prediction:
        """Probabilities over ``arms``; see `bandit.policy.Policy.predict`."""
        if not arms:
            raise NoEligibleArmError
        x = self._layout.flatten(context)
        heads = self._oracles.heads(x, scenario)
        estimates = self._estimates(arms, heads, scenario)
        charges = [charge_of(e, scenario) for e in estimates]
        values = [e.utility - charge for e, charge in zip(estimates, charges, strict=True)]
        taught, gap = taught_elsewhere(values, arms), self._gaps.typical(scenario.name)
        top = max(values)
        floors = self._floors(arms, charges, taught, gap)
        for i, hope in self._watched(arms):
            # Only where it would be best had it recovered: elsewhere looking is of no use.
            hoped = self._estimate(arms[i], heads, scenario, hope)
            if hoped.utility - charge_of(hoped, scenario) >= top:
                floors[i] = max(floors[i], self._lookout.wanted(self._block(arms[i])))
        values = lowered(values, charges, gap)
        values = [
            top - SHARPER * (top - value) if known else value
            for value, known in zip(values, taught, strict=True)
        ]
        pmf = inverse_gap_weighting(values, gamma=self._sharpness(scenario) / gap, floor=floors)
        return Prediction(tuple(arm.arm_id for arm in arms), pmf, self.version, estimates)

    def _block(self, arm: Arm) -> int:
        return self._oracles.blocks.of(key_of(arm))

    def _floors(
        self, arms: Sequence[Arm], charges: Sequence[float], taught: Sequence[bool], gap: float
    ) -> list[float]:
        least = affordable_floor(self.config.floor, charges, gap)
        floors = [
            least / SHARPER if known and not arm.parts else least
            for arm, known in zip(arms, taught, strict=True)
        ]
        for i, arm in enumerate(arms):
            if not arm.parts and self._lookout.is_new(arm, self._block(arm)):
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

    def _estimates(
        self, arms: Sequence[Arm], heads: Heads, scenario: Scenario
    ) -> tuple[Estimate, ...]:
        found = {arm.arm_id: self._estimate(arm, heads, scenario) for arm in arms}
        if any(arm.parts for arm in arms):
            found = self._cascades.valued(found, arms, scenario)
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
        heads = self._oracles.heads(self._layout.flatten(context), scenario)
        parts = self._estimate(edge, heads, scenario), self._estimate(cloud, heads, scenario)
        first, rest = (part.quality or 0.0 for part in parts)
        answer = EdgeAnswer(signals, edge.digest, first, rest, parts[1].cost_usd)
        return self._cascades.gate(answer, parts, scenario, self.version)

    def _estimate(
        self, arm: Arm, heads: Heads, scenario: Scenario, offsets: Sequence[float] | None = None
    ) -> Estimate:
        key = key_of(arm)
        block = self._oracles.blocks.of(key)
        record = self._lookout.record(block)
        offset = record.offsets if offsets is None else offsets
        quality = heads.common + heads.difference[block] + offset[QUALITY]
        quality += arm.features.get("quality_shift", 0.0) + self._head_start(arm)
        cost = latency = None
        if heads.cost is not None:
            log_ratio = heads.cost[block] + offset[COST]
            cost = self._oracles.expected_cost_usd(arm, key, log_ratio)
        if heads.latency is not None:
            log_ratio = heads.latency[block] + offset[LATENCY]
            latency = self._oracles.expected_latency_s(key, log_ratio)
            latency += arm.features.get("queue_s", 0.0)
        energy_j = arm.features.get("energy_j")
        sure = quality if offsets else quality - record.caution(self.config.caution)
        utility = utility_of(scenario, sure, cost, latency, energy_j=energy_j)
        return Estimate(clipped(quality), cost, latency, utility)

    def _head_start(self, arm: Arm) -> float:
        return head_start(arm, self._n_votes, self._oracles.lasting)

    def _sharpness(self, scenario: Scenario) -> float:
        # Where money is short a blunt start is too dear: one arm may cost sixty budgets.
        votes = 0 if scenario.cost_price > 0.0 else self.config.gamma_votes
        return growing(self.config.gamma, self._n_votes, votes)

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
                self._oracles.forget_quality()
                self._n_votes = 0
                self._lookout.forget_quality()
            arms = {arm.arm_id: arm for arm in decision.arms}
            votes = self._cascades.votes(interaction, answer)
            for arm_id, quality in votes:
                if arm_id in arms:
                    block = self._met(arms[arm_id])
                    said = self._oracles.learn_quality(
                        x,
                        block,
                        quality - self._lookout.record(block).offsets[QUALITY],
                        others=self._others(arm_id, decision.arms),
                        weight=interaction.weight,
                    )
                    if arm_id == decision.arm:
                        # What a cascade's vote says of its parts is inferred: too noisy to watch.
                        self._lookout.look(block, QUALITY, modelled=said, value=quality)
            self._note_gap(decision.scenario.name, decision.prediction)
            # Of a cascade's forced verdict nothing is learned.
            self._n_votes += bool(votes)
            if votes and _corrects(interaction):
                self._oracles.corrected()
        if reward.cost_usd is not None or reward.latency_s is not None:
            if answer is not None:
                self._cascades.note(answer)
            self._lookout.asked(x)
            self._oracles.answered()
            for arm, bill in self._cascades.bills(interaction, answer):
                block = self._met(arm)
                self._lookout.answered(block, arm)
                self._learn_magnitudes(self._oracles.small(x), block, arm, bill)
        self.n_interactions += 1

    def _others(self, arm_id: str, arms: Sequence[Arm]) -> list[int]:
        """Blocks of the arms beside one, as far as they answered before."""
        blocks = [self._block(arm) for arm in arms if not arm.parts and arm.arm_id != arm_id]
        return [block for block in blocks if block < len(self._oracles.blocks.arms)]

    def _met(self, arm: Arm) -> int:
        blocks, key = self._oracles.blocks, key_of(arm)
        if key not in blocks.arms:
            spare = self._lookout.spare(arm)
            if spare is not None:
                self._oracles.give_away(spare, arm)
        block = blocks.add(key)
        self._lookout.meet(block, arm)
        return block

    def _edge_answer(self, x: FloatVector, interaction: Interaction) -> EdgeAnswer | None:
        pair = judged_pair(interaction)
        if pair is None:
            return None
        arms = {arm.arm_id: arm for arm in interaction.decision.arms}
        blocks = (self._block(arms.get(name, _NOBODY)) for name in (pair.edge, pair.cloud))
        first, rest = (
            clipped(self._oracles.modelled(x, b) + self._lookout.record(b).offsets[QUALITY])
            for b in blocks
        )
        cloud = arms.get(pair.cloud, _NOBODY)
        block = self._block(cloud)
        log_ratio = self._oracles.cost.model.predict(self._oracles.small(x), block)
        log_ratio += self._lookout.record(block).offsets[COST]
        usd = self._oracles.expected_cost_usd(cloud, key_of(cloud), log_ratio)
        return EdgeAnswer(interaction.signals, pair.digest, first, rest, usd)

    def _learn_magnitudes(self, small: FloatVector, block: int, arm: Arm, bill: Reward) -> None:
        offsets, key = self._lookout.record(block).offsets, key_of(arm)
        came = []
        if bill.latency_s is not None:
            own = max(1e-3, bill.latency_s - arm.features.get("queue_s", 0.0))
            came.append((LATENCY, self._oracles.latency, own / PRIOR_LATENCY_S))
        price = token_price(arm)
        if bill.cost_usd is not None and price != 0.0:
            came.append((COST, self._oracles.cost, bill.cost_usd / prior_cost_usd(price)))
        for kind, model, ratio in came:
            said, value = model.learn(small, block, key=key, ratio=ratio, offset=offsets[kind])
            if model.settled(block) and self._lookout.look(block, kind, modelled=said, value=value):
                model.start_over(key)

    def _note_gap(self, scenario: str, prediction: Prediction) -> None:
        utilities = [e.utility for e in prediction.estimates]
        if len(utilities) < 2:
            return
        mean = sum(utilities) / len(utilities)
        gap = sum(abs(u - mean) for u in utilities) * 2 / len(utilities)
        self._gaps.note(scenario, gap)

    # -- explaining and keeping -----------------------------------------------------------------

    def explain(self, context: Context, arms: Sequence[Arm]) -> Mapping[str, Mapping[str, float]]:
        """Each feature's share of each arm's predicted quality; they sum to it, less the prior.

        ``drift`` is the correction since the arm changed, ``quality_shift`` that of its judge,
        ``head_start`` what its tier is trusted with while there are few votes.
        """
        x = self._layout.flatten(context)
        names = self._layout.names()
        return {
            arm.arm_id: {
                **dict(zip(names, self._oracles.contributions(x, block).tolist(), strict=True)),
                "drift": self._lookout.record(block).offsets[QUALITY],
                "quality_shift": arm.features.get("quality_shift", 0.0),
                "head_start": self._head_start(arm),
            }
            for arm in arms
            for block in [self._block(arm)]
        }

    def snapshot(self) -> bytes:
        """All state; restoring it continues exactly from here."""
        header = {
            "policy": self.name,
            "version": self.version,
            "vw": VW_VERSION,
            "config": asdict(self.config),
            "n_interactions": self.n_interactions,
            **self._oracles.state(),
            "spread": self._gaps.state(),
            "doubt": self._doubt.state(),
            "n_votes": self._n_votes,
            "lookout": self._lookout.state(),
            "cascades": self._cascades.state(),
        }
        return write_archive(header, {**self._oracles.dump(), **self._cascades.dump()})

    def restore(self, blob: bytes) -> None:
        """Become the saved policy; see `bandit.policy.Policy.restore`."""
        header, blobs = read_policy(blob, name=self.name, schema=self.config.schema)
        # All or nothing: a damaged model leaves the others as they were.
        self._oracles = Oracles(self._layout, header, blobs)
        self._gaps = Gaps(header["spread"])
        self._doubt = Doubt(header.get("doubt"))
        self._lookout = Lookout(self.config, self._layout, header.get("lookout"))
        self._n_votes = header.get("n_votes", header["n_interactions"])
        self._cascades = Cascades(self.config, header.get("cascades"), blobs)
        self.version = header["version"]
        self.n_interactions = header["n_interactions"]
