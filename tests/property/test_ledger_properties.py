"""Whatever is claimed, settled and lost, in whatever order: no budget spends more than its cap."""

from datetime import UTC, date, datetime

from hypothesis import given
from hypothesis import strategies as st

from feedback.ledger import Balance, Claim, admit, nano_down, nano_up, usd

TODAY, END = date(2026, 3, 1), datetime(2026, 3, 1, 12, tzinfo=UTC)
NAMES = ("all", "search", "ads")
amounts = st.integers(1, 50)
claims = st.tuples(st.sets(st.sampled_from(NAMES), min_size=1), amounts)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("claim"), st.lists(claims, max_size=4)),
        st.tuples(st.just("settle"), st.floats(0.0, 1.0)),
        st.tuples(st.just("expire"), st.just(1.0)),
    ),
    max_size=30,
)


@given(steps, st.fixed_dictionaries({name: st.integers(1, 200) for name in NAMES}))
def test_spent_and_reserved_never_exceed_the_cap(story, caps):
    balances, open_, n = {}, [], 0
    for what, how in story:
        if what == "claim":
            made = []
            for names, amount in how:
                n += 1
                accounts = {(name, TODAY): caps[name] for name in sorted(names)}
                made.append(Claim(str(n), accounts, amount, END))
            verdicts, balances = admit(balances, made)
            open_ += [claim for claim, fits in zip(made, verdicts, strict=True) if fits]
        elif open_:
            claim = open_.pop()
            bill = int(how * claim.amount_nusd)
            for account in claim.caps_nusd:
                old = balances[account]
                balances[account] = Balance(
                    old.spent_nusd + bill, old.reserved_nusd - claim.amount_nusd
                )
        for (name, _), balance in balances.items():
            assert balance.reserved_nusd >= 0
            assert balance.spent_nusd + balance.reserved_nusd <= caps[name]
            held = sum(c.amount_nusd for c in open_ if (name, TODAY) in c.caps_nusd)
            assert balance.reserved_nusd == held


@given(st.lists(claims, min_size=1, max_size=12), st.integers(0, 120))
def test_a_claim_is_refused_only_where_it_does_not_fit(wishes, cap):
    made = [
        Claim(str(n), {(name, TODAY): cap for name in sorted(names)}, amount, END)
        for n, (names, amount) in enumerate(wishes)
    ]
    verdicts, _ = admit({}, made)
    used = dict.fromkeys(NAMES, 0)
    for claim, fits in zip(made, verdicts, strict=True):
        names = [name for name, _ in claim.caps_nusd]
        assert fits == all(used[name] + claim.amount_nusd <= cap for name in names)
        for name in names if fits else ():
            used[name] += claim.amount_nusd


@given(st.lists(st.floats(0.0, 100.0), max_size=50))
def test_sums_of_bills_in_billionths_are_never_less_than_the_bills(bills):
    total = sum(nano_up(bill) for bill in bills)
    assert usd(total) >= sum(bills) * (1 - 1e-12) - 1e-9


@given(st.floats(1e-9, 1e6))
def test_a_cap_is_never_more_than_was_said(cap):
    assert usd(nano_down(cap)) <= cap * (1 + 1e-12)
