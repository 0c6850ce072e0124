"""Whatever a query holds, its context is finite, of order 1 and of one layout."""

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.featurizer import FeatureConfig, build_featurizer
from features.query import Query
from features.text import cut_middle, query_text, strip_boilerplate

ANYTHING = st.text(st.characters(exclude_categories=())) | st.sampled_from(
    ["\0", "\ud800", "<context>", "</context>", "A. a B. b C. c", "\u202e", "🏳️‍🌈", "a" * 9000]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANYTHING,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANYTHING, inner, max_size=3),
    max_leaves=6,
)
PART = st.fixed_dictionaries({"type": ANYTHING | JSON, "text": ANYTHING | JSON}) | JSON
ROLE = st.sampled_from(["user", "assistant", "system", "tool", "developer", None, 7, ["user"]])
MESSAGE = st.fixed_dictionaries(
    {}, optional={"role": ROLE, "content": ANYTHING | st.lists(PART, max_size=4) | JSON}
)
NAMES = ["tools", "response_format", "max_tokens", "max_completion_tokens", "stream"]
FIELDS = st.dictionaries(st.sampled_from(NAMES), JSON, max_size=4)
QUERY = st.builds(
    Query,
    messages=st.lists(MESSAGE | JSON, max_size=5),
    received_at=st.datetimes(timezones=st.just(UTC)),
    fields=FIELDS,
    session_id=st.none() | ANYTHING,
)


@pytest.fixture(scope="module")
def featurizer(models_dir):
    return build_featurizer(FeatureConfig(), models_dir)


@given(query=QUERY)
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_query_gives_a_finite_context_of_the_same_layout(featurizer, query):
    found = featurizer.featurize(query)
    assert found.features_ok
    assert {k: v.shape for k, v in found.namespaces.items()} == {
        k: (len(names),) for k, names in featurizer.schema.items()
    }
    whole = np.concatenate(list(found.namespaces.values()))
    assert whole.dtype == np.float32
    assert np.isfinite(whole).all()
    assert np.abs(whole).max() <= 3


@given(query=QUERY)
@settings(max_examples=20, deadline=None)
def test_the_same_query_has_the_same_context(featurizer, query):
    one, two = featurizer.featurize(query), featurizer.featurize(query)
    assert all(np.array_equal(v, two.namespaces[k]) for k, v in one.namespaces.items())


@given(text=ANYTHING, limit=st.integers(1, 100))
def test_a_cut_is_never_longer_than_its_limit_and_a_space(text, limit):
    assert len(cut_middle(text, limit)) <= limit + 1


@given(text=ANYTHING)
def test_stripping_never_makes_a_text_longer(text):
    assert len(strip_boilerplate(text)) <= len(text)


@given(text=ANYTHING)
def test_a_text_that_is_not_blank_never_becomes_nothing(text):
    if text.replace("\0", " ").strip():
        assert query_text([{"role": "user", "content": text}])


def test_a_query_from_the_first_day_of_the_calendar_has_a_time(featurizer):
    query = Query([{"role": "user", "content": "hi"}], datetime.min.replace(tzinfo=UTC))
    assert np.isfinite(featurizer.featurize(query).namespaces["time"]).all()
