"""Drift, arm by arm: notices that models are off, corrects them, says who wants watching."""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from bandit.alarm import Alarm, AlarmKind
from bandit.drift import Change, Detector, DetectorConfig, for_votes, vote_noise
from bandit.policies.config import PolicyConfig
from bandit.policies.doubt import WARM
from bandit.policies.inputs import Layout, key_of
from bandit.policies.mixture import Mixture
from bandit.policies.record import KINDS, QUALITY, UNKNOWN, Record
from bandit.primitives import Arm, Decision, FloatVector

ALARMS = 32
"""Alarms that are remembered."""
_SETTLED = 100
"""Votes after which the others are known well enough for a new arm to be a new one."""
_KEYS = 256
"""Arms under their digests whose coming is remembered."""
_PATIENCE = 4
"""Answers per vote wanted after which a new arm that nobody judges is new no more."""
_DIGESTS = 2
"""Digests of an arm whose lessons are kept: what runs now, and what it may be rolled back to."""
_FOLLOW = 0.05
"""Least share of a residual that corrects an arm under watch."""
_CAUTION = 3.0
"""Votes that speak for "nothing has changed" when the size of a change is estimated."""
_BACK = 0.3
"""Share of what an arm lost that may still be missing when its watch ends."""
_STREAMS = ((0.25, 1.0, 20), (0.5, 1.5, 30), (0.5, 1.5, 30))
"""Of each kind: standard deviation of residuals assumed at first, factor of the threshold, values
before the first alarm."""
_LEAST = (0.03, 0.2, 0.2)
"""Changes smaller than this are corrected, and not worth an alarm."""


def token_price(arm: Arm) -> float | None:
    """US dollars for one prompt and one completion token; None where a price is unknown."""
    if arm.price_in is None or arm.price_out is None:
        return None
    return (arm.price_in + arm.price_out) / 1e6


