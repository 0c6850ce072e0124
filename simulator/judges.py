"""A judge who scores much and is wrong, people who check some of it, and people who just vote."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from bandit.auditing import AuditConfig, AuditPlan
from bandit.policies.corrected import correction_of, expected_quality
from bandit.policy import Policy
from bandit.primitives import Decision
from feedback.log import LogEvent, LoggedDecision
from feedback.outcome import Feedback, Outcome
from simulator.changes import Block
from simulator.delay import Delay, Pending
from simulator.errors import BadStudyError
from simulator.table import Floats

JUDGE = "judge:simulated"
_PEOPLE = "people"


@dataclass(frozen=True, slots=True)
class PanelConfig:
    """Who judges in a run, where a judge and people are told apart.

    Attributes
    ----------
    judge_rate
        Share of answers that the judge scores, at once.
    bias
        Added to what the judge says of the edge arm, on average over queries.
    fooled
        Share of queries on which all of that bias falls; 1 spreads it evenly.
    noise, people_noise
        Standard deviations of a score and of a verdict around the truth.
    audits
        Which scores are shown to people, who answer all of them.
    probe_rate
        Share of judged queries that another arm answers too, unseen.
    vote_rate
        Share of answers on which people vote of themselves.
    votes_on_edge, votes_on_bad
        How much more eagerly (in units of log-odds) people vote on the edge arm's answers, and on
        an answer of quality 0 than on one of quality 1.
    delay
        Between an answer and what people say of it.
    """

    judge_rate: float = 1.0
    bias: float = 0.0
    fooled: float = 1.0
    noise: float = 0.0
    people_noise: float = 0.0
    audits: AuditConfig = field(default_factory=lambda: AuditConfig(0.0))
    probe_rate: float = 0.0
    vote_rate: float = 0.0
    votes_on_edge: float = 0.0
    votes_on_bad: float = 0.0
    delay: Delay = field(default_factory=Delay)

    def __post_init__(self) -> None:
        for name in ("judge_rate", "fooled", "probe_rate", "vote_rate"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0 or (name == "fooled" and value == 0.0):
                raise BadStudyError(f"judge {name}", value, "want a number in [0, 1]")
        if not -1.0 <= self.bias <= 1.0:
            raise BadStudyError("judge bias", self.bias, "want a number in [-1, 1]")
        for name in ("noise", "people_noise"):
            if not 0.0 <= getattr(self, name) <= 10.0:
                raise BadStudyError(f"judge {name}", getattr(self, name), "want at most 10")


@dataclass(slots=True)
class _Case:
    """One decision, and what was said of it so far."""

    logged: LoggedDecision
    outcome: Outcome
    outcome_at: int
    rows: list[tuple[int, Feedback]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Answer:
    """A verdict on its way."""

    case: _Case
    verdict: float
    audit: bool


@dataclass(slots=True)
class PanelCounts:
    """What a run took."""

    scores: int = 0
    audits: int = 0
    votes: int = 0
    probes: int = 0


class Panel:
    """Says what the judge and people say; the one who listens teaches the policy.

    Parameters
    ----------
    tell
        Given a decision's case and a new row without position; puts it into the log.
    """

    def __init__(
        self,
        policy: Policy,
        config: PanelConfig,
        *,
        seed: int,
        tell: Callable[[LogEvent], None],
        take_position: Callable[[], int],
    ) -> None:
        self._corrected = correction_of(policy)
        self._config = config
        self._tell = tell
        self._take_position = take_position
        self._chance = np.random.default_rng([seed, 5])
        self._late = np.random.default_rng([seed, 6])
        self._pending: Pending[_Answer] = Pending()
        self._u: Floats = np.zeros((0, 5))
        self._noise: Floats = np.zeros((0, 3))
        self.counts = PanelCounts()

    def meet(self, block: Block) -> None:
        """Draw who will say something in this block; the same for every policy."""
        self._u = self._chance.random((len(block), 5))
        self._noise = self._chance.standard_normal((len(block), 3))

    def answered(
        self,
        block: Block,
        at: tuple[int, int],
        decision: Decision,
        outcome: Outcome,
        outcome_at: int,
    ) -> None:
        """The judge speaks at once, people later."""
        i, j = at
        case = _Case(LoggedDecision(decision), outcome, outcome_at)
        truth, config = float(block.quality[i, j]), self._config
        if self._u[i, 0] < config.judge_rate and not block.silent[i]:
            self._judge(case, block, i, j)
        if self._u[i, 2] < self._vote_chance(truth, j):
            self.counts.votes += 1
            self._ask(case, block.start + i, self._verdict(truth, i), audit=False)

    def catch_up(self, t: int, now_s: float) -> None:
        """Hear the people whose answers have arrived by round ``t``, at ``now_s``."""
        when = now_s if self._config.delay.unit == "s" else float(t)
        for answer in self._pending.due(when):
            self._hear(answer)

    def _judge(self, case: _Case, block: Block, i: int, j: int) -> None:
        decision, config = case.logged.decision, self._config
        score = self._score(block, i, j, self._noise[i, 0])
        plan = self._corrected.plan if self._corrected else AuditPlan()
        p = plan.probability(
            config.audits,
            JUDGE,
            decision.arm,
            score=score,
            expected=expected_quality(decision),
        )
        tags = {"audit_probability": repr(p)} if p else {}
        drawn = bool(self._u[i, 1] < p)
        tags |= {"audit": "drawn"} if drawn else {}
        tags |= self._probe(block, i, j, decision)
        self.counts.scores += 1
        self._say(case, Feedback("", decision.decision_id, "judge", score, JUDGE, tags=tags))
        if drawn:
            self.counts.audits += 1
            verdict = self._verdict(float(block.quality[i, j]), i)
            self._ask(case, block.start + i, verdict, audit=True)

    def _probe(self, block: Block, i: int, j: int, decision: Decision) -> dict[str, str]:
        rate = self._config.probe_rate
        others = [arm.arm_id for arm in decision.arms if arm.arm_id != decision.arm]
        if not self._u[i, 3] < rate or not others:
            return {}
        pick = min(len(others) - 1, int(self._u[i, 4] * len(others)))
        columns = [c for c in range(block.quality.shape[1]) if c != j and block.eligible[i, c]]
        score = self._score(block, i, columns[pick], self._noise[i, 2])
        self.counts.probes += 1
        return {
            "probe_arm": others[pick],
            "probe_score": repr(score),
            "probe_rate": repr(rate / len(others)),
        }

    def _score(self, block: Block, i: int, j: int, noise: float) -> float:
        config = self._config
        bias = float(block.judge_bias[i, j])
        # Who is fooled depends on the query, so every seed and policy meets the same.
        fooled = (int(block.rows[i]) * 2654435761 % 2**32) / 2**32 < config.fooled
        if j == 0 and fooled:
            bias += config.bias / config.fooled
        return float(np.clip(block.quality[i, j] + bias + config.noise * noise, 0.0, 1.0))

    def _verdict(self, truth: float, i: int) -> float:
        said = truth + self._config.people_noise * self._noise[i, 1]
        return float(np.clip(said, 0.0, 1.0))

    def _vote_chance(self, truth: float, j: int) -> float:
        config = self._config
        if config.vote_rate in (0.0, 1.0):
            return config.vote_rate
        odds = config.vote_rate / (1.0 - config.vote_rate)
        odds *= np.exp(config.votes_on_edge * (j == 0) + config.votes_on_bad * (0.5 - truth))
        return float(odds / (1.0 + odds))

    def _ask(self, case: _Case, t: int, verdict: float, *, audit: bool) -> None:
        answer, delay = _Answer(case, verdict, audit), self._config.delay
        if delay.mean == 0.0:
            self._hear(answer)
            return
        start = case.logged.decision.decided_at.timestamp() if delay.unit == "s" else float(t)
        self._pending.push(start + delay.draw(self._late), answer)

    def _hear(self, answer: _Answer) -> None:
        decision_id = answer.case.logged.decision.decision_id
        source = f"{_PEOPLE}:{'audit' if answer.audit else 'vote'}"
        tags = {"audit": "1"} if answer.audit else {}
        value = 1.0 + 4.0 * answer.verdict
        self._say(answer.case, Feedback("", decision_id, "rating", value, source, tags=tags))

    def _say(self, case: _Case, row: Feedback) -> None:
        position = self._take_position()
        case.rows.append((position, row))
        event = LogEvent(
            position, "feedback", case.logged, case.outcome, case.outcome_at, tuple(case.rows)
        )
        self._tell(event)
