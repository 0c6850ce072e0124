"""How many votes of one source a `DecisionLog` has learned in an hour."""

from dataclasses import replace

import pytest

from tests.makers import logged, vote


@pytest.fixture
async def strict(make):
    made = make(4)
    yield made
    await made.aclose()


async def votes(log, *ids, value=1, **options):
    rows = [vote(id_, value, source="loud") for id_ in ids]
    return [receipt.reason for receipt in await log.add_feedback(rows, **options)]


async def test_of_one_source_so_many_votes_an_hour_count_and_the_rest_is_kept(strict, clock):
    ids = [f"d{i}" for i in range(8)]
    await strict.add_decisions([logged(id_, decided_at=clock()) for id_ in ids])
    assert await votes(strict, *ids[:3]) == [None] * 3
    clock.advance(1800)
    assert await votes(strict, *ids[3:5]) == [None, "capped"]
    assert len((await strict.get("d4")).feedback) == 1
    (receipt,) = await strict.add_feedback([vote("d4", 0, source="quiet")])
    assert receipt.will_apply
    assert await votes(strict, "d5", own=True) == [None]
    clock.advance(1800)
    assert await votes(strict, "d6", "d7") == [None, None]
    taught = [e.logged.decision.decision_id for e in await strict.read(0, 100)]
    assert taught == ["d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7"]


async def test_the_same_name_said_with_another_key_is_another_source(strict, clock):
    for key in ("a", "b"):
        mine = [f"{key}{i}" for i in range(5)]
        await strict.add_decisions(
            [replace(logged(id_, decided_at=clock()), key_id=key) for id_ in mine]
        )
        assert await votes(strict, *mine, key_id=key) == [None] * 4 + ["capped"]


async def test_what_counts_may_be_changed_and_withdrawn_however_much_there_is(strict, clock):
    ids = [f"d{i}" for i in range(6)]
    await strict.add_decisions([logged(id_, decided_at=clock()) for id_ in ids])
    assert await votes(strict, *ids[:5]) == [None] * 4 + ["capped"]
    assert await votes(strict, "d0", value=0) == [None]
    assert await votes(strict, "d1", value=None) == [None]
    assert await votes(strict, "d4", value=0) == ["capped"]
    assert await votes(strict, "d5") == ["capped"]
