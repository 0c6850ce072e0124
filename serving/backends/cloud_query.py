"""A query as an upstream gets it: as it came, but for the model's name and our own extra."""

import json
from collections.abc import Mapping
from typing import Any

import orjson

from features.query import Query

_OURS = "pointsman"


def whole(query: Query, *, model: str) -> bytes:
    """Body that asks for the whole answer at once."""
    fields = _fields(query, model)
    fields.pop("stream", None)
    fields.pop("stream_options", None)
    return _dump(fields)


def streamed(query: Query, *, model: str, ask_usage: bool) -> bytes:
    """Body that asks for a stream, with usage at its end if ``ask_usage``."""
    fields = {**_fields(query, model), "stream": True}
    if ask_usage:
        options = fields.get("stream_options")
        asked = options if isinstance(options, Mapping) else {}
        fields["stream_options"] = {**asked, "include_usage": True}
    return _dump(fields)


def _fields(query: Query, model: str) -> dict[str, Any]:
    fields = {name: value for name, value in query.fields.items() if name != _OURS}
    fields.setdefault("messages", list(query.messages))
    return {**fields, "model": model}


def _dump(fields: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(fields)
    except TypeError:  # lone surrogates and huge integers, which JSON has and orjson has not
        return json.dumps(fields).encode()
