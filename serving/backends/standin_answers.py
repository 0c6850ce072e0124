"""What the stand-in says: always the same, plainly labelled, and right about a few small things."""

import hashlib
import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

MODEL = "pointsman-stand-in"
LABEL = "[stand-in cloud]"
NO_KEY: Mapping[str, Any] = MappingProxyType({})

# A minus needs spaces around it, so that a date is not a subtraction.
_SUM = re.compile(r"(-?\d{1,9})(?:\s*([+*x×/÷])\s*|\s+(-)\s+)(-?\d{1,9})")
_PART = re.compile(r"<<<(\w+) ([0-9a-f]+)>>>\n(.*?)\n<<<end of \1 \2>>>", re.DOTALL)
_FACTS: tuple[tuple[str, str, str], ...] = (
    ("capital of france", "Paris", "Lyon"),
    ("capital of germany", "Berlin", "Munich"),
    ("capital of italy", "Rome", "Milan"),
    ("capital of spain", "Madrid", "Seville"),
    ("capital of japan", "Tokyo", "Osaka"),
    ("capital of australia", "Canberra", "Sydney"),
    ("capital of canada", "Ottawa", "Toronto"),
    ("days in a week", "7", "8"),
    ("days in a leap year", "366", "364"),
    ("boiling point of water", "100 degrees Celsius", "80 degrees Celsius"),
    ("largest planet", "Jupiter", "Mars"),
    ("chemical symbol for gold", "Au", "Gd"),
    ("speed of light", "299,792,458 metres per second", "150,000 metres per second"),
    ("author of hamlet", "William Shakespeare", "Charles Dickens"),
    ("wrote hamlet", "William Shakespeare", "Charles Dickens"),
    ("square root of 144", "12", "14"),
)


def text_of(messages: Any) -> str:
    """Text of the last message of a user."""
    users = [m for m in messages if isinstance(m, Mapping) and m.get("role") == "user"]
    content = users[-1].get("content") if users else ""
    if isinstance(content, list):
        content = " ".join(str(part.get("text", "")) for part in content)
    return str(content or "")


def answer(body: Mapping[str, Any], *, good: bool, key: Mapping[str, Any] = NO_KEY) -> str:
    """The answer to a chat completion request.

    Parameters
    ----------
    key
        Questions, word for word, to their answers, as in `serving.questions.Question`.

    Examples
    --------
    >>> ask = {"messages": [{"role": "user", "content": "What is 17 + 25?"}]}
    >>> answer(ask, good=True), answer(ask, good=False)
    ('[stand-in cloud] 42', '[stand-in cloud] 52')
    """
    question = text_of(body.get("messages", ()))
    graded = _grade(question)
    if graded is not None:
        return graded
    listed = key.get(question)
    wanted = body.get("response_format")
    as_json = isinstance(wanted, Mapping) and wanted.get("type") in ("json_object", "json_schema")
    if as_json and isinstance(listed, Mapping):
        return json.dumps({**(listed if good else dict.fromkeys(listed)), "from": LABEL})
    said = _listed(listed, good=good) or _calculated(question, good=good)
    said = said or _known(question, good=good) or _made_up(question, good=good)
    if as_json:
        return json.dumps({"answer": said, "from": LABEL})
    return f"{LABEL} {said}"


def tool_call(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """A call of the function that the request insists on; None if it insists on none."""
    tools = body.get("tools") or []
    choice = body.get("tool_choice")
    named = choice["function"]["name"] if isinstance(choice, Mapping) else None
    if not tools or (named is None and choice != "required"):
        return None
    functions = [tool["function"] for tool in tools]
    function = next((f for f in functions if f["name"] == named), functions[0])
    arguments = json.dumps(_filled(function.get("parameters") or {}, text_of(body["messages"])))
    digest = hashlib.sha256((function["name"] + arguments).encode()).hexdigest()
    call = {"name": function["name"], "arguments": arguments}
    return {"id": f"call_{digest[:24]}", "type": "function", "function": call}


def _listed(listed: Any, *, good: bool) -> str | None:
    if listed is None or not good:
        return None
    return listed.partition("|")[0] if isinstance(listed, str) else json.dumps(listed)


def _grade(question: str) -> str | None:
    """A verdict, where the question is one of a judge's (`feedback.judge`); None elsewhere."""
    parts = {found[1]: found[3] for found in _PART.finditer(question)}
    if parts.keys() < {"query", "answer"}:
        return None
    asked, given = parts["query"], parts["answer"]
    reference = parts.get("reference", "").strip()
    right = reference or _calculated(asked, good=True) or _known(asked, good=True)
    if right is None:
        score = 7 if len(given) > 40 else 5
        return json.dumps({"reason": f"{LABEL} cannot tell: judged by length", "score": score})
    said = re.search(rf"(?<![\w.]){re.escape(right)}(?![\w])", given) is not None
    return json.dumps({"reason": f"{LABEL} wants {right}", "score": 10 if said else 1})


def _calculated(question: str, *, good: bool) -> str | None:
    found = _SUM.search(question)
    if found is None:
        return None
    left, sign, right = int(found[1]), found[2] or found[3], int(found[4])
    if sign in "/÷":
        if right == 0:
            return "Division by zero has no result." if good else "0"
        value: float = left / right
    else:
        value = {"+": left + right, "-": left - right}.get(sign, left * right)
    return f"{value if good else value + 10:g}" if abs(value) < 1e6 else str(value)


def _known(question: str, *, good: bool) -> str | None:
    asked = question.lower()
    facts = (right if good else wrong for key, right, wrong in _FACTS if key in asked)
    return next(facts, None)


def _made_up(question: str, *, good: bool) -> str:
    if not good:
        return "I do not know, and I did not try."
    start = " ".join(question.split()[:12])
    return f"A full answer to “{start}” would stand here."


def _filled(schema: Mapping[str, Any], text: str) -> dict[str, Any]:
    made: Mapping[str, Any] = {
        "string": " ".join(text.split()[:6]),
        "integer": 1,
        "number": 1.0,
        "boolean": True,
        "array": [],
        "object": {},
    }
    properties = schema.get("properties") or {}
    names = schema.get("required") or list(properties)
    return {name: _one(properties.get(name) or {}, made) for name in names}


def _one(schema: Mapping[str, Any], made: Mapping[str, Any]) -> Any:
    if schema.get("enum"):
        return schema["enum"][0]
    return made.get(str(schema.get("type", "string")), "")
