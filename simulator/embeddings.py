"""Contexts of a table's prompts, made by the real featurizer once and kept on disk.

Two kinds of files, each named by a digest of what it is made from, so that nothing stale is ever
served: raw embeddings, which are slow and outlive a change of the projection, and the contexts.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bandit.primitives import Context

Progress = Callable[[int, int], None]
Matrix = NDArray[np.float32]


class TableFeaturizer(Protocol):
    """The part of `features.featurizer.Featurizer` that the simulator uses."""

    schema_version: str
    embedder: Any

    def embedding_of(self, text: str) -> Matrix:
        """The raw embedding of a query that is this text alone, shape (d,)."""

    def featurize_table(
        self, texts: Sequence[str], embeddings: Matrix | None = None
    ) -> list[Context]:
        """The contexts of queries that are one text each."""


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
    matrix: Matrix

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


def digest(made_with: str, prompts: Sequence[str]) -> str:
    """Content hash of what a file is made from."""
    seal = hashlib.sha256(made_with.encode())
    for prompt in prompts:
        seal.update(hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).digest())
    return seal.hexdigest()[:32]


def build_bank(
    prompts: Sequence[str],
    featurizer: TableFeaturizer,
    folder: Path,
    *,
    progress: Progress | None = None,
) -> FeatureBank:
    """The bank of ``prompts``, from ``folder`` if it was made before."""
    path = folder / f"contexts-{digest(featurizer.schema_version, prompts)}.npz"
    if path.is_file():
        return load_bank(path)
    embeddings = embed_all(prompts, featurizer, folder, progress=progress)
    contexts = featurizer.featurize_table(prompts, embeddings)
    sizes = {name: len(vector) for name, vector in contexts[0].namespaces.items()}
    rows = [np.concatenate(list(context.namespaces.values())) for context in contexts]
    bank = FeatureBank(featurizer.schema_version, sizes, np.stack(rows).astype(np.float32))
    header = np.array(json.dumps([bank.schema_version, dict(bank.sizes)]))
    save_arrays(path, {"matrix": bank.matrix, "header": header})
    return bank


def load_bank(path: Path) -> FeatureBank:
    """The bank that `build_bank` saved."""
    with np.load(path, allow_pickle=False) as saved:
        version, sizes = json.loads(str(saved["header"]))
        return FeatureBank(version, sizes, saved["matrix"])


def embed_all(
    prompts: Sequence[str],
    featurizer: TableFeaturizer,
    folder: Path,
    *,
    progress: Progress | None = None,
) -> Matrix:
    """Raw embeddings of ``prompts``, shape (n, d), from ``folder`` if they were made before."""
    embedder = featurizer.embedder
    made_with = f"{embedder.model_id}|{embedder.max_tokens}|{embedder.manifest!r}"
    path = folder / f"embeddings-{digest(made_with, prompts)}.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as saved:
            return np.asarray(saved["embeddings"], dtype=np.float32)
    unique = list(dict.fromkeys(prompts))
    vectors: dict[str, Matrix] = {}
    # onnxruntime leaves the interpreter free while it works: a thread a core, results in order.
    with ThreadPoolExecutor(os.cpu_count() or 1) as threads:
        for text, vector in zip(unique, threads.map(featurizer.embedding_of, unique), strict=True):
            vectors[text] = vector
            if progress is not None:
                progress(len(vectors), len(unique))
    embeddings = np.stack([vectors[prompt] for prompt in prompts]).astype(np.float32)
    save_arrays(path, {"embeddings": embeddings})
    return embeddings


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    with os.fdopen(handle, "wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    Path(name).replace(path)
