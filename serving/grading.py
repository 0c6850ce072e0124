"""Asks a running server questions with an answer key, judges its answers and tells it."""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeAlias

from serving.questions import Question

SOURCE = "grader"
"""Who judges, as the log has it."""

Exchange: TypeAlias = Callable[[str, Any], tuple[Any, Mapping[str, str]]]
"""Posts a body to a path of the server; gives the reply's body and headers."""


@dataclass(frozen=True, slots=True)
class Grade:
    """One answer, judged.

    Attributes
    ----------
    verdict
        Of a cascade's gate; empty for another arm.
    cost_usd
        None where it is not known.
    applied
        Whether the server will learn from the judgement.
    """

    question: Question
    arm: str
    verdict: str
    right: bool
    cost_usd: float | None
    applied: bool


def grade(
    exchange: Exchange, questions: Iterable[Question], *, model: str, max_tokens: int
) -> Iterator[Grade]:
    """Ask one question after another, and post whether the answer was right.

    Raises
    ------
    CallError
        As ``exchange`` does.
    """
    for question in questions:
        asked = question.body(model=model, max_tokens=max_tokens)
        answer, headers = exchange("/v1/chat/completions", asked)
        right = question.right(answer["choices"][0]["message"].get("content") or "")
        judgement = {
            "decision_id": answer["id"],
            "metric": "task_success",
            "value": right,
            "source": SOURCE,
        }
        receipt, _ = exchange("/v1/feedback", judgement)
        cost = headers.get("x-pointsman-cost-usd")
        yield Grade(
            question,
            headers["x-pointsman-arm"],
            headers.get("x-pointsman-gate", ""),
            right,
            None if cost is None else float(cost),
            receipt["will_apply"],
        )


def some_of(questions: Sequence[Question], rounds: int | None, *, seed: int) -> list[Question]:
    """``rounds`` of the questions in random order, every one before any comes again; None is all.

    Examples
    --------
    >>> asked = [Question(name, "facts", name, name) for name in "abc"]
    >>> [q.text for q in some_of(asked, 5, seed=1)]
    ['a', 'c', 'b', 'a', 'b']
    """
    order = random.Random(seed)  # noqa: S311 - an order is no secret
    n = len(questions) if rounds is None else rounds
    laps = (order.sample(questions, len(questions)) for _ in range(-(-n // len(questions))))
    return list(chain.from_iterable(laps))[:n]


def summary(grades: Sequence[Grade]) -> list[dict[str, Any]]:
    """A row for every category and arm, and for all of them together."""
    every = sorted({(one.question.category, one.arm) for one in grades})
    rows = [
        _row(category, arm, [g for g in grades if (g.question.category, g.arm) == (category, arm)])
        for category, arm in every
    ]
    arms = sorted({one.arm for one in grades})
    rows += [_row("all", arm, [g for g in grades if g.arm == arm]) for arm in arms]
    return [*rows, _row("all", "all", grades)]


def _row(category: str, arm: str, some: Sequence[Grade]) -> dict[str, Any]:
    n = len(some)
    costs = [g.cost_usd for g in some if g.cost_usd is not None]
    return {
        "category": category,
        "arm": arm,
        "answers": n,
        "right": round(sum(g.right for g in some) / n, 4) if n else None,
        "escalated": sum(g.verdict == "escalate" for g in some),
        "mean_cost_usd": round(sum(costs) / len(costs), 9) if costs else None,
        "applied": sum(g.applied for g in some),
    }
