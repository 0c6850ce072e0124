"""A replay table made here: every question put to the edge model and to the cloud, both graded.

One row a question, with what a cascade's gate would have seen of the edge's answer, so that every
budget can be tried on answers that a real model gave once.
"""

import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from features.query import Query
from serving.accounting import Meter
from serving.arms import ArmSpec
from serving.backends.base import Backend
from serving.eligibility import count_chars
from serving.fleet import Fleet, start_fleet
from serving.questions import Question
from serving.settings import Settings
from serving.signals import signals_of
from simulator.errors import BadStudyError


@dataclass(frozen=True, slots=True)
class Asking:
    """What to ask, and how.

    Attributes
    ----------
    repeats
        How often every question is asked; answers differ as the edge draws its words.
    """

    questions: Sequence[Question]
    max_tokens: int = 24
    repeats: int = 1

    def __len__(self) -> int:
        return len(self.questions) * self.repeats


async def write_table(
    settings: Settings, asking: Asking, out: Path, *, on_row: Callable[[], None]
) -> None:
    """Write `graded_rows` to a JSONL file, which is there once all of it is."""
    part = out.with_name(out.name + ".part")
    with part.open("w") as file:
        async for row in graded_rows(settings, asking):
            file.write(json.dumps(row) + "\n")
            on_row()
    part.replace(out)


async def graded_rows(settings: Settings, asking: Asking) -> AsyncIterator[dict[str, Any]]:
    """One row after another, in the format of replay tables.

    Raises
    ------
    BadStudyError
        If the settings have no edge or no cloud arm.
    BackendError
        If one of them does not answer.
    """
    async with AsyncExitStack() as stack:
        fleet = await start_fleet(settings, stack)
        pair = [_first(fleet, "edge"), _first(fleet, "cloud")]
        for _ in range(asking.repeats):
            for question in asking.questions:
                yield await _row(fleet, pair, question, asking.max_tokens)


def _first(fleet: Fleet, tier: str) -> ArmSpec:
    for spec in fleet.arms.values():
        if spec.tier == tier:
            return spec
    raise BadStudyError("arms", tier, "an arm of either tier is needed")


async def _row(
    fleet: Fleet, pair: Sequence[ArmSpec], question: Question, max_tokens: int
) -> dict[str, Any]:
    row: dict[str, Any] = {"prompt": question.text, "domain": question.category}
    for spec in pair:
        backend = fleet.backends[spec.arm_id]
        row |= await _answered(backend, spec, question, max_tokens)
    return row


async def _answered(
    backend: Backend, spec: ArmSpec, question: Question, max_tokens: int
) -> dict[str, Any]:
    body = question.body(model=spec.model, max_tokens=max_tokens)
    query = Query(body["messages"], datetime.now(UTC), body)
    began = time.perf_counter()
    completion = await backend.complete(query)
    took_s = time.perf_counter() - began
    meter = Meter()
    meter.take(completion.body)
    meter.confidence = completion.confidence
    charge = meter.charge(spec, count_chars(query))
    row = {
        f"score:{spec.model}": float(question.right(meter.heard)),
        f"cost_usd:{spec.model}": charge.cost_usd,
        f"latency_s:{spec.model}": round(took_s, 6),
        f"tok_in:{spec.model}": charge.tokens_in,
        f"tok_out:{spec.model}": charge.tokens_out,
    }
    if spec.tier == "edge":
        shown = signals_of(meter, query, whole=True)
        row |= {f"signal:{spec.model}:{name}": value for name, value in shown.items()}
    return row
