"""From options to a study, without loading a model."""

import numpy as np
import pytest

from bandit.utility import BadScenarioError
from simulator.drift import NO_DRIFT
from simulator.embeddings import build_bank
from simulator.errors import BadStudyError, BadTableError
from simulator.inputs import Wishes, choose_arms, open_table, read_scenario, select_rows
from simulator.wheel import MODELS, load_wheel
from tests import studies


@pytest.mark.parametrize(
    ("wishes", "expected"),
    [
        (Wishes(), ("paretobandit", ("llama-3.1-8b-instruct", "gemini-2.5-pro"))),
        (Wishes("synthetic"), ("synthetic", ("small-8b", "large-400b"))),
        (Wishes("t.csv", edge="a", cloud="b"), ("t.csv", ("a", "b"))),
        (Wishes("t.csv", arms="a, b,c"), ("t.csv", ("a", "b", "c"))),
        (
            Wishes(cloud="mistral-large-2512"),
            ("paretobandit", ("llama-3.1-8b-instruct", "mistral-large-2512")),
        ),
    ],
)
def test_the_arms_are_those_asked_for(wishes, expected):
    assert choose_arms(wishes) == expected


@pytest.mark.parametrize(
    "wishes",
    [Wishes("t.csv", arms="a"), Wishes("t.csv", arms="a,a"), Wishes(arms="a,b", edge="c")],
)
def test_arms_that_make_no_choice_are_refused(wishes):
    with pytest.raises(BadStudyError):
        choose_arms(wishes)


def test_the_wheel_has_3609_prompts_in_two_parts():
    table = load_wheel(MODELS)
    assert len(table) == 3609
    assert len(load_wheel(MODELS, part="val")) == 1785
    assert len(load_wheel(MODELS, part="test")) == 1824
    # Means that its authors print for the test part: .793, .923 and .932.
    means = load_wheel(MODELS, part="test").quality.mean(axis=0)
    np.testing.assert_allclose(means, [0.793, 0.923, 0.932], atol=0.0006)
    with pytest.raises(BadTableError, match=r"did you mean 'gemini-2\.5-pro'"):
        load_wheel(["gemini-25-pro"])


def test_weights_and_expectations_make_another_scenario():
    scenario = read_scenario(Wishes(weights="0.5,0.3,0.2", mes=0.8))
    assert (scenario.w_quality, scenario.w_cost, scenario.w_latency) == (0.5, 0.3, 0.2)
    assert scenario.mes == 0.8


@pytest.mark.parametrize(
    ("wishes", "expected"),
    [
        (Wishes(scenario="qualty"), "did you mean 'quality'"),
        (Wishes(weights="1,2"), "three numbers"),
        (Wishes(weights="a,b,c"), "three numbers"),
        (Wishes(weights="1,1,1"), "weights that sum to 1"),
        (Wishes(mes=2.0), "mes"),
    ],
)
def test_a_scenario_that_is_none_is_refused(wishes, expected):
    with pytest.raises((BadStudyError, BadScenarioError), match=expected):
        read_scenario(wishes)


def test_halves_are_drawn_once_and_split_the_table():
    table = studies.table(101)
    first, second = (select_rows("--rows", text, table) for text in ("first", "second"))
    assert len(first) == 50
    assert sorted([*first, *second]) == list(range(101))
    assert select_rows("--rows", "10:13", table).tolist() == [10, 11, 12]
    assert len(select_rows("--rows", None, table)) == 101


@pytest.mark.parametrize("text", ["third", "5:5", "900:", "a:b"])
def test_rows_that_are_none_are_refused(text):
    with pytest.raises(BadStudyError, match="within the 50 rows"):
        select_rows("--rows", text, studies.table(50))


def test_prices_on_the_command_line_win(tmp_path):
    wishes = Wishes("synthetic", price=("acme/small-8b=1,2",))
    table = open_table(wishes, "synthetic", ["small-8b", "large-400b"], NO_DRIFT)
    # The synthetic world has bills: what was paid decides, not the list.
    assert table.price_in[0] < 1.0
    with pytest.raises(BadStudyError, match="MODEL=IN,OUT"):
        open_table(Wishes(price=("x",)), "synthetic", ["small-8b", "large-400b"], NO_DRIFT)


class CountingFeaturizer:
    """Lengths of words, and how often it was asked."""

    schema_version = "v1"

    class embedder:  # noqa: N801 - stands for an instance
        model_id, max_tokens, manifest = "m", 8, "manifest"

    def __init__(self):
        self.n = 0

    def embedding_of(self, text):
        self.n += 1
        return np.full(3, len(text), dtype=np.float32)

    def featurize_table(self, texts, embeddings=None):
        from bandit.primitives import Context

        return [Context({"e": row}, self.schema_version) for row in embeddings]


def test_features_are_kept_by_content_and_embeddings_outlive_a_new_schema(tmp_path):
    featurizer = CountingFeaturizer()
    prompts = ["a", "bb", "a", "ccc"]
    bank = build_bank(prompts, featurizer, tmp_path)
    assert bank.matrix[:, 0].tolist() == [1, 2, 1, 3]
    assert featurizer.n == 3
    build_bank(prompts, featurizer, tmp_path)
    featurizer.schema_version = "v2"
    assert build_bank(prompts, featurizer, tmp_path).schema_version == "v2"
    assert featurizer.n == 3
    build_bank([*prompts[:3], "other"], featurizer, tmp_path)
    assert featurizer.n == 6
    assert not list(tmp_path.glob("*.tmp"))
