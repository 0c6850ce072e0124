"""Snapshots prove themselves before they serve."""

from dataclasses import replace

import pytest

from bandit.errors import BadSnapshotError, OutdatedSnapshotError
from bandit.policies.config import PolicyConfig
from bandit.policies.factory import make_policy
from bandit.primitives import Interaction, Reward
from bandit.utility import PRESETS
from feedback.memory import MemoryDecisionLog
from serving.snapshots import Canary, PolicyHolder, canaries_of, load_snapshot, make_snapshot
from tests.makers import ARMS, context, decision
from tests.mean_policy import FLOOR, MeanPolicy


def taught(*qualities):
    policy = MeanPolicy()
    for quality in qualities:
        policy.learn(Interaction(decision(), Reward(quality=quality)))
    return policy


def saved(version="mean-1", *qualities, **facts):
    canaries = [Canary.of(decision())]
    return make_snapshot(
        taught(*(qualities or (1.0, 0.0))),
        version=version,
        position=7,
        canaries=canaries,
        facts=facts,
    )


def test_a_snapshot_comes_back_as_the_policy_that_was_saved():
    loaded = load_snapshot(saved(), MeanPolicy, floor=FLOOR)
    assert loaded.history == taught(1.0, 0.0).history
    assert loaded.version == "mean-1"


def test_its_canaries_come_along():
    (canary,) = canaries_of(saved())
    assert canary.arms == ARMS


def test_no_more_than_eight_canaries_are_kept():
    canaries = [Canary.of(decision(tags={"n": n})) for n in range(20)]
    snapshot = make_snapshot(MeanPolicy(), version="v", position=0, canaries=canaries)
    assert len(snapshot.manifest["canaries"]) == 8


def test_one_changed_byte_is_refused():
    snapshot = saved()
    damaged = replace(snapshot, blob=snapshot.blob[:-1] + b" ")
    with pytest.raises(BadSnapshotError, match="SHA-256"):
        load_snapshot(damaged, MeanPolicy)


def test_another_kind_of_policy_is_refused():
    snapshot = saved()
    other = replace(snapshot, manifest={**snapshot.manifest, "policy": "direct"})
    with pytest.raises(BadSnapshotError, match="direct"):
        load_snapshot(other, MeanPolicy)


def test_a_canary_that_is_predicted_differently_is_refused():
    class Drifted(MeanPolicy):
        def mean(self, arm_id):
            return super().mean(arm_id) + (1e-5 if arm_id == "edge" else 0.0)

    with pytest.raises(BadSnapshotError, match="differently"):
        load_snapshot(saved(), Drifted)


def test_a_canary_below_the_exploration_floor_is_refused():
    with pytest.raises(BadSnapshotError, match="floor"):
        load_snapshot(saved("mean-1", 1.0, 1.0), MeanPolicy, floor=0.45)


def test_a_price_on_money_may_take_a_dear_arm_below_the_floor():
    def fresh():
        return make_policy(PolicyConfig(schema={"bias": 1, "text": 3}))

    paced = replace(PRESETS["quality"], cost_price=1e5)
    policy = fresh()
    floor = policy.config.floor
    assert min(policy.predict(context(), ARMS, paced).pmf) < floor
    made = make_snapshot(
        policy, version="composed-1", position=7, canaries=[Canary.of(decision(scenario=paced))]
    )
    assert load_snapshot(made, fresh, floor=floor).version == "composed-1"


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_policy_without_proper_pmfs_is_never_published(bad):
    with pytest.raises(BadSnapshotError):
        saved("mean-1", bad)


def test_settings_that_only_change_exploration_refuse_nothing():
    class Tuned(MeanPolicy):
        config = "other"

        def predict(self, context, arms, scenario):
            return replace(super().predict(context, arms, scenario), pmf=(0.5, 0.5))

    assert load_snapshot(saved(), Tuned).version == "mean-1"


async def published(*snapshots):
    log = MemoryDecisionLog()
    epoch = await log.lead()
    for snapshot in snapshots:
        await log.publish(snapshot, epoch=epoch)
    return log


