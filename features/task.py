"""The task type of a text, by rules that are read from the top: the first that fits wins.

The words are English, with a few of other languages where they are unmistakable; a text that no
rule knows is ``other``. Only the first 600 and the last 200 characters are read.
"""

import hashlib
import re

import numpy as np
from numpy.typing import NDArray

from features.text import count_words, cut_middle

READ_CHARS = 800

_OPTION = re.compile(
    r"(?:^|[\s,(])\(?(?:option\s+)?([A-Ea-e1-5])[).:](?=\s+(?![a-e][).:]\s)\S)",
    re.IGNORECASE | re.MULTILINE,
)
_CHOICE_WORDS = re.compile(
    r"\b(?:choices|options?)\s*:|\boption [1-5a-e]:|which of (?:the following|these)"
    r"|(?:correct|right|best) (?:option|choice|letter|answer)|answer with the (?:correct )?letter",
    re.IGNORECASE,
)
_PATTERNS = {
    "translation": (
        r"\btranslat(?:e|ion)\b|\b(?:into|in|to) (?:english|french|german|spanish|italian"
        r"|chinese|japanese|korean|russian|portuguese|arabic)\s*[:.?]|翻译|übersetze|traduis"
    ),
    "summarisation": (
        r"\bsummar(?:y|i[sz]e|i[sz]ing|i[sz]ation)\b|\btl;?dr\b|\b(?:main|key) points\b"
        r"|\bcondense\b|\bgist of\b|总结"
    ),
    "rewriting": (
        r"\b(?:rewrite|rephrase|reword|paraphrase|proofread|polish)\b|\bmake (?:it|this"
        r"|the text) (?:more|less|sound|shorter|longer)\b|\b(?:fix|correct|improve) (?:the|my"
        r"|its) (?:grammar|spelling|wording|style|english)\b"
    ),
    "code": (
        r"```|\bselect\b.{1,80}\bfrom\b|^\s*(?:def|class|import|from|func|fn|public|private|#include|const|let"
        r"|var)\s+\S|\b(?:python|java(?:script)?|typescript|c\+\+|c#|rust|golang|sql|html|css"
        r"|bash|regex|pandas|numpy|docker|kubernetes|git|api|traceback|stack trace|compiler?"
        r"|debug|unit tests?|source code|pull request|refactor|repository|codebase)\b"
        r"|\bwrite (?:a|the|some) (?:\w+ )?(?:function|script|program|query|class|code)\b"
        r"|\w+\(\w*\)\s*[;{:]|\b(?:function|method) (?:that|which|to)\b"
    ),
    "extraction": (
        r"\bextract\b|\bnamed entit|\b(?:list|find|identify) (?:all|every"
        r"|each) (?:the )?\w+ (?:\w+ )?(?:in|from|mentioned)\b|\bpull out\b|\bas json\b"
        r"|\baccording to the (?:passage|text|article)\b|^(?:passage|context|text|article)\s*:"
    ),
    "classification": (
        r"\bclassif(?:y|ication)\b|\bcategori[sz]e\b|\bsentiment\b|\bwhich category\b"
        r"|\b(?:label|tag) (?:the|each|this)\b|\btrue or false\b|\byes or no\b|\b(?:positive"
        r"|good) or (?:negative|bad)\b|\bplausible\b|\bis the following\b"
    ),
    "math": (
        r"\bsolve\b|\b(?:calculate|compute|evaluate|integral|derivative|equation|polynomial"
        r"|probability|theorem|prove|triangle|perimeter|hypotenuse|modulo|percent(?:age)?"
        r"|arithmetic|algebra|geometry|matrix|prime)\b|\bhow (?:many|much|far|long"
        r"|old)\b[^?]*\?|\d\s*[-+*/×÷^=]\s*\d|\$[^$\n]*[\\^_=][^$\n]*\$|\\(?:frac|sqrt|sum"
        r"|int)\b"
    ),
    "creative": (
        r"\b(?:write|compose|tell|create|make up|invent|draft)\b[^.?\n]{0,40}\b(?:story|poem"
        r"|haiku|song|lyrics|essay|novel|dialogue|script|scene|joke|limerick|slogan|tagline"
        r"|blog|speech|letter|fairy ?tale|advert\w*|post|email|tweet)\b|\bbrainstorm\b"
        r"|\bcome up with\b|\brole[- ]?play\b|\bpretend\b|\bimagine (?:you|that|a)\b"
    ),
    "reasoning": (
        r"\bstep[ -]by[ -]step\b|\bpremises?\b|\bhypothesis\b|\bentail|\blogical(?:ly)?\b"
        r"|\bpuzzle\b|\briddle\b|\bdeduce\b|\binfer\b|\bif all\b|\bmust be true\b"
        r"|\bfills? the blank\b|\bcomplete the sentence\b|\bpros and cons\b|\bcompare\b"
        r"|\btrade-?offs?\b|\bwhat (?:would|will) happen\b|\bmost likely\b"
    ),
    "factual": (
        r"^\W*(?:what|who|whom|whose|when|where|which|why|how|is|are|was|were|does|do|did|can"
        r"|define|explain|describe|name|wer|was|wann|qui|quel\w*|où|qué|quién|cuál)\b"
        r"|\bwhat (?:is|are|was|were|does)\b|\bwho (?:is|was)\b|什么|是谁|何ですか"
    ),
    "chat": (
        r"^\W*(?:hi|hello|hey|thanks?|thank you|good (?:morning|evening|night)|yes|no"
        r"|ok(?:ay)?|sure|great|cool|bye|please|continue|go on|lol|hola|bonjour|hallo|你好)\b"
    ),
}
_RULES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(pattern, re.MULTILINE)) for name, pattern in _PATTERNS.items()
)

