"""What a judge may be asked about: an answer, whose it is, and how it reads."""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bandit.primitives import Decision
from features.query import Query
from feedback.outcome import Outcome

_DURABLE_S = 30.0
_PRIVATE = "privacy"


@dataclass(frozen=True, slots=True)
class Job:
    """An answer to be judged; ``durable`` tells whether its decision was written."""

    decision: Decision
    outcome: Outcome
    query: Query
    answer: str
    durable: "asyncio.Future[bool] | None" = None


def is_private(decision: Decision) -> bool:
    """Whether privacy kept the query at the edge."""
    return decision.reason == _PRIVATE or any(
        why.startswith(_PRIVATE) for why in decision.masked.values()
    )


def is_judgeable(decision: Decision, outcome: Outcome) -> bool:
    """Whether what a judge says of the answer can be learned."""
    return outcome.failure is None and outcome.arm == decision.arm


def text_of(query: Query) -> str:
    """The conversation as text, parts that are none named in brackets."""
    return "\n\n".join(
        f"{message.get('role', '')}: {_content(message.get('content'))}"
        for message in query.messages
    )


def _content(content: Any) -> str:
    if not isinstance(content, list):
        return str(content or "")
    parts = (part for part in content if isinstance(part, Mapping))
    return "\n".join(str(part.get("text") or f"[{part.get('type')}]") for part in parts)


async def is_durable(job: Job) -> bool:
    """Whether the decision was written; waits for that, but not for ever."""
    if job.durable is None:
        return True
    await asyncio.wait((job.durable,), timeout=_DURABLE_S)
    return job.durable.done() and not job.durable.cancelled() and job.durable.result()


def share_of(decision_id: str) -> float:
    """A number in [0, 1) that is the decision's own, the same wherever it is asked for."""
    return int.from_bytes(hashlib.sha256(decision_id.encode()).digest()[:8]) / 2**64
