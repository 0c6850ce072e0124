"""The life of a query, without I/O."""

import asyncio
import time

import pytest

from feedback.memory import MemoryDecisionLog
from serving.errors import (
    BackendOverloadedError,
    BackendProtocolError,
    BackendRejectedError,
    BackendTimeoutError,
    BackendUnavailableError,
)
from serving.recording import Watcher
from serving.router import RouterConfig
from serving.selector import Wish
from tests.scripted import (
    BODY,
    CHUNKS,
    NOW,
    SPECS,
    FixedPolicy,
    PlainFeaturizer,
    PlainWriter,
    ScriptedBackend,
    make_router,
    query,
)

DOWN = BackendUnavailableError("edge", "gone")
TOO_LONG = BackendRejectedError("edge", 400, {"error": {"code": "context_length_exceeded"}})
BAD = BackendRejectedError("edge", 422, {"error": {"message": "no", "code": "bad"}})


@pytest.fixture
def log():
    return MemoryDecisionLog(clock=lambda: NOW)


async def completed(router, asked=None, wish=None):
    routed = await router.decide(asked or query(), wish or Wish())
    return await router.complete(routed)


async def streamed(router, asked=None):
    routed = await router.decide(asked or query(stream=True))
    async with router.stream(routed) as (answer, chunks):
        return answer, [one async for one in chunks]


async def drink(router, routed, take):
    async with router.stream(routed) as (_, chunks):
        async for one in chunks:
            take(one)


async def outcome_of(log, answer):
    return (await log.get(answer.routed.decision.decision_id)).outcome


async def test_the_drawn_arm_answers_and_decision_and_outcome_are_written(log):
    router = make_router(ScriptedBackend("edge"), ScriptedBackend("cloud"), log=log)
    answer, completion = await completed(router)
    await router.aclose()
    record = await log.get(answer.routed.decision.decision_id)
    assert (completion.body, answer.arm, answer.reason, answer.logged) == (
        BODY,
        "edge",
        "policy",
        True,
    )
    assert record.logged == answer.routed.logged
    assert (record.outcome.arm, record.outcome.cost_usd, record.outcome.cost_source) == (
        "edge",
        0.0,
        "usage",
    )
    assert (record.outcome.tokens_in, record.outcome.finish_reason) == (10, "stop")
    assert record.outcome.confidence["margin_mean"] == 0.5


async def test_a_stream_passes_every_chunk_and_is_measured(log):
    router = make_router(ScriptedBackend("edge"), ScriptedBackend("cloud"), log=log)
    answer, chunks = await streamed(router)
    await router.aclose()
    outcome = await outcome_of(log, answer)
    assert chunks == list(CHUNKS)
    assert (outcome.failure, outcome.tokens_out, outcome.finish_reason) == (None, 5, "stop")
    assert 0.0 <= outcome.ttft_s <= outcome.latency_s


@pytest.mark.parametrize(
    "error",
    [
        DOWN,
        BackendTimeoutError("edge", "slow"),
        BackendOverloadedError("edge", "full", 1.0),
        BackendProtocolError("edge", "what?"),
        BackendRejectedError("edge", 401, {"error": {}}),
        BackendRejectedError("edge", 400, {"error": {"code": "unsupported_parameter"}}),
        TOO_LONG,
    ],
)
@pytest.mark.parametrize("ask", [completed, streamed])
async def test_another_arm_takes_over_before_the_first_byte(log, error, ask):
    router = make_router(ScriptedBackend("edge", error), ScriptedBackend("cloud"), log=log)
    answer, _ = await ask(router)
    await router.aclose()
    record = await log.get(answer.routed.decision.decision_id)
    assert (answer.arm, answer.reason, answer.attempts) == ("cloud", "fallback", 2)
    # The row keeps what was drawn; that the outcome names another arm is what forbids to learn it.
    assert (record.logged.decision.arm, record.outcome.arm) == ("edge", "cloud")
    assert record.outcome.cost_usd == pytest.approx(25e-6)


async def test_a_stream_that_ends_before_it_says_anything_is_taken_over(log):
    silent = ScriptedBackend("edge", CHUNKS[0])
    answer, chunks = await streamed(make_router(silent, ScriptedBackend("cloud"), log=log))
    assert (answer.arm, chunks) == ("cloud", list(CHUNKS))


