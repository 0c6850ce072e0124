"""Vowpal Wabbit behind two small classes; nothing else in the project imports it.

Features reach VW as integers and floats through numpy, never as text: a newline in a string would
add an arm, a ``|`` a namespace. Every number is checked before it gets here, and once more here:
one infinite label, or one feature of 1e15, ruins a VW model for good, and an example without arms
is a crash that no ``except`` stops.
"""

import struct
from collections.abc import Sequence

import numpy as np
import vowpal_wabbit_next as vw
from numpy.typing import NDArray

from bandit.errors import BadInteractionError, BadSnapshotError
from bandit.primitives import FloatVector

VW_VERSION: str = vw.VW_VERSION
MAX_ARMS = 32
"""Arms that one model can tell apart."""

# VW keeps a ring of 256 parsed examples, 9 MB a workspace; ours are made one at a time.
_SMALL = ("--ring_size", "4")
_LARGEST_SQUARE = 1e8
_LARGEST_LABEL = _LARGEST_WEIGHT = 1e3
# VW clips what it predicts to the labels it has seen. Where those are all alike it then sees no
# error, while the weights that we read go on growing.
_UNCLIPPED = ("--min_prediction", f"{-_LARGEST_LABEL:g}", "--max_prediction", f"{_LARGEST_LABEL:g}")


def check_features(x: FloatVector) -> None:
    """Refuse features that would ruin a model: one that is not finite, or a norm above 1e4.

    Raises
    ------
    BadInteractionError
    """
    # What is not a number is not below anything either.
    if not float(x.dot(x)) <= _LARGEST_SQUARE:
        raise BadInteractionError("context", "a value that is not finite, or far from order 1")


class _Workspace(vw.Workspace):  # type: ignore[misc]
    """VW without a look at the kind of label of every lesson: looking takes as long as learning."""

    def _check_label(self, example: object) -> None:
        """Pass it: what is taught here has the one kind of label that its model learns from."""


def _bits(n_weights: int) -> int:
    return max(10, (n_weights - 1).bit_length())


class Slate:
    """A VW example that is filled again for every lesson: making one takes longer than learning it.

    Models of the same size may share one. What was filled in last is not filled in again, so a
    vector must not be changed in place between two lessons.
    """

    def __init__(self) -> None:
        self._example: vw.Example | None = None
        self._x: FloatVector | None = None
        self._block = -1

    def filled(self, x: FloatVector, block: int, indices: NDArray[np.uint64]) -> vw.Example:
        """The example with the features ``x`` of shape (n_features,) at the places of a block.

        Parameters
        ----------
        indices
            Places in VW's weights, shape (n_blocks, n_features).

        Raises
        ------
        BadInteractionError
            If they would ruin a model.
        """
        if self._example is None:
            # Whoever only predicts never needs it.
            self._example = vw.Example()
            self._features = self._example["x"]
        if x is not self._x:
            check_features(x)
        if x is not self._x or block != self._block:
            self._features.truncate_to(0)
            self._features.push_many_features(indices[block], x)
            self._x, self._block = x, block
        return self._example


