"""Health, metrics and reloading."""

from dataclasses import asdict

from fastapi import APIRouter, Request, Response

from serving import health
from serving.api import budgets
from serving.api.dependencies import authorise, services
from serving.api.replies import json_response
from serving.bootstrap import Services
from serving.version import version

router = APIRouter(tags=["operation"])


@router.get("/health/live")
async def get_live() -> Response:
    """The event loop responds."""
    return json_response({"status": "alive"}, 200)


@router.get("/health/ready")
async def get_ready(request: Request) -> Response:
    """200 while queries are answered, else 503; no model is called."""
    found = await health.ready(services(request))
    return json_response(found.states, 200 if found.ok else 503)


@router.get("/health/learn")
async def get_learn(request: Request) -> Response:
    """200 while feedback is learned from, else 503."""
    found = await health.learning(services(request))
    return json_response(found.states, 200 if found.ok else 503)


@router.get("/health")
async def get_health(request: Request) -> Response:
    """Everything at a glance; the status is that of readiness."""
    serving, learning = (
        await health.ready(services(request)),
        await health.learning(services(request)),
    )
    body = {
        "version": version(),
        "ready": serving.ok,
        "learning": learning.ok,
        "serve": serving.states,
        "learn": learning.states,
    }
    return json_response(body, 200 if serving.ok else 503)


@router.get("/metrics")
async def get_metrics(request: Request) -> Response:
    """Prometheus's text format; where keys are in force it takes one with the scope admin."""
    authorise(request, "admin")
    await _observe(services(request))
    return Response(
        services(request).metrics.render(),
        media_type="text/plain; version=0.0.4; charset=utf-8",
    )


@router.post("/v1/reload")
async def post_reload(request: Request) -> Response:
    """Read the settings again, as SIGHUP does; scope admin.

    Scenarios and prices act on the next query; the reply also names what changed in the file and
    needs a restart. Settings that cannot be used are a 422 with the reasons, and nothing changes.
    """
    authorise(request, "admin")
    found = await services(request).reloader.reload()
    return json_response(asdict(found), 200)


async def _observe(at: Services) -> None:
    """Set the gauges that are looked at rather than counted."""
    await budgets.observe(at)
    for arm_id, state in health.arms(at).items():
        at.metrics.arm_queue_depth.labels(arm_id).set(state["queued"])
        at.metrics.breaker_state.labels(arm_id).set(0 if state["ok"] else 1)
    at.metrics.policy_info.clear()
    at.metrics.policy_info.labels(at.holder.current.version).set(1)
    if at.judge is not None:
        at.metrics.judge_waiting.set(at.judge.status()["waiting"])
    learning = (await health.learning(at)).states
    if learning.get("lag_events") is not None:
        at.metrics.learner_lag_events.set(learning["lag_events"])
    if learning.get("alarms") is not None:
        for kind, n in learning["alarms"]["by_kind"].items():
            at.metrics.alarms.labels(kind).set(n)
        at.metrics.alarms_pending.set(learning["alarms"]["pending"])
    if learning.get("n_interactions") is not None:
        at.metrics.learner_applied.set(learning["n_interactions"])
