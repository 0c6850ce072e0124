"""Projections: fitted, random, saved, refused."""

from dataclasses import replace

import numpy as np
import pytest

from features.errors import ProjectionError
from features.projection import (
    ProjectionInfo,
    fit_projection,
    load_projection,
    random_projection,
    save_projection,
)

INFO = ProjectionInfo("made up", "abc", 400, 3)


def unit_vectors(n=400, d=24, seed=0):
    rng = np.random.default_rng(seed)
    places = rng.standard_normal((5, d))
    vectors = places[rng.integers(5, size=n)] + 0.3 * rng.standard_normal((n, d))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def fitted():
    return fit_projection(unit_vectors(), INFO, n_components=8, n_clusters=5)


def test_components_of_the_fitted_prompts_are_centred_and_of_unit_variance(fitted):
    centred = unit_vectors() - fitted.mean
    low = centred @ fitted.components.T
    assert np.allclose(low.mean(axis=0), 0, atol=1e-4)
    assert np.allclose(low.std(axis=0), 1, atol=0.01)


def test_components_are_cut_at_three_standard_deviations(fitted):
    assert np.abs(fitted.apply(unit_vectors() * 100)).max() == 3


def test_groups_far_apart_get_clusters_of_their_own(fitted):
    # Five groups whose spread is a third of their distance: each cluster is used.
    counts = fitted.clusters(unit_vectors()).sum(axis=0)
    assert counts.sum() == 400
    assert counts.min() > 20


def test_the_same_prompts_and_seed_fit_the_same_projection(fitted):
    again = fit_projection(unit_vectors(), INFO, n_components=8, n_clusters=5)
    assert all(np.array_equal(a, again.arrays()[name]) for name, a in fitted.arrays().items())


def test_a_saved_projection_comes_back(fitted, tmp_path):
    save_projection(fitted, tmp_path / "p.npz")
    again = load_projection(tmp_path / "p.npz", dimension=24, model_hash="abc")
    assert again.info == INFO
    assert np.array_equal(again.components, fitted.components)


@pytest.mark.parametrize("wrong", [{"dimension": 23}, {"model_hash": "other"}])
def test_a_projection_of_another_model_is_refused(fitted, tmp_path, wrong):
    save_projection(fitted, tmp_path / "p.npz")
    with pytest.raises(ProjectionError):
        load_projection(tmp_path / "p.npz", **{"dimension": 24, "model_hash": "abc"} | wrong)


def test_a_projection_that_is_not_finite_is_refused(fitted, tmp_path):
    save_projection(replace(fitted, mean=fitted.mean * np.nan), tmp_path / "p.npz")
    with pytest.raises(ProjectionError, match="values"):
        load_projection(tmp_path / "p.npz", dimension=24, model_hash="abc")


@pytest.mark.parametrize("blob", [b"", b"PK\x03\x04", b"not a zip"])
def test_a_damaged_file_is_refused(blob, tmp_path):
    path = tmp_path / "p.npz"
    path.write_bytes(blob)
    with pytest.raises(ProjectionError, match="cannot be read"):
        load_projection(path, dimension=24, model_hash="abc")


def test_too_few_prompts_are_refused():
    with pytest.raises(ProjectionError, match="too few"):
        fit_projection(unit_vectors(n=8), INFO, n_components=8, n_clusters=5)


def test_a_random_projection_is_seeded_orthogonal_and_of_order_one():
    one, two = (random_projection(24, "abc", n_components=8, seed=1) for _ in range(2))
    assert np.array_equal(one.components, two.components)
    assert np.allclose(one.components @ one.components.T, 24 * np.eye(8), atol=1e-3)
    assert one.info.source == "random"
    # Unit vectors times sqrt(d) have components of variance about 1.
    assert 0.3 < one.apply(unit_vectors()).std() < 2
