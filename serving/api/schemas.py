"""A chat request, checked: only what we read is looked at, all else is handed on as it came."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from features.query import Query
from serving.api.extras import read_extras
from serving.eligibility import PASSTHROUGH
from serving.errors import BadRequestError
from serving.selector import Wish

MAX_MESSAGES = 2_048
MAX_PARTS = 1_024
MAX_TOOLS = 1_024
MAX_CHOICES = 8

_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_TOOL_ROLES = frozenset({"tool", "function"})
_PART_NEEDS = {"image_url": "images", "input_audio": "audio", "file": "files"}
_FORMATS = {"json_schema": "json_schema", "json_object": "json_object", "text": None}
# Fields that every arm honours, or that make no difference to an answer.
_PLAIN_FIELDS = frozenset(
    {
        *(
            "model",
            "messages",
            "stream",
            "stream_options",
            "pointsman",
            "n",
            "tools",
            "tool_choice",
        ),
        *("parallel_tool_calls", "functions", "function_call", "response_format", "logprobs"),
        *("top_logprobs", "max_tokens", "max_completion_tokens", "temperature", "top_p", "stop"),
        *("seed", "presence_penalty", "frequency_penalty", "user", "metadata", "store"),
        *("service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"),
        *("prediction", "verbosity", "reasoning_effort"),
    }
)
_FIELD_NEEDS = {
    "logit_bias": "logit_bias",
    "modalities": "audio",
    "audio": "audio",
    "web_search_options": "web_search",
}
_NUMBERS: Mapping[str, tuple[float, float]] = {
    "temperature": (0.0, 2.0),
    "top_p": (0.0, 1.0),
    "presence_penalty": (-2.0, 2.0),
    "frequency_penalty": (-2.0, 2.0),
}


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A request understood.

    Attributes
    ----------
    query
        What to answer; its ``fields`` are the body without our own extras.
    include_usage
        Whether a stream ends with a usage chunk.
    """

    query: Query
    wish: Wish
    include_usage: bool


def parse_chat(body: dict[str, Any], *, received_at: datetime) -> ChatRequest:
    """The request in ``body``, the object that came as JSON; our extras are taken out of it.

    Raises
    ------
    BadRequestError
        With the name of the first field that cannot be used.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> body = {"model": "auto", "messages": [{"role": "user", "content": "Hello"}]}
    >>> parse_chat(body, received_at=datetime.now(UTC)).wish.model
    'auto'
    """
    extras = body.pop("pointsman", None)
    model = _one_of(body, "model", str, "a string", default="auto")
    ours = read_extras(extras, model=model)
    stream = _one_of(body, "stream", bool, "true or false", default=False)
    needs = _message_needs(body.get("messages")) | _field_needs(body)
    _check_numbers(body)
    query = Query(
        body["messages"],
        received_at,
        body,
        frozenset(needs),
        ours.session_id,
        ours.reference,
    )
    return ChatRequest(query, ours.wish, stream and _include_usage(body))


def _one_of(body: Mapping[str, Any], name: str, kind: type, want: str, *, default: Any) -> Any:
    value = body.get(name)
    if value is None:
        return default
    if type(value) is not kind:
        raise BadRequestError(f"{name} must be {want}", name)
    return value


def _message_needs(messages: Any) -> set[str]:
    if not isinstance(messages, list) or not messages:
        raise BadRequestError("messages must be a list with at least one message", "messages")
    if len(messages) > MAX_MESSAGES:
        raise BadRequestError(f"more than {MAX_MESSAGES} messages", "messages")
    needs: set[str] = set()
    for index, message in enumerate(messages):
        _check_message(message, f"messages.{index}", needs)
    return needs


