"""A real CLIP model, of the smallest size and with random weights, behind the featurizer."""

import os
import subprocess
import sys

import numpy as np
import pytest

from features.errors import EmbeddingModelError
from features.featurizer import FeatureConfig, build_featurizer
from features.image_encoder import load_image_encoder
from features.model_store import DEFAULT_MODEL, locate
from features.query import Query
from tests import pictures
from tests.running import REPOSITORY
from tests.unit.test_featurizer import NOW


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.tiny_clip", str(folder / "made")],
        cwd=REPOSITORY, env={**os.environ, **offline}, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return folder / "made" / "model"


@pytest.fixture(scope="module")
def seeing(clip, models_dir):
    return build_featurizer(FeatureConfig(image_model=str(clip)), models_dir)


def asking(*images):
    urls = [pictures.url(pictures.encoded(image)) for image in images]
    return Query([pictures.message(*urls)], NOW)


def test_pictures_become_unit_vectors_that_tell_them_apart(clip):
    encoder = load_image_encoder(str(clip))
    found = encoder.encode([pictures.noise(seed=1), pictures.flat("red")])
    assert found.shape == (2, encoder.dimension) == (2, 24)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 1e-3
    assert encoder.model_id.startswith("model:")


def test_a_query_with_pictures_has_their_mean_projected(seeing):
    one, other, both = (
        seeing.featurize(asking(*images)).namespaces["image_embedding"]
        for images in (
            [pictures.noise(seed=1)],
            [pictures.flat("red")],
            [pictures.noise(seed=1), pictures.flat("red")],
        )
    )
    assert one.shape == (16,)
    assert np.abs(one - other).max() > 1e-3
    np.testing.assert_allclose(both, (one + other) / 2, atol=1e-4)


def test_a_query_without_pictures_has_zeros_and_costs_no_encoding(seeing):
    context = seeing.featurize(Query([{"role": "user", "content": "Hello"}], NOW))
    assert context.features_ok
    assert not context.namespaces["image_embedding"].any()


def test_another_encoder_is_another_schema(seeing, models_dir):
    blind = build_featurizer(FeatureConfig(), models_dir)
    assert seeing.schema_version != blind.schema_version
    assert [*seeing.schema] == [*blind.schema, "image_embedding"]


@pytest.mark.parametrize("model", ["/nowhere/at/all", str(locate(DEFAULT_MODEL))])
def test_a_folder_without_an_image_encoder_is_refused(model):
    with pytest.raises(EmbeddingModelError, match="CLIP model"):
        load_image_encoder(model)