async def test_a_refusal_of_the_query_itself_is_passed_on(log):
    cloud = ScriptedBackend("cloud")
    router = make_router(ScriptedBackend("edge", BAD), cloud, log=log)
    with pytest.raises(BackendRejectedError) as caught:
        await completed(router)
    assert (caught.value.status, cloud.calls) == (422, 0)


async def test_a_query_too_long_does_not_move_to_a_smaller_arm():
    specs = (SPECS[0], SPECS[1].__class__("cloud", "cloud", "m", context_tokens=1024))
    cloud = ScriptedBackend("cloud")
    router = make_router(ScriptedBackend("edge", TOO_LONG), cloud, specs=specs)
    with pytest.raises(BackendRejectedError):
        await completed(router)
    assert cloud.calls == 0


async def test_a_pin_is_never_answered_by_another_arm():
    cloud = ScriptedBackend("cloud")
    router = make_router(ScriptedBackend("edge", DOWN), cloud)
    with pytest.raises(BackendUnavailableError):
        await completed(router, wish=Wish("edge"))
    assert cloud.calls == 0


async def test_when_every_arm_is_down_it_says_unavailable_and_tells_why_in_the_outcome(log):
    late = BackendTimeoutError("cloud", "slow")
    router = make_router(ScriptedBackend("edge", late), ScriptedBackend("cloud", DOWN), log=log)
    routed = await router.decide(query())
    with pytest.raises(BackendUnavailableError):
        await router.complete(routed)
    await router.aclose()
    record = await log.get(routed.decision.decision_id)
    assert (record.outcome.failure, record.outcome.cost_usd) == ("unavailable", None)


async def test_a_masked_arm_in_trouble_is_the_last_resort():
    edge = ScriptedBackend("edge", healthy=False)
    answer, _ = await completed(make_router(edge, ScriptedBackend("cloud", DOWN)))
    assert (answer.routed.decision.reason, answer.arm, answer.reason) == (
        "mask",
        "edge",
        "fallback",
    )


async def test_a_failing_arm_is_left_alone_after_a_while():
    edge = ScriptedBackend("edge", DOWN)
    router = make_router(edge, ScriptedBackend("cloud"))
    for _ in range(10):
        await completed(router)
    assert edge.calls == 5


async def test_an_overloaded_arm_is_masked():
    router = make_router(ScriptedBackend("edge", wait_s=99.0), ScriptedBackend("cloud"))
    assert (await router.decide(query())).decision.masked == {"edge": "overloaded"}


async def test_a_stream_that_breaks_off_raises_after_what_came(log):
    broken = ScriptedBackend("edge", *CHUNKS[:3], DOWN)
    router = make_router(broken, ScriptedBackend("cloud"), log=log)
    routed, seen = await router.decide(query(stream=True)), []
    with pytest.raises(BackendUnavailableError):
        await drink(router, routed, seen.append)
    await router.aclose()
    outcome = (await log.get(routed.decision.decision_id)).outcome
    assert seen == list(CHUNKS[:3])
    assert (outcome.failure, outcome.tokens_out, outcome.cost_source) == (
        "unavailable",
        2,
        "estimate",
    )


async def test_a_stream_without_a_finish_reason_did_not_end_well():
    router = make_router(ScriptedBackend("edge", *CHUNKS[:3]), ScriptedBackend("cloud"))
    with pytest.raises(BackendProtocolError):
        await streamed(router)


@pytest.mark.parametrize("script", [(asyncio.Event(),), (*CHUNKS[:2], asyncio.Event())])
async def test_cancelling_stops_the_backend_before_and_after_the_first_token(log, script):
    edge = ScriptedBackend("edge", *script)
    router = make_router(edge, ScriptedBackend("cloud"), log=log)
    work = asyncio.create_task(streamed(router))
    await edge.waiting.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    await router.aclose()
    outcome = (await log.get(f"{1:032x}")).outcome
    assert (edge.cancelled, outcome.failure) == (1, "cancelled")


