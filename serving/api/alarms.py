"""``GET /v1/alarms``: what learning noticed, newest first."""

import re
from typing import Any, get_args

from fastapi import APIRouter, Request, Response

from bandit.alarm import AlarmKind
from serving.api.dependencies import authorise, services
from serving.api.replies import json_response
from serving.errors import BadRequestError
from serving.webhook import shown

router = APIRouter(tags=["operation"])
_MOST = 500
_KINDS = get_args(AlarmKind)


@router.get("/v1/alarms")
async def get_alarms(request: Request) -> Response:
    """Alarms, newest first; where keys are in force it takes one with the scope admin.

    ``?limit=`` (1 to 500, 50 by default) alarms with a ``seq`` below ``?before=``, of one
    ``?kind=``. ``next_before`` of the answer is the ``before`` of the next page, or null.
    """
    authorise(request, "admin")
    limit = _number(request, "limit", default=50, most=_MOST)
    before = _number(request, "before", default=None, most=2**62)
    kind = request.query_params.get("kind")
    if kind is not None and kind not in _KINDS:
        raise BadRequestError(f"kind = {kind[:40]!r}; there are {', '.join(_KINDS)}", "kind")
    rows = await services(request).log.alarms.newest((limit or 50) + 1, before=before, kind=kind)
    page = rows[:limit]
    more = len(rows) > len(page)
    body: dict[str, Any] = {
        "object": "list",
        "data": [
            {
                "seq": row.seq,
                **shown(row),
                "delivery": row.delivery,
                "attempts": row.attempts,
                "delivered_at": row.delivered_at.isoformat() if row.delivered_at else None,
                "error": row.error,
            }
            for row in page
        ],
        "next_before": page[-1].seq if more else None,
    }
    return json_response(body, 200)


def _number(request: Request, name: str, *, default: int | None, most: int) -> int | None:
    given = request.query_params.get(name)
    if given is None:
        return default
    if not re.fullmatch(r"[0-9]{1,19}", given) or not 1 <= int(given) <= most:
        raise BadRequestError(f"{name} = {given[:40]!r}; want an integer from 1 to {most}", name)
    return int(given)
