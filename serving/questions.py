"""Questions with an answer key, and the rules by which an answer is right."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from serving.errors import QuestionsError

BUILTIN = "builtin"
"""The name of the questions that ship with the project."""

_FILE = "data/questions.jsonl"
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class Question:
    """A question whose answer is known.

    Attributes
    ----------
    answer
        A number; text, alternatives separated by ``|``; or an object with keys and values.
    """

    question_id: str
    category: str
    text: str
    answer: Any

    @property
    def wants_json(self) -> bool:
        """Whether the answer has to be a JSON object."""
        return isinstance(self.answer, Mapping)

    def body(self, *, model: str, max_tokens: int) -> dict[str, Any]:
        """The chat completion request that asks it."""
        wanted = {"response_format": {"type": "json_object"}} if self.wants_json else {}
        message = {"role": "user", "content": self.text}
        return {"model": model, "messages": [message], "max_tokens": max_tokens, **wanted}

    def right(self, said: str) -> bool:
        """Whether ``said`` answers it.

        A number is right where it is the last one that is said; text where one of the alternatives
        is said as whole words, in any case; an object where ``said`` is a JSON object that has
        every key with its value.

        Examples
        --------
        >>> Question("q", "arithmetic", "What is 2 + 2?", 4).right("2 + 2 = 4.")
        True
        >>> Question("q", "facts", "Who?", "Leonardo|da Vinci").right("It was Da Vinci!")
        True
        >>> Question("q", "json", "Anna is 31.", {"age": 31}).right('{"age": "31", "x": 1}')
        True
        """
        if self.wants_json:
            return _same_object(self.answer, said)
        if isinstance(self.answer, str):
            said = said.casefold()
            return any(_said(one.casefold(), said) for one in self.answer.split("|"))
        numbers = _NUMBER.findall(said)
        return bool(numbers) and float(numbers[-1].replace(",", "")) == float(self.answer)


def load_questions(given: str = BUILTIN) -> tuple[Question, ...]:
    """The questions of a JSONL file, or those that ship with the project.

    Raises
    ------
    QuestionsError
        If the file cannot be read, with the line that is wrong.
    """
    try:
        text = (
            resources.files("serving").joinpath(_FILE).read_text("utf-8")
            if given == BUILTIN
            else Path(given).read_text("utf-8")
        )
    except (OSError, UnicodeDecodeError) as error:
        raise QuestionsError(given, f"cannot be read: {error}") from error
    lines = [line for line in text.splitlines() if line.strip()]
    questions = tuple(_question(given, n, line) for n, line in enumerate(lines, 1))
    if not questions:
        raise QuestionsError(given, "has no questions")
    return questions


def _question(where: str, line: int, text: str) -> Question:
    try:
        row = json.loads(text)
        found = Question(row["id"], row["category"], row["question"], row["answer"])
    except (ValueError, KeyError, TypeError) as error:
        why = f"line {line} needs id, category, question and answer ({error!r})"
        raise QuestionsError(where, why) from error
    if isinstance(found.answer, bool) or not isinstance(found.answer, int | float | str | dict):
        raise QuestionsError(where, f"line {line}: an answer is a number, text or an object")
    return found


def _said(alternative: str, said: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(alternative)}(?!\w)", said) is not None


def _same_object(wanted: Mapping[str, Any], said: str) -> bool:
    try:
        found = json.loads(said)
    except ValueError:
        return False
    return isinstance(found, dict) and all(
        key in found and _plain(found[key]) == _plain(value) for key, value in wanted.items()
    )


def _plain(value: Any) -> Any:
    """A value as people compare it: 31 is "31", and case does not matter."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return str(value).strip().casefold()
