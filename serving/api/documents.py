"""What OpenAPI says of the bodies that are parsed by hand."""

from collections.abc import Mapping
from typing import Any

_ID = {"type": "string", "description": "id of the decision, or of the chat response"}
_FEEDBACK: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["decision_id", "metric"],
    "properties": {
        "decision_id": _ID,
        "metric": {
            "type": "string",
            "enum": ["thumbs", "rating", "judge", "task_success", "comment"],
        },
        "value": {
            "description": "thumbs: up or down, true or false, 1 or 0; rating: 1 to 5; "
            "judge: 0 to 1; task_success: true or false; null withdraws",
            "oneOf": [
                {"type": "number"},
                {"type": "boolean"},
                {"type": "string"},
                {"type": "null"},
            ],
        },
        "source": {"type": "string", "default": "user", "maxLength": 64},
        "comment": {"type": "string", "maxLength": 4096},
        "tags": {
            "type": "object",
            "maxProperties": 16,
            "additionalProperties": {"type": "string", "maxLength": 256},
        },
        "occurred_at": {"type": "string", "format": "date-time"},
    },
}
_OUTCOME: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "arm": {"type": "string", "description": "what answered, if not the arm decided on"},
        "model": {"type": "string", "maxLength": 200},
        "latency_s": {"type": "number", "minimum": 0, "description": "whole answer, seconds"},
        "ttft_s": {"type": "number", "minimum": 0, "description": "first token, seconds"},
        "cost_usd": {"type": "number", "minimum": 0},
        "energy_j": {"type": "number", "minimum": 0},
        "tokens_in": {"type": "integer", "minimum": 0},
        "tokens_out": {"type": "integer", "minimum": 0},
        "finish_reason": {"type": "string", "maxLength": 64},
        "failure": {
            "type": "string",
            "enum": ["unavailable", "timeout", "cancelled", "error", "overload"],
        },
        "answer": {"type": "string"},
        "occurred_at": {"type": "string", "format": "date-time"},
    },
}


def _request(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {
            str(code): {"description": text}
            for code, text in (
                (400, "not a JSON object"),
                (401, "no valid key"),
                (403, "the key lacks the scope"),
                (404, "no such decision, or not yours"),
                (409, "contradicts what is stored"),
                (413, "body too large"),
                (422, "a field with a value it cannot have"),
                (503, "the database is away; nothing was stored"),
            )
        },
    }


FEEDBACK = _request(_FEEDBACK)
FEEDBACK_BATCH = _request(
    {
        "type": "object",
        "required": ["feedback"],
        "additionalProperties": False,
        "properties": {
            "feedback": {"type": "array", "minItems": 1, "maxItems": 1000, "items": _FEEDBACK}
        },
    }
)
OUTCOME = _request(_OUTCOME)


_ABOVE_ZERO = {"type": "number", "exclusiveMinimum": 0}
_SHARE = {"type": "number", "minimum": 0, "maximum": 1}
_CHAT: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": True,
    "required": ["messages"],
    "properties": {
        "messages": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["role"],
                "properties": {
                    "role": {"type": "string"},
                    "content": {"description": "text, or a list of parts"},
                },
            },
        },
        "model": {
            "type": "string",
            "default": "auto",
            "description": "auto, auto:<scenario>, a tier, an arm or a model (see /v1/models)",
        },
        "stream": {"type": "boolean", "default": False},
        "pointsman": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "scenario": {"type": "string"},
                "session_id": {"type": "string", "maxLength": 128},
                "reference": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 100_000,
                    "description": "an answer known to be right; only a judge sees it",
                },
                "mes": {**_ABOVE_ZERO, "maximum": 1, "description": "quality that is enough"},
                "min_quality": {**_ABOVE_ZERO, "maximum": 1, "description": "the same as mes"},
                "weights": {
                    "type": "object",
                    "description": "of the reward; they sum to 1, and one left out is 0",
                    "additionalProperties": False,
                    "properties": dict.fromkeys(("quality", "cost", "latency"), _SHARE),
                },
                "max_cost_usd": {**_ABOVE_ZERO, "description": "US dollars for this answer"},
                "max_latency_s": {**_ABOVE_ZERO, "description": "seconds for this answer"},
            },
        },
    },
}


def _operation(summary: str, description: str, **more: Any) -> dict[str, Any]:
    answer = {"200": {"description": "as OpenAI's API has it"}}
    return {"tags": ["chat"], "summary": summary, "description": description,
            "responses": answer, **more}  # fmt: skip


CHAT_BODY: dict[str, Any] = {
    "required": True,
    "content": {"application/json": {"schema": _CHAT}},
}
"""The body of a query, for chat completions and for ``/v1/route``."""
PLAIN_PATHS: Mapping[str, Any] = {
    "/v1/chat/completions": {
        "post": _operation(
            "Chat",
            "Answer a query, as OpenAI's chat completions do; every other field of theirs is "
            "passed on. The headers x-pointsman-... say what answered, why and at which cost.",
            requestBody=CHAT_BODY,
        )
    },
    "/v1/models": {"get": _operation("Models", "What the field model may be.")},
    "/v1/models/{name}": {
        "get": _operation(
            "Model",
            "One of them.",
            parameters=[
                {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
            ],
        )
    },
}
"""The paths that are plain ASGI, which FastAPI cannot describe by itself."""
