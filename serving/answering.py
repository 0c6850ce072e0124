"""One answer on its way: who may give it, and who else when that one fails."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from bandit.primitives import Decision, Reason
from features.query import Query
from feedback.log import LoggedDecision
from feedback.outcome import Outcome
from serving.accounting import Meter, failure_of
from serving.arms import ArmSpec
from serving.backends.base import Chunk
from serving.deadline import Deadline
from serving.eligibility import BUDGET, PASSING
from serving.errors import (
    BackendError,
    BackendOverloadedError,
    BackendProtocolError,
    BackendRejectedError,
    BackendTimeoutError,
    BackendUnavailableError,
    BudgetExceededError,
    BudgetUnknownError,
)
from serving.purse import BudgetError, Lease
from serving.second_stage import SecondStage

T = TypeVar("T")

# A wrong key or model name upstream is that arm's fault, not the caller's.
_ARMS_OWN_FAULT = frozenset({401, 403, 404, 407})
_ARMS_OWN_LIMITS = frozenset({"unsupported_parameter", "unsupported_value"})
_TELLING: tuple[type[BackendError], ...] = (
    BackendUnavailableError,
    BackendOverloadedError,
    BackendTimeoutError,
)


class Breaker(Protocol):
    """Remembers whether an arm has been failing."""

    def allows(self) -> bool:
        """Whether an attempt may be made now."""

    def enter(self) -> None:
        """An attempt begins."""

    def record_success(self) -> None:
        """It answered."""

    def record_failure(self) -> None:
        """It did not."""


class Payer(Protocol):
    """Sees to it that attempts are paid for."""

    async def reserve(self, answer: "Answer", arm_id: str) -> Lease | None:
        """Set aside what an attempt can cost; raises `BudgetError` if that is not there."""

    def settle(self, answer: "Answer") -> None:
        """Pay for the attempt that has ended; does nothing if that was done, or was for free."""


@dataclass(frozen=True, slots=True)
class Routed:
    """A query with its decision, ready to be answered.

    Attributes
    ----------
    started, overhead_s
        When it came, on the monotonic clock, and how long routing took.
    """

    query: Query
    logged: LoggedDecision
    chars_in: int
    started: float
    overhead_s: float

    @property
    def decision(self) -> Decision:
        """The decision."""
        return self.logged.decision


@dataclass(slots=True)
class Answer:
    """An answer while it is given.

    Attributes
    ----------
    durable, outcome
        Whether the decision was written; what was measured in the end.
    arm
        What answers, or was tried last; differs from the decision's after a failover.
    speaker
        Whose model speaks: ``arm``, or a part of it where that is a cascade.
    speaker_started
        When the speaker's attempt began, on the monotonic clock; None once its end was noted.
    stage
        The second stage, once a cascade's gate has decided.
    errors
        Arms that failed, parts of a cascade among them.
    fallback_cause
        Why the last arm that failed did so, in the words of `Outcome.failure`.
    logged
        Whether the decision was durable when the answer left.
    lease
        What was reserved for the attempt that is being made, until it is settled.
    store_text
        Whether the text goes into the log, not only to whoever watches.
    """

    routed: Routed
    deadline: Deadline
    durable: "asyncio.Future[bool]"
    outcome: "asyncio.Future[Outcome]"
    meter: Meter
    arm: str
    speaker: str = ""
    attempts: int = 0
    attempt_started: float = 0.0
    speaker_started: float | None = None
    stage: SecondStage | None = None
    errors: dict[str, BackendError] = field(default_factory=dict)
    ttft_s: float | None = None
    failure: str | None = None
    fallback_cause: str | None = None
    logged: bool = False
    lease: Lease | None = None
    store_text: bool = False

    def begin(self, arm_id: str, *, at: float) -> None:
        """Start the next attempt, with ``arm_id``, counting from nothing."""
        self.arm = arm_id
        self.attempts += 1
        self.attempt_started = at
        self.stage = None
        self.hear(arm_id, at=at)

    def hear(self, speaker: str, *, at: float) -> None:
        """From now on ``speaker`` speaks, from the beginning."""
        self.speaker = speaker
        self.speaker_started = at
        self.meter = self.meter.afresh()

    @property
    def reason(self) -> Reason:
        """Why this arm answers."""
        decision = self.routed.decision
        return decision.reason if self.arm == decision.arm else "fallback"


def candidates(decision: Decision) -> Iterator[str]:
    """The drawn arm, then those to fall back on: the eligible by pmf, then those in trouble."""
    yield decision.arm
    if decision.reason in ("pin", "privacy"):
        return
    ranked = sorted(zip(decision.prediction.pmf, decision.prediction.arms, strict=True))
    yield from (arm for _, arm in reversed(ranked) if arm != decision.arm)
    yield from (arm for arm, why in decision.masked.items() if why in PASSING)


class Attempts:
    """Tries one arm after another until one begins to answer."""

    def __init__(
        self,
        specs: Mapping[str, ArmSpec],
        breakers: Mapping[str, Breaker],
        payer: Payer,
        *,
        monotonic: Callable[[], float],
    ) -> None:
        self._specs = specs
        self._breakers = breakers
        self._payer = payer
        self._monotonic = monotonic

    async def run(self, answer: Answer, attempt: Callable[[str], Awaitable[T]]) -> T:
        """What ``attempt`` gives for the first arm, by its id, that does not fail.

        Raises
        ------
        BackendError
            The most telling one, when every arm failed or the query itself was refused.
        BudgetExceededError, BudgetUnknownError
            If an arm was left that there is no money for.
        """
        refused: BudgetError | None = None
        for arm_id in candidates(answer.routed.decision):
            if not self._worth_trying(arm_id, answer):
                continue
            try:
                lease = await self._payer.reserve(answer, arm_id)
            except (BudgetExceededError, BudgetUnknownError) as error:
                refused, answer.fallback_cause = error, BUDGET
                continue
            answer.begin(arm_id, at=self._monotonic())
            answer.lease = lease
            self._breakers[arm_id].enter()
            try:
                return await attempt(arm_id)
            except BackendError as error:
                self.note_failure(arm_id, error)
                answer.errors[arm_id] = error
                answer.failure = answer.fallback_cause = failure_of(error)
                self._payer.settle(answer)
                answer.failure = None
                if answer.deadline.over or not another_may_do(error):
                    raise
        raise refused or min(answer.errors.values(), key=_dullness)

    def note_failure(self, arm_id: str, error: BackendError) -> None:
        """Let the arm's breaker know, if the arm is to blame."""
        if to_blame(error):
            self._breakers[arm_id].record_failure()

    def _worth_trying(self, arm_id: str, answer: Answer) -> bool:
        """Whether the arm is new, and has more room than those for which the query was too long.

        Nobody falls back on a cascade: its parts are there to fall back on.
        """
        spec, errors = self._specs[arm_id], answer.errors
        if arm_id in errors or (spec.parts and arm_id != answer.routed.decision.arm):
            return False
        room = spec.context_tokens
        too_small = [self._specs[arm].context_tokens for arm, e in errors.items() if _too_long(e)]
        return room is None or all(room > (other or 0) for other in too_small)


