"""What was learned before pictures were looked at is learned again, with what pictures say."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from features.featurizer import Featurizer
from features.layout import schema_of, version_of
from features.projection import random_projection
from features.query import Query
from feedback.memory import MemoryDecisionLog
from serving.learner import Learner, LearnerConfig
from tests.makers import Clock, logged, outcome
from tests.mean_policy import MeanPolicy

NOW = datetime(2024, 3, 6, 15, 30, tzinfo=UTC)
PROJECTION = random_projection(4, "x", n_components=2, n_clusters=2)
PICTURE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}


class FourNumbers:
    """An embedder that knows no words."""

    model_id = "four"
    dimension = 4
    max_tokens = 16

    def embed(self, texts):
        return np.full((len(texts), 4), 0.5, np.float32)


@pytest.fixture(scope="module")
def featurizer():
    return Featurizer(FourNumbers(), PROJECTION)


def as_it_was(featurizer, content="How high is it?"):
    """The context that the version before pictures made of ``content``."""
    now = featurizer.featurize(Query([{"role": "user", "content": content}], NOW))
    schema = {k: v for k, v in schema_of(PROJECTION, None).items() if k != "image"}
    namespaces = {name: now.namespaces[name] for name in schema}
    version = version_of(FourNumbers(), PROJECTION, schema, None)
    return now, replace(now, namespaces=namespaces, schema_version=version)


def test_a_context_from_before_pictures_becomes_what_it_would_be_now(featurizer):
    now, before = as_it_was(featurizer)
    found = featurizer.earlier.widened(before)
    assert found.schema_version == featurizer.schema_version
    assert list(found.namespaces) == list(now.namespaces)
    for name, numbers in now.namespaces.items():
        np.testing.assert_array_equal(found.namespaces[name], numbers)


def test_a_context_that_had_a_picture_is_not_read(featurizer):
    _, before = as_it_was(featurizer, [{"type": "text", "text": "What is it?"}, PICTURE])
    assert featurizer.earlier.widened(before) is None


def test_a_context_of_another_model_is_not_read(featurizer):
    _, before = as_it_was(featurizer)
    assert featurizer.earlier.widened(replace(before, schema_version="another")) is None


async def test_a_log_from_before_pictures_is_learned_by_a_learner_that_knows_them(featurizer):
    _, before = as_it_was(featurizer)
    clock = Clock()
    log = MemoryDecisionLog(clock=clock)
    await log.add_decisions([logged("d", context=before)])
    await log.add_outcomes([outcome("d")])
    version = featurizer.schema_version
    deaf = LearnerConfig(publish_s=0.0, schema_version=version)
    learner = Learner(log, MeanPolicy, clock, deaf)
    await learner.step()
    assert learner.status.n_interactions == 0
    await learner.aclose()
    learner = Learner(log, MeanPolicy, clock, replace(deaf, earlier=featurizer.earlier))
    await learner.step()
    assert learner.status.n_interactions == 1
