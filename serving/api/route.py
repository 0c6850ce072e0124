"""``POST /v1/route``: which model to ask, for callers that ask it themselves."""

from datetime import timedelta
from typing import Any

from fastapi import APIRouter, Request, Response

from bandit.primitives import Decision
from serving.answering import Routed
from serving.api.dependencies import admitted, authorise, note, parse_object, read_body, services
from serving.api.documents import CHAT_BODY
from serving.api.replies import json_response
from serving.api.schemas import parse_chat
from serving.bootstrap import Services

router = APIRouter(tags=["routing"])


@router.post("/v1/route", openapi_extra={"requestBody": CHAT_BODY})
async def post_route(request: Request) -> Response:
    """Decide without answering; the body is that of a chat completion.

    Report with ``POST /v1/decisions/{id}/outcome`` what was measured, and judge as usual.
    """
    who, at = authorise(request, "inference"), services(request)
    chat = parse_chat(parse_object(await read_body(request)), received_at=at.now())
    wish = admitted(request, who, chat.wish)
    routed: Routed = await at.router.decide(chat.query, wish, kind="route", key_id=who.key_id)
    logged = await at.router.write(routed)
    decision = routed.decision
    note(request, decision_id=decision.decision_id, arm=decision.arm, logged=logged)
    return json_response(_body(decision, at, logged=logged), 200)


def _body(decision: Decision, at: Services, *, logged: bool) -> dict[str, Any]:
    window = timedelta(seconds=at.settings.feedback.reward_window_s)
    return {
        "decision_id": decision.decision_id,
        "arm": decision.arm,
        "tier": decision.chosen.tier,
        "model": decision.chosen.model,
        "propensity": decision.propensity,
        "pmf": dict(zip(decision.prediction.arms, decision.prediction.pmf, strict=True)),
        "masked": dict(decision.masked),
        "reason": decision.reason,
        "scenario": decision.scenario.name,
        "policy_version": decision.prediction.policy_version,
        "logged": logged,
        "expires_at": (decision.decided_at + window).isoformat(),
    }
