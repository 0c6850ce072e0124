"""The featurizer's layout, its cache, and what it does when the model fails."""

import logging
from datetime import UTC, datetime

import numpy as np
import pytest

from features.errors import EmbeddingModelError
from features.featurizer import Featurizer
from features.projection import random_projection
from features.query import Query

NOW = datetime(2024, 3, 6, 15, 30, tzinfo=UTC)


class CountingEmbedder:
    """An embedder of 12 dimensions that gives what it is told to."""

    model_id = "counting"
    dimension = 12
    max_tokens = 128

    def __init__(self, answer=None):
        self.calls = []
        self.answer = answer

    def embed(self, texts):
        self.calls.extend(texts)
        if isinstance(self.answer, Exception):
            raise self.answer
        rng = np.random.default_rng([sum(map(ord, text)) for text in texts])
        vectors = rng.standard_normal((len(texts), 12)).astype(np.float32)
        return vectors / np.linalg.norm(vectors) if self.answer is None else self.answer


def made(embedder=None, **rest):
    projection = random_projection(12, "x", n_components=4, n_clusters=3)
    return Featurizer(embedder or CountingEmbedder(), projection, **rest)


def query(text="What is the tallest tree in the world?"):
    return Query([{"role": "user", "content": text}], NOW)


def test_namespaces_come_in_their_order_with_the_lengths_of_the_schema():
    featurizer = made()
    found = featurizer.featurize(query()).namespaces
    assert list(found) == list(featurizer.schema)
    assert ",".join(found) == "constant,embedding,cluster,text,task,conversation,time,image"
    assert {k: len(v) for k, v in found.items()} == {
        k: len(v) for k, v in featurizer.schema.items()
    }


@pytest.mark.parametrize(
    "answer",
    [
        EmbeddingModelError("m", "broke", "mend it"),
        RuntimeError("surprise"),
        np.full((1, 12), np.nan, dtype=np.float32),
        np.full((1, 12), np.inf, dtype=np.float32),
        np.zeros((1, 5), dtype=np.float32),
    ],
)
def test_a_failing_model_gives_zeros_and_says_so(answer, caplog):
    caplog.set_level(logging.CRITICAL)
    found = made(CountingEmbedder(answer)).featurize(query())
    assert not found.features_ok
    assert not found.namespaces["embedding"].any()
    assert found.namespaces["text"].any()


def test_a_failure_is_not_remembered(caplog):
    caplog.set_level(logging.CRITICAL)
    embedder = CountingEmbedder(np.full((1, 12), np.nan, dtype=np.float32))
    featurizer = made(embedder)
    featurizer.featurize(query())
    embedder.answer = None
    assert featurizer.featurize(query()).features_ok


def test_the_same_words_are_embedded_once():
    embedder = CountingEmbedder()
    featurizer = made(embedder)
    first, second = featurizer.featurize(query()), featurizer.featurize(query())
    assert len(embedder.calls) == 1
    assert np.array_equal(first.namespaces["embedding"], second.namespaces["embedding"])


def test_the_oldest_text_is_forgotten_first():
    embedder = CountingEmbedder()
    featurizer = made(embedder, cache_size=2)
    for name in ("one", "two", "one", "three", "one", "two"):
        featurizer.featurize_text(f"Please tell me all about number {name}")
    assert len(embedder.calls) == 4


def test_a_cache_of_size_zero_remembers_nothing():
    embedder = CountingEmbedder()
    featurizer = made(embedder, cache_size=0)
    featurizer.featurize(query())
    featurizer.featurize(query())
    assert len(embedder.calls) == 2


def test_a_text_alone_is_a_query_without_a_time():
    featurizer = made()
    text = "What is the tallest tree in the world?"
    alone, whole = featurizer.featurize_text(text), featurizer.featurize(query(text))
    same = [k for k in alone.namespaces if (alone.namespaces[k] == whole.namespaces[k]).all()]
    assert set(alone.namespaces) - set(same) == {"time"}
    assert not alone.namespaces["time"].any()


def test_a_table_of_embeddings_gives_what_the_texts_give():
    featurizer = made()
    texts = ["Write a poem about the sea and the wind.", "How many eggs are in four dozen?"]
    embeddings = np.stack([featurizer.embedding_of(text) for text in texts])
    table = featurizer.featurize_table(texts, embeddings, received_at=[NOW, NOW])
    for text, row in zip(texts, table, strict=True):
        one = featurizer.featurize_text(text, received_at=NOW)
        # One product of two rows and two products of one row differ in the last bits.
        assert all(np.allclose(row.namespaces[k], v, atol=1e-5) for k, v in one.namespaces.items())


def test_the_schema_version_changes_with_the_model_and_the_cut():
    other_model, other_cut = CountingEmbedder(), CountingEmbedder()
    other_model.model_id, other_cut.max_tokens = "another", 64
    versions = {made(e).schema_version for e in (CountingEmbedder(), other_model, other_cut)}
    assert len(versions) == 3


def test_the_schema_version_is_the_same_in_every_process():
    assert made().schema_version == made().schema_version
