"""One experiment as plain data: it travels to worker processes, and says all that a run needs."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bandit.utility import Scenario
from simulator.callers import DriveConfig
from simulator.delay import Delay
from simulator.drift import NO_DRIFT, DriftPlan
from simulator.embeddings import FeatureBank
from simulator.environment import Order, World
from simulator.errors import BadStudyError
from simulator.judges import PanelConfig
from simulator.metrics import Yardstick, true_rewards
from simulator.references import FitRows
from simulator.second_stage import CASCADE
from simulator.table import Floats, ReplayTable
from simulator.workload import even_arrivals


@dataclass(frozen=True, slots=True)
class WarmStart:
    """A table of the same arms that a policy learns from before its first round."""

    table: ReplayTable
    bank: FeatureBank


@dataclass(frozen=True, slots=True)
class Study:
    """Which policies meet which world, how often, and how they are judged.

    Attributes
    ----------
    table
        Completed; its first ``len(arms)`` models are the arms, edge first.
    bank
        One context per row of the table.
    fit
        What the fitted yardsticks see; None fits each half of the rounds on rows of the other half.
    budget_usd
        Mean spend a query, in US dollars.
    start_price
        Price of money before anything was seen; None leaves it to the pacer.
    latency_slo_s, quality_floor
        The 95th percentile of latency in seconds, and the mean judged quality, to be kept.
    arrivals
        Seconds, shape (rounds,); None is one query a second, and no queue at the edge.
    cascade
        Whether the cascade of the first and the last arm is offered as well.
    """

    table: ReplayTable
    bank: FeatureBank
    arms: tuple[str, ...]
    policies: tuple[str, ...]
    scenario: Scenario
    rounds: int
    seeds: tuple[int, ...] = (0,)
    order: Order = "shuffle"
    plan: DriftPlan = NO_DRIFT
    feedback_rate: float = 1.0
    feedback_delay: Delay = field(default_factory=Delay)
    judge_noise: float = 0.0
    judge_bias: float = 0.0
    budget_usd: float | None = None
    start_price: float | None = None
    latency_slo_s: float | None = None
    quality_floor: float | None = None
    arrivals: Floats | None = None
    fit: FitRows | None = None
    warm: WarmStart | None = None
    panel: PanelConfig | None = None
    cascade: bool = False

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("--rounds", self.rounds, 1, 10**9),
            ("--seeds", len(self.seeds), 1, 10_000),
            ("--feedback-rate", self.feedback_rate, 0.0, 1.0),
            ("--judge-noise", self.judge_noise, 0.0, 10.0),
            ("--judge-bias", self.judge_bias, -1.0, 1.0),
        ):
            if not low <= value <= high:
                raise BadStudyError(name, value, f"want a number in [{low:g}, {high:g}]")
        if len(set(self.arms)) < max(2, len(self.arms)):
            raise BadStudyError("arms", ", ".join(self.arms), "want at least two different models")
        if self.budget_usd is not None and not 0.0 < self.budget_usd < 1e6:
            raise BadStudyError("--budget-usd", self.budget_usd, "want a number above 0")
        if self.latency_slo_s is not None and not 0.0 < self.latency_slo_s < 1e6:
            raise BadStudyError("--latency-slo-s", self.latency_slo_s, "want seconds above 0")
        if self.quality_floor is not None and not 0.0 < self.quality_floor < 1.0:
            raise BadStudyError("--quality-floor", self.quality_floor, "want a number in (0, 1)")

    def world(self, seed: int) -> World:
        """The truth under ``seed``, the same for every policy."""
        return World(
            self.table,
            self.plan,
            n_arms=len(self.arms),
            rounds=self.rounds,
            seed=seed,
            order=self.order,
        )

    def drive(self, seed: int) -> DriveConfig:
        """How callers judge under ``seed``."""
        return DriveConfig(
            self.scenario,
            self.feedback_rate,
            self.feedback_delay,
            self.judge_noise,
            self.judge_bias,
            edge_queue=self.arrivals is not None,
            seed=seed,
            panel=self.panel,
            cascade=self.cascade,
        )

    @property
    def choices(self) -> tuple[str, ...]:
        """The arms, and the cascade where there is one."""
        return (*self.arms, CASCADE) if self.cascade else self.arms

    def arrival_times(self) -> Floats:
        """When each round comes, in seconds."""
        return even_arrivals(self.rounds) if self.arrivals is None else self.arrivals

    def yardstick(self) -> Yardstick:
        """What the runs are measured against."""
        return Yardstick(
            self.choices, self.scenario, self.budget_usd, self.plan.phases, self.quality_floor
        )

    def fit_sets(self, order: NDArray[np.int64]) -> tuple[FitRows, FitRows]:
        """What the yardsticks are fitted on for the first and for the second half of the rounds."""
        if self.fit is not None:
            return self.fit, self.fit
        half = len(order) // 2
        early, late = np.unique(order[:half]), np.unique(order[half:])
        unseen_late, unseen_early = np.setdiff1d(late, early), np.setdiff1d(early, late)
        everything = np.arange(len(self.table))
        return (
            self.rows_to_fit(unseen_late if len(unseen_late) > 1 else everything),
            self.rows_to_fit(unseen_early if len(unseen_early) > 1 else everything),
        )

    def rows_to_fit(self, rows: NDArray[np.int64]) -> FitRows:
        """Features, rewards and domains of some rows of the table."""
        k = len(self.arms)
        features = np.ones((len(rows), self.bank.matrix.shape[1] + 1))
        features[:, :-1] = self.bank.matrix[rows]
        t = self.table
        rewards = true_rewards(
            self.scenario, t.quality[rows, :k], t.cost_usd[rows, :k], t.latency_s[rows, :k]
        )
        return FitRows(features, rewards, t.domain[rows])
