"""What an answer held, counted while it passes: text, usage, finish reason; and its outcome."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from serving.arms import ArmSpec
from serving.errors import (
    BackendError,
    BackendOverloadedError,
    BackendTimeoutError,
    BackendUnavailableError,
)
from serving.pricing import Charge, charge

_FAILURES: tuple[tuple[type[BackendError], str], ...] = (
    (BackendUnavailableError, "unavailable"),
    (BackendTimeoutError, "timeout"),
    (BackendOverloadedError, "overload"),
)


def failure_of(error: BaseException) -> str:
    """The word that an outcome has for ``error``."""
    if isinstance(error, asyncio.CancelledError):
        return "cancelled"
    return next((word for cls, word in _FAILURES if isinstance(error, cls)), "error")


@dataclass(slots=True)
class Meter:
    """Counts one answer; fed with its chunks, or with the whole of it.

    Attributes
    ----------
    keep
        Whether the text may be stored; while the answer is given it is there anyway.
    finish_reason
        Of the first choice that gave one.
    confidence, energy_j
        As the backend gave them.
    most_tokens
        That the caller allowed; None is no limit.
    """

    keep: bool = False
    chars_out: int = 0
    usage: Mapping[str, Any] | None = None
    finish_reason: str | None = None
    model: str | None = None
    confidence: Mapping[str, float] = field(default_factory=dict)
    energy_j: float | None = None
    most_tokens: int | None = None
    _text: list[str] = field(default_factory=list)

    def take(self, body: Mapping[str, Any]) -> bool:
        """Count one ``chat.completion`` or one chunk of it; True if it says something.

        Text, a tool call and a finish reason say something; a chunk with just a role does not.
        """
        model, usage = body.get("model"), body.get("usage")
        if isinstance(model, str) and model:
            self.model = model
        if isinstance(usage, Mapping):
            self.usage = usage
        said = False
        choices = body.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            said |= self._take_choice(choice)
        return said

    def _take_choice(self, choice: Any) -> bool:
        if not isinstance(choice, Mapping):
            return False
        finish = choice.get("finish_reason")
        if isinstance(finish, str) and self.finish_reason is None:
            self.finish_reason = finish
        part = choice.get("delta") or choice.get("message")
        said = self._take_part(part) if isinstance(part, Mapping) else False
        return said or isinstance(finish, str)

    def _take_part(self, part: Mapping[str, Any]) -> bool:
        before = self.chars_out
        for name in ("content", "refusal", "reasoning_content"):
            text = part.get(name)
            if isinstance(text, str):
                self._take_text(text)
        calls = part.get("tool_calls") or part.get("function_call")
        if calls:
            self.chars_out += len(str(calls))
        return self.chars_out > before

    def _take_text(self, text: str) -> None:
        self.chars_out += len(text)
        self._text.append(text)

    @property
    def heard(self) -> str:
        """What was said."""
        return "".join(self._text)

    @property
    def text(self) -> str | None:
        """What was said, if it may be stored."""
        return self.heard if self.keep else None

    def charge(self, spec: ArmSpec, chars_in: int) -> Charge:
        """Tokens and cost so far, at the prices of ``spec``."""
        return charge(
            spec.price,
            self.usage,
            chars_in=chars_in,
            chars_out=self.chars_out,
            most_out=self.most_tokens,
        )

    def afresh(self) -> "Meter":
        """A meter for another attempt."""
        return Meter(keep=self.keep, most_tokens=self.most_tokens)
