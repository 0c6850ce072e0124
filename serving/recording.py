"""Writes down every decision while it is carried out, and how it went afterwards."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol

from feedback.log import DecisionLog, LoggedDecision
from feedback.outcome import Outcome
from serving.accounting import Meter
from serving.answering import Answer, Routed
from serving.arms import ArmSpec
from serving.billing import bill, joules
from serving.deadline import Deadline
from serving.outcomes import OutcomeWriter
from serving.signals import signals_of
from serving.worst_case import asked_tokens

_FLUSH_S = 10.0
_LONGEST_NAME = 200
_NUL = "\x00"


class Writer(Protocol):
    """Writes decisions in groups."""

    async def add(self, logged: LoggedDecision) -> bool:
        """Whether it is durable now."""


class Watcher:
    """Hears of all that the router does; this one does not care."""

    def decided(self, routed: Routed) -> None:
        """A decision was made."""

    def began(self, answer: Answer) -> None:
        """Someone is about to answer."""

    def wants_text(self, routed: Routed) -> bool:
        """Whether the answer's text is to be kept in memory until `ended`."""
        del routed
        return False

    def ended(self, answer: Answer, outcome: Outcome) -> None:
        """An answer ended, well or not."""


class Watchers(Watcher):
    """Several who hear the same."""

    def __init__(self, *watchers: Watcher) -> None:
        self._watchers = watchers

    def decided(self, routed: Routed) -> None:
        """Tell all."""
        for watcher in self._watchers:
            watcher.decided(routed)

    def began(self, answer: Answer) -> None:
        """Tell all."""
        for watcher in self._watchers:
            watcher.began(answer)

    def wants_text(self, routed: Routed) -> bool:
        """Whether any of them needs it."""
        return any(watcher.wants_text(routed) for watcher in self._watchers)

    def ended(self, answer: Answer, outcome: Outcome) -> None:
        """Tell all."""
        for watcher in self._watchers:
            watcher.ended(answer, outcome)


NO_WATCHER = Watcher()
"""For whoever needs no metrics."""


class Recorder:
    """Follows answers from their decision to their outcome.

    One task an answer sees to both rows, so that nobody waits for the database but an answer that
    is ready before its decision is durable. An outcome follows only a decision that was written.
    """

    def __init__(
        self,
        writer: Writer,
        log: DecisionLog,
        *,
        arms: Mapping[str, ArmSpec],
        now: Callable[[], datetime],
        watcher: Watcher = NO_WATCHER,
    ) -> None:
        self._writer = writer
        self._outcomes = OutcomeWriter(log)
        self._arms = arms
        self._now = now
        self._watcher = watcher
        self._live: dict[str, Answer] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def write(self, routed: Routed) -> bool:
        """Write just the decision; whether it is durable."""
        return await self._writer.add(routed.logged)

    def begin(self, routed: Routed, *, deadline_s: float, keep_text: bool) -> Answer:
        """Start to follow an answer, and to write its decision."""
        loop = asyncio.get_running_loop()
        answer = Answer(
            routed,
            Deadline(deadline_s),
            loop.create_future(),
            loop.create_future(),
            Meter(
                keep=keep_text or self._watcher.wants_text(routed),
                most_tokens=asked_tokens(routed.query),
            ),
            routed.decision.arm,
            routed.decision.arm,
            store_text=keep_text,
        )
        self._live[routed.decision.decision_id] = answer
        task = loop.create_task(self._record(answer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._watcher.began(answer)
        return answer

    async def await_durable(self, answer: Answer, timeout_s: float) -> None:
        """Wait for the decision's row, but not for long; ``answer.logged`` says how it went."""
        if not answer.durable.done():
            await asyncio.wait((answer.durable,), timeout=timeout_s)
        answer.logged = answer.durable.done() and answer.durable.result()

    def end(self, answer: Answer, *, latency_s: float) -> Outcome:
        """Stop following an answer; its outcome, which is written in the background."""
        self._live.pop(answer.routed.decision.decision_id, None)
        outcome = self._outcome(answer, latency_s)
        answer.outcome.set_result(outcome)
        self._watcher.ended(answer, outcome)
        return outcome

    async def drain(self, grace_s: float) -> None:
        """Wait until no answer is on its way; after ``grace_s`` seconds cut those that are."""
        outcomes = [answer.outcome for answer in self._live.values()]
        if outcomes:
            await asyncio.wait(outcomes, timeout=grace_s)
        for answer in tuple(self._live.values()):
            answer.deadline.cut()

    async def aclose(self) -> None:
        """Wait for the rows that are being written."""
        await self.drain(0.0)
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=_FLUSH_S)
        for task in self._tasks:
            task.cancel()
        await self._outcomes.aclose(timeout_s=_FLUSH_S)

    async def _record(self, answer: Answer) -> None:
        durable = await self._writer.add(answer.routed.logged)
        answer.durable.set_result(durable)
        outcome = await answer.outcome
        if durable:
            self._outcomes.put(outcome)

    def _outcome(self, answer: Answer, latency_s: float) -> Outcome:
        spec, meter, stage = self._arms[answer.speaker], answer.meter, answer.stage
        spent = bill(answer, self._arms)
        gating = None
        if stage is not None:
            edge = self._arms[stage.parts[0]]
            gating = stage.gating(edge, answer.routed.chars_in, latency_s=latency_s)
        return Outcome(
            answer.routed.decision.decision_id,
            answer.arm,
            _storable(meter.model or spec.model),
            latency_s,
            answer.ttft_s,
            spent.cost_usd,
            spent.cost_source,
            spent.tokens_in,
            spent.tokens_out,
            None if meter.finish_reason is None else _storable(meter.finish_reason),
            answer.failure,
            _shown(answer, spec),
            at=self._now(),
            answer=(meter.text or "").replace(_NUL, "") if answer.store_text else None,
            energy_j=joules(answer, self._arms),
            gating=gating,
        )


def _shown(answer: Answer, spec: ArmSpec) -> Mapping[str, float]:
    """The signals of an edge's answer: a gate learns from them, whoever drew that arm."""
    meter = answer.meter
    if spec.tier != "edge" or answer.failure is not None:
        return meter.confidence
    return signals_of(meter, answer.routed.query, whole=True)


def _storable(name: str) -> str:
    """A name that the model's side made up, as the tables can take it."""
    return name.replace(_NUL, "")[:_LONGEST_NAME]