TASKS: tuple[str, ...] = ("multiple_choice", *(name for name, _ in _RULES), "other")
"""Names of the task types, in the order in which their rules are tried."""

TASKS_DIGEST = hashlib.sha256(
    repr((READ_CHARS, _PATTERNS, _OPTION.pattern, _CHOICE_WORDS.pattern)).encode()
).hexdigest()
"""Changes with every rule."""


def task_type(text: str) -> str:
    r"""One of `TASKS`.

    >>> task_type("Translate into German: good morning.")
    'translation'
    >>> task_type("Which is a fish?\nA. cod\nB. bat\nC. owl")
    'multiple_choice'
    >>> task_type("Janet has 3 hens that lay 2 eggs a day. How many eggs in a week?")
    'math'
    """
    shown = cut_middle(text, READ_CHARS)
    return "multiple_choice" if has_options(shown) else _content(shown)


def task_vector(text: str) -> NDArray[np.float32]:
    """1 at the task type, else 0; shape (len(TASKS),), float32.

    A multiple-choice question also has a 1 at the type that it would have without its options.
    """
    shown = cut_middle(text, READ_CHARS)
    vector = np.zeros(len(TASKS), dtype=np.float32)
    vector[TASKS.index(_content(shown))] = 1.0
    vector[0] = float(has_options(shown))
    return vector


def has_options(text: str) -> bool:
    """Whether the text offers answers to choose from.

    Three options in order (A, B, C; 1 to 3 only beside words such as "Choices:" or "which of the
    following"), or two beside such words.
    """
    marks = [mark.upper() for mark in _OPTION.findall(text)]
    letters, numbers = _run(marks, "ABCDE"), _run(marks, "12345")
    if letters >= 3:
        return True
    return max(letters, numbers) >= 2 and bool(_CHOICE_WORDS.search(text))


def _content(shown: str) -> str:
    lowered = shown.lower()
    found = next((name for name, pattern in _RULES if pattern.search(lowered)), "other")
    return "chat" if found == "other" and count_words(shown, 4) < 4 else found


def _run(marks: list[str], order: str) -> int:
    """How many of ``order`` occur among ``marks``, one after the other from the first."""
    n = 0
    for mark in marks:
        if n < len(order) and mark == order[n]:
            n += 1
    return n
