"""Which features there are, and the digest of all that defines them."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from features.conversation import CONVERSATION, TIME
from features.image import IMAGE, Sight
from features.projection import Projection
from features.statistics import STATISTICS, STATISTICS_DIGEST
from features.task import TASKS, TASKS_DIGEST

_LAYOUT = 1
"""Raised when a feature means something else under the same name and no table of rules shows it."""

Floats = NDArray[np.float32]


class TextEmbedder(Protocol):
    """The part of `features.embedding.Embedder` that a featurizer needs."""

    model_id: str
    dimension: int
    max_tokens: int

    def embed(self, texts: Sequence[str]) -> Floats:
        """Unit vectors of shape (len(texts), dimension)."""


def schema_of(projection: Projection, sight: Sight | None) -> Mapping[str, tuple[str, ...]]:
    """Namespace to the names of its features, in order."""
    seen = {} if sight is None else {"image_embedding": sight.names}
    return {
        "constant": ("constant",),
        "embedding": tuple(f"component_{i}" for i in range(len(projection.components))),
        "cluster": tuple(f"cluster_{i}" for i in range(len(projection.centroids))),
        "text": STATISTICS,
        "task": TASKS,
        "conversation": CONVERSATION,
        "time": TIME,
        # Last, so that a query without pictures is to a policy what it was before there were any.
        "image": IMAGE,
        **seen,
    }


def version_of(
    embedder: TextEmbedder,
    projection: Projection,
    schema: Mapping[str, tuple[str, ...]],
    sight: Sight | None,
) -> str:
    """Digest of names, embedding model, cut, projection and encoder of pictures."""
    names = [(name, list(features)) for name, features in schema.items()]
    rules = [_LAYOUT, STATISTICS_DIGEST, TASKS_DIGEST]
    defined = json.dumps([rules, embedder.model_id, embedder.max_tokens, names])
    seal = hashlib.sha256(defined.encode())
    for name, array in projection.arrays().items():
        seal.update(name.encode() + np.ascontiguousarray(array).tobytes())
    if sight is not None:
        seal.update(sight.encoder.model_id.encode())
    return seal.hexdigest()[:16]
