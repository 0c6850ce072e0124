"""What the text of an answer shows of itself, before anybody has judged it.

Beside the model's own confidence (log-probabilities, margins) the words of an answer tell when it
went wrong: it rambles, hedges, breaks off or never comes to a conclusion. Cheap enough for the path
of a query: one pass each over at most `READ_CHARS` characters.
"""

import re
import zlib

READ_CHARS = 6_000
"""Characters read of an answer: the first and the last half of that many."""

_WORD = re.compile(r"\w+")
_HEDGE = re.compile(
    r"\b(?:however|maybe|perhaps|possibly|might|seems?|not sure|unclear|assum\w+|approximately"
    r"|mistake|incorrect|actually|let's re\w*|cannot be determined|not enough|none of)\b",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"\b(?:i cannot|i can't|i am unable|i'm unable|i'm sorry|i apologi[sz]e|as an ai)\b",
    re.IGNORECASE,
)
_CONCLUSION = re.compile(
    r"####|\\boxed|\b(?:answer is|answer:|therefore|thus|in conclusion|in summary|final)\b",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\d+")
_TAIL_CHARS = 200


def answer_signals(text: str, prompt: str = "") -> dict[str, float]:
    """Signals by name; every one finite, counts as they are (their scale is learned).

    Parameters
    ----------
    prompt
        The last thing that was asked, for `echo`.

    Returns
    -------
    ``n_words``, ``distinct_words`` and ``digits`` (shares in [0, 1]), ``concludes``,
    ``breaks_off`` and ``refuses`` (0 or 1), ``n_hedges``, ``n_equations``, ``n_lines``,
    ``longest_number`` (digits), ``compression`` (bytes left of one byte), ``echo`` (share of the
    prompt's words that come back).

    Examples
    --------
    >>> found = answer_signals("2 + 2 = 4. The answer is 4.", "What is 2 + 2?")
    >>> found["concludes"], found["breaks_off"], found["n_equations"], found["echo"]
    (1.0, 0.0, 1.0, 0.6666666666666666)
    """
    half = READ_CHARS // 2
    read = text if len(text) <= READ_CHARS else f"{text[:half]}\n{text[-half:]}"
    words = [word.lower() for word in _WORD.findall(read)]
    asked = {word.lower() for word in _WORD.findall(prompt[-half:])}
    raw = read.encode("utf-8", "replace")
    tail, end = read[-_TAIL_CHARS:], read.rstrip()[-1:]
    counts = {
        "n_words": len(words),
        "n_hedges": len(_HEDGE.findall(read)),
        "n_equations": read.count("="),
        "n_lines": read.count("\n"),
        "longest_number": max((len(n) for n in _NUMBER.findall(read)), default=0),
        "concludes": _CONCLUSION.search(tail) is not None,
        "breaks_off": not (end in set(".!?:;`*)]}\"'”。！？|$>") or end.isdigit()),
        "refuses": _REFUSAL.search(read) is not None,
    }
    shares = {
        "distinct_words": len(set(words)) / max(1, len(words)),
        "digits": sum(map(str.isdigit, read)) / max(1, len(read)),
        "compression": len(zlib.compress(raw, 1)) / max(1, len(raw)),
        "echo": len(asked.intersection(words)) / max(1, len(asked)),
    }
    return {name: float(value) for name, value in (counts | shares).items()}
