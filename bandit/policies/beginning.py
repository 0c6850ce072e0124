"""What to believe while there are few votes: of the arms, and of what tells queries apart."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from bandit.primitives import Arm, FloatVector

_HEAD_START = 0.15
"""Quality that an arm of the cloud is ahead before anybody has voted."""
_HEAD_START_VOTES = 20
"""Votes after which half of that is left."""
_BELIEVED = 500
"""Votes after which the models are taken at their word, where hardly an answer gets one."""
NO_PULL: Mapping[str, Any] = MappingProxyType({"n": _BELIEVED})
"""State of a `Pull` that is over."""
_PRIOR = 0.1
"""What "queries do not differ" counts for, in squared differences of quality."""
_MEMORY = 0.99


def head_start(arm: Arm, n_votes: int, lasting: float) -> float:
    """Quality that an arm is expected to be ahead of others for its tier.

    Parameters
    ----------
    n_votes
        How many votes there are.
    lasting
        Share of wrong guesses that stand, in [0, 1]; see `Pull.lasting`.

    Examples
    --------
    >>> head_start(Arm("cloud", "cloud", "m"), 20, 1.0)
    0.075
    >>> head_start(Arm("edge", "edge", "m"), 20, 1.0)
    0.0
    """
    if arm.tier != "cloud":
        return 0.0
    return lasting * _HEAD_START * _HEAD_START_VOTES / (n_votes + _HEAD_START_VOTES)


class Pull:
    """Pulls a query towards the mean query, as far as what told queries apart has not told so far.

    A linear model of few votes says wildly different things of different queries. Before it learns
    a vote, what it says of the query less what it says of the mean query (z) is compared with what
    the vote leaves over beyond the mean (r): the slope of r on z, shrunk to 0 by ridge, is the
    share of z to believe. Least squares does this once for all data (Copas, "Regression,
    prediction and shrinkage", JRSS B 1983); here every vote is predicted before it is learned, and
    the past fades, because the model gets better. The more votes, the less it may pull, and the
    less the sooner a wrong guess is put right: where every answer is judged, what a wild guess was
    wrong about is worth knowing.

    Parameters
    ----------
    n_features
        Length of the contexts.
    saved
        What `state` gave, to continue from.
    """

    def __init__(self, n_features: int, saved: Mapping[str, Any] | None = None) -> None:
        state = saved or {}
        self._mean = np.array(state.get("mean", np.zeros(n_features)), dtype=np.float64)
        self._n: int = state.get("n", 0)
        self._n_answers: int = state.get("n_answers", 0)
        self._n_corrected: int = state.get("n_corrected", 0)
        self._zz: float = state.get("zz", 0.0)
        self._zr: float = state.get("zr", 0.0)

    @property
    def over(self) -> bool:
        """Whether there were so many votes that nothing is pulled any more."""
        return self._n >= _BELIEVED

    @property
    def mean(self) -> FloatVector:
        """The mean query, shape (n_features,)."""
        return self._mean.astype(np.float32)

    @property
    def lasting(self) -> float:
        """Share of the answers, in [0, 1], of which a wrong guess stands; see `corrected`."""
        return max(0.0, 1.0 - self._n_corrected / self._n_answers) if self._n_answers else 1.0

    @property
    def slope(self) -> float:
        """Share of a difference between queries to believe, in [0, 1]."""
        believed = _BELIEVED * self.lasting
        if self._n >= believed:
            return 1.0
        return min(1.0, max(self._n / believed, self._zr / (_PRIOR + self._zz)))

    def __call__(self, x: FloatVector) -> FloatVector:
        """``x`` of shape (n_features,), pulled."""
        slope = self.slope
        if slope == 1.0:
            return x
        return (self._mean + slope * (x - self._mean)).astype(np.float32)

    def answered(self) -> None:
        """Count an answer, voted on or not."""
        self._n_answers += 1

    def corrected(self) -> None:
        """Count an answer whose vote puts right what was guessed wrong of its arm.

        A judge may be as wrong as the guess. Where money had a price when the arm was chosen, one
        that does not look worth it is hardly asked again.
        """
        self._n_corrected += 1

    def note(self, x: FloatVector, *, apart: float, left: float) -> None:
        """Count a vote: what the model said beyond the mean query, and what there really was."""
        self._zz = _MEMORY * self._zz + apart * apart
        self._zr = _MEMORY * self._zr + apart * left
        self._n += 1
        self._mean += (x - self._mean) / self._n

    def state(self) -> dict[str, Any]:
        """Everything, as JSON-ready data."""
        return {
            "mean": self._mean.tolist(),
            "n": self._n,
            "n_answers": self._n_answers,
            "n_corrected": self._n_corrected,
            "zz": self._zz,
            "zr": self._zr,
        }
