"""From an embedding to few numbers of order 1: whitened principal components and a cluster.

Fitted once on unlabelled prompts and kept as one ``.npz`` file, which holds statistics of those
prompts only. It belongs to one embedding model; another model gets a seeded random projection
until one is fitted (`features.fitting`), and says so.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from features.errors import ProjectionError

LIMIT = 3.0
"""Components beyond three standard deviations are cut: one odd prompt must not be a huge lesson."""

_ROUNDS = 100

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ProjectionInfo:
    """Where a projection comes from.

    Attributes
    ----------
    source
        What it was fitted on, or ``random``.
    model_hash
        Source hash of the embedding model that it belongs to.
    max_tokens
        Cut of the embedded texts; 0 when it was not fitted.
    """

    source: str
    model_hash: str
    n_prompts: int
    seed: int
    max_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Projection:
    """Linear map and centroids.

    Attributes
    ----------
    mean
        Shape (d,), subtracted first.
    components
        Shape (k, d); rows are divided by the standard deviation of what they give.
    centroids
        Unit vectors of shape (c, d).
    """

    mean: Floats
    components: Floats
    centroids: Floats
    info: ProjectionInfo

    def apply(self, embeddings: Floats) -> Floats:
        """Components of ``embeddings`` of shape (n, d): shape (n, k), within [-3, 3]."""
        found = (embeddings - self.mean) @ self.components.T
        return np.clip(found, -LIMIT, LIMIT).astype(np.float32)

    def clusters(self, embeddings: Floats) -> Floats:
        """One-hot of the nearest centroid by cosine: shape (n, c)."""
        nearest = np.argmax(embeddings @ self.centroids.T, axis=1)
        found: Floats = np.eye(len(self.centroids), dtype=np.float32)[nearest]
        return found

    def arrays(self) -> Mapping[str, Floats]:
        """Name to array, as they are stored."""
        return {"mean": self.mean, "components": self.components, "centroids": self.centroids}


def fit_projection(
    embeddings: Floats, info: ProjectionInfo, *, n_components: int = 64, n_clusters: int = 16
) -> Projection:
    """Principal components (whitened) and spherical k-means of unit vectors of shape (n, d).

    The same input and ``info.seed`` give the same projection.

    Raises
    ------
    ProjectionError
        If there are fewer embeddings than components or clusters, or one is not finite.
    """
    n, d = embeddings.shape
    if n <= max(n_components, n_clusters) or n_components > d:
        raise ProjectionError(info.source, f"{n} prompts of {d} dimensions are too few")
    if not np.isfinite(embeddings).all():
        raise ProjectionError(info.source, "an embedding is not finite")
    mean = embeddings.mean(axis=0)
    _, values, rows = np.linalg.svd(embeddings - mean, full_matrices=False)
    spread = np.maximum(values[:n_components] / np.sqrt(n - 1), 1e-6)
    # The sign of a component is arbitrary: fixed, so that two machines agree.
    signs = np.sign(rows[np.arange(n_components), np.abs(rows[:n_components]).argmax(axis=1)])
    components = rows[:n_components] * (signs / spread)[:, None]
    centroids = _spherical_means(embeddings, n_clusters, np.random.default_rng(info.seed))
    return Projection(
        mean.astype(np.float32),
        components.astype(np.float32),
        centroids.astype(np.float32),
        info,
    )


def random_projection(
    dimension: int, model_hash: str, *, n_components: int = 64, n_clusters: int = 16, seed: int = 0
) -> Projection:
    """Orthogonal random directions, scaled so that unit vectors give values of order 1.

    The stand-in for a model without a fitted projection: distances are kept about as they were,
    but nothing is centred, so it separates prompts less well.
    """
    rng = np.random.default_rng(seed)
    n_components = min(n_components, dimension)
    square, _ = np.linalg.qr(rng.standard_normal((dimension, n_components)))
    centroids = rng.standard_normal((n_clusters, dimension))
    return Projection(
        np.zeros(dimension, dtype=np.float32),
        (square.T * np.sqrt(dimension)).astype(np.float32),
        (centroids / np.linalg.norm(centroids, axis=1, keepdims=True)).astype(np.float32),
        ProjectionInfo("random", model_hash, 0, seed),
    )


def save_projection(projection: Projection, path: Path) -> None:
    """Write the projection whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        header = np.array(json.dumps(asdict(projection.info)))
        np.savez_compressed(file, allow_pickle=False, info=header, **projection.arrays())
    part.replace(path)


def load_projection(path: Path, *, dimension: int, model_hash: str) -> Projection:
    """The projection that `save_projection` wrote, checked against the embedding model.

    Raises
    ------
    ProjectionError
        If it is damaged or belongs to another model.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as saved:
            info = ProjectionInfo(**json.loads(str(saved["info"])))
            names = ("mean", "components", "centroids")
            mean, components, centroids = (saved[name].astype(np.float32) for name in names)
    except Exception as error:  # a damaged zip raises whatever it likes
        raise ProjectionError(str(path), f"cannot be read ({error})") from error
    if info.model_hash != model_hash:
        raise ProjectionError(
            str(path), f"fitted for the model {info.model_hash[:12]}, not {model_hash[:12]}"
        )
    shapes = (mean.shape, components.shape[1:], centroids.shape[1:])
    finite = all(np.isfinite(array).all() for array in (mean, components, centroids))
    if shapes != ((dimension,),) * 3 or not finite:
        raise ProjectionError(str(path), f"shapes {shapes} or values do not fit {dimension}")
    return Projection(mean, components, centroids, info)


def _spherical_means(unit: Floats, n_clusters: int, rng: np.random.Generator) -> Floats:
    """Unit centroids of cosine k-means, started by k-means++."""
    centroids = unit[_spread_out(unit, n_clusters, rng)]
    nearest = np.full(len(unit), -1)
    for _ in range(_ROUNDS):
        before, nearest = nearest, np.argmax(unit @ centroids.T, axis=1)
        if np.array_equal(before, nearest):
            break
        for cluster in range(n_clusters):
            # An empty cluster keeps its centroid.
            total = unit[nearest == cluster].sum(axis=0)
            if np.linalg.norm(total) > 0:
                centroids[cluster] = total / np.linalg.norm(total)
    return centroids


def _spread_out(unit: Floats, n: int, rng: np.random.Generator) -> list[int]:
    """Rows to start from: each drawn with probability its distance from the nearest before it."""
    chosen = [int(rng.integers(len(unit)))]
    distance = 1 - unit @ unit[chosen[0]]
    for _ in range(n - 1):
        weights = np.maximum(distance, 0).astype(np.float64) + 1e-12
        chosen.append(int(rng.choice(len(unit), p=weights / weights.sum())))
        distance = np.minimum(distance, 1 - unit @ unit[chosen[-1]])
    return chosen
