"""``/v1/chat/completions`` and ``/v1/models``: plain ASGI, no model class per chunk."""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from serving import sse
from serving.answering import Answer, Routed
from serving.api.dependencies import admitted, authorise, note, parse_object, read_body, services
from serving.api.errors import describe
from serving.api.schemas import ChatRequest, parse_chat
from serving.errors import BackendUnavailableError, ModelNotFoundError
from serving.pricing import Charge
from serving.router import Router
from serving.shaping import Shape

_LOG = logging.getLogger(__name__)


def routes() -> list[BaseRoute]:
    """Where the endpoints are."""
    models = Models(created=int(time.time()))
    chat = ChatCompletions()
    return [
        Route("/v1/chat/completions", chat, methods=["POST"]),
        Route("/chat/completions", chat, methods=["POST"]),
        Route("/v1/models", models.every, methods=["GET"]),
        Route("/v1/models/{name:path}", models.one, methods=["GET"]),
    ]


class Models:
    """What ``model`` may be, in OpenAI's list format."""

    def __init__(self, *, created: int) -> None:
        self._created = created

    async def every(self, request: Request) -> Response:
        """``GET /v1/models``."""
        authorise(request, "inference")
        names = services(request).router.selector.names
        return _json({"object": "list", "data": [self._entry(request, name) for name in names]})

    async def one(self, request: Request) -> Response:
        """``GET /v1/models/{name}``."""
        authorise(request, "inference")
        name, names = request.path_params["name"], services(request).router.selector.names
        if name not in names:
            raise ModelNotFoundError(name, names)
        return _json(self._entry(request, name))

    def _entry(self, request: Request, name: str) -> dict[str, Any]:
        arms = services(request).router.arms.values()
        owner = next((a.tier for a in arms if name in (a.arm_id, a.tier, a.model)), "pointsman")
        return {"id": name, "object": "model", "created": self._created, "owned_by": owner}


class ChatCompletions:
    """Answers one query, and stops all work for it when the client goes away."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        request = Request(scope, receive)
        principal = authorise(request, "inference")
        chat = parse_chat(parse_object(await read_body(request)), received_at=datetime.now(UTC))
        if services(request).draining.is_set():
            raise BackendUnavailableError("server", "it is stopping; try again")
        chat = replace(chat, wish=admitted(request, principal, chat.wish))
        work = asyncio.create_task(_answer(request, chat, key_id=principal.key_id, send=send))
        gone = asyncio.create_task(_client_gone(receive))
        try:
            await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            if not work.done():
                work.cancel()
                await asyncio.wait((work,))
        if not work.cancelled():
            work.result()


async def _client_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _answer(request: Request, chat: ChatRequest, *, key_id: str, send: Send) -> None:
    router: Router = services(request).router
    routed = await router.decide(chat.query, chat.wish, key_id=key_id)
    decision = routed.decision
    note(request, decision_id=decision.decision_id, arm=decision.arm, reason=decision.reason)
    created = int(decision.decided_at.timestamp())
    shape = Shape(decision.decision_id, created=created, include_usage=chat.include_usage)
    if chat.query.stream:
        await _Stream(router, shape, send).run(request, routed)
    else:
        await _whole(request, router, shape, routed=routed, send=send)


async def _whole(
    request: Request, router: Router, shape: Shape, *, routed: Routed, send: Send
) -> None:
    answer, completion = await router.complete(routed)
    charge = router.charge(answer)
    _note_answer(request, answer)
    body = shape.completion(completion.body, model=router.arms[answer.speaker].model)
    reply = _json(body, headers={**_headers(answer), **_cost_headers(charge)})
    await reply(request.scope, request.receive, send)


class _Stream:
    """Sends one answer as events; once it has begun, an error is an event too."""

    def __init__(self, router: Router, shape: Shape, send: Send) -> None:
        self._router = router
        self._shape = shape
        self._send = send
        self._begun = False

    async def run(self, request: Request, routed: Routed) -> None:
        """Send the whole stream."""
        try:
            await self._run(request, routed)
        except Exception as error:
            if not self._begun:
                raise
            reply = describe(error)
            if reply.status == 500:
                _LOG.exception("a stream broke off")
            note(request, stream_error=reply.body["error"].get("code"))
            await self._body(sse.event(reply.body), more=False)

    async def _run(self, request: Request, routed: Routed) -> None:
        async with self._router.stream(routed, waiting=self._wait) as (answer, chunks):
            _note_answer(request, answer)
            if self._begun:
                await self._body(sse.comment(f"gate: {_gate_of(answer)}"))
            else:
                await self._begin(answer)
            model = self._router.arms[answer.speaker].model
            async for chunk in chunks:
                shaped = self._shape.chunk(chunk.body, model=model)
                if shaped is not None:
                    await self._body(sse.event(shaped))
            last = self._shape.usage_chunk(answer.meter.usage, self._router.charge(answer))
            end = sse.DONE if last is None else sse.event(last) + sse.DONE
            await self._body(end, more=False)

    async def _wait(self, answer: Answer) -> None:
        """Show that a held-back answer is on its way; from here on an error is an event."""
        if not self._begun:
            await self._begin(answer)
        await self._body(sse.comment("held back until the gate has decided"))

    async def _begin(self, answer: Answer) -> None:
        headers = {**sse.HEADERS, **_headers(answer)}
        self._begun = True
        await self._send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            }
        )

    async def _body(self, data: bytes, *, more: bool = True) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": more})


def _note_answer(request: Request, answer: Answer) -> None:
    gate = {"gate": _gate_of(answer)} if answer.stage is not None else {}
    note(request, arm=answer.arm, reason=answer.reason, logged=answer.logged, **gate)


def _headers(answer: Answer) -> dict[str, str]:
    decision = answer.routed.decision
    return {
        "x-pointsman-decision-id": decision.decision_id,
        "x-pointsman-arm": answer.arm,
        "x-pointsman-reason": answer.reason,
        "x-pointsman-propensity": f"{decision.propensity:.6g}",
        "x-pointsman-scenario": decision.scenario.name,
        "x-pointsman-policy-version": decision.prediction.policy_version,
        "x-pointsman-overhead-ms": f"{answer.routed.overhead_s * 1000:.3f}",
        "x-pointsman-logged": "true" if answer.logged else "false",
        "x-pointsman-attempts": str(answer.attempts),
        **_gate_headers(answer),
    }


def _gate_headers(answer: Answer) -> dict[str, str]:
    stage = answer.stage
    if stage is None:
        pending = answer.routed.decision.chosen.parts and answer.speaker != answer.arm
        return {"x-pointsman-gate": "pending"} if pending else {}
    headers = {
        "x-pointsman-gate": stage.ruling.verdict,
        "x-pointsman-gate-propensity": f"{stage.ruling.propensity:.6g}",
        "x-pointsman-answered-by": answer.speaker,
    }
    if stage.ruling.cause:
        headers["x-pointsman-gate-forced"] = stage.ruling.cause
    return headers


def _gate_of(answer: Answer) -> str:
    return "pending" if answer.stage is None else answer.stage.ruling.verdict


def _cost_headers(charge: Charge) -> dict[str, str]:
    headers: dict[str, str] = {"x-pointsman-cost-source": charge.cost_source}
    if charge.cost_usd is not None:
        headers["x-pointsman-cost-usd"] = f"{charge.cost_usd:.9f}"
    return headers


def _json(body: Mapping[str, Any], *, headers: Mapping[str, str] | None = None) -> Response:
    return Response(orjson.dumps(body), headers=headers, media_type="application/json")
