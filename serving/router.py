"""The life of a query: features, decision, answer, outcome."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, TypeAlias

from numpy.random import Generator

from bandit.utility import Scenario
from features.query import Query
from feedback.log import DecisionLog, LoggedDecision
from serving.accounting import failure_of
from serving.answering import Answer, Attempts, Breaker, Routed, close, next_chunk
from serving.arms import ArmSpec, LatencyBoard, live_arms
from serving.backends.base import Backend, Chunk, Completion
from serving.billing import bill
from serving.deciding import Decider, Holder, Situation
from serving.eligibility import needs_of, part_trouble, trouble
from serving.energy import EnergyBoard
from serving.errors import BackendError, BackendProtocolError, ServingError
from serving.gating import Gate
from serving.keepalive import every
from serving.paying import PursePayer
from serving.pricing import Charge
from serving.purse import CALLER, NO_BUDGETS, Purse
from serving.reading import Featurizer, Reader
from serving.recording import NO_WATCHER, Recorder, Watcher, Writer
from serving.selector import Selector, Wish
from serving.ways import WayMaker

Waiting: TypeAlias = Callable[[Answer], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class RouterConfig:
    """How the router behaves.

    Attributes
    ----------
    deadline_s
        Total time of one answer over all attempts, in seconds.
    max_wait_s
        Predicted wait above which an arm counts as overloaded, in seconds.
    log_timeout_s
        How long a ready answer waits for its decision to be written, in seconds.
    featurizer_threads
        Threads that compute features.
    keep_prompts, keep_answers
        Whether their text is stored.
    baseline_arm
        What answers when the policy cannot be asked (see `serving.deciding.Decider`).
    sign_of_life_s
        Time between signs of life while a cascade holds a stream back, in seconds.
    """

    deadline_s: float = 300.0
    max_wait_s: float = 30.0
    log_timeout_s: float = 2.0
    featurizer_threads: int = 1
    keep_prompts: bool = False
    keep_answers: bool = False
    baseline_arm: str | None = None
    sign_of_life_s: float = 10.0


class Router:
    """Decides who answers, sees to it that someone does, and writes down how it went.

    Everything it works with is handed in; `serving.bootstrap` does so.

    Parameters
    ----------
    backends, breakers
        By arm id, for every arm in ``arms``; a cascade has a breaker and no backend of its own.
    new_id
        32 hexadecimal characters, random.
    now, monotonic
        Wall clock in UTC, and a clock in seconds for durations.
    """

    def __init__(
        self,
        *,
        featurizer: Featurizer,
        holder: Holder,
        arms: Sequence[ArmSpec],
        backends: Mapping[str, Backend],
        breakers: Mapping[str, Breaker],
        writer: Writer,
        log: DecisionLog,
        scenarios: Mapping[str, Scenario],
        default_scenario: str,
        rng: Generator,
        new_id: Callable[[], str],
        now: Callable[[], datetime],
        monotonic: Callable[[], float] = time.perf_counter,
        config: RouterConfig = RouterConfig(),
        watcher: Watcher = NO_WATCHER,
        purse: Purse = NO_BUDGETS,
    ) -> None:
        self.arms = {spec.arm_id: spec for spec in arms}
        self.selector = Selector(arms, scenarios=scenarios, default_scenario=default_scenario)
        self._backends = backends
        self._breakers = breakers
        self._monotonic = monotonic
        self._config = config
        self._watcher = watcher
        self._board = LatencyBoard()
        self._energy = EnergyBoard()
        self._decider = Decider(
            holder, rng, new_id=new_id, now=now, baseline_arm=config.baseline_arm
        )
        self._purse = purse
        self._payer = PursePayer(purse, self.arms)
        self._attempts = Attempts(self.arms, breakers, self._payer, monotonic=monotonic)
        maker = WayMaker(backends, breakers, Gate(holder, rng), self._board, monotonic)
        self._ways = {spec.arm_id: maker.way(spec) for spec in arms}
        self._recorder = Recorder(writer, log, arms=self.arms, now=now, watcher=watcher)
        self._reader = Reader(
            featurizer, threads=config.featurizer_threads, keep_prompts=config.keep_prompts
        )

    def reconfigure(
        self,
        arms: Sequence[ArmSpec],
        *,
        scenarios: Mapping[str, Scenario],
        default_scenario: str,
    ) -> None:
        """Take up other prices and scenarios; the next query is decided with them."""
        self.arms.update({spec.arm_id: spec for spec in arms})
        self.selector = Selector(arms, scenarios=scenarios, default_scenario=default_scenario)

    async def decide(
        self,
        query: Query,
        wish: Wish = Wish(),  # noqa: B008 - frozen
        *,
        kind: Literal["chat", "route"] = "chat",
        key_id: str = "",
    ) -> Routed:
        """Choose an arm for ``query``; nothing is written yet.

        Raises
        ------
        ModelNotFoundError, BadRequestError
            If the wish names something unknown, or no arm is able to answer.
        """
        started = self._monotonic()
        selection = self.selector.select(wish)
        reading = await self._reader.read(query)
        situation = self._situation(self._purse.barred(query, self.arms, wish.tags))
        scenario = self._purse.priced(selection.scenario, situation.arms, wish.tags)
        decision = self._decider.decide(
            reading.context,
            situation,
            needs=needs_of(
                query,
                reading.chars,
                max_cost_usd=selection.max_cost_usd,
                max_wait_s=selection.max_wait_s,
                one_call=kind == "route",
            ),
            selection=replace(selection, scenario=scenario),
            tags=_tags(query, wish),
        )
        reference = query.reference if self._config.keep_prompts else None
        text = reading.query_hash, reading.prompt, reference
        logged = LoggedDecision(decision, kind, key_id, *text)
        routed = Routed(query, logged, reading.chars, started, self._monotonic() - started)
        self._watcher.decided(routed)
        return routed

    async def write(self, routed: Routed) -> bool:
        """Write a decision that the caller carries out; whether it is durable."""
        return await self._recorder.write(routed)

    async def complete(self, routed: Routed) -> tuple[Answer, Completion]:
        """The whole answer.

        Raises
        ------
        BackendError
            If no arm answered in time.
        """

        async def attempt(arm_id: str) -> Completion:
            return await self._ways[arm_id].complete(answer)

        async with self._answering(routed) as answer:
            completion = await self._attempts.run(answer, attempt)
            answer.ttft_s = completion.ttft_s
            self._succeeded(answer)
            await self._recorder.await_durable(answer, self._config.log_timeout_s)
            return answer, completion

    @asynccontextmanager
    async def stream(
        self, routed: Routed, *, waiting: Waiting | None = None
    ) -> AsyncIterator[tuple[Answer, AsyncIterator[Chunk]]]:
        """The answer in chunks, once its first words are there; until then arms can change.

        Parameters
        ----------
        waiting
            Called now and then while a cascade holds the first words back; whether the decision is
            durable is known by then.

        Raises
        ------
        BackendError
            If no arm began to answer in time; later, from the iterator, if the arm breaks off.
        """
        chunks: AsyncIterator[Chunk] | None = None

        async def attempt(arm_id: str) -> list[Chunk]:
            nonlocal chunks
            chunks, held = await self._ways[arm_id].stream(answer)
            return held

        async with self._answering(routed) as answer:
            try:
                async with self._signs_of_life(answer, waiting):
                    held = await self._attempts.run(answer, attempt)
                assert chunks is not None  # noqa: S101 - an attempt succeeded
                answer.ttft_s = self._monotonic() - routed.started
                async with aclosing(self._everything(answer, held, chunks)) as everything:
                    await self._recorder.await_durable(answer, self._config.log_timeout_s)
                    yield answer, everything
            finally:
                if chunks is not None:
                    await close(chunks)

    def charge(self, answer: Answer) -> Charge:
        """Tokens and cost of an answer so far."""
        return bill(answer, self.arms)

    async def drain(self, grace_s: float) -> None:
        """Let answers finish for ``grace_s`` seconds, then end the rest with an error."""
        await self._recorder.drain(grace_s)

    async def aclose(self) -> None:
        """Write what is left to write; backends and log belong to others."""
        await self._recorder.aclose()
        self._reader.close()

    @asynccontextmanager
    async def _answering(self, routed: Routed) -> AsyncIterator[Answer]:
        answer = self._recorder.begin(
            routed, deadline_s=self._config.deadline_s, keep_text=self._config.keep_answers
        )
        try:
            yield answer
        except BaseException as error:
            answer.failure = failure_of(error)
            raise
        finally:
            outcome = self._recorder.end(answer, latency_s=self._monotonic() - routed.started)
            self._payer.settle(answer)
            if outcome.failure is None and outcome.energy_j is not None:
                self._energy.record(outcome.arm, outcome.energy_j)

    async def _everything(
        self, answer: Answer, held: Sequence[Chunk], chunks: AsyncIterator[Chunk]
    ) -> AsyncGenerator[Chunk, None]:
        for chunk in held:
            yield chunk
        try:
            while (following := await self._next(answer, chunks)) is not None:
                answer.meter.take(following.body)
                answer.meter.confidence = following.confidence or answer.meter.confidence
                answer.meter.energy_j = following.energy_j or answer.meter.energy_j
                yield following
            if answer.meter.finish_reason is None:
                raise BackendProtocolError(answer.arm, "the stream ended before the answer did")
        except BackendError as error:
            for arm_id in {answer.arm, answer.speaker}:
                self._attempts.note_failure(arm_id, error)
            raise
        self._succeeded(answer)

    async def _next(self, answer: Answer, chunks: AsyncIterator[Chunk]) -> Chunk | None:
        return await answer.deadline.bound(next_chunk(chunks), arm_id=answer.arm)

    def _succeeded(self, answer: Answer) -> None:
        self._note_success(answer.arm, since=answer.attempt_started)
        if answer.speaker != answer.arm and answer.speaker_started is not None:
            self._note_success(answer.speaker, since=answer.speaker_started)

    def _note_success(self, arm_id: str, *, since: float) -> None:
        self._breakers[arm_id].record_success()
        self._board.record(arm_id, self._monotonic() - since)

    def _signs_of_life(
        self, answer: Answer, waiting: Waiting | None
    ) -> AbstractAsyncContextManager[None]:
        if waiting is None or not self.arms[answer.arm].parts:
            return nullcontext()

        async def show() -> None:
            await self._recorder.await_durable(answer, self._config.log_timeout_s)
            await waiting(answer)

        return every(self._config.sign_of_life_s, show)

    def _situation(self, barred: Mapping[str, ServingError]) -> Situation:
        loads = {name: backend.load() for name, backend in self._backends.items()}
        troubles = {
            name: why
            for name, backend in self._backends.items()
            if (
                why := trouble(
                    loads[name],
                    healthy=backend.health()[0],
                    breaker_open=not self._breakers[name].allows(),
                    max_wait_s=self._config.max_wait_s,
                )
            )
        }
        joined = {
            spec.arm_id: why
            for spec in self.arms.values()
            if (why := part_trouble(spec.parts, troubles))
        }
        live = live_arms(tuple(self.arms.values()), loads, self._board, self._energy)
        return Situation(live, {**troubles, **joined}, barred)


def _tags(query: Query, wish: Wish) -> dict[str, Any]:
    tags: dict[str, Any] = {"model": wish.model}
    if wish.tags:
        tags[CALLER] = dict(wish.tags)
    if query.session_id is not None:
        tags["session_id"] = query.session_id
    return tags
