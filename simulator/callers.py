"""The people and judges who say, now or later, how good an answer was; and the lessons of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from bandit.policies.corrected import correction_of
from bandit.policy import Policy
from bandit.primitives import Decision, Interaction
from bandit.utility import Scenario
from feedback.joiner import lesson
from feedback.log import LogEvent, LoggedDecision
from feedback.outcome import Feedback, Outcome
from feedback.reward import RewardRules
from simulator.changes import Block
from simulator.delay import Delay, Pending
from simulator.judges import Panel, PanelConfig


@dataclass(frozen=True, slots=True)
class DriveConfig:
    """Under which scenario a run is driven, and how callers judge.

    Attributes
    ----------
    feedback_rate
        Share of answers that anybody judges, in [0, 1].
    judge_noise
        Standard deviation of a judgement around the true score.
    judge_bias
        Added to every judgement.
    edge_queue
        Whether the first arm does one query at a time.
    panel
        A judge and people who are told apart; they then replace everybody above.
    cascade
        Whether a policy that can judge the edge's answers is offered the cascade of edge and cloud.
    """

    scenario: Scenario
    feedback_rate: float = 1.0
    feedback_delay: Delay = field(default_factory=Delay)
    judge_noise: float = 0.0
    judge_bias: float = 0.0
    edge_queue: bool = False
    seed: int = 0
    panel: PanelConfig | None = None
    cascade: bool = False


@dataclass(frozen=True, slots=True)
class _Judged:
    logged: LoggedDecision
    outcome: Outcome
    outcome_at: int
    votes: tuple[tuple[str, float], ...]


class Callers:
    """Hands a policy the lessons that the running service's learner would hand it.

    An answer teaches what it cost and took at once; a vote teaches quality when it arrives. Both go
    through `feedback.joiner.lesson`, at positions of a log that nobody has to store.

    Parameters
    ----------
    learned
        Told every lesson too.
    """

    def __init__(
        self,
        policy: Policy,
        config: DriveConfig,
        *,
        learned: Callable[[Interaction], None] | None = None,
    ) -> None:
        self._policy = policy
        self._learned = learned
        self._config = config
        self._chance = np.random.default_rng([config.seed, 4])
        self._pending: Pending[_Judged] = Pending()
        self._position = 0
        self._heard: Sequence[float] = ()
        self._noise: Sequence[float] = ()
        # What a policy that cannot correct a judge is taught is what the service would teach it.
        self._rules = RewardRules(corrected=correction_of(policy) is not None)
        self.panel = None if config.panel is None else self._panel(config.panel)

    def _panel(self, config: PanelConfig) -> Panel:
        return Panel(
            self._policy,
            config,
            seed=self._config.seed,
            tell=self._learn,
            take_position=self._take_position,
        )

    def _take_position(self) -> int:
        self._position += 1
        return self._position

    def meet(self, block: Block) -> None:
        """Draw who will judge in this block; the same for every policy."""
        self._heard = self._chance.random(len(block)).tolist()
        noise = self._chance.standard_normal(len(block)) * self._config.judge_noise
        self._noise = noise.tolist()
        if self.panel is not None:
            self.panel.meet(block)

    def answered(
        self, block: Block, at: tuple[int, int], decision: Decision, outcome: Outcome
    ) -> None:
        """Learn from an answer, and from its judgement or keep that for later.

        Parameters
        ----------
        at
            Round within the block, and column of the arm that answered.
        """
        logged = LoggedDecision(decision)
        self._position += 1
        position = self._position
        self._learn(LogEvent(position, "outcome", logged, outcome, position, ()))
        if self.panel is not None:
            if not outcome.failure:
                self.panel.answered(block, at, decision, outcome, position)
            return
        votes = () if outcome.failure else self._votes(block, *at)
        if not votes:
            return
        judged = _Judged(logged, outcome, position, votes)
        delay = self._config.feedback_delay
        if delay.mean == 0.0:
            self._vote(judged)
        else:
            start = decision.decided_at.timestamp() if delay.unit == "s" else block.start + at[0]
            self._pending.push(start + delay.draw(self._chance), judged)

    def catch_up(self, t: int, now_s: float) -> None:
        """Learn from the judgements that have arrived by round ``t``, at ``now_s``."""
        if self.panel is not None:
            self.panel.catch_up(t, now_s)
        if len(self._pending):
            when = now_s if self._config.feedback_delay.unit == "s" else float(t)
            for judged in self._pending.due(when):
                self._vote(judged)

    def _votes(self, block: Block, i: int, j: int) -> tuple[tuple[str, float], ...]:
        votes: list[tuple[str, float]] = []
        if self._heard[i] < self._config.feedback_rate and not block.silent[i]:
            bias = float(block.judge_bias[i, j]) + self._config.judge_bias
            said = float(block.quality[i, j]) + bias + self._noise[i]
            votes.append(("judge", min(1.0, max(0.0, said))))
        if block.poison[i, j] >= 0.0:
            votes.append(("stranger", float(block.poison[i, j])))
        return tuple(votes)

    def _vote(self, judged: _Judged) -> None:
        decision_id = judged.logged.decision.decision_id
        rows = []
        for source, value in judged.votes:
            self._position += 1
            vote = Feedback(str(self._position), decision_id, "judge", value, source)
            rows.append((self._position, vote))
        # All votes are in the log before the learner reads the first, which teaches their mean.
        first = rows[0][0]
        self._learn(
            LogEvent(
                first, "feedback", judged.logged, judged.outcome, judged.outcome_at, tuple(rows)
            )
        )

    def _learn(self, event: LogEvent) -> None:
        interaction = lesson(
            event, position=event.position, as_of=self._position, rules=self._rules
        )
        if interaction is not None:
            self._policy.learn(interaction)
            if self._learned is not None:
                self._learned(interaction)
