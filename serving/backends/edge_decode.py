"""From a model's tokens to text, and to how sure the model was."""

import codecs
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class StopMatcher:
    """Passes text on until a stop sequence appears, and holds back what may become one.

    Examples
    --------
    >>> matcher = StopMatcher(["END"])
    >>> matcher.feed("the E"), matcher.feed("N"), matcher.feed("D of it"), matcher.stopped
    ('the ', '', '', True)
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.stopped = False

    def feed(self, text: str) -> str:
        """The part of the text so far that is safe to show."""
        if self.stopped:
            return ""
        text = self._held + text
        # The one that ends first wins, so that it does not matter how the text was cut in pieces.
        found = [(at + len(stop), at) for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self.stopped = True
            self._held = ""
            return text[: min(found)[1]]
        keep = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """What was held back, now that nothing follows."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of ``text`` that begins ``stop``."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)


class TokenText:
    """Text of a stream of token bytes: characters split over tokens, and stop sequences."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._matcher = StopMatcher(stops)

    @property
    def stopped(self) -> bool:
        """Whether a stop sequence was met."""
        return self._matcher.stopped

    def feed(self, piece: bytes) -> str:
        """Text that can be shown after one more token."""
        return self._matcher.feed(self._decoder.decode(piece))

    def flush(self) -> str:
        """The rest, after the last token; half a character is dropped."""
        return self._matcher.flush()


class Confidence:
    """How sure the model was of each token it gave, before temperature and filters.

    Log-probabilities are natural; the margin is the difference of the two highest probabilities;
    entropy is in nats.
    """

    def __init__(self, n_vocab: int) -> None:
        self._centred = np.empty(n_vocab, np.float32)
        self._weights = np.empty(n_vocab, np.float32)
        self._rows: list[tuple[float, float, float]] = []

    def add(self, logits: NDArray[np.float32], token: int) -> None:
        """Take in the logits, of shape (n_vocab,), that ``token`` was drawn from.

        One pass each for the maximum, the exponentials and their sums; nothing is sorted.
        """
        centred, weights = self._centred, self._weights
        top = int(logits.argmax())
        np.subtract(logits, logits[top], out=centred)
        np.exp(centred, out=weights)
        total = float(weights.sum())
        # A token that a grammar rules out may have -inf, and 0 times that is not a number.
        np.maximum(centred, -1e4, out=centred)
        log_total = float(np.log(total))
        entropy = log_total - float(weights @ centred) / total
        weights[top] = 0.0
        margin = (1.0 - float(weights.max())) / total
        self._rows.append((float(centred[token]) - log_total, margin, entropy))

    def summary(self) -> dict[str, float]:
        """The whole answer in a few numbers; only ``n_tokens`` when it has no tokens."""
        if not self._rows:
            return {"n_tokens": 0.0}
        logprob, margin, entropy = np.asarray(self._rows).T
        q05, q25, q50 = np.quantile(logprob, (0.05, 0.25, 0.5))
        numbers = {
            "logprob_mean": logprob.mean(),
            "logprob_min": logprob.min(),
            "logprob_q05": q05,
            "logprob_q25": q25,
            "logprob_q50": q50,
            "margin_mean": margin.mean(),
            "margin_min": margin.min(),
            "entropy_mean": entropy.mean(),
            "n_tokens": len(self._rows),
        }
        return {name: float(number) for name, number in numbers.items()}