def _check_message(message: Any, where: str, needs: set[str]) -> None:
    if not isinstance(message, dict):
        raise BadRequestError(f"{where} must be an object", where)
    role = message.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        known = ", ".join(sorted(_ROLES))
        raise BadRequestError(f"{where}.role must be one of {known}", f"{where}.role")
    if role in _TOOL_ROLES or message.get("tool_calls") or message.get("function_call"):
        needs.add("tools")
    content = message.get("content")
    if isinstance(content, list):
        _check_parts(content, f"{where}.content", needs)
    elif content is None:
        if role != "assistant":
            raise BadRequestError(f"{where}.content is missing", f"{where}.content")
    elif not isinstance(content, str):
        raise BadRequestError(
            f"{where}.content must be a string or a list of parts", f"{where}.content"
        )


def _check_parts(parts: list[Any], where: str, needs: set[str]) -> None:
    if not 0 < len(parts) <= MAX_PARTS:
        raise BadRequestError(f"{where} must have 1 to {MAX_PARTS} parts", where)
    for index, part in enumerate(parts):
        kind = part.get("type") if isinstance(part, dict) else None
        if not isinstance(kind, str):
            raise BadRequestError(f"{where}.{index} must be an object with a type", where)
        if kind == "text" and not isinstance(part.get("text"), str):
            raise BadRequestError(f"{where}.{index}.text must be a string", where)
        if kind == "image_url" and not _has_url(part.get("image_url")):
            raise BadRequestError(f"{where}.{index}.image_url.url must be a string", where)
        if kind not in ("text", "refusal"):
            needs.add(_PART_NEEDS.get(kind, PASSTHROUGH))


def _has_url(image: Any) -> bool:
    return isinstance(image, dict) and isinstance(image.get("url"), str)


def _field_needs(body: Mapping[str, Any]) -> set[str]:
    needs = {_FIELD_NEEDS.get(name, PASSTHROUGH) for name in _given(body) - _PLAIN_FIELDS}
    for name in ("tools", "functions"):
        if _one_of(body, name, list, "a list", default=[]):
            needs.add("tools")
            _check_tools(body[name], name)
    if _one_of(body, "logprobs", bool, "true or false", default=False):
        needs.add("logprobs")
    if _count(body, "n", most=MAX_CHOICES) not in (None, 1):
        needs.add("n")
    wanted = _format(body.get("response_format"))
    return needs | {wanted} if wanted else needs


def _given(body: Mapping[str, Any]) -> set[str]:
    return {name for name, value in body.items() if value is not None}


def _check_tools(tools: list[Any], name: str) -> None:
    if len(tools) > MAX_TOOLS:
        raise BadRequestError(f"more than {MAX_TOOLS} {name}", name)
    if not all(isinstance(tool, dict) for tool in tools):
        raise BadRequestError(f"{name} must be a list of objects", name)


def _format(given: Any) -> str | None:
    if given is None:
        return None
    kind = given.get("type") if isinstance(given, dict) else None
    if not isinstance(kind, str):
        raise BadRequestError("response_format must be an object with a type", "response_format")
    return _FORMATS.get(kind, PASSTHROUGH)


def _check_numbers(body: Mapping[str, Any]) -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        _count(body, name)
    for name, (low, high) in _NUMBERS.items():
        value = body.get(name)
        if value is None:
            continue
        # bool is an int to isinstance, and no number to anyone else.
        if type(value) not in (int, float) or not low <= value <= high:
            raise BadRequestError(f"{name} must be a number from {low:g} to {high:g}", name)
    _check_stop(body.get("stop"))


def _check_stop(stop: Any) -> None:
    if stop is None or isinstance(stop, str):
        return
    if not isinstance(stop, list) or not all(isinstance(one, str) for one in stop):
        raise BadRequestError("stop must be a string or a list of strings", "stop")


def _count(body: Mapping[str, Any], name: str, *, most: int = 10_000_000) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if type(value) is not int or not 1 <= value <= most:
        raise BadRequestError(f"{name} must be a whole number from 1 to {most}", name)
    return value


def _include_usage(body: Mapping[str, Any]) -> bool:
    options = body.get("stream_options")
    if options is None:
        return False
    if not isinstance(options, dict):
        raise BadRequestError("stream_options must be an object", "stream_options")
    return options.get("include_usage") is True
