"""Tells a judge's score, an audit's answer and a voluntary vote of one decision apart.

A judge is a model: its rows have the metric ``judge`` and a source that begins with ``judge:``. It
says in the tags of its row with which probability it drew the decision to be shown to people, and,
where it did, ``audit: drawn``; people's answer to that carries the tag ``audit``. Every other row
is a voluntary vote.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from bandit.primitives import Judgement
from feedback.log import LogEvent
from feedback.outcome import Feedback
from feedback.reward import RewardRules, combine

Kind: TypeAlias = Literal["judge", "audit", "vote"]

JUDGE_PREFIX = "judge:"
AUDIT_TAG = "audit"
DRAWN = "drawn"
PROBABILITY_TAG = "audit_probability"


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one kind of source says: since which log position, and what it amounts to now."""

    since: int
    quality: float | None


@dataclass(frozen=True, slots=True)
class Opinions:
    """Everything that was said of a decision, as known at some position.

    Attributes
    ----------
    by_kind
        Only the kinds of which anything was said.
    row
        The judge's latest row.
    """

    by_kind: Mapping[Kind, Opinion]
    row: Feedback | None

    @property
    def positions(self) -> tuple[int, ...]:
        """Where anything may be taught."""
        return tuple(opinion.since for opinion in self.by_kind.values())

    @property
    def leading(self) -> Kind | None:
        """The kind that spoke first and still says something: it teaches quality."""
        alive = {kind: o.since for kind, o in self.by_kind.items() if o.quality is not None}
        return min(alive, key=alive.__getitem__, default=None)

    def leading_at(self, position: int) -> float | None:
        """The quality that is taught at ``position``; None if none is."""
        kind = self.leading
        if kind is None or self.by_kind[kind].since != position:
            return None
        return self.by_kind[kind].quality

    def first(self) -> Judgement | None:
        """Who teaches quality."""
        kind = self.leading
        if kind is None:
            return None
        if kind != "judge":
            return Judgement(verdict=self.by_kind[kind].quality)
        return self._of_judge(None, audited=False)

    def second_at(self, position: int) -> Judgement | None:
        """The judge's score beside a verdict, where the pair is complete from ``position`` on."""
        judge = self.by_kind.get("judge")
        if judge is None or judge.quality is None:
            return None
        audit, vote = self.by_kind.get("audit"), self.by_kind.get("vote")
        if audit is not None and audit.since == position and audit.quality is not None:
            return self._of_judge(audit.quality, audited=True)
        if vote is None or vote.quality is None or position != max(judge.since, vote.since):
            return None
        return self._of_judge(vote.quality, audited=False)

    def _of_judge(self, verdict: float | None, *, audited: bool) -> Judgement:
        row = self.row
        if row is None:
            return Judgement(verdict=verdict)
        probe = None
        if row.tags.get("probe_arm"):
            probe = (_unit(row, "probe_score"), _unit(row, "probe_rate"))
        paired = probe is not None and probe[0] is not None and bool(probe[1])
        return Judgement(
            row.source,
            self.by_kind["judge"].quality,
            verdict,
            audited,
            _unit(row, PROBABILITY_TAG) or None,
            row.tags["probe_arm"] if paired else None,
            probe[0] if paired and probe else None,
            probe[1] if paired and probe else None,
        )


def opinions(event: LogEvent, *, as_of: int, rules: RewardRules) -> Opinions:
    """What was said of ``event``'s decision up to ``as_of``.

    Where several judges spoke, the first one counts; the others are kept and not learned.
    """
    known = [(at, row) for at, row in event.feedback if at <= as_of]
    judge = next((row.source for _, row in known if _is_judge(row)), None)
    rows: dict[Kind, list[tuple[int, Feedback]]] = {}
    drawn = any(
        row.source == judge and row.tags.get(AUDIT_TAG) == DRAWN and _unit(row, PROBABILITY_TAG)
        for _, row in known
        if _is_judge(row)
    )
    for at, row in known:
        if _is_judge(row):
            if row.source == judge:
                rows.setdefault("judge", []).append((at, row))
        elif rules.weights.get(row.metric, 0.0) > 0.0:
            kind: Kind = "audit" if drawn and AUDIT_TAG in row.tags else "vote"
            rows.setdefault(kind, []).append((at, row))
    found = {
        kind: Opinion(some[0][0], combine((row for _, row in some), rules.weights))
        for kind, some in rows.items()
    }
    return Opinions(found, rows["judge"][-1][1] if "judge" in rows else None)


def _is_judge(row: Feedback) -> bool:
    return row.metric == "judge" and row.source.startswith(JUDGE_PREFIX)


def _unit(row: Feedback, tag: str) -> float | None:
    """A tag's number in [0, 1]; None if it is none."""
    try:
        value = float(row.tags.get(tag, ""))
    except ValueError:
        return None
    return value if math.isfinite(value) and 0.0 <= value <= 1.0 else None
