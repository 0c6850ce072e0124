"""What ``model`` may be."""

from dataclasses import replace

import numpy as np
import pytest

from bandit.utility import PRESETS
from serving.arms import ArmSpec
from serving.errors import BadRequestError, ModelNotFoundError
from serving.selector import Selector, Weights, Wish

ARMS = (
    ArmSpec("edge", "edge", "small"),
    ArmSpec("edge-big", "edge", "middle"),
    ArmSpec("cloud", "cloud", "vendor/large"),
)
SELECTOR = Selector(ARMS, scenarios=PRESETS, default_scenario="balanced")


def test_auto_leaves_every_arm_and_the_default_scenario():
    found = SELECTOR.select(Wish("auto"))
    assert (found.scenario.name, found.only, found.pin) == ("balanced", None, None)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_auto_takes_a_scenario(name):
    assert SELECTOR.select(Wish(f"auto:{name}")).scenario is PRESETS[name]


@pytest.mark.parametrize(
    ("name", "arm"), [("edge", "edge"), ("edge-big", "edge-big"), ("vendor/large", "cloud")]
)
def test_an_arm_or_a_model_is_a_pin(name, arm):
    assert SELECTOR.select(Wish(name)).pin == arm


def test_a_tier_of_several_arms_leaves_the_choice_among_them():
    arms = (ArmSpec("a", "edge", "m1"), ArmSpec("b", "edge", "m2"), ArmSpec("c", "cloud", "m3"))
    found = Selector(arms, scenarios=PRESETS, default_scenario="speed").select(Wish("edge"))
    assert (found.only, found.pin) == (frozenset({"a", "b"}), None)


@pytest.mark.parametrize("name", ["gpt-9", "auto:", "auto:nothing", "", "Edge", "auto:speed:x"])
def test_an_unknown_name_is_not_found_and_the_known_ones_are_told(name):
    with pytest.raises(ModelNotFoundError, match="auto:economy"):
        SELECTOR.select(Wish(name))


def test_the_scenario_may_come_beside_the_model():
    assert SELECTOR.select(Wish("edge", "quality")).scenario.name == "quality"


def test_two_different_scenarios_are_refused():
    with pytest.raises(BadRequestError):
        SELECTOR.select(Wish("auto:speed", "quality"))


def test_an_unknown_scenario_is_refused():
    with pytest.raises(BadRequestError, match="known: quality"):
        SELECTOR.select(Wish("auto", "fastest"))


def test_a_minimal_quality_replaces_the_scenarios_own():
    assert SELECTOR.select(Wish("auto", mes=0.6)).scenario.mes == 0.6


def test_numbers_of_a_request_replace_the_scenarios_and_nothing_else():
    found = SELECTOR.select(Wish("auto:speed", weights=Weights(0.2, 0.3, 0.5), max_cost_usd=1e-3))
    kept = replace(PRESETS["speed"], w_quality=0.2, w_cost=0.3, w_latency=0.5)
    wanted = replace(kept, cost_ceiling_usd=1e-3, name=found.scenario.name)
    assert (found.scenario, found.max_cost_usd) == (wanted, 1e-3)


def test_numbers_that_are_the_scenarios_own_leave_it_as_it_is():
    own = PRESETS["speed"]
    wish = Wish("auto:speed", weights=Weights(own.w_quality, own.w_cost, own.w_latency))
    assert SELECTOR.select(wish).scenario.name == "speed"


def test_own_numbers_that_are_alike_share_a_name_and_others_do_not():
    near = [SELECTOR.select(Wish(mes=mes)).scenario.name for mes in (0.69, 0.71)]
    far = [SELECTOR.select(Wish(mes=mes)).scenario.name for mes in (0.3, 0.9)]
    cheap = [SELECTOR.select(Wish(max_cost_usd=usd)).scenario.name for usd in (1e-5, 1e-2)]
    assert near[0] == near[1]
    assert len({*near, *far, *cheap}) == 5


def test_a_thousand_sets_of_weights_have_few_names():
    rng = np.random.default_rng(0)
    drawn = (Weights(*w) for w in rng.dirichlet([1, 1, 1], 1000).tolist())
    names = {SELECTOR.select(Wish(weights=weights)).scenario.name for weights in drawn}
    assert len(names) < 100
    assert not names & set(PRESETS)


def test_every_listed_name_can_be_selected():
    assert all(SELECTOR.select(Wish(name)) for name in SELECTOR.names)
