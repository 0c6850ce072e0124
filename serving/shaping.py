"""Answers as the caller sees them: our id, the answering model, usage only if it was asked for."""

from collections.abc import Mapping
from typing import Any

from serving.pricing import Charge

ID_PREFIX = "chatcmpl-"
"""What stands before the decision id in the id of a response."""


class Shape:
    """Gives every part of one answer the same id, time and model.

    Parameters
    ----------
    created
        Seconds since 1970.
    include_usage
        Whether the caller asked a stream for its usage.
    """

    def __init__(self, decision_id: str, *, created: int, include_usage: bool = False) -> None:
        self._id = ID_PREFIX + decision_id.removeprefix("dec_")
        self._created = created
        self._include_usage = include_usage
        self._model: str | None = None

    def completion(self, body: Mapping[str, Any], *, model: str) -> dict[str, Any]:
        """A whole answer; the body of the model's side in our frame."""
        return {
            **body,
            "id": self._id,
            "object": "chat.completion",
            "created": self._created,
            "model": _model_of(body, model),
        }

    def chunk(self, body: Mapping[str, Any], *, model: str) -> dict[str, Any] | None:
        """One chunk; None for one that only carries usage: `usage_chunk` comes in its place."""
        if not body.get("choices"):
            return None
        if self._model is None:
            self._model = _model_of(body, model)
        shaped = {
            **body,
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._model,
        }
        if self._include_usage:
            shaped["usage"] = None
        else:
            shaped.pop("usage", None)
        return shaped

    def usage_chunk(self, usage: Mapping[str, Any] | None, charge: Charge) -> dict[str, Any] | None:
        """The last chunk, with usage and cost, if it was asked for."""
        if not self._include_usage:
            return None
        return {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._model,
            "choices": [],
            "usage": _priced(usage, charge),
        }


def _model_of(body: Mapping[str, Any], fallback: str) -> str:
    model = body.get("model")
    return model if isinstance(model, str) and model else fallback


def _priced(usage: Mapping[str, Any] | None, charge: Charge) -> dict[str, Any]:
    counted = usage if charge.counted and usage is not None else _estimated(charge)
    return {**counted, "pointsman_cost_usd": charge.cost_usd}


def _estimated(charge: Charge) -> dict[str, int]:
    tokens_in, tokens_out = charge.tokens_in or 0, charge.tokens_out or 0
    return {
        "prompt_tokens": tokens_in,
        "completion_tokens": tokens_out,
        "total_tokens": tokens_in + tokens_out,
    }
