"""``GET /v1/budgets``: what may be spent, what was, and what money costs now."""

from typing import Any

from fastapi import APIRouter, Request, Response

from feedback.errors import LogUnavailableError
from serving.api.dependencies import authorise, services
from serving.api.replies import json_response
from serving.bootstrap import Services
from serving.treasury import Standing

router = APIRouter(tags=["operation"])


@router.get("/v1/budgets")
async def get_budgets(request: Request) -> Response:
    """Every budget: spent and reserved today, the price of money, and when the day ends."""
    authorise(request, "admin")
    treasury = services(request).treasury
    found = [] if treasury is None else await treasury.standings()
    return json_response({"budgets": [_body(standing) for standing in found]}, 200)


async def observe(at: Services) -> None:
    """Set the gauges of every budget; while the database is away, they stay as they are."""
    try:
        found = [] if at.treasury is None else await at.treasury.standings()
    except LogUnavailableError:
        return
    for standing in found:
        budget = standing.budget
        for per, given in (("query", budget.usd_per_query), ("day", budget.usd_per_day)):
            if given is not None:
                at.metrics.budget_usd.labels(budget.name, per).set(given)
        if standing.price is not None:
            at.metrics.budget_price.labels(budget.name).set(standing.price)
        if standing.spent_usd is not None and standing.reserved_usd is not None:
            at.metrics.budget_spent_usd.labels(budget.name).set(standing.spent_usd)
            at.metrics.budget_reserved_usd.labels(budget.name).set(standing.reserved_usd)


def _body(standing: Standing) -> dict[str, Any]:
    budget = standing.budget
    return {
        "name": budget.name,
        "tag": None if budget.tag is None else "=".join(budget.tag),
        "usd_per_query": budget.usd_per_query,
        "price": standing.price,
        "balance_usd": standing.balance_usd,
        "position": standing.position,
        "usd_per_day": budget.usd_per_day,
        "spent_usd": standing.spent_usd,
        "reserved_usd": standing.reserved_usd,
        "resets_at": None if standing.resets_at is None else standing.resets_at.isoformat(),
    }
