"""How an arm answers: with one model, or as a cascade of two with a gate between them."""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from serving.accounting import Meter
from serving.answering import (
    Answer,
    Breaker,
    another_may_do,
    close,
    first_words,
    next_chunk,
    to_blame,
)
from serving.arms import ArmSpec, LatencyBoard
from serving.backends.base import Backend, Chunk, Completion
from serving.errors import BackendError, BackendProtocolError
from serving.gating import Gate, Ruling, forced
from serving.second_stage import SecondStage
from serving.signals import signals_of


class Way(Protocol):
    """Answers for one arm; failures are `BackendError`, nothing takes longer than the deadline."""

    async def complete(self, answer: Answer) -> Completion:
        """The whole answer, counted."""

    async def stream(self, answer: Answer) -> tuple[AsyncIterator[Chunk], list[Chunk]]:
        """A stream whose first words are there: what is still to come, and what came, counted."""


class Single:
    """The way of an arm with a model of its own."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def complete(self, answer: Answer) -> Completion:
        """The whole answer, counted."""
        work = self._backend.complete(answer.routed.query)
        completion = await answer.deadline.bound(work, arm_id=self._backend.arm_id)
        answer.meter.take(completion.body)
        answer.meter.confidence = completion.confidence
        answer.meter.energy_j = completion.energy_j
        return completion

    async def stream(self, answer: Answer) -> tuple[AsyncIterator[Chunk], list[Chunk]]:
        """A stream whose first words are there: what is still to come, and what came, counted."""
        arm_id = self._backend.arm_id
        chunks = self._backend.stream(answer.routed.query)
        try:
            words = first_words(chunks, answer.meter, arm_id=arm_id)
            return chunks, await answer.deadline.bound(words, arm_id=arm_id)
        except BaseException:
            await close(chunks)
            raise


class Cascade:
    """The edge answers; a gate accepts that, or escalates: then the cloud answers as well.

    What the edge says is held back until the gate has decided: until its end, or in a stream until
    the first ``spec.hold_tokens`` tokens. An answer accepted by its beginning is not taken back.
    If the edge fails, the cloud is asked; if the cloud fails, the edge's answer is delivered.

    """

    def __init__(self, spec: ArmSpec, with_: "WayMaker") -> None:
        self._edge, self._cloud = spec.parts
        self._hold_tokens = spec.hold_tokens
        self._backends = with_.backends
        self._ways = {part: Single(with_.backends[part]) for part in spec.parts}
        self._breakers = with_.breakers
        self._gate = with_.gate
        self._board = with_.board
        self._monotonic = with_.monotonic

    async def complete(self, answer: Answer) -> Completion:
        """The whole answer, counted, of either part."""
        self._turn_to(answer, self._edge)
        first = None
        try:
            first = await self._ways[self._edge].complete(answer)
        except BackendError as error:
            if not self._goes_on(answer, error):
                raise
        self._rule(answer, failed=first is None)
        waited_s = self._monotonic() - answer.attempt_started
        if first is not None and answer.speaker == self._edge:
            return Completion(first.body, waited_s, first.confidence)
        try:
            second = await self._ways[self._cloud].complete(answer)
        except BackendError as error:
            self._note(answer, self._cloud, error)
            if first is None:
                raise
            self._back_to_edge(answer)
            waited_s = self._monotonic() - answer.attempt_started
            return Completion(first.body, waited_s, first.confidence)
        ttft_s = None if second.ttft_s is None else waited_s + second.ttft_s
        return Completion(second.body, ttft_s, second.confidence)

    async def stream(self, answer: Answer) -> tuple[AsyncIterator[Chunk], list[Chunk]]:
        """A stream that nobody will take back: what is still to come, and what came, counted."""
        self._turn_to(answer, self._edge)
        chunks = self._backends[self._edge].stream(answer.routed.query)
        try:
            held = await self._held(answer, chunks)
            if held is not None and answer.speaker == self._edge:
                return chunks, held
            try:
                found = await self._ways[self._cloud].stream(answer)
            except BackendError as error:
                self._note(answer, self._cloud, error)
                if held is None:
                    raise
                self._back_to_edge(answer)
                return chunks, held
        except BaseException:
            await close(chunks)
            raise
        await close(chunks)
        return found

    async def _held(self, answer: Answer, chunks: AsyncIterator[Chunk]) -> list[Chunk] | None:
        """What the edge said until the gate had decided; None if the edge failed."""
        held, failed = list[Chunk](), False
        try:
            hold = self._hold(answer.meter, chunks, held)
            await answer.deadline.bound(hold, arm_id=self._edge)
        except BackendError as error:
            if not self._goes_on(answer, error):
                raise
            failed = True
        self._rule(answer, failed=failed)
        return None if failed else held

    async def _hold(self, meter: Meter, chunks: AsyncIterator[Chunk], held: list[Chunk]) -> None:
        n_said = 0
        while (chunk := await next_chunk(chunks)) is not None:
            held.append(chunk)
            n_said += meter.take(chunk.body)
            meter.confidence = chunk.confidence or meter.confidence
            meter.energy_j = chunk.energy_j or meter.energy_j
            if self._enough(n_said, meter):
                return
        if meter.finish_reason is None:
            raise BackendProtocolError(self._edge, "the stream ended before the answer did")

    def _enough(self, n_said: int, meter: Meter) -> bool:
        """Whether the beginning is there that the gate decides on; a chunk is about a token."""
        if self._hold_tokens is None or meter.finish_reason is not None:
            return False
        return meter.confidence.get("n_tokens", n_said) >= self._hold_tokens

    def _turn_to(self, answer: Answer, part: str) -> None:
        answer.hear(part, at=self._monotonic())
        self._breakers[part].enter()

    def _rule(self, answer: Answer, *, failed: bool) -> None:
        """Let the gate decide, and turn to whoever speaks from here on."""
        whole = answer.meter.finish_reason is not None
        signals = signals_of(answer.meter, answer.routed.query, whole=whole)
        took_s = self._monotonic() - answer.attempt_started
        if whole and not failed:
            self._breakers[self._edge].record_success()
            self._board.record(self._edge, took_s)
            answer.speaker_started = None
        ruling = self._ruling(answer, signals, failed=failed)
        early = not whole and ruling.verdict == "accept"
        parts = (self._edge, self._cloud)
        answer.stage = SecondStage(parts, signals, ruling, answer.meter, None if early else took_s)
        if ruling.verdict == "escalate":
            self._turn_to(answer, self._cloud)

    def _ruling(self, answer: Answer, signals: dict[str, float], *, failed: bool) -> Ruling:
        if failed:
            return forced("escalate", "edge_failed")
        return self._gate.rule(answer.routed.decision, (self._edge, self._cloud), signals)

    def _goes_on(self, answer: Answer, error: BackendError) -> bool:
        """Note that the edge failed; whether the cloud may do better."""
        self._note(answer, self._edge, error)
        return not answer.deadline.over and another_may_do(error)

    def _note(self, answer: Answer, part: str, error: BackendError) -> None:
        answer.errors[part] = error
        if to_blame(error):
            self._breakers[part].record_failure()

    def _back_to_edge(self, answer: Answer) -> None:
        """Deliver the edge's answer, as the cloud gave none."""
        stage = answer.stage
        assert stage is not None  # noqa: S101 - the gate has decided, or the cloud were not asked
        stage.ruling = stage.ruling.overruled("accept", "cloud_failed")
        answer.speaker, answer.meter = self._edge, stage.first
        answer.speaker_started = None if stage.signals["whole"] else answer.attempt_started
        if not stage.signals["whole"]:
            stage.first_latency_s = None


@dataclass(frozen=True, slots=True)
class WayMaker:
    """What ways are made with.

    Attributes
    ----------
    board
        Is told how long the edge of a cascade took.
    """

    backends: Mapping[str, Backend]
    breakers: Mapping[str, Breaker]
    gate: Gate
    board: LatencyBoard
    monotonic: Callable[[], float]

    def way(self, spec: ArmSpec) -> Way:
        """How the arm ``spec`` answers."""
        return Cascade(spec, self) if spec.parts else Single(self.backends[spec.arm_id])