class Regressor:
    """Squared-loss linear regression by VW, with averaged weights; one block per arm.

    ``--coin`` (Orabona and Pal, "Coin betting and parameter-free online learning", 2016) has no
    learning rate to tune and does not care how features are scaled. Its last weights still jump
    with every noisy vote, so predictions use their polynomial-decay average (Shamir and Zhang,
    "Stochastic gradient descent for non-smooth optimization", 2013, section 4), kept per block:
    ``w_avg += (w - w_avg) (eta + 1) / (eta + t)``.

    Parameters
    ----------
    n_features
        Length of the vectors that will be given.
    n_blocks
        Blocks of weights; block ``b`` is used by arm ``b`` alone.
    saved
        `dump`'s bytes, to continue from.
    slate
        Shared with models that learn at the same places; None for one of its own.
    """

    arguments = ("--coin", "--noconstant", "--quiet", *_UNCLIPPED, *_SMALL)
    eta = 1.0

    def __init__(
        self,
        n_features: int,
        *,
        n_blocks: int = MAX_ARMS,
        saved: bytes | None = None,
        slate: Slate | None = None,
    ) -> None:
        self.n_features = n_features
        self._slate = slate or Slate()
        places = np.arange(n_blocks * n_features, dtype=np.uint64)
        self._indices = places.reshape(n_blocks, n_features)
        self._average = np.zeros((n_blocks, n_features), dtype=np.float32)
        # Views of its rows, made once: numpy takes longer to make one than to add it up.
        self._averages: list[FloatVector] = [*self._average]
        self._n_learned = [0] * n_blocks
        self._arguments = [*self.arguments, "-b", str(_bits(n_features * n_blocks))]
        self._model: bytes | None = None
        self._workspace: vw.Workspace | None = None
        if saved is not None:
            try:
                self._model = self._read(saved)
            except (ValueError, struct.error) as error:
                raise BadSnapshotError(str(error)) from error

    def _vw(self) -> vw.Workspace:
        # Made when it is first needed: whoever only predicts never needs it, and it takes 2.5 ms.
        if self._workspace is None:
            try:
                self._workspace = _Workspace(self._arguments, model_data=self._model)
            except RuntimeError as error:
                raise BadSnapshotError(str(error)) from error
            self._model = None
            # Views into VW's memory, one a block. Column 0 is the weight, the others are the
            # optimiser's.
            used = self._workspace.weights()[: self._indices.size, 0, 0]
            self._latest: list[FloatVector] = [*used.reshape(self._indices.shape)]
        return self._workspace

    def n_learned(self, block: int = 0) -> int:
        """Lessons that a block has had."""
        return self._n_learned[block]

    def predict(self, x: FloatVector, block: int = 0) -> float:
        """The value at ``x`` of shape (n_features,); 0 before anything was learned."""
        return float(self._averages[block].dot(x))

    def predict_blocks(self, x: FloatVector, n_blocks: int) -> list[float]:
        """`predict` of the first ``n_blocks`` blocks, in one product."""
        values: list[float] = self._average[:n_blocks].dot(x).tolist()
        return values

    def predict_latest(self, x: FloatVector, block: int = 0) -> float:
        """The value by VW's latest weights: noisier, but it does not lag behind."""
        if self._workspace is None:
            self._vw()
        return float(self._latest[block].dot(x))

    def learn(self, x: FloatVector, label: float, block: int = 0, *, weight: float = 1.0) -> None:
        """Update towards ``label``, a finite number of order 1, with some importance.

        Raises
        ------
        BadInteractionError
            If a number would ruin the model.
        """
        example = self._slate.filled(x, block, self._indices)
        if not abs(label) <= _LARGEST_LABEL:
            raise BadInteractionError("label", label)
        if not 0.0 < weight <= _LARGEST_WEIGHT:
            raise BadInteractionError("weight", weight)
        workspace = self._workspace or self._vw()
        example.set_label(vw.SimpleLabel(label, weight))
        workspace.learn_one(example)
        n = self._n_learned[block] = self._n_learned[block] + 1
        average = self._averages[block]
        average += (self.eta + 1.0) / (self.eta + n) * (self._latest[block] - average)

    def forget(self, block: int) -> None:
        """Make a block what it was before anything was learned."""
        places = slice(block * self.n_features, (block + 1) * self.n_features)
        self._vw().weights()[places] = 0.0
        self._average[block] = 0.0
        self._n_learned[block] = 0

    def contributions(self, x: FloatVector, block: int = 0) -> NDArray[np.float32]:
        """What each feature adds to the prediction, shape (n_features,); they sum to it."""
        return np.asarray(self._average[block] * x, dtype=np.float32)

    def dump(self) -> bytes:
        """The weights with everything that further learning needs."""
        used = max((b for b, n in enumerate(self._n_learned, 1) if n), default=0)
        model = self._model if self._model is not None else bytes(self._vw().serialize())
        return b"".join(
            (
                struct.pack("<II", used, len(model)),
                model,
                struct.pack(f"<{used}q", *self._n_learned[:used]),
                self._average[:used].astype("<f4").tobytes(),
            )
        )

    def _read(self, saved: bytes) -> bytes:
        used, size = struct.unpack_from("<II", saved)
        counts, averages = 8 + size, 8 + size + 8 * used
        self._n_learned[:used] = struct.unpack_from(f"<{used}q", saved, counts)
        flat = np.frombuffer(saved, "<f4", used * self.n_features, averages)
        self._average[:used] = flat.reshape(used, self.n_features)
        return saved[8:counts]


