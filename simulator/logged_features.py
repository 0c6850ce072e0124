"""Contexts and sessions of logged decisions, as arrays."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bandit.primitives import Decision


def feature_matrix(decisions: Sequence[Decision]) -> NDArray[np.float64]:
    """Contexts in a row each, shape (n, d); zeros where the features were of another schema."""
    usual = _usual(decisions)
    flat = [
        np.concatenate([np.ravel(part) for part in d.context.namespaces.values()])
        if d.context.schema_version == usual and d.context.features_ok and d.context.namespaces
        else np.empty(0)
        for d in decisions
    ]
    features = np.zeros((len(flat), max(len(row) for row in flat)))
    for i, row in enumerate(flat):
        features[i, : len(row)] = row
    return features


def n_of_other_features(decisions: Sequence[Decision]) -> int:
    """Decisions of which `feature_matrix` says nothing: their schema is not the usual one."""
    usual = _usual(decisions)
    return sum(d.context.features_ok and d.context.schema_version != usual for d in decisions)


def _usual(decisions: Sequence[Decision]) -> str:
    versions = Counter(d.context.schema_version for d in decisions if d.context.features_ok)
    return versions.most_common(1)[0][0] if versions else ""


def session_numbers(decisions: Sequence[Decision]) -> NDArray[np.int64]:
    """Group of every decision: its session if it has one, else itself."""
    names = [str(d.tags.get("session_id") or f"\x00{d.decision_id}") for d in decisions]
    return np.asarray(np.unique(names, return_inverse=True)[1], dtype=np.int64)
