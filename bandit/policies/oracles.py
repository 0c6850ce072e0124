"""The regressions of the default policy: what they expect of an arm, and how they learn it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bandit.policies.beginning import NO_PULL, Pull
from bandit.policies.inputs import Blocks, Layout, key_of
from bandit.policies.lookout import token_price
from bandit.policies.magnitude import Magnitude
from bandit.policies.vw import Regressor, Slate
from bandit.primitives import Arm, FloatVector
from bandit.utility import Scenario

_PRIOR_QUALITY = 0.7
"""What an arm is expected to reach before anything is known."""
_PRIOR_TOKENS = 400.0
"""Tokens of an answer before any was seen; sets the scale of the first cost estimates."""
PRIOR_LATENCY_S = 2.0


@dataclass(frozen=True, slots=True)
class Heads:
    """What the models say of one query; lists have one value a block, None was not asked for."""

    common: float
    difference: list[float]
    cost: list[float] | None
    latency: list[float] | None


class Oracles:
    """Models of quality, cost and latency, in which every arm has a block of weights.

    Quality is the sum of what is common to all arms and each arm's difference from that. The
    difference is learned twice, and the mean counts: once from the arm's own votes alone, and once
    mirrored, where every vote also teaches the other arms its opposite. The second knows less and
    knows it sooner: an arm that is hardly seen borrows from those that are. Cost and latency are
    learned from few features, as logarithms of ratios to a prior.

    Parameters
    ----------
    layout
        Of the contexts.
    state, blobs
        What `state` and `dump` gave, to continue from.
    """

    def __init__(
        self,
        layout: Layout,
        state: Mapping[str, Any] | None = None,
        blobs: Mapping[str, bytes] | None = None,
    ) -> None:
        state, blobs = state or {}, blobs or {}
        self._layout = layout
        self._small = layout.places(
            layout.schema.keys() - {"embedding", "cluster", "image_embedding"}
        )
        self.blocks = Blocks(state.get("arms", ()))
        self._begin_quality(blobs, state)
        n, slate = len(self._small), Slate()
        self.cost = Magnitude(n, saved=blobs.get("cost"), slate=slate)
        self.latency = Magnitude(n, saved=blobs.get("latency"), slate=slate)
        self.cost.smear = {k: list(v) for k, v in state.get("cost_smear", {}).items()}
        self.latency.smear = {k: list(v) for k, v in state.get("latency_smear", {}).items()}

    def _begin_quality(self, blobs: Mapping[str, bytes], state: Mapping[str, Any]) -> None:
        n, slate = self._layout.n_features, Slate()
        self._common = Regressor(n, n_blocks=1, saved=blobs.get("common"), slate=slate)
        self._difference = Regressor(n, saved=blobs.get("difference"), slate=slate)
        # A policy that was saved before the difference was learned twice goes on from the one.
        mirrored = blobs.get("mirrored", blobs.get("difference"))
        self._mirrored = Regressor(n, saved=mirrored, slate=slate)
        # A policy that was saved before there was any pull had none.
        self._pull = Pull(n, state.get("pull", NO_PULL if state else None))

    # -- expecting ------------------------------------------------------------------------------

    def heads(self, x: FloatVector, scenario: Scenario) -> Heads:
        """What the models say at ``x``, of all that matters under a scenario."""
        # One block more than there are arms: what an arm that was never seen will get.
        n, small = len(self.blocks.arms) + 1, self.small(x)
        costly = scenario.w_cost > 0.0 or scenario.cost_price > 0.0
        slow = scenario.w_latency > 0.0 or scenario.latency_price > 0.0
        pulled = self._pull(x)
        own = self._difference.predict_blocks(pulled, n)
        mirrored = self._mirrored.predict_blocks(pulled, n)
        return Heads(
            _PRIOR_QUALITY + self._common.predict(x),
            [(a + b) / 2.0 for a, b in zip(own, mirrored, strict=True)],
            self.cost.model.predict_blocks(small, n) if costly else None,
            self.latency.model.predict_blocks(small, n) if slow else None,
        )

    def small(self, x: FloatVector) -> FloatVector:
        """The features that cost and latency are learned from."""
        return x.take(self._small)

    def modelled(self, x: FloatVector, block: int) -> float:
        """Quality by the models alone, without correction."""
        return _PRIOR_QUALITY + self._common.predict(x) + self._apart(self._pull(x), block)

    def _apart(self, x: FloatVector, block: int) -> float:
        return (self._difference.predict(x, block) + self._mirrored.predict(x, block)) / 2.0

    def expected_latency_s(self, key: str, log_ratio: float) -> float:
        """Seconds of an answer, given what the model says."""
        return self.latency.expected(log_ratio, key, PRIOR_LATENCY_S)

    def expected_cost_usd(self, arm: Arm, key: str, log_ratio: float) -> float | None:
        """US dollars of an answer, given what the model says; None where nothing is known."""
        price = token_price(arm)
        if price == 0.0:
            return 0.0
        if price is None and key not in self.cost.smear:
            return None
        return self.cost.expected(log_ratio, key, prior_cost_usd(price))

    def contributions(self, x: FloatVector, block: int) -> NDArray[np.float32]:
        """What each feature adds to `modelled`, shape (n_features,); the prior is left out."""
        pulled = self._pull(x)
        own, mirrored = (m.contributions(pulled, block) for m in (self._difference, self._mirrored))
        return self._common.contributions(x) + (own + mirrored) / 2.0

    # -- learning -------------------------------------------------------------------------------

    def learn_quality(
        self,
        x: FloatVector,
        block: int,
        quality: float,
        *,
        others: Sequence[int] = (),
        weight: float = 1.0,
    ) -> float:
        """Learn a vote, less its correction; what the models had said before.

        Parameters
        ----------
        others
            Blocks of the other arms that could have been drawn.
        """
        said = self.modelled(x, block)
        # Each part learns what the other leaves over, so that an arm seen rarely is not
        # explained away by the one seen often. Averages lag: they would leave too much.
        target = quality - _PRIOR_QUALITY
        if not self._pull.over:
            self._note_apart(x, block, target)
        common = self._common.predict_latest(x)
        own = self._difference.predict_latest(x, block)
        mirrored = self._mirrored.predict_latest(x, block)
        left = target - common
        self._difference.learn(x, left, block, weight=weight)
        self._mirrored.learn(x, left, block, weight=weight)
        self._common.learn(x, target - (own + mirrored) / 2.0, weight=weight)
        for other in others:
            self._mirrored.learn(x, -left / len(others), other, weight=weight)
        return said

    def _note_apart(self, x: FloatVector, block: int, target: float) -> None:
        usual = self._apart(self._pull.mean, block)
        apart = self._apart(x, block) - usual
        left = target - self._common.predict(x) - usual
        self._pull.note(x, apart=apart, left=left)

    @property
    def lasting(self) -> float:
        """Share of the answers, in [0, 1], of which a wrong guess stands; see `Pull`."""
        return self._pull.lasting

    def answered(self) -> None:
        """Count an answer, voted on or not."""
        self._pull.answered()

    def corrected(self) -> None:
        """Count an answer whose vote puts right what was guessed wrong; see `Pull.corrected`."""
        self._pull.corrected()

    def forget_quality(self) -> None:
        """Make the models of quality what they were before anything was learned."""
        self._begin_quality({}, {})

    def give_away(self, block: int, arm: Arm) -> None:
        """Give the block of a digest that is long gone to another."""
        for model in (self._difference, self._mirrored, self.cost.model, self.latency.model):
            model.forget(block)
        for magnitude in (self.cost, self.latency):
            magnitude.start_over(self.blocks.arms[block])
        self.blocks.arms[block] = key_of(arm)

    # -- keeping --------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """All but the regressions, as JSON-ready data."""
        return {
            "arms": self.blocks.arms,
            "pull": self._pull.state(),
            "cost_smear": self.cost.smear,
            "latency_smear": self.latency.smear,
        }

    def dump(self) -> dict[str, bytes]:
        """The regressions."""
        return {
            "common": self._common.dump(),
            "difference": self._difference.dump(),
            "mirrored": self._mirrored.dump(),
            "cost": self.cost.model.dump(),
            "latency": self.latency.model.dump(),
        }


def prior_cost_usd(price: float | None) -> float:
    """US dollars of an answer before any was seen, at so much for a token in and a token out."""
    return _PRIOR_TOKENS * (price or 1e-6)
