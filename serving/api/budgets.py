"""``GET /v1/budgets``: what may be spent, what was, and what money costs now."""

from typing import Any

from fastapi import APIRouter, Request, Response

from feedback.errors import LogUnavailableError
from serving.api.dependencies import authorise, services
from serving.api.replies import json_response
from serving.bootstrap import Services
from serving.steering import Aim
from serving.treasury import Standing

router = APIRouter(tags=["operation"])


@router.get("/v1/budgets")
async def get_budgets(request: Request) -> Response:
    """Every budget and objective: spent and reserved today, prices, and when the day ends."""
    authorise(request, "admin")
    treasury = services(request).treasury
    found = [] if treasury is None else await treasury.standings()
    aims = [] if treasury is None else treasury.aims()
    body = {
        "budgets": [_body(standing) for standing in found],
        "objectives": [_aim(aim) for aim in aims],
    }
    return json_response(body, 200)


async def observe(at: Services) -> None:
    """Set the gauges; while the database is away, those of budgets stay as they are."""
    for aim in [] if at.treasury is None else at.treasury.aims():
        at.metrics.objective.labels(aim.name).set(aim.target)
        at.metrics.objective_price.labels(aim.name).set(aim.price)
        at.metrics.objective_balance.labels(aim.name).set(aim.balance)
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


def _aim(aim: Aim) -> dict[str, Any]:
    return {
        "name": aim.name,
        "target": aim.target,
        "price": aim.price,
        "balance": aim.balance,
        "position": aim.position,
    }


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
