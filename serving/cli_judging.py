"""Commands about judges, and about the answers that people should check."""

from typing import Annotated, Any

import typer

from serving.client import call
from serving.console import out, reporting, show_json, show_table

app = typer.Typer(no_args_is_help=True, help="Check what a judge said of answers.")

Url = Annotated[str, typer.Option(envvar="POINTSMAN_URL", help="Where the server is.")]
Key = Annotated[str | None, typer.Option(envvar="POINTSMAN_KEY", help="API key, scope feedback.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_HERE = "http://127.0.0.1:8080"


def judges(url: Url = _HERE, key: Key = None, *, as_json: AsJson = False) -> None:
    """Show how far every judge is off, by arm, and how often people agree with it."""
    with reporting():
        found = call(f"{url.rstrip('/')}/v1/judges", key=key)
        if as_json:
            show_json(found)
            return
        columns = ("judge", "arm", "scores", "mean", "audits", "bias", "agreement", "kappa")
        rows = [
            _row(one["judge"], arm, facts)
            for one in found["data"]
            for arm, facts in {**one["arms"], "(all)": one}.items()
        ]
        show_table("judges (bias above 0: too kind)", columns, rows)
        worker = found.get("worker")
        if worker:
            spent, cap = worker["spent_usd_today"], worker["cap_usd_per_day"]
            out().print(f"{worker['source']}: ${spent:.4f} of ${cap:g} today, {worker['counts']}")


@app.command("next")
def next_(
    limit: Annotated[int, typer.Option(min=1, max=100, help="At most so many.")] = 1,
    url: Url = _HERE,
    key: Key = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show answers that were drawn to be checked."""
    with reporting():
        found = call(f"{url.rstrip('/')}/v1/audits/next?limit={limit}", key=key)
        if as_json:
            show_json(found)
            return
        for one in found["data"]:
            out().print(f"decision {one['decision_id']}", markup=False)
            out().print(f"  asked: {one['prompt'] or '(not stored)'}", markup=False)
            if one.get("reference"):
                out().print(f"  known to be right: {one['reference']}", markup=False)
            out().print(f"  answer: {one['answer'] or '(not stored)'}", markup=False)
            out().print(f"  pointsman audits answer {one['decision_id']} RATING", markup=False)
        out().print(f"{found['waiting']} wait")


@app.command()
def answer(
    decision_id: Annotated[str, typer.Argument(help="Id of a decision that was shown.")],
    rating: Annotated[float, typer.Argument(min=1, max=5, help="From 1 (bad) to 5 (good).")],
    *,
    source: Annotated[str, typer.Option(help="Who judges.")] = "auditor",
    url: Url = _HERE,
    key: Key = None,
) -> None:
    """Say what you think of an answer that was drawn to be checked."""
    with reporting():
        body = {"decision_id": decision_id, "metric": "rating", "value": rating,
                "source": source, "tags": {"audit": "answer"}}  # fmt: skip
        found = call(f"{url.rstrip('/')}/v1/feedback", key=key, body=body)
        what = "will be learned" if found["will_apply"] else f"not learned: {found['reason']}"
        out().print(f"{found['feedback_id']} recorded, {what}")


def _row(judge: str, arm: str, facts: dict[str, Any]) -> dict[str, str]:
    bias = facts["bias"]
    shown = f"{bias['value']:+.3f} [{bias['low']:+.3f}, {bias['high']:+.3f}]" if bias else "–"
    return {
        "judge": judge,
        "arm": arm,
        "scores": str(facts["scores"]),
        "mean": _number(facts["mean_score"]),
        "audits": str(facts["audits"]),
        "bias": shown,
        "agreement": _number(facts["agreement"]),
        "kappa": _number(facts["kappa"]),
    }


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
