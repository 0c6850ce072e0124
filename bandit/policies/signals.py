"""What an answer showed of itself, brought to one scale: per edge model, whatever it reports."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from bandit.errors import BadInteractionError
from bandit.policies.linear import Vector

MAX_SIGNALS = 32
"""Different signals that are told apart; further ones are ignored."""
_MEMORY = 500
"""Answers over which scale and ranks are remembered."""
_CLIP = 3.0
_DIGESTS = 4
"""Edge models whose scale is kept."""

EXPECTED_SIGN: Mapping[str, float] = MappingProxyType(
    {
        "logprob_mean": 1.0,
        "logprob_q05": 0.5,
        "margin_mean": 1.0,
        "entropy_mean": -1.0,
        "n_words": -1.0,
        "n_tokens": -1.0,
        "n_hedges": -1.0,
        "n_equations": -0.5,
        "concludes": 1.0,
        "breaks_off": -1.0,
        "refuses": -1.0,
        "truncated": -1.0,
        "format_failed": -1.0,
    }
)
"""Which way a signal points before any label: sure models are right more often (zero-shot
confidence of small models, arXiv 2605.02241), long answers and broken-off ones less often."""


class SignalScale:
    """Standardises signals by the running mean and deviation of each edge model's own.

    A model that was never seen starts with the scale of the one before it, at little weight.

    Parameters
    ----------
    saved
        What `state` gave, to continue from.
    """

    def __init__(self, saved: Mapping[str, Any] | None = None) -> None:
        state = saved or {}
        self._names: list[str] = list(state.get("names", []))
        self._rename()
        self._stats: dict[str, tuple[float, Vector, Vector]] = {
            digest: (n, np.array(mean), np.array(square))
            for digest, (n, mean, square) in state.get("stats", {}).items()
        }

    def state(self) -> dict[str, Any]:
        """Everything, as JSON-ready data."""
        return {
            "names": self._names,
            "stats": {d: (n, m.tolist(), s.tolist()) for d, (n, m, s) in self._stats.items()},
        }

    def vector(self, signals: Mapping[str, float], digest: str) -> tuple[Vector, Vector]:
        """Standardised signals and which of them there are, each of shape (MAX_SIGNALS,).

        An absent signal is 0, the mean; every value lies within three deviations.

        Raises
        ------
        BadInteractionError
            If a signal is not finite.
        """
        raw, known = self._raw(signals)
        _, mean, square = self._stats.get(digest) or self._latest()
        deviation = np.sqrt(np.maximum(square - mean * mean, 0.0) + 1e-6)
        return np.clip((raw - mean) / deviation, -_CLIP, _CLIP) * known, known

    def note(self, signals: Mapping[str, float], digest: str) -> None:
        """Count one answer's signals; no label is needed for that."""
        for name in signals:
            if name not in self._names and len(self._names) < MAX_SIGNALS:
                self._names.append(name)
                self._rename()
        raw, known = self._raw(signals)
        n, mean, square = self._stats.get(digest) or self._latest()
        share = known / min(n + 1.0, _MEMORY)
        moved = (n + 1.0, mean + share * (raw - mean), square + share * (raw * raw - square))
        # The latest digest lies last; the oldest goes.
        self._stats.pop(digest, None)
        self._stats[digest] = moved
        while len(self._stats) > _DIGESTS:
            del self._stats[next(iter(self._stats))]

    def hunch(self, z: Vector) -> float:
        """How good the answer looks before any label, as a rank in (0, 1); 0.5 knows nothing.

        The weighted sum of the signals whose direction is known (`EXPECTED_SIGN`), over its own
        deviation were they independent, through the normal distribution function.
        """
        score = float(z[: len(self._signs)] @ self._signs)
        return 0.5 * math.erfc(-score / math.sqrt(2.0))

    def _rename(self) -> None:
        self._places = {name: i for i, name in enumerate(self._names)}
        signs = np.array([EXPECTED_SIGN.get(name, 0.0) for name in self._names])
        self._signs = signs / max(1.0, math.sqrt(float(signs @ signs)))

    def _raw(self, signals: Mapping[str, float]) -> tuple[Vector, Vector]:
        raw, known = np.zeros(MAX_SIGNALS), np.zeros(MAX_SIGNALS)
        for name, value in signals.items():
            if not math.isfinite(value):
                raise BadInteractionError(f"signals.{name}", value)
            place = self._places.get(name)
            if place is not None:
                # Counts are compared by their ratio.
                raw[place] = math.log1p(max(0.0, value)) if name.startswith("n_") else value
                known[place] = 1.0
        return raw, known

    def _latest(self) -> tuple[float, Vector, Vector]:
        if not self._stats:
            return 0.0, np.zeros(MAX_SIGNALS), np.ones(MAX_SIGNALS)
        n, mean, square = next(reversed(self._stats.values()))
        return min(n, 20.0), mean, square
