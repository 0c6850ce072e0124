"""Feedback and outcomes in; what the log knows of a decision out."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from feedback.errors import BadFeedbackError, FeedbackError, UnknownDecisionError
from feedback.log import FeedbackReceipt
from feedback.outcome import Feedback
from serving.api import bodies
from serving.api.dependencies import authorise, note, parse_object, read_body, services
from serving.api.documents import FEEDBACK, FEEDBACK_BATCH, OUTCOME
from serving.api.errors import describe
from serving.api.explain import explain
from serving.api.replies import json_response
from serving.bootstrap import Services
from serving.energy import EnergyRate
from serving.errors import BadRequestError
from serving.keys import Principal
from serving.purse import tags_of

router = APIRouter(tags=["feedback"])

_IDEMPOTENCY_KEY = re.compile(r"^[A-Za-z0-9._:-]{1,128}\Z")


@router.post("/v1/feedback", status_code=201, openapi_extra=FEEDBACK)
async def post_feedback(request: Request) -> Response:
    """Judge a decision; 201 once it is stored for good."""
    who, at = authorise(request, "feedback"), services(request)
    raw = await read_body(request)
    row = _feedback(at, parse_object(raw))
    try:
        receipts = await at.log.add_feedback(
            [row], key_id=who.speaks_for, idempotency=_idempotency(request, raw)
        )
    except FeedbackError as error:
        at.metrics.feedback.labels(row.metric, type(error).__name__).inc()
        raise
    note(request, decision_id=row.decision_id, metric=row.metric)
    return json_response(_told(at, row, receipts[0]), 201)


@router.post("/v1/feedback/batch", status_code=200, openapi_extra=FEEDBACK_BATCH)
async def post_feedback_batch(request: Request) -> Response:
    """Judge up to 1,000 decisions; every item gets its own result, the good ones are stored."""
    who, at = authorise(request, "feedback"), services(request)
    raw = await read_body(request)
    items = _items(parse_object(raw))
    rows: list[Feedback | FeedbackError] = [_feedback_or_error(at, item) for item in items]
    good = [row for row in rows if isinstance(row, Feedback)]
    receipts = await _add_known(at, who, good, _idempotency(request, raw))
    results = [_result(at, row, receipts) for row in rows]
    recorded = sum(result["status"] == "recorded" for result in results)
    note(request, n_items=len(rows), n_recorded=recorded)
    return json_response({"recorded": recorded, "results": results}, 200)


@router.get("/v1/decisions/{decision_id}")
async def get_decision(request: Request, decision_id: str) -> Response:
    """Why this arm: pmf, estimates, features that mattered, outcome, feedback, reward so far."""
    who, at = authorise(request, "feedback"), services(request)
    wanted = bodies.decision_id(decision_id)
    record = await at.log.get(wanted, key_id=who.speaks_for)
    note(request, decision_id=wanted)
    return json_response(await explain(record, at), 200)


@router.post("/v1/decisions/{decision_id}/outcome", status_code=201, openapi_extra=OUTCOME)
async def post_outcome(request: Request, decision_id: str) -> Response:
    """Report what was measured where the caller ran the model itself."""
    who, at = authorise(request, "feedback"), services(request)
    wanted = bodies.decision_id(decision_id)
    reported = bodies.outcome(parse_object(await read_body(request)), arms=at.arms)
    record = await at.log.get(wanted, key_id=who.speaks_for)
    arm = reported.arm or record.logged.decision.arm
    spec = at.arms.get(arm)
    outcome = reported.as_outcome(
        wanted,
        arm=arm,
        model=spec.model if spec else arm,
        cost_usd=reported.cost_at(spec.price) if spec else None,
        energy_j=reported.energy_at(spec.energy if spec else EnergyRate()),
        at=at.now(),
        keep_answer=at.settings.privacy.store_answers,
    )
    new = await at.log.add_outcome(outcome, key_id=who.speaks_for)
    if new and at.treasury is not None and outcome.cost_usd is not None:
        await at.treasury.charge(tags_of(record.logged.decision.tags), outcome.cost_usd)
    note(request, decision_id=wanted, arm=arm)
    body = {"decision_id": wanted, "status": "recorded" if new else "already_recorded",
            "cost_usd": outcome.cost_usd, "cost_source": outcome.cost_source}  # fmt: skip
    return json_response(body, 201 if new else 200)


def _feedback(at: Services, body: Mapping[str, Any]) -> Feedback:
    return bodies.feedback(body, feedback_id=f"fb_{at.new_id()}", at=at.now())


def _feedback_or_error(at: Services, item: Any) -> Feedback | FeedbackError:
    if not isinstance(item, dict):
        return BadFeedbackError("feedback", item, "an object")
    try:
        return _feedback(at, item)
    except FeedbackError as error:
        return error


def _items(body: Mapping[str, Any]) -> Sequence[Any]:
    items = body.get("feedback")
    if not isinstance(items, list) or not items or len(items) > bodies.MAX_BATCH:
        given = f"{len(items)} items" if isinstance(items, list) else items
        raise BadFeedbackError("feedback", given, f"a list of 1 to {bodies.MAX_BATCH} items")
    if len(body) > 1:
        other = next(name for name in body if name != "feedback")
        raise BadFeedbackError(other[:64], body[other], "a body with the field 'feedback' alone")
    return items


def _idempotency(request: Request, raw: bytes) -> tuple[str, str] | None:
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not _IDEMPOTENCY_KEY.match(key):
        raise BadRequestError(
            "Idempotency-Key: want 1 to 128 letters, digits or ._:-", "Idempotency-Key"
        )
    return key, hashlib.sha256(raw).hexdigest()


async def _add_known(
    at: Services,
    who: Principal,
    rows: Sequence[Feedback],
    idempotency: tuple[str, str] | None,
) -> Mapping[int, FeedbackReceipt]:
    """Store the rows whose decisions exist, in one transaction; their receipts by ``id(row)``.

    The log takes all or nothing and names all unknown decisions at once; what is left without them
    is sent again. A repeated request gets the first one's receipts, which name the rows that were
    stored then.
    """
    left = list(rows)
    while left:
        try:
            receipts = await at.log.add_feedback(
                left, key_id=who.speaks_for, idempotency=idempotency
            )
        except UnknownDecisionError as error:
            left = [row for row in left if row.decision_id not in error.decision_ids]
            continue
        stored = {receipt.decision_id for receipt in receipts}
        kept = [row for row in left if row.decision_id in stored]
        return {id(row): receipt for row, receipt in zip(kept, receipts, strict=True)}
    return {}


def _result(
    at: Services, row: Feedback | FeedbackError, receipts: Mapping[int, FeedbackReceipt]
) -> dict[str, Any]:
    if isinstance(row, Feedback) and id(row) in receipts:
        return _told(at, row, receipts[id(row)])
    error = UnknownDecisionError(row.decision_id) if isinstance(row, Feedback) else row
    return {"status": "refused", **describe(error).body}


def _told(at: Services, row: Feedback, receipt: FeedbackReceipt) -> dict[str, Any]:
    status = "applied" if receipt.will_apply else receipt.reason or "kept"
    at.metrics.feedback.labels(row.metric, status).inc()
    return {
        "feedback_id": receipt.feedback_id,
        "decision_id": receipt.decision_id,
        "status": "recorded",
        "will_apply": receipt.will_apply,
        "reason": receipt.reason,
    }