async def close(stream: AsyncIterator[Chunk]) -> None:
    """Stop the work behind a stream."""
    if isinstance(stream, AsyncGenerator):
        await stream.aclose()


async def next_chunk(stream: AsyncIterator[Chunk]) -> Chunk | None:
    """The next chunk; None at the end."""
    return await anext(stream, None)


async def first_words(stream: AsyncIterator[Chunk], meter: Meter, *, arm_id: str) -> list[Chunk]:
    """The chunks up to the first that says something; until then another arm may still take over.

    Raises
    ------
    BackendProtocolError
        If the stream ends before.
    """
    held = []
    async for chunk in stream:
        held.append(chunk)
        if meter.take(chunk.body):
            return held
    raise BackendProtocolError(arm_id, "the stream ended before it said anything")


def to_blame(error: BackendError) -> bool:
    """Whether the arm is to blame, rather than the query that it refused."""
    return not isinstance(error, BackendRejectedError) or error.status in _ARMS_OWN_FAULT


def another_may_do(error: BackendError) -> bool:
    """Whether another arm may answer what one failed to answer so."""
    if isinstance(error, BackendRejectedError):
        own_fault = error.status in _ARMS_OWN_FAULT or _code(error) in _ARMS_OWN_LIMITS
        return own_fault or _too_long(error)
    return True


def _too_long(error: BackendError) -> bool:
    return _code(error) == "context_length_exceeded"


def _code(error: BackendError) -> object:
    """The upstream's own code for why it refused."""
    inner = error.body.get("error") if isinstance(error, BackendRejectedError) else None
    return inner.get("code") if isinstance(inner, Mapping) else None


def _dullness(error: BackendError) -> int:
    """Small for the error that tells the caller most."""
    if _too_long(error):
        return -1
    return next((i for i, cls in enumerate(_TELLING) if isinstance(error, cls)), len(_TELLING))
