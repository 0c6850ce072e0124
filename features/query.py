"""What the caller asks, free of HTTP."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Query:
    """Messages plus constraints.

    Attributes
    ----------
    messages
        As in OpenAI's chat format, never altered: ``role`` and ``content`` (text or parts), ...
    fields
        The whole request body as it came, for the arm that answers.
    received_at
        Wall-clock time, in UTC; a source of the time features.
    requires
        Capabilities that the fields ask for (``tools``, ``images``, ``json_schema``, ...).
    reference
        An answer that the caller knows to be right, for whoever judges; no arm ever sees it.
    """

    messages: Sequence[Mapping[str, Any]]
    received_at: datetime
    fields: Mapping[str, Any] = field(default_factory=dict)
    requires: frozenset[str] = frozenset()
    session_id: str | None = None
    reference: str | None = None

    @property
    def stream(self) -> bool:
        """Whether the caller wants the answer as server-sent events."""
        return self.fields.get("stream") is True

    @property
    def max_tokens(self) -> int | None:
        """Completion limit that the caller set, in tokens."""
        limit = self.fields.get("max_completion_tokens", self.fields.get("max_tokens"))
        return limit if isinstance(limit, int) else None
