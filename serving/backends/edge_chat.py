"""OpenAI's chat format on the edge: what the worker is asked, and the shape of the answer."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from features.query import Query
from serving.errors import BackendRejectedError

EDGE_CAPABILITIES: frozenset[str] = frozenset({"json_object", "json_schema"})
"""What the edge honours beyond plain text; JSON through llama.cpp's grammars."""

_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_MAX_STOPS = 16
_MAX_SCHEMA_DEPTH = 32
# name -> (least, most); what OpenAI takes
_NUMBERS = {
    "temperature": (0.0, 2.0),
    "top_p": (0.0, 1.0),
    "presence_penalty": (-2.0, 2.0),
    "frequency_penalty": (-2.0, 2.0),
}


class EdgeChat:
    """Translates queries for one edge arm.

    Parameters
    ----------
    defaults
        ``max_tokens`` and any of ``temperature`` and ``top_p``, for queries that set none.
    """

    def __init__(self, arm_id: str, model: str, *, defaults: Mapping[str, float]) -> None:
        self._arm_id = arm_id
        self._model = model
        self._defaults = dict(defaults)

    def request(self, query: Query) -> dict[str, Any]:
        """What the worker is asked.

        Raises
        ------
        BackendRejectedError
            Status 400, for what the edge cannot honour and for values that make no sense.
        """
        fields = query.fields
        self._refuse_unfit(fields)
        return {
            **self._defaults,
            **self._numbers(fields),
            "messages": [self._message(message) for message in query.messages],
            "stop": self._stops(fields.get("stop")),
            "seed": self._seed(fields.get("seed")),
            "max_tokens": self._max_tokens(fields),
            "schema": self._schema(fields.get("response_format")),
        }

    def reject(self, message: str, *, param: str | None = None, code: str) -> BackendRejectedError:
        """A refusal in OpenAI's shape."""
        error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
        return BackendRejectedError(self._arm_id, 400, {"error": error})

    def chunk(self, query: Query, answer_id: str, **choice: Any) -> dict[str, Any]:
        """One ``chat.completion.chunk``; without ``choice``, one with no choices."""
        choices = [{"index": 0, "logprobs": None, "finish_reason": None, **choice}]
        return {
            "id": answer_id,
            "object": "chat.completion.chunk",
            "created": int(query.received_at.timestamp()),
            "model": self._model,
            "choices": choices if choice else [],
        }

    def completion(
        self, query: Query, answer_id: str, *, text: str, finish: str, usage: Mapping[str, Any]
    ) -> dict[str, Any]:
        """A whole ``chat.completion``."""
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
        return {
            "id": answer_id,
            "object": "chat.completion",
            "created": int(query.received_at.timestamp()),
            "model": self._model,
            "choices": [choice],
            "usage": dict(usage),
        }

    def _bad(self, param: str, want: str) -> BackendRejectedError:
        return self.reject(f"{param}: want {want}", param=param, code="invalid_value")

    def _refuse_unfit(self, fields: Mapping[str, Any]) -> None:
        unfit = {
            "tools": bool(fields.get("tools")) and fields.get("tool_choice") != "none",
            "functions": bool(fields.get("functions")),
            "n": fields.get("n") not in (None, 1),
            "logprobs": bool(fields.get("logprobs")),
            "logit_bias": bool(fields.get("logit_bias")),
            "audio": bool(fields.get("audio")),
        }
        for param, asked in unfit.items():
            if asked:
                message = f"the edge model does not support {param}"
                raise self.reject(message, param=param, code="unsupported_parameter")

    def _message(self, message: Mapping[str, Any]) -> dict[str, str]:
        role = message.get("role")
        if not isinstance(role, str) or role not in _ROLES:
            raise self._bad("messages", f"a role among {', '.join(sorted(_ROLES))}")
        return {
            "role": "system" if role == "developer" else role,
            "content": self._text(message.get("content")),
        }

    def _text(self, content: Any) -> str:
        if content is None:
            return ""
        if isinstance(content, str):
            return content
        if not isinstance(content, Sequence):
            raise self._bad("messages", "content that is text or a list of parts")
        return "\n".join(self._part(part) for part in content)

    def _part(self, part: Any) -> str:
        if isinstance(part, Mapping) and part.get("type") in ("text", "refusal"):
            text = part.get(part["type"])
            if isinstance(text, str):
                return text
        message = "the edge model reads text parts only"
        raise self.reject(message, param="messages", code="unsupported_parameter")

    def _numbers(self, fields: Mapping[str, Any]) -> dict[str, float]:
        found = {}
        for name, (least, most) in _NUMBERS.items():
            value = fields.get(name)
            if value is None:
                continue
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not math.isfinite(value) or not least <= value <= most:
                raise self._bad(name, f"a number from {least:g} to {most:g}")
            found[name] = float(value)
        return found

    def _stops(self, stop: Any) -> list[str]:
        stops = [] if stop is None else [stop] if isinstance(stop, str) else stop
        fine = isinstance(stops, list) and len(stops) <= _MAX_STOPS
        if not fine or not all(isinstance(one, str) and one for one in stops):
            raise self._bad("stop", f"up to {_MAX_STOPS} texts, none empty")
        return list(stops)

    def _seed(self, seed: Any) -> int | None:
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
            raise self._bad("seed", "a whole number")
        return None if seed is None else int(seed) % 2**32

    def _max_tokens(self, fields: Mapping[str, Any]) -> int:
        for name in ("max_completion_tokens", "max_tokens"):
            limit = fields.get(name)
            if limit is None:
                continue
            if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
                raise self._bad(name, "a whole number from 1")
            return int(limit)
        return int(self._defaults["max_tokens"])

    def _schema(self, wanted: Any) -> dict[str, Any] | None:
        """A JSON schema for the answer; an empty one stands for any object."""
        kind = wanted.get("type") if isinstance(wanted, Mapping) else wanted
        if kind is None or kind == "text":
            return None
        if kind == "json_object":
            return {}
        inner = wanted.get("json_schema") if isinstance(wanted, Mapping) else None
        schema = inner.get("schema") if isinstance(inner, Mapping) else None
        if kind != "json_schema" or not isinstance(schema, Mapping) or not _shallow(schema):
            want = "type text, json_object, or json_schema with a schema that is not too deep"
            raise self._bad("response_format", want)
        return dict(schema)


def _shallow(value: Any, depth: int = 0) -> bool:
    if depth > _MAX_SCHEMA_DEPTH:
        return False
    inner = value.values() if isinstance(value, Mapping) else value
    if not isinstance(value, Mapping | list):
        return True
    return all(_shallow(one, depth + 1) for one in inner)