async def test_the_total_deadline_ends_an_answer_without_another_attempt():
    edge, cloud = ScriptedBackend("edge", asyncio.Event()), ScriptedBackend("cloud")
    router = make_router(edge, cloud, config=RouterConfig(deadline_s=0.05))
    with pytest.raises(BackendTimeoutError):
        await completed(router)
    assert (edge.cancelled, cloud.calls) == (1, 0)


async def test_draining_cuts_what_does_not_finish_in_time():
    edge = ScriptedBackend("edge", *CHUNKS[:2], asyncio.Event())
    router = make_router(edge, ScriptedBackend("cloud"))
    work = asyncio.create_task(streamed(router))
    await edge.waiting.wait()
    await router.drain(0.01)
    with pytest.raises(BackendUnavailableError, match="stopping"):
        await work
    assert edge.cancelled == 1


async def test_draining_waits_for_answers_on_their_way():
    done = asyncio.Event()
    edge = ScriptedBackend("edge", done)
    router = make_router(edge, ScriptedBackend("cloud"))
    work = asyncio.create_task(completed(router))
    await edge.waiting.wait()
    draining = asyncio.create_task(router.drain(60.0))
    await asyncio.sleep(0)
    done.set()
    await draining
    assert (await work)[0].failure is None


async def test_an_answer_whose_decision_was_not_written_says_so_and_has_no_outcome(log):
    writer = PlainWriter(log, durable=False)
    router = make_router(ScriptedBackend("edge"), ScriptedBackend("cloud"), log=log, writer=writer)
    answer, _ = await completed(router)
    await router.aclose()
    assert answer.logged is False
    assert await log.last_position() == 0


async def test_an_answer_does_not_wait_long_for_the_log():
    class Stuck:
        async def add(self, logged):
            await asyncio.Event().wait()

    edge, cloud = ScriptedBackend("edge"), ScriptedBackend("cloud")
    config = RouterConfig(log_timeout_s=0.05)
    router = make_router(edge, cloud, writer=Stuck(), config=config)
    began = time.monotonic()
    answer, _ = await completed(router)
    assert answer.logged is False
    assert time.monotonic() - began < 2.0


async def test_broken_features_are_served_by_the_baseline_arm(log):
    broken = PlainFeaturizer(error=ValueError("no embedding"))
    router = make_router(
        ScriptedBackend("edge"), ScriptedBackend("cloud"), featurizer=broken, log=log
    )
    answer, _ = await completed(router)
    decision = answer.routed.decision
    assert (answer.arm, answer.reason, decision.context.features_ok) == ("cloud", "baseline", False)
    assert list(decision.context.namespaces) == ["bias"]


async def test_text_is_kept_only_if_told_to(log):
    router = make_router(ScriptedBackend("edge"), ScriptedBackend("cloud"), log=log)
    silent, _ = await completed(router)
    await router.aclose()
    keeping = make_router(
        ScriptedBackend("edge"),
        ScriptedBackend("cloud"),
        log=MemoryDecisionLog(clock=lambda: NOW),
        config=RouterConfig(keep_prompts=True, keep_answers=True),
    )
    kept, _ = await completed(keeping)
    assert silent.routed.logged.prompt is None
    assert silent.routed.logged.query_hash == kept.routed.logged.query_hash
    assert kept.routed.logged.prompt == '[{"role":"user","content":"Hello"}]'
    assert (silent.meter.text, kept.meter.text) == (None, "Hello")


async def test_live_features_reach_the_arms():
    router = make_router(ScriptedBackend("edge", wait_s=0.5), ScriptedBackend("cloud"))
    await completed(router)
    arms = (await router.decide(query())).decision.arms
    assert arms[0].features["queue_s"] == 0.5
    assert arms[0].features["latency_s"] > 0.0
    assert "latency_s" not in arms[1].features


async def test_a_watcher_hears_of_decisions_and_answers():
    class Listening(Watcher):
        heard = []  # noqa: RUF012 - one instance

        def decided(self, routed):
            self.heard.append(routed.decision.arm)

        def ended(self, answer, outcome):
            self.heard.append(outcome.failure)

    policy = FixedPolicy(edge=0.0, cloud=1.0)
    edge, cloud = ScriptedBackend("edge"), ScriptedBackend("cloud")
    await completed(make_router(edge, cloud, policy=policy, watcher=(watcher := Listening())))
    assert watcher.heard == ["cloud", None]