async def test_a_holder_serves_a_fresh_policy_until_there_is_a_snapshot():
    holder = PolicyHolder(MemoryDecisionLog(), MeanPolicy)
    assert not await holder.refresh()
    assert holder.current.version == "mean-0"


async def test_a_holder_swaps_once_for_a_new_snapshot():
    holder = PolicyHolder(await published(saved()), MeanPolicy, floor=FLOOR)
    before = holder.current
    assert await holder.refresh()
    assert not await holder.refresh()
    assert (before.version, holder.current.version) == ("mean-0", "mean-1")


async def test_a_holder_keeps_what_it_has_when_a_snapshot_is_bad():
    log = await published(saved())
    holder = PolicyHolder(log, MeanPolicy)
    await holder.refresh()
    await log.publish(replace(saved("mean-2"), blob=b"{}"), epoch=1)
    assert not await holder.refresh()
    assert holder.current.version == "mean-1"
    assert "mean-2" in holder.refused


@pytest.mark.parametrize(
    ("facts", "blob", "level"),
    [({"schema_version": "old"}, None, "WARNING"), ({"schema_version": "new"}, b"{}", "ERROR")],
)
async def test_settings_that_change_are_a_warning_and_damage_is_an_error(
    caplog, facts, blob, level
):
    made = saved("mean-1", 1.0, **facts)
    log = await published(replace(made, blob=blob or made.blob))
    await PolicyHolder(log, MeanPolicy, schema_version="new").refresh()
    (record,) = caplog.records
    assert record.levelname == level
    assert ("learned again from the log" in record.getMessage()) == (level == "WARNING")


def test_a_policy_whose_settings_changed_is_outdated_and_not_damaged():
    class Shifted(MeanPolicy):
        config = "other"

        def mean(self, arm_id):
            return super().mean(arm_id) + (1e-5 if arm_id == "edge" else 0.0)

    with pytest.raises(OutdatedSnapshotError, match="differently"):
        load_snapshot(saved(), Shifted)


async def test_a_holder_refuses_what_was_learned_from_other_features():
    log = await published(saved("mean-1", 1.0, schema_version="old"))
    holder = PolicyHolder(log, MeanPolicy, schema_version="new")
    assert not await holder.refresh()
    assert "old" in holder.refused


class Renamed(MeanPolicy):
    """The same under other settings."""

    name = "renamed"


async def test_after_a_change_of_settings_what_was_saved_serves_until_it_is_learned_again(caplog):
    log = MemoryDecisionLog()
    await log.publish(saved("mean-1"), epoch=0)
    holder = PolicyHolder(log, Renamed, as_saved=lambda _: MeanPolicy, floor=FLOOR)
    assert await holder.refresh()
    assert (holder.current.version, holder.current.history) == ("mean-1", taught(1, 0).history)
    assert "serves as it was saved" in caplog.text
    assert (await holder.resolve("mean-1")).version == "mean-1"
    learned = Renamed()
    await log.publish(make_snapshot(learned, version="renamed-2", position=7), epoch=0)
    assert await holder.refresh()
    assert holder.current.version == "renamed-2"
    await log.publish(saved("mean-3"), epoch=0)
    assert not await holder.refresh()
    assert holder.current.version == "renamed-2"


async def test_what_knows_other_features_never_serves_as_it_was_saved():
    log = MemoryDecisionLog()
    await log.publish(saved("mean-1", schema_version="old"), epoch=0)
    holder = PolicyHolder(log, Renamed, as_saved=lambda _: MeanPolicy, schema_version="new")
    assert not await holder.refresh()
    assert holder.current.version == "renamed-0"


async def test_a_holder_finds_earlier_policies_for_explaining():
    log = await published(saved("mean-1", 1.0), saved("mean-2", 0.0))
    holder = PolicyHolder(log, MeanPolicy, n_resolved=1)
    await holder.refresh()
    old = await holder.resolve("mean-1")
    assert old.predict(context(), ARMS, None).policy_version == "mean-1"
    assert await holder.resolve("mean-1") is old
    assert await holder.resolve("mean-2") is holder.current
    assert (await holder.resolve("mean-0")).history == []
    with pytest.raises(BadSnapshotError, match="mean-9"):
        await holder.resolve("mean-9")
