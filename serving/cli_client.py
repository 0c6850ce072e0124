"""Commands that ask a running server."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from serving.client import call, exchange
from serving.console import out, reporting, show_json, show_table
from serving.grading import grade as ask_and_judge
from serving.grading import some_of, summary
from serving.questions import BUILTIN, load_questions

Url = Annotated[str, typer.Option(envvar="POINTSMAN_URL", help="Where the server is.")]
Key = Annotated[str | None, typer.Option(envvar="POINTSMAN_KEY", help="API key.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_HERE = "http://127.0.0.1:8080"


def route(
    text: str,
    model: Annotated[str, typer.Option(help="auto, auto:<scenario>, an arm, a model.")] = "auto",
    url: Url = _HERE,
    key: Key = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Ask which arm would answer TEXT; nothing is answered."""
    with reporting():
        body = {"model": model, "messages": [{"role": "user", "content": text}]}
        found = call(f"{url.rstrip('/')}/v1/route", key=key, body=body)
        if as_json:
            show_json(found)
            return
        chances = ", ".join(f"{arm} {p:.2f}" for arm, p in found["pmf"].items())
        out().print(f"{found['arm']} ({found['model']}), {found['reason']}: {chances}")
        out().print(f"decision {found['decision_id']}")


def feedback(
    decision_id: Annotated[str, typer.Argument(help="Id of a decision or of a response.")],
    value: Annotated[str, typer.Argument(help="up, down, a number, or null to withdraw.")],
    *,
    metric: Annotated[str, typer.Option(help="thumbs, rating, judge or task_success.")] = "thumbs",
    source: Annotated[str, typer.Option(help="Who judges.")] = "cli",
    comment: Annotated[str | None, typer.Option(help="Why.")] = None,
    url: Url = _HERE,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Judge an answer."""
    with reporting():
        body = {"decision_id": decision_id, "metric": metric, "value": _value(value),
                "source": source} | ({"comment": comment} if comment else {})  # fmt: skip
        found = call(f"{url.rstrip('/')}/v1/feedback", key=key, body=body)
        if as_json:
            show_json(found)
            return
        what = "will be learned" if found["will_apply"] else f"not learned: {found['reason']}"
        out().print(f"{found['feedback_id']} recorded, {what}")


def grade(
    questions: Annotated[str, typer.Option(help="builtin, or a JSONL file like it.")] = BUILTIN,
    model: Annotated[str, typer.Option(help="auto, auto:<scenario>, an arm, a model.")] = "auto",
    *,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="Questions to ask; default: each one once.")
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 24,
    seed: Annotated[int, typer.Option(help="Of the order of the questions.")] = 0,
    url: Url = _HERE,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Ask questions with an answer key, judge the answers by rule and post whether they were right.

    A server without traffic learns from it as from users; one with traffic has its answers judged.
    """
    with reporting():
        asked = some_of(load_questions(questions), rounds, seed=seed)

        def ask(path: str, body: Any) -> tuple[Any, Mapping[str, str]]:
            return exchange(f"{url.rstrip('/')}{path}", key=key, body=body)

        rows = summary(list(ask_and_judge(ask, asked, model=model, max_tokens=max_tokens)))
        if as_json:
            show_json(rows)
        else:
            show_table(f"{len(asked)} questions to {model}", list(rows[0]), rows)


def _value(given: str) -> Any:
    words = {"null": None, "true": True, "false": False}
    if given in words:
        return words[given]
    try:
        return float(given)
    except ValueError:
        return given
