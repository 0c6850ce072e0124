"""Joules: counted, shared out, estimated, and what they are worth."""

import math
from dataclasses import replace

import pytest

from bandit.policies.composed import ComposedPolicy
from bandit.policies.config import PolicyConfig
from bandit.utility import BadScenarioError, Scenario
from feedback.memory import MemoryDecisionLog
from feedback.reward import to_reward
from serving.backends.base import Completion
from serving.energy import EnergyMeter, EnergyRate, find_rapl
from tests.makers import ARMS, context, outcome
from tests.scripted import BODY, NOW, SPECS, ScriptedBackend, make_router, query

GREEN = Scenario("green", 0.2, 0.8, 0.0, cost_ceiling_usd=0.01, usd_per_kwh=36.0)


@pytest.fixture
def powercap(tmp_path):
    """A tree as Linux shows it: two packages, and the cores within the first."""
    names = {"intel-rapl:0": "package-0", "intel-rapl:1": "package-1", "intel-rapl:0:0": "core"}
    for folder, name in names.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "name").write_text(f"{name}\n")
        (tmp_path / folder / "max_energy_range_uj").write_text("262143328850\n")
        (tmp_path / folder / "energy_uj").write_text("1000000\n")
    return tmp_path


def test_packages_are_counted_from_the_start_and_their_parts_are_not(powercap):
    rapl = find_rapl(powercap)
    assert rapl() == 0.0
    for folder in ("intel-rapl:0", "intel-rapl:1", "intel-rapl:0:0"):
        (powercap / folder / "energy_uj").write_text("3500000\n")
    assert rapl() == 5.0


def test_a_counter_that_starts_over_is_followed(powercap):
    file = powercap / "intel-rapl:0" / "energy_uj"
    file.write_text("262143328849\n")
    rapl = find_rapl(powercap)
    file.write_text("1999999\n")
    assert rapl() == 2.0


@pytest.mark.parametrize("missing", ["energy_uj", "max_energy_range_uj", "name"])
def test_a_counter_that_cannot_be_read_is_left_out(powercap, missing):
    for folder in ("intel-rapl:0", "intel-rapl:1"):
        (powercap / folder / missing).unlink()
    assert find_rapl(powercap) is None


def test_shares_sum_to_what_was_used_while_anything_ran():
    used = iter([5.0, 6.0, 10.0, 16.0, 17.0, 20.0, 30.0, 31.0])
    meter = EnergyMeter(lambda: next(used))
    with meter.running() as first, meter.running() as second, meter.running() as third:
        pass
    with meter.running() as alone:
        pass
    shares = [share.energy_j for share in (first, second, third)]
    assert math.fsum(shares) == pytest.approx(20.0 - 5.0)
    assert shares == pytest.approx([1 + 2 + 2 + 0.5 + 3, 2 + 2 + 0.5, 2])
    assert alone.energy_j == 1.0


def test_energy_counts_in_the_cost_term_and_the_bill_stays_the_bill():
    found = to_reward(
        GREEN, quality=0.0, outcome=outcome("d", cost_usd=0.001, latency_s=1.0, energy_j=400.0)
    )
    assert (found.value, found.cost_usd) == (pytest.approx(0.8 * 0.5), 0.001)


def test_energy_that_nobody_knows_adds_nothing():
    assert GREEN.cost_term(0.001) == GREEN.cost_term(0.001, energy_j=0.0) == 0.9


@pytest.mark.parametrize("price", [-1.0, math.nan, math.inf])
def test_a_price_of_energy_that_is_none_is_refused(price):
    with pytest.raises(BadScenarioError, match="usd_per_kwh"):
        replace(GREEN, usd_per_kwh=price)


def test_a_price_of_energy_moves_the_next_choice():
    policy = ComposedPolicy(
        PolicyConfig(schema={name: len(v) for name, v in context().namespaces.items()})
    )
    hungry, frugal = (
        replace(ARMS[0], arm_id=name, features={"energy_j": joules})
        for name, joules in (("hungry", 900.0), ("frugal", 9.0))
    )
    blind = replace(GREEN, usd_per_kwh=0.0)
    chances = [
        policy.predict(context(), (hungry, frugal), scenario).propensity("frugal")
        for scenario in (blind, GREEN)
    ]
    assert chances[0] == pytest.approx(0.5)
    assert chances[1] > 0.7


class Measured(ScriptedBackend):
    """Says what its answer took."""

    async def complete(self, query):
        return Completion(BODY, energy_j=12.5)


async def answered(backend, spec):
    log = MemoryDecisionLog(clock=lambda: NOW)
    router = make_router(backend, ScriptedBackend("cloud"), log=log, specs=(spec, SPECS[1]))
    first = await router.decide(query())
    await router.complete(first)
    second = await router.decide(query())
    await router.aclose()
    outcome = (await log.get(first.decision.decision_id)).outcome
    return outcome.energy_j, second.decision.arms[0].features.get("energy_j")


async def test_what_was_measured_is_logged_and_known_to_the_next_decision():
    spec = replace(SPECS[0], energy=EnergyRate(1.0, 1.0))
    assert await answered(Measured("edge"), spec) == (12.5, 12.5)


async def test_what_was_not_measured_is_estimated_by_the_arms_settings():
    spec = replace(SPECS[0], energy=EnergyRate(0.5, 2.0))
    assert await answered(ScriptedBackend("edge"), spec) == (15.0, 15.0)


async def test_what_nobody_knows_stays_unknown():
    assert await answered(ScriptedBackend("edge"), SPECS[0]) == (None, None)
