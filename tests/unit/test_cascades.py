"""A cascade: the edge answers, a gate accepts or escalates, then the cloud answers."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from bandit.primitives import Prediction
from feedback.memory import MemoryDecisionLog
from serving.errors import BackendRejectedError, BackendUnavailableError
from serving.router import RouterConfig
from serving.selector import Wish
from tests.cascading import (
    BAD,
    CLOUD_USD,
    DOWN,
    EDGE_CHUNKS,
    TOO_LONG,
    Speaker,
    cascading,
    completed,
    outcome_of,
    streamed,
)
from tests.scripted import (
    GATED,
    NOW,
    SPECS,
    FixedPolicy,
    GatedPolicy,
    PlainFeaturizer,
    ScriptedBackend,
    make_router,
    query,
)


@pytest.fixture
def log():
    return MemoryDecisionLog(clock=lambda: NOW)


async def test_an_accepted_answer_is_the_edges_and_costs_what_the_edge_cost(log):
    answer, text = await completed(cascading(log, GatedPolicy(1.0)))
    found = await outcome_of(log, answer)
    assert (text, answer.arm, answer.speaker) == ("four", "cascade", "edge")
    assert (found.arm, found.model, found.cost_usd, found.tokens_out) == ("cascade", "edge", 0.0, 5)
    assert (found.gating.verdict, found.gating.propensity, found.gating.forced) == (
        "accept",
        1.0,
        False,
    )
    assert found.gating.signals["margin_mean"] == 0.5


async def test_an_escalated_answer_is_the_clouds_and_carries_both_bills(log):
    priced = replace(SPECS[0], price=replace(SPECS[0].price, price_out=2.0))
    router = cascading(log, GatedPolicy(0.0), specs=(priced, *GATED[1:]))
    answer, text = await completed(router)
    found = await outcome_of(log, answer)
    assert (text, answer.arm, answer.speaker) == ("Four.", "cascade", "cloud")
    assert found.gating.edge_cost_usd == pytest.approx(5 * 2.0 / 1e6)
    assert found.cost_usd == pytest.approx(CLOUD_USD + 5 * 2.0 / 1e6)
    assert router.charge(answer).cost_usd == found.cost_usd
    assert (found.cost_source, found.tokens_in, found.tokens_out) == ("usage", 10, 5)
    assert 0.0 < found.gating.edge_latency_s < found.latency_s
    # The first token that the caller could have seen came after the edge was done.
    assert found.ttft_s > found.gating.edge_latency_s


@pytest.mark.parametrize("streaming", [False, True])
async def test_the_verdict_is_drawn_from_the_pmf_that_is_logged(log, streaming):
    seen = set()
    for n in range(24):
        edge, cloud = (ScriptedBackend(arm) for arm in ("edge", "cloud"))
        rng = np.random.default_rng(n)
        router = cascading(log, GatedPolicy(0.3), edge, cloud, rng=rng)
        answer, _ = await (streamed(router) if streaming else completed(router))
        gating = (await outcome_of(log, answer)).gating
        assert gating.prediction == Prediction(("accept", "escalate"), (0.3, 0.7), "fixed-1")
        assert gating.propensity == gating.prediction.propensity(gating.verdict)
        assert cloud.calls == (gating.verdict == "escalate")
        seen.add(gating.verdict)
        log = MemoryDecisionLog(clock=lambda: NOW)
    assert seen == {"accept", "escalate"}


async def test_under_a_pin_the_arm_is_forced_and_the_gate_still_draws(log):
    router = cascading(log, GatedPolicy(0.25, edge=1.0))
    answer, _ = await completed(router, wish=Wish("cascade"))
    gating = (await outcome_of(log, answer)).gating
    assert (answer.routed.decision.reason, answer.routed.decision.propensity) == ("pin", 1.0)
    assert (gating.forced, gating.propensity in (0.25, 0.75)) == (False, True)


@pytest.mark.parametrize("error", [DOWN, TOO_LONG])
async def test_when_the_edge_fails_the_cloud_answers_and_that_was_forced(log, error):
    edge = ScriptedBackend("edge", error)
    answer, text = await completed(cascading(log, GatedPolicy(1.0), edge))
    found = await outcome_of(log, answer)
    assert (text, found.arm, found.model, found.failure) == ("Four.", "cascade", "cloud", None)
    assert (found.gating.verdict, found.gating.forced, found.gating.cause) == (
        "escalate",
        True,
        "edge_failed",
    )
    assert (found.gating.propensity, found.cost_usd) == (1.0, pytest.approx(CLOUD_USD))


async def test_a_query_that_the_edge_refuses_for_good_is_not_escalated(log):
    cloud = ScriptedBackend("cloud")
    router = cascading(log, GatedPolicy(1.0), ScriptedBackend("edge", BAD), cloud)
    with pytest.raises(BackendRejectedError):
        await completed(router)
    assert cloud.calls == 0


@pytest.mark.parametrize("streaming", [False, True])
async def test_when_the_cloud_fails_the_edges_answer_is_delivered_and_that_was_forced(
    log, streaming
):
    cloud = ScriptedBackend("cloud", DOWN)
    edge = ScriptedBackend("edge", *EDGE_CHUNKS) if streaming else None
    router = cascading(log, GatedPolicy(0.0), edge, cloud)
    answer, text = await (streamed(router) if streaming else completed(router))
    found = await outcome_of(log, answer)
    assert (text, answer.speaker) == ("Hello" if streaming else "four", "edge")
    assert (found.gating.verdict, found.gating.cause, found.gating.propensity) == (
        "accept",
        "cloud_failed",
        1.0,
    )
    # What the gate thought stays on record, though it did not come to that.
    assert found.gating.prediction.pmf == (0.0, 1.0)
    assert (found.cost_usd, found.failure) == (0.0, None)


async def test_when_the_cloud_is_too_slow_the_edges_answer_is_delivered(log):
    cloud = ScriptedBackend("cloud", asyncio.Event())
    router = cascading(log, GatedPolicy(0.0), None, cloud, config=RouterConfig(deadline_s=0.2))
    answer, text = await completed(router)
    assert (text, answer.stage.ruling.cause, cloud.cancelled) == ("four", "cloud_failed", 1)


async def test_when_both_fail_another_arm_steps_in(log):
    spare = replace(SPECS[1], arm_id="spare")
    edge, cloud = (ScriptedBackend(arm, DOWN) for arm in ("edge", "cloud"))
    policy = GatedPolicy(1.0, cascade=1.0, edge=0.3, cloud=0.2, spare=0.1)
    router = make_router(
        *(edge, cloud, Speaker("spare", "Here.")),
        policy=policy,
        log=log,
        specs=(*GATED, spare),
        rng=ThirdArm(),
    )
    answer, text = await completed(router)
    found = await outcome_of(log, answer)
    assert (text, answer.reason, found.arm, found.gating) == ("Here.", "fallback", "spare", None)
    assert (edge.calls, cloud.calls) == (1, 1)


class ThirdArm:
    """Draws the third of four arms, which is the cascade."""

    def random(self):
        return 0.5 / 1.6 + 0.01


async def test_nobody_falls_back_on_a_cascade(log):
    edge, cloud = (ScriptedBackend(arm, DOWN) for arm in ("edge", "cloud"))
    policy = GatedPolicy(1.0, edge=1.0, cloud=1e-9, cascade=1e-3)
    with pytest.raises(BackendUnavailableError):
        await completed(cascading(log, policy, edge, cloud))
    assert (edge.calls, cloud.calls) == (1, 1)


@pytest.mark.parametrize(
    ("policy", "cause"),
    [
        (FixedPolicy(cascade=1.0, edge=1e-9, cloud=1e-9), "no_gate"),
        (GatedPolicy(gate_error=RuntimeError("broken")), "gate_failed"),
        (GatedPolicy(float("nan")), "gate_failed"),
    ],
)
@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        (("four", "stop"), "accept"),
        (("four and", "length"), "escalate"),
        (("", "stop"), "escalate"),
        (("I'm sorry, but no.", "stop"), "escalate"),
    ],
)
async def test_without_a_gate_a_well_formed_answer_is_accepted(log, policy, cause, said, verdict):
    edge = Speaker("edge", said[0], finish=said[1])
    answer, _ = await completed(cascading(log, policy, edge))
    gating = (await outcome_of(log, answer)).gating
    assert (gating.verdict, gating.cause, gating.forced) == (verdict, cause, True)
    assert (gating.propensity, gating.prediction.policy_version) == (1.0, "forced")


@pytest.mark.parametrize(("text", "flaw"), [("four", 1.0), ('{"a": 4}', 0.0)])
async def test_the_gate_is_shown_whether_json_that_was_asked_for_is_json(log, text, flaw):
    policy = GatedPolicy()
    specs = tuple(replace(spec, capabilities=frozenset({"*"})) for spec in GATED)
    router = cascading(log, policy, Speaker("edge", text), specs=specs)
    await completed(router, query(response_format={"type": "json_object"}))
    [(edge, cloud, signals)] = policy.shown
    assert (edge, cloud, signals["format_failed"]) == ("edge", "cloud", flaw)
    assert (signals["n_words"], signals["margin_mean"]) == (len(text.strip('{"}').split()), 0.5)


async def test_where_features_are_missing_the_gate_is_not_asked(log):
    policy = GatedPolicy(0.0)
    router = cascading(log, policy, featurizer=PlainFeaturizer(RuntimeError("no features")))
    answer, _ = await completed(router, wish=Wish("cascade"))
    assert (answer.stage.ruling.cause, policy.shown) == ("no_features", [])


async def test_a_pinned_cascade_whose_cloud_is_down_delivers_what_the_edge_says(log):
    cloud = ScriptedBackend("cloud", healthy=False)
    policy = GatedPolicy(0.0)
    edge = Speaker("edge", "four and", finish="length")
    answer, text = await completed(cascading(log, policy, edge, cloud), wish=Wish("cascade"))
    assert (text, answer.stage.ruling.cause) == ("four and", "part_masked")
    assert (cloud.calls, policy.shown) == (0, [])


@pytest.mark.parametrize(
    ("changes", "asked", "reason"),
    [
        ({"cloud": {"healthy": False}}, {}, "cloud:unhealthy"),
        ({"edge": {"wait_s": 99.0}}, {}, "edge:overloaded"),
        ({}, {"requires": ("tools",)}, "edge:capability:tools"),
        ({}, {"max_tokens": 5000}, "edge:context_length"),
    ],
)
async def test_a_cascade_is_masked_for_the_reason_of_its_part(log, changes, asked, reason):
    parts = (ScriptedBackend(arm, **changes.get(arm, {})) for arm in ("edge", "cloud"))
    routed = await cascading(log, GatedPolicy(), *parts).decide(query(**asked))
    assert routed.decision.masked["cascade"] == reason


async def test_a_caller_that_runs_the_model_itself_is_not_told_to_run_two(log):
    routed = await cascading(log, GatedPolicy()).decide(query(), kind="route")
    assert routed.decision.masked == {"cascade": "second_stage"}


@pytest.mark.parametrize("stage", ["edge", "cloud"])
@pytest.mark.parametrize("streaming", [False, True])
async def test_a_caller_who_goes_away_stops_the_stage_that_runs(log, stage, streaming):
    stuck = ScriptedBackend(stage, asyncio.Event())
    edge = stuck if stage == "edge" else ScriptedBackend("edge")
    cloud = stuck if stage == "cloud" else ScriptedBackend("cloud")
    router = cascading(log, GatedPolicy(0.0), edge, cloud)
    task = asyncio.create_task(streamed(router) if streaming else completed(router))
    await stuck.waiting.wait()
    task.cancel()
    await asyncio.wait((task,))
    await router.aclose()
    [record] = [await log.get(f"{1:032x}")]
    assert (stuck.cancelled, record.outcome.failure) == (1, "cancelled")
    assert (record.outcome.gating is None) == (stage == "edge")


async def test_text_that_the_gate_looked_at_is_not_kept_unless_told_to(log):
    answer, _ = await completed(cascading(log, GatedPolicy(1.0)))
    assert (await outcome_of(log, answer)).answer is None


async def test_a_parts_breaker_hears_of_its_failures_and_opens_for_the_cascade_too(log):
    router = cascading(log, GatedPolicy(1.0), ScriptedBackend("edge", DOWN))
    for _ in range(5):
        await router.complete(await router.decide(query(), Wish("cascade")))
    routed = await router.decide(query())
    assert routed.decision.masked == {"edge": "breaker_open", "cascade": "edge:breaker_open"}
    await router.aclose()


async def test_an_edge_answer_by_itself_shows_the_gate_the_same_signals(log):
    router = cascading(log, GatedPolicy(edge=1.0, cloud=1e-9, cascade=1e-9))
    plain, _ = await completed(router, wish=Wish("edge"))
    log_of_cascade = MemoryDecisionLog(clock=lambda: NOW)
    gated, _ = await completed(cascading(log_of_cascade, GatedPolicy(1.0)))
    gating = (await outcome_of(log_of_cascade, gated)).gating
    assert (await outcome_of(log, plain)).confidence == gating.signals
