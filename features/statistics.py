"""Numbers about a text, each of order 1 and within [-3, 3].

Counts enter as logarithms and shares as square roots, so that a long text is not a large vector.
Texts beyond 1,600 characters are measured on their first 3/4 and last 1/4 of that; their true
length enters through ``log_chars``.
"""

import hashlib
import math
import re

import numpy as np
from numpy.typing import NDArray

from features.text import cut_middle, words_of

MEASURED_CHARS = 1_600
LIMIT = 3.0

_CLASSES = {
    "digits": "0123456789",
    "upper": "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "punctuation": ".,;:!?'\"-",
    "code_signs": "{}[]()<>;=_#\\|&`$@~^",
    "math_signs": "+-*/=^%<>",
    "spaces": " \t\n\r",
}
_FLAGS = {
    "has_url": r"https?://|www\.",
    "has_fence": r"```|~~~",
    "has_latex": r"\$[^$\n]{1,200}\$|\\(?:frac|sqrt|sum|int|begin|left|cdot|le|ge)\b",
    "has_equation": r"[=<>≤≥]\s{0,3}[-\w(]",
    "asks_steps": r"step[ -]by[ -]step|show (?:your|every|all) (?:work|step)|explain|reason",
    "asks_brief": r"\bonly (?:the|with)\b|one word|briefly|in (?:one|a) sentence|concise",
    "asks_format": r"\b(?:json|yaml|xml|csv|markdown|table|bullet)\b",
    "has_blank": r"_{2,}|\b_\b|\[(?:blank|mask)\]",
    "first_person": r"\b(?:i|i'm|my|me|we|our)\b",
}
_COUNTS = {
    "log_questions": r"[?？؟]",
    "log_lines": r"\n",
    "log_numerals": r"\d+(?:[.,]\d+)*",
    "log_list_marks": r"(?m)^[ \t]{0,8}(?:[-*•]|\d{1,2}[.)])\s",
    "log_sentences": r"[.!?。！？](?:\s|$)",
    "log_quotes": r"[\"“”«»]",
    "log_capitalised": r"(?<=[a-z,] )[A-Z][a-z]+",
}
_FIRST_WORDS = {
    "starts_with_order": (
        "write create make give generate list explain describe solve find calculate compute "
        "translate summarize summarise rewrite implement fix show tell provide design build "
        "compare identify classify extract convert complete answer choose select suggest help "
        "please analyze analyse draft edit prove determine evaluate name plan"
    ),
    "starts_with_question": (
        "what who whom whose when where which why how is are was were do does did can could "
        "should would will has have"
    ),
}

STATISTICS: tuple[str, ...] = (
    "log_chars",
    "log_words",
    "word_length",
    "longest_word",
    "variety",
    *(f"share_{name}" for name in _CLASSES),
    "share_non_ascii",
    "share_cjk",
    "share_math_letters",
    *_COUNTS,
    *_FLAGS,
    *_FIRST_WORDS,
    "ends_with_question",
)
"""Names of the statistics, in their order."""

STATISTICS_DIGEST = hashlib.sha256(
    repr((MEASURED_CHARS, _CLASSES, _FLAGS, _COUNTS, _FIRST_WORDS)).encode()
).hexdigest()
"""Changes with every table that the statistics are made from."""

_TABLE = np.array(
    [[chr(code) in signs for signs in _CLASSES.values()] for code in range(128)], dtype=np.float64
)
_COMPILED_FLAGS = [re.compile(p) for p in _FLAGS.values()]
_COMPILED_COUNTS = [re.compile(p) for p in _COUNTS.values()]
_FIRST_SETS = [frozenset(words.split()) for words in _FIRST_WORDS.values()]


def text_statistics(text: str) -> NDArray[np.float32]:
    """The statistics of ``text``, shape (len(STATISTICS),), float32, all within [-3, 3].

    >>> found = dict(zip(STATISTICS, text_statistics("Solve 3x = 12."), strict=True))
    >>> float(found["starts_with_order"]), float(found["has_url"])
    (1.0, 0.0)
    """
    shown = cut_middle(text, MEASURED_CHARS)
    lowered = shown.lower()
    words = words_of(shown)
    values = [
        math.log1p(len(text)) / 2 - 2.5,
        *_about_words(words),
        *_shares(shown),
        *(math.log1p(sum(1 for _ in p.finditer(shown))) / 2 for p in _COMPILED_COUNTS),
        *(float(bool(p.search(lowered))) for p in _COMPILED_FLAGS),
        *(float(bool(words) and words[0].lower() in first) for first in _FIRST_SETS),
        float(shown.rstrip()[-1:] in {"?", "？", "؟"}),
    ]
    return np.clip(np.array(values, dtype=np.float32), -LIMIT, LIMIT)


def _about_words(words: list[str]) -> tuple[float, float, float, float]:
    n = len(words)
    if n == 0:
        return -1.5, 0.0, 0.0, 0.0
    lengths = [len(word) for word in words]
    return (
        math.log1p(n) / 2 - 1.5,
        (sum(lengths) / n - 4.5) / 2,
        math.log1p(max(lengths)) - 2.4,
        len(set(words)) / n * 4 - 3,
    )


def _shares(text: str) -> NDArray[np.float64]:
    """Twice the square root of each character class's share; in [0, 2]."""
    # Most texts are ASCII, and counted ten times as fast.
    counts = _ascii_counts(text) if text.isascii() else _counts(text)
    shares: NDArray[np.float64] = 2 * np.sqrt(counts / max(1, len(text)))
    return shares


def _ascii_counts(text: str) -> NDArray[np.float64]:
    codes = np.frombuffer(text.encode(), dtype=np.uint8)
    return np.concatenate([np.bincount(codes, minlength=128) @ _TABLE, np.zeros(3)])


def _counts(text: str) -> NDArray[np.float64]:
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    ascii_counts = np.bincount(codes[codes < 128], minlength=128)[:128].astype(np.float64)
    beyond = [
        _between(codes, (0x80, 0x10FFFF)),
        _between(codes, (0x3040, 0x9FFF), (0xAC00, 0xD7AF)),
        _between(codes, (0x2190, 0x22FF), (0x370, 0x3FF), (0xB0, 0xB9), (0x1D400, 0x1D7FF)),
    ]
    return np.concatenate([ascii_counts @ _TABLE, beyond])


def _between(codes: NDArray[np.uint32], *ranges: tuple[int, int]) -> int:
    return int(sum(np.count_nonzero((codes >= low) & (codes <= high)) for low, high in ranges))
