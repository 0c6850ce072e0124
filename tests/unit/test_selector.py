"""What ``model`` may be."""

import pytest

from bandit.utility import PRESETS
from serving.arms import ArmSpec
from serving.errors import BadRequestError, ModelNotFoundError
from serving.selector import Selector, Wish

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
    assert SELECTOR.select(Wish("auto", None, 0.6)).scenario.mes == 0.6


def test_every_listed_name_can_be_selected():
    assert all(SELECTOR.select(Wish(name)) for name in SELECTOR.names)
