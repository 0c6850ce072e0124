"""Nothing that would ruin or crash a VW model gets into one."""

import numpy as np
import pytest

from bandit.errors import BadInteractionError
from bandit.policies.vw import Regressor, Slate, SquareCB

X = np.ones(4, dtype=np.float32)


@pytest.mark.parametrize(
    "poison",
    [
        {"x": X * np.float32(1e15)},
        {"x": X * np.float32(np.nan)},
        {"x": X * np.float32(np.inf)},
        {"label": float("nan")},
        {"label": float("-inf")},
        {"label": 1e30},
        {"weight": 0.0},
        {"weight": float("inf")},
    ],
    ids=str,
)
def test_a_poisonous_lesson_is_refused_and_the_model_stays_what_it_was(poison):
    model = Regressor(4)
    model.learn(X, 0.5)
    before = model.dump()
    with pytest.raises(BadInteractionError):
        model.learn(**{"x": X, "label": 0.5, **poison})
    assert model.dump() == before


@pytest.mark.parametrize(
    "poison",
    [
        {"x": X * np.float32(1e15)},
        {"blocks": [], "chosen": 0},
        {"blocks": [0], "chosen": 0},
        {"chosen": 2},
        {"chosen": -1},
        {"loss": float("nan")},
        {"loss": float("inf")},
        {"propensity": 0.0},
        {"propensity": float("nan")},
    ],
    ids=str,
)
def test_an_example_that_would_crash_or_poison_a_bandit_is_refused(poison):
    model = SquareCB(4, gamma=10.0)
    before = model.predict(X, [0, 1])
    lesson = {"x": X, "blocks": [0, 1], "chosen": 0, "loss": 0.5, "propensity": 0.5, **poison}
    with pytest.raises(BadInteractionError):
        model.learn(lesson.pop("x"), lesson.pop("blocks"), lesson.pop("chosen"), **lesson)
    assert model.predict(X, [0, 1]) == before


def test_models_that_share_a_slate_learn_what_they_would_have_learned_alone():
    rng, slate = np.random.default_rng(0), Slate()
    sharing = [Regressor(4, slate=slate) for _ in range(2)]
    alone = [Regressor(4) for _ in range(2)]
    for i in range(60):
        x = rng.standard_normal(4).astype(np.float32)
        for models in (sharing, alone):
            models[0].learn(x, float(i % 2), i % 3)
            models[1].learn(x, float(i % 5) / 5.0, i % 3, weight=2.0)
            models[1].learn(x, -0.5, (i + 1) % 3)
    assert [model.dump() for model in sharing] == [model.dump() for model in alone]


@pytest.mark.parametrize("label", [0.5, -1.2, 3.0])
@pytest.mark.parametrize("read", ["predict", "predict_latest"])
def test_labels_that_are_all_alike_are_learned_and_not_overshot(label, read):
    rng = np.random.default_rng(0)
    model = Regressor(20, n_blocks=1)

    def context():
        return np.concatenate([[1.0], rng.normal(size=19) * 0.3]).astype(np.float32)

    for _ in range(300):
        model.learn(context(), label)
    again = Regressor(20, n_blocks=1, saved=model.dump())
    for _ in range(100):
        again.learn(context(), label)
        assert getattr(again, read)(context()) == pytest.approx(label, rel=0.2)