class SquareCB:
    """VW's own contextual bandit: ``--cb_explore_adf --squarecb`` with constant gamma.

    Reference: Foster and Rakhlin, "Beyond UCB: Optimal and Efficient Contextual Bandits with
    Regression Oracles", 2020. With ``--gamma_exponent 0`` it never stops looking.

    Parameters
    ----------
    n_features
        Length of the vectors; each arm has its block of weights, beside a shared one.
    gamma
        Sharpness per unit of loss.
    """

    def __init__(self, n_features: int, *, gamma: float, saved: bytes | None = None) -> None:
        self.n_features = n_features
        arguments = [
            "--cb_explore_adf",
            "--squarecb",
            *("--gamma_scale", repr(gamma), "--gamma_exponent", "0"),
            *("--cb_type", "mtr", "--coin", "--noconstant", "--quiet", *_SMALL),
            *("-b", str(_bits(n_features * (MAX_ARMS + 1)))),
        ]
        try:
            self._workspace = vw.Workspace(arguments, model_data=saved)
        except RuntimeError as error:
            raise BadSnapshotError(str(error)) from error
        self._indices = np.arange(n_features, dtype=np.uint64)

    def _examples(self, x: FloatVector, blocks: Sequence[int]) -> list[vw.Example]:
        shared = vw.Example()
        shared.set_label(vw.CBLabel(shared=True))
        examples = [shared]
        for block in blocks:
            example = vw.Example()
            example["s"].push_many_features(self._indices, x)
            example["x"].push_many_features(
                self._indices + np.uint64((block + 1) * self.n_features), x
            )
            example.set_label(vw.CBLabel())
            examples.append(example)
        return examples

    def predict(self, x: FloatVector, blocks: Sequence[int]) -> list[float]:
        """Probabilities of ``blocks``, in their order; VW itself sorts them."""
        pmf = [0.0] * len(blocks)
        for action, p in self._workspace.predict_one(self._examples(x, blocks)):
            pmf[action] = float(p)
        return pmf

    def learn(
        self, x: FloatVector, blocks: Sequence[int], chosen: int, *, loss: float, propensity: float
    ) -> None:
        """Update from the loss in [0, 1] of ``blocks[chosen]``, of at least two.

        Raises
        ------
        BadInteractionError
            If a number would ruin the model, or crash VW.
        """
        check_features(x)
        if len(blocks) < 2 or not 0 <= chosen < len(blocks):
            raise BadInteractionError("arms", f"{chosen} of {len(blocks)}")
        if not 0.0 <= loss <= 1.0:
            raise BadInteractionError("loss", loss)
        if not 0.0 < propensity <= 1.0:
            raise BadInteractionError("propensity", propensity)
        examples = self._examples(x, blocks)
        examples[chosen + 1].set_label(vw.CBLabel(label=(loss, propensity)))
        self._workspace.learn_one(examples)

    def dump(self) -> bytes:
        """The weights with everything that further learning needs."""
        return bytes(self._workspace.serialize())
