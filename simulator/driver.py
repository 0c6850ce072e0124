"""Runs one policy through one world on a virtual clock, through the service's own functions.

Contexts come from the real featurizer, the draw from `bandit.sampling.draw`, lessons from
`feedback.joiner.lesson`: as in the running service, only backends and callers are simulated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol, runtime_checkable

import numpy as np

from bandit.gate import gatekeeper_of
from bandit.policy import Policy
from bandit.primitives import Arm, Context, Decision, Prediction
from bandit.sampling import draw
from feedback.outcome import Outcome
from simulator.callers import Callers, DriveConfig
from simulator.changes import Block
from simulator.environment import World
from simulator.fleet import Fleet
from simulator.judges import PanelCounts
from simulator.metrics import true_rewards
from simulator.second_stage import SecondStage
from simulator.steering import Steering
from simulator.table import Floats
from simulator.trace import Trace
from simulator.workload import EdgeQueue

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class View:
    """What is true of one round, for the reference policies that may know it.

    ``quality``, ``cost_usd``, ``latency_s`` and ``reward`` have shape (k,); the reward of an arm
    that cannot answer is minus infinity.
    """

    row: int
    domain: int
    arms: tuple[str, ...]
    quality: Floats
    cost_usd: Floats
    latency_s: Floats
    reward: Floats


@runtime_checkable
class Seer(Protocol):
    """A reference policy that sees more than a policy may: the truth, before or after choosing."""

    def foresee(self, view: View) -> None:
        """Told before the choice."""

    def hindsight(self, context: Context, view: View) -> None:
        """Told after it."""


class Driver:
    """One run of one policy; `run` returns its trace.

    Parameters
    ----------
    contexts
        One per row of the world's table.
    arrivals
        Arrival time of every round in seconds, shape (rounds,).
    steering
        Sets the prices; None where there is nothing to keep.
    """

    def __init__(
        self,
        world: World,
        policy: Policy,
        config: DriveConfig,
        *,
        contexts: Sequence[Context],
        arrivals: Floats,
        steering: Steering | None = None,
    ) -> None:
        self._world = world
        self._policy = policy
        self._scenario = config.scenario
        self._contexts = contexts
        self._arrivals = arrivals
        self._steering = steering or Steering()
        self._models = world.table.models[: world.n_arms]
        queue = EdgeQueue() if config.edge_queue else None
        self._fleet = Fleet(self._models, queue=queue, second=self._second_stage(world, config))
        self._callers = Callers(policy, config, learned=self._steering.learned)
        self._seer = policy if isinstance(policy, Seer) else None
        self._draws = np.random.default_rng([config.seed, 3])
        self._trace = Trace.empty(world.rounds)

    @property
    def counts(self) -> PanelCounts | None:
        """How much the judge and people said; None without them."""
        return None if self._callers.panel is None else self._callers.panel.counts

    def _second_stage(self, world: World, config: DriveConfig) -> SecondStage | None:
        keeper = gatekeeper_of(self._policy)
        if not config.cascade or keeper is None:
            return None
        rng = np.random.default_rng([config.seed, 6])
        return SecondStage(keeper, world.table.models, world.table.signals, rng)

    def run(self) -> Trace:
        """Every round, in order."""
        for block in self._world.blocks():
            rewards = true_rewards(self._scenario, block.quality, block.cost_usd, block.latency_s)
            rewards[~block.eligible | block.failing] = -np.inf
            self._record_truth(block, rewards)
            self._callers.meet(block)
            for i in range(len(block)):
                self._round(block, i, rewards[i])
        return self._trace

    def _round(self, block: Block, i: int, rewards: Floats) -> None:
        t, row = block.start + i, int(block.rows[i])
        now_s = float(self._arrivals[t])
        self._callers.catch_up(t, now_s)
        context, arms = self._contexts[row], self._fleet.at(block, i, now_s)
        view = self._view(block, i, rewards) if self._seer else None
        if self._seer and view:
            self._seer.foresee(view)
        decision = self._decide(t, now_s, context, arms)
        j, outcome = self._fleet.answer(block, i, decision, now_s)
        self._record(t, decision, (j, outcome, float(block.quality[i, j])))
        self._steering.answered(decision, outcome)
        self._callers.answered(block, (i, j), decision, outcome)
        if self._seer and view:
            self._seer.hindsight(context, view)

    def _decide(self, t: int, now_s: float, context: Context, arms: tuple[Arm, ...]) -> Decision:
        scenario = self._steering.priced(self._scenario, arms)
        prediction = self._policy.predict(context, arms, scenario)
        arm_id, propensity = draw(prediction, self._draws)
        return Decision(
            f"{t:09d}",
            context,
            arms,
            scenario,
            prediction,
            arm_id,
            propensity,
            "policy",
            _EPOCH + timedelta(seconds=now_s),
        )

    def _view(self, block: Block, i: int, rewards: Floats) -> View:
        row = int(block.rows[i])
        return View(
            row,
            int(self._world.table.domain[row]),
            self._models,
            block.quality[i],
            block.cost_usd[i],
            block.latency_s[i],
            rewards,
        )

    def _record_truth(self, block: Block, rewards: Floats) -> None:
        window = self._trace.window(block.start, block.start + len(block))
        best = rewards.max(axis=1)
        window.best[:] = np.where(np.isfinite(best), best, 0.0)
        window.edge_quality[:], window.cloud_quality[:] = block.quality[:, 0], block.quality[:, -1]
        window.edge_s[:], window.cloud_s[:] = block.latency_s[:, 0], block.latency_s[:, -1]

    def _record(self, t: int, decision: Decision, answer: tuple[int, Outcome, float]) -> None:
        j, outcome, quality = answer
        quality = 0.0 if outcome.failure else quality
        reward = self._scenario.reward(
            quality=quality, cost_usd=outcome.cost_usd, latency_s=outcome.latency_s
        )
        trace, prediction = self._trace, decision.prediction
        gating = outcome.gating
        trace.arm[t] = j if gating is None else len(self._models)
        trace.accepts[t] = np.nan if gating is None else gating.prediction.propensity("accept")
        trace.verdict[t] = 0 if gating is None else 1 + (gating.verdict == "escalate")
        trace.propensity[t] = decision.propensity
        trace.advantage[t] = advantage(prediction, self._models[0], self._models[-1])
        trace.predicted[t] = _expected_quality(prediction, decision.arm)
        trace.quality[t] = quality
        trace.cost_usd[t] = outcome.cost_usd
        trace.latency_s[t] = outcome.latency_s
        trace.reward[t] = 0.0 if outcome.failure else reward


def advantage(prediction: Prediction, edge: str, cloud: str) -> float:
    """How much better a policy thinks ``cloud`` than ``edge``.

    The difference of its utilities; of its probabilities where it has no estimates; NaN when one
    of the arms was not eligible.
    """
    arms = prediction.arms
    if edge not in arms or cloud not in arms:
        return float("nan")
    first, last = arms.index(edge), arms.index(cloud)
    if prediction.estimates:
        return prediction.estimates[last].utility - prediction.estimates[first].utility
    return prediction.pmf[last] - prediction.pmf[first]


def _expected_quality(prediction: Prediction, arm_id: str) -> float:
    if not prediction.estimates:
        return float("nan")
    quality = prediction.estimates[prediction.arms.index(arm_id)].quality
    return float("nan") if quality is None else quality
