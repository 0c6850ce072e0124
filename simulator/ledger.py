"""The decisions that a report is about: what was chosen, what it came to, and who judged it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bandit.primitives import Arm, Decision, Tier
from feedback.log import LogEvent
from feedback.outcome import Feedback
from feedback.reward import METRIC_WEIGHTS, combine, latest
from simulator.errors import BadStudyError
from simulator.evidence import EvaluationRecord, delivered, latest_events


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which decisions: those of one scenario, and those with every one of these tags."""

    scenario: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    def has(self, decision: Decision) -> bool:
        """Whether it is among them."""
        named = self.scenario is None or decision.scenario.name == self.scenario
        return named and all(str(decision.tags.get(k)) == v for k, v in self.tags.items())


def parse_tags(texts: Sequence[str]) -> dict[str, str]:
    """Tags from ``NAME=VALUE``.

    Raises
    ------
    BadStudyError

    Examples
    --------
    >>> parse_tags(["app=demo"])
    {'app': 'demo'}
    """
    found: dict[str, str] = {}
    for text in texts:
        name, mark, value = text.partition("=")
        if not (name and mark):
            raise BadStudyError("--tag", text, "want NAME=VALUE")
        found[name] = value
    return found


@dataclass(frozen=True, slots=True)
class Entry:
    """One decision of the ledger.

    ``votes`` are the rows of feedback that count: the latest of each source and metric that was not
    withdrawn.
    """

    record: EvaluationRecord
    votes: tuple[Feedback, ...] = ()

    @property
    def decision(self) -> Decision:
        """What was decided."""
        return self.record.logged.decision

    @property
    def failed(self) -> bool:
        """Whether there is no answer, or none that was measured."""
        return self.record.outcome is None or self.record.outcome.failure is not None

    @property
    def diverted(self) -> bool:
        """Whether another arm answered than was chosen."""
        outcome = self.record.outcome
        return outcome is not None and outcome.arm != self.decision.arm

    @property
    def answered_by(self) -> str:
        """The model's arm whose answer was delivered: a part, where a cascade was chosen."""
        outcome = self.record.outcome
        if outcome is None:
            return self.decision.arm
        return outcome.arm if outcome.gating is None else delivered(outcome.gating)

    @property
    def session(self) -> str:
        """What it may depend on: its session, else itself alone."""
        named = self.decision.tags.get("session_id")
        return f"s:{named}" if named else f"d:{self.decision.decision_id}"


@dataclass(frozen=True, slots=True)
class Ledger:
    """Decisions in the order of the log, and the arms as they were last seen."""

    entries: tuple[Entry, ...]
    arms: Mapping[str, Arm]

    def tier(self, arm: str) -> Tier:
        """Where the arm is; one that was never eligible is taken for a cloud."""
        return self.arms[arm].tier if arm in self.arms else "cloud"

    def drawn(self) -> list[Entry]:
        """Those that a policy can be judged by: drawn, answered, by the arm that was drawn."""
        return [e for e in self.entries if not (e.decision.forced or e.failed or e.diverted)]

    def counts(self) -> dict[str, Any]:
        """How many there are of each kind."""
        forced = Counter(str(e.decision.reason) for e in self.entries if e.decision.forced)
        drawn = [e for e in self.entries if not e.decision.forced]
        return {
            "all": len(self.entries),
            "compared": len(self.drawn()),
            "forced": dict(sorted(forced.items())),
            "failed": sum(e.failed for e in drawn),
            "diverted": sum(e.diverted and not e.failed for e in drawn),
            "sessions": len({e.session for e in self.entries}),
        }


def ledger_of(
    events: Iterable[LogEvent],
    wanted: Wanted | None = None,
    *,
    weights: Mapping[str, float] = METRIC_WEIGHTS,
) -> Ledger:
    """The ledger of a stretch of the log.

    Parameters
    ----------
    weights
        How much each metric counts, as the learner has it.
    """
    entries = []
    arms: dict[str, Arm] = {}
    for event in latest_events(events):
        if wanted is not None and not wanted.has(event.logged.decision):
            continue
        rows = [row for _, row in event.feedback]
        record = EvaluationRecord(event.logged, event.outcome, combine(rows, weights))
        counted = [row for row in latest(rows).values() if row.value is not None]
        entries.append(Entry(record, tuple(row for row in counted if weights.get(row.metric))))
        arms.update({arm.arm_id: arm for arm in event.logged.decision.arms})
    return Ledger(tuple(entries), arms)