class Lookout:
    """Keeps a `Record` and three detectors for every block of weights.

    An alarm does three things, for its arm only. The estimate moves at once by what the models have
    been off since the change: their past is discounted by the amount of change, and what they know
    of queries stays. The correction follows new votes faster. And an arm that became worse is put
    under watch: `wanted` says how likely it is to be drawn at least where it would be the best
    choice, had it recovered.

    Detectors see what the models miss *without* corrections, and under the models of now rather
    than those logged with the decision: a vote that comes late, for a query from before an alarm,
    is not taken for another change.

    Parameters
    ----------
    config
        Which detectors, how much to widen, how much to forget.
    layout
        Of the contexts.
    saved
        What `state` gave, to continue from.
    """

    def __init__(
        self, config: PolicyConfig, layout: Layout, saved: Mapping[str, Any] | None = None
    ) -> None:
        state = saved or {}
        self._config = config
        self._detects = config.drift and config.detector != "off"
        self._forget = 1.0 - config.forgetting if config.drift else 0.0
        self._settings = tuple(
            DetectorConfig(
                config.detector, threshold=times * config.alarm_threshold, least=least, noise=noise
            )
            for noise, times, least in _STREAMS
        )
        self.n_votes: int = state.get("n_votes", 0)
        # Records that do not say so are of a time when all votes were taken for graded ones.
        self.records = [Record(**{"graded": True} | r) for r in state.get("records", ())]
        self._detectors = [
            [Detector(self._setting(record, kind), saved) for kind, saved in enumerate(block)]
            for record, block in zip(self.records, state.get("detectors", ()), strict=False)
        ]
        self._now: dict[str, list[Any]] = {k: [*v] for k, v in state.get("now", {}).items()}
        self.alarms = deque((Alarm(**a) for a in state.get("alarms", ())), ALARMS)
        self._mixture = Mixture(layout.kinds(), layout.n_features, state.get("mixture"))
        self._came: dict[str, int] = dict(state.get("came", {}))
        self._arms: tuple[Arm, ...] = ()
        self._decision: Decision | None = None
        self._n_interactions = 0

    def state(self) -> dict[str, Any]:
        """Everything, as JSON-ready data."""
        return {
            "n_votes": self.n_votes,
            "records": [asdict(record) for record in self.records],
            "detectors": [[d.state() for d in block] for block in self._detectors],
            "now": self._now,
            "came": self._came,
            "mixture": self._mixture.state(),
            "alarms": [asdict(alarm) for alarm in self.alarms],
        }

    # -- asked when choosing ----------------------------------------------------------------------

    def record(self, block: int) -> Record:
        """What is kept of a block; of one that was never taught, that nothing is known."""
        return self.records[block] if block < len(self.records) else UNKNOWN

    def is_new(self, arm: Arm, block: int) -> bool:
        """Whether an arm came when others were known already, and has few votes yet.

        One that could have been drawn all along, and was too dear, is not new.
        """
        wanted = self._config.newcomer if self._config.drift else 0
        record = self.record(block)
        if record.n_judged >= wanted or record.n_answered >= _PATIENCE * wanted:
            return False
        return self._came.get(key_of(arm), self.n_votes) >= _SETTLED

    @property
    def watches(self) -> bool:
        """Whether any arm is under watch."""
        return any(record.hope is not None for record in self.records)

    def wanted(self, block: int) -> float:
        """Least probability of an arm under watch where it would be best; fades with votes."""
        return self._wanted(self.records[block])

    def _wanted(self, record: Record) -> float:
        config = self._config
        return config.widen * math.exp2((record.watched_from - self.n_votes) / config.watch)

    # -- told when learning -----------------------------------------------------------------------

    def begin(self, decision: Decision, n_interactions: int) -> None:
        """Make ready for the lessons of a decision."""
        self._decision, self._n_interactions = decision, n_interactions
        if decision.arms is not self._arms:
            self._arms = decision.arms
            for arm in decision.arms:
                self._came.setdefault(key_of(arm), self.n_votes)
            while len(self._came) > _KEYS:
                del self._came[next(iter(self._came))]

    def meet(self, block: int, arm: Arm) -> None:
        """Make room for a block that will be taught."""
        while len(self.records) <= block:
            self.records.append(Record(arm.arm_id))
            self._detectors.append(self._fresh(self.records[-1]))

    def spare(self, arm: Arm) -> int | None:
        """A block that an arm with yet another digest may have: it keeps its last two.

        What is kept of the block begins anew.
        """
        own = [b for b, record in enumerate(self.records) if record.arm == arm.arm_id]
        if len(own) < _DIGESTS:
            return None
        block = min(own, key=lambda b: self.records[b].answered_at)
        self.records[block] = Record(arm.arm_id)
        self._detectors[block] = self._fresh(self.records[block])
        return block

    def asked(self, x: FloatVector) -> None:
        """Count a query, once it was answered. A shift of the mix is told, and nothing else."""
        if self._detects and self._mixture.update(x) and not self._is_warm():
            self._raise("mix", None, (None, None, "other queries come; nothing was changed"))

    def answered(self, block: int, arm: Arm) -> None:
        """Count an answer by the arm of a block, and see whether it still is what it was."""
        record = self.records[block]
        record.n_answered += 1
        record.answered_at = self._n_interactions
        if self._decision is None or not self._config.drift:
            return
        at, known = self._decision.decided_at.timestamp(), self._now.get(arm.arm_id)
        price = token_price(arm)
        # Answers may be learned out of order, or come from two servers: an older one is no news.
        if known is not None and at < known[0]:
            return
        self._now[arm.arm_id] = [at, arm.digest, price]
        told: tuple[float | None, float | None, str]
        if known is not None and known[1] != arm.digest:
            told = (None, None, "it begins anew, and is drawn evenly for a while")
            self._raise("digest", arm.arm_id, told)
        elif known is not None and known[2] != price:
            told = (known[2], price, "bills are expected accordingly from now on")
            self._raise("price", arm.arm_id, told)

    def look(self, block: int, kind: int, *, modelled: float, value: float) -> float:
        """Count what came of an answer; how far its correction jumped, 0 unless it did.

        Parameters
        ----------
        kind
            Place in `KINDS`.
        modelled
            What the models said, without correction; cost and latency are logarithms.
        """
        record = self.records[block]
        expected = modelled + record.offsets[kind]
        record.expect(kind, expected)
        noise = None
        if kind == QUALITY:
            self._grade(block, value)
            noise = None if record.graded else vote_noise(expected)
            self._judged(record, value - expected)
        if not self._detects or self._is_warm():
            return 0.0
        change = self._detectors[block][kind].update(value - modelled, noise)
        return 0.0 if change is None else self._correct(record, kind, change)

    def _grade(self, block: int, vote: float) -> None:
        """Once a vote is neither 0 nor 1, noise is measured, also that of the votes before."""
        record, detectors = self.records[block], self._detectors[block]
        if not record.graded and vote not in (0.0, 1.0):
            record.graded = True
            earlier = detectors[QUALITY].state() | {"centre": None, "noises": None}
            detectors[QUALITY] = Detector(self._settings[QUALITY], earlier)

    def forget_quality(self) -> None:
        """Take back what is said of quality: the models that it corrected are gone."""
        for record, detectors in zip(self.records, self._detectors, strict=True):
            record.offsets[QUALITY] = 0.0
            record.hope = None
            detectors[QUALITY] = Detector(self._setting(record, QUALITY))

    def _setting(self, record: Record, kind: int) -> DetectorConfig:
        config = self._settings[kind]
        return config if record.graded or kind != QUALITY else for_votes(config)

    def _fresh(self, record: Record) -> list[Detector]:
        return [Detector(self._setting(record, kind)) for kind in range(len(KINDS))]

    def _is_warm(self) -> bool:
        return self._decision is None or self._decision.prediction.policy_version == WARM

    def _judged(self, record: Record, residual: float) -> None:
        self.n_votes += 1
        record.n_judged += 1
        watched = record.hope is not None
        if watched or self._forget > 0.0:
            record.follow(residual, _FOLLOW if watched else self._forget)
        if record.hope is not None:
            lost = record.hope[QUALITY] - record.offsets[QUALITY]
            record.fell = max(record.fell, lost)
            if lost < _BACK * record.fell or self._wanted(record) <= self._config.floor:
                record.hope = None

    def _correct(self, record: Record, kind: int, change: Change) -> float:
        jump = (change.mean - record.offsets[kind]) * change.n / (change.n + _CAUTION)
        worse = (jump < 0.0) == (kind == QUALITY)
        watch = worse and self._config.widen > 0.0
        if abs(jump) >= _LEAST[kind]:
            if watch:
                record.watch(self.n_votes)
            self._tell(record, kind, jump, watch=watch)
        if not worse and kind != QUALITY:
            record.hope = None
        record.offsets[kind] += jump
        if kind == QUALITY:
            record.n_since = float(change.n)
        return jump

    def _tell(self, record: Record, kind: int, jump: float, *, watch: bool) -> None:
        before = record.usual[kind] or 0.0
        after = before + jump
        action = f"the estimate moved by {jump:+.2f}"
        if kind != QUALITY:
            before, after = math.exp(min(before, 50.0)), math.exp(min(after, 50.0))
            action = f"the estimate moved {math.exp(jump):.2f}-fold"
        if watch:
            share = f"{self._config.widen:.0%}"
            action += f"; drawn with {share} at least where it would be best, had it recovered"
        self._raise(KINDS[kind], record.arm, (before, after, action))

    def _raise(
        self, kind: AlarmKind, arm: str | None, told: tuple[float | None, float | None, str]
    ) -> None:
        if self._decision is None:
            return
        name = self._decision.decision_id
        alarm_id = f"{name}:{kind}:{arm or 'all'}"
        self.alarms.append(Alarm(alarm_id, kind, arm, name, self._n_interactions, *told))
