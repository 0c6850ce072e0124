"""Contexts of a table's prompts, made by the real featurizer once and kept on disk.

The file's name is a digest of the feature schema and of every prompt, so that a changed table, or
a changed featurizer, is never served from an old file.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bandit.primitives import Context

Progress = Callable[[int, int], None]


class TextFeaturizer(Protocol):
    """The part of `features.featurizer.Featurizer` that the simulator uses."""

    schema_version: str

    def featurize_text(self, text: str) -> Context:
        """The context of a query that is this text alone."""


@dataclass(frozen=True, slots=True)
class FeatureBank:
    """One context per row, as one matrix.

    Attributes
    ----------
    sizes
        Namespace to length, in order; they add up to d.
    matrix
        float32, shape (n, d).
    """

    schema_version: str
    sizes: Mapping[str, int]
    matrix: NDArray[np.float32]

    def contexts(self) -> list[Context]:
        """A context per row, all of them views of the matrix."""
        ends = np.cumsum(list(self.sizes.values()))[:-1]
        names = list(self.sizes)
        return [
            Context(dict(zip(names, np.split(row, ends), strict=True)), self.schema_version)
            for row in self.matrix
        ]

    def take(self, rows: NDArray[np.int64]) -> "FeatureBank":
        """The bank of ``rows`` only."""
        return FeatureBank(self.schema_version, self.sizes, self.matrix[rows])


def digest(schema_version: str, prompts: Sequence[str]) -> str:
    """Content hash of what a bank is made from."""
    seal = hashlib.sha256(schema_version.encode())
    for prompt in prompts:
        seal.update(hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).digest())
    return seal.hexdigest()[:32]


def build_bank(
    prompts: Sequence[str],
    featurizer: TextFeaturizer,
    cache_dir: Path,
    *,
    progress: Progress | None = None,
) -> FeatureBank:
    """The bank of ``prompts``, from disk if it was made before."""
    path = cache_dir / f"features-{digest(featurizer.schema_version, prompts)}.npz"
    if path.is_file():
        return load_bank(path)
    contexts: dict[str, Context] = {}
    for i, prompt in enumerate(prompts):
        if prompt not in contexts:
            contexts[prompt] = featurizer.featurize_text(prompt)
        if progress is not None:
            progress(i + 1, len(prompts))
    first = contexts[prompts[0]].namespaces
    bank = FeatureBank(
        featurizer.schema_version,
        {name: len(vector) for name, vector in first.items()},
        np.stack([np.concatenate(list(contexts[p].namespaces.values())) for p in prompts]).astype(
            np.float32
        ),
    )
    save_bank(bank, path)
    return bank


def save_bank(bank: FeatureBank, path: Path) -> None:
    """Write the bank whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    with os.fdopen(handle, "wb") as file:
        np.savez(
            file,
            allow_pickle=False,
            matrix=bank.matrix,
            header=np.array(json.dumps([bank.schema_version, dict(bank.sizes)])),
        )
    Path(name).replace(path)


def load_bank(path: Path) -> FeatureBank:
    """The bank that `save_bank` wrote."""
    with np.load(path, allow_pickle=False) as saved:
        version, sizes = json.loads(str(saved["header"]))
        return FeatureBank(version, sizes, saved["matrix"])
