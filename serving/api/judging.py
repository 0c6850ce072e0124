"""How far the judges can be trusted, and which of their scores a person should check."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from bandit.judging import Interval, Tally
from bandit.policies.corrected import correction_of
from feedback.log import DecisionRecord
from serving.api.dependencies import authorise, note, services
from serving.api.replies import json_response
from serving.bootstrap import Services

router = APIRouter(tags=["judging"])


@router.get("/v1/audits/next")
async def get_audits(request: Request, limit: Annotated[int, Query(ge=1, le=100)] = 1) -> Response:
    """Answers that were drawn to be checked by a person, with how to say what one thinks of them.

    What the judge said is not told, so that nobody leans on it. Texts are there where the log keeps
    them (``privacy.store_prompts``, ``privacy.store_answers``).
    """
    who, at = authorise(request, "feedback"), services(request)
    since = at.now() - timedelta(seconds=at.settings.feedback.reward_window_s)
    found = await at.log.judges.waiting(limit, since=since, key_id=who.speaks_for)
    records = [await at.log.get(id_, key_id=who.speaks_for) for id_ in found.decision_ids]
    note(request, n_items=len(records))
    return json_response({"waiting": found.n, "data": [_audit(r) for r in records]}, 200)


@router.get("/v1/judges")
async def get_judges(request: Request) -> Response:
    """Bias, agreement and coverage of every judge, by arm, from the audits so far."""
    authorise(request, "feedback")
    at = services(request)
    corrected = correction_of(at.holder.current)
    body: dict[str, Any] = {"data": [], "policy": at.holder.current.version}
    if corrected is not None:
        body["data"] = [
            _judge(judge, arms, corrected.n_answers) for judge, arms in corrected.tallies
        ]
    if at.judge is not None:
        body["worker"] = at.judge.status() | await _spent(at)
    return json_response(body, 200)


async def _spent(at: Services) -> dict[str, float]:
    return {"spent_usd_today": await at.log.judges.spent(at.now().date().isoformat())}


def _audit(record: DecisionRecord) -> dict[str, Any]:
    decision, outcome = record.logged.decision, record.outcome
    row = next((row for row in reversed(record.feedback) if row.tags.get("audit") == "drawn"), None)
    probability = row.tags.get("audit_probability") if row else None
    return {
        "decision_id": decision.decision_id,
        "decided_at": decision.decided_at,
        "prompt": record.logged.prompt,
        "reference": record.logged.reference,
        "answer": outcome.answer if outcome else None,
        "audit_probability": float(probability) if probability else None,
        "feedback": {
            "decision_id": decision.decision_id,
            "metric": "rating",
            "value": None,
            "source": "auditor",
            "tags": {"audit": "answer"},
        },
    }


def _judge(judge: str, arms: Mapping[str, Tally], n_answers: int) -> dict[str, Any]:
    total = Tally()
    for tally in arms.values():
        total = total.plus(tally)
    coverage = min(1.0, total.n / n_answers) if n_answers else None
    return {
        "judge": judge,
        "coverage": coverage,
        **_facts(total),
        "arms": {arm: _facts(tally) for arm, tally in arms.items()},
    }


def _facts(tally: Tally) -> dict[str, Any]:
    agreement, kappa = tally.agreement()
    return {
        "scores": tally.n,
        "mean_score": tally.score / tally.n if tally.n else None,
        "audits": tally.n_audits,
        "audited_share": tally.n_audits / tally.n if tally.n else None,
        # Above 0 the judge is too kind.
        "bias": _negated(tally.bias()) if tally.n_audits else None,
        "quality": _interval(tally.quality()) if tally.n_audits else None,
        "mean_error": tally.wa / tally.w if tally.w else None,
        "agreement": agreement,
        "kappa": kappa,
    }


def _interval(found: Interval) -> dict[str, float]:
    return {"value": found.value, "low": found.low, "high": found.high}


def _negated(found: Interval) -> dict[str, float]:
    return {"value": -found.value, "low": -found.high, "high": -found.low}
