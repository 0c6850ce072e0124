"""Properties of what the backends are made of."""

import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from serving.backends.breaker import Breaker, BreakerConfig
from serving.backends.edge_decode import Confidence, StopMatcher, TokenText
from serving.backends.inflating import BadBodyError, Inflater
from serving.backends.retrying import RetryBudget
from serving.backends.sse_reader import BadEventStreamError, EventStreamReader

DATA = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=20)
EVENTS = st.lists(st.lists(DATA, min_size=1, max_size=3), max_size=6)
ENDINGS = st.sampled_from(["\n", "\r\n", "\r"])
NOISE = st.lists(st.sampled_from([": ping", "event: x", "id: 7", "retry: 10", "odd", ":"]))


def pieces(data, cuts):
    at = sorted({min(cut, len(data)) for cut in cuts})
    return [data[a:b] for a, b in zip([0, *at], [*at, len(data)], strict=True)]


def read(data, cuts=()):
    reader = EventStreamReader()
    events = [event for piece in pieces(data, cuts) for event in reader.feed(piece)]
    return events + reader.close()


@given(EVENTS, ENDINGS, NOISE, st.lists(st.integers(0, 400)))
def test_events_are_read_however_they_are_written_and_cut(events, ending, noise, cuts):
    lines = []
    for event in events:
        lines += [*noise, *(f"data: {line}" for line in event), ""]
    data = "".join(line + ending for line in lines).encode()
    assert read(data, cuts) == ["\n".join(event) for event in events]


@given(st.binary(max_size=300), st.lists(st.integers(0, 300)))
def test_any_bytes_are_events_or_one_kind_of_error_whatever_the_cuts(data, cuts):
    try:
        whole = read(data)
    except BadEventStreamError:
        with pytest.raises(BadEventStreamError):
            read(data, cuts)
    else:
        assert read(data, cuts) == whole


@given(st.integers(1, 50), st.lists(st.integers(1, 30), max_size=30))
def test_no_line_grows_beyond_the_limit(limit, sizes):
    reader = EventStreamReader(max_line_bytes=limit)
    sent = 0
    for size in sizes:
        sent += size
        if sent > limit:
            with pytest.raises(BadEventStreamError):
                reader.feed(b"x" * size)
            return
        assert reader.feed(b"x" * size) == []


@given(st.binary(max_size=500), st.integers(0, 500), st.lists(st.integers(0, 600)))
def test_a_compressed_body_comes_out_whole_or_not_at_all(data, limit, cuts):
    inflater = Inflater("gzip", max_bytes=limit)
    parts = pieces(gzip.compress(data), cuts)
    if len(data) > limit:
        with pytest.raises(BadBodyError):
            b"".join(map(inflater.feed, parts))
    else:
        assert b"".join(map(inflater.feed, parts)) == data


LETTERS = st.text("abc", max_size=30)


def first_stop(text, stops):
    """The text before the stop sequence that is complete first; by the definition."""
    for end in range(len(text) + 1):
        starts = [end - len(stop) for stop in stops if text[:end].endswith(stop)]
        if starts:
            return text[: min(starts)], True
    return text, False


@given(LETTERS, st.lists(st.text("abc", min_size=1, max_size=4), max_size=3), st.data())
def test_text_stops_at_the_first_stop_sequence_however_it_is_cut(text, stops, data):
    matcher = StopMatcher(stops)
    cuts = data.draw(st.lists(st.integers(0, 30)))
    shown = "".join(matcher.feed(piece) for piece in pieces(text, cuts))
    assert (shown + matcher.flush(), matcher.stopped) == first_stop(text, stops)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), st.lists(st.integers(0, 99)))
def test_characters_survive_being_cut_into_tokens(text, cuts):
    decoder = TokenText([])
    shown = "".join(decoder.feed(piece) for piece in pieces(text.encode(), cuts))
    assert shown + decoder.flush() == text


@given(st.integers(0, 2**32 - 1), st.integers(2, 50), st.floats(0.01, 30))
def test_confidence_agrees_with_the_softmax(seed, n_vocab, scale):
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=scale, size=n_vocab).astype(np.float32)
    p = np.exp(logits.astype(float) - logits.max())
    p /= p.sum()
    token = int(rng.integers(n_vocab))
    confidence = Confidence(n_vocab)
    confidence.add(logits, token)
    found = confidence.summary()
    second, first = np.sort(p)[-2:]
    assert found["logprob_mean"] == pytest.approx(np.log(p[token]), abs=1e-3)
    assert found["margin_mean"] == pytest.approx(first - second, abs=1e-4)
    nats = -float(np.sum(p * np.log(np.maximum(p, 1e-300))))
    assert found["entropy_mean"] == pytest.approx(nats, abs=1e-3)


def test_a_token_that_is_ruled_out_leaves_every_number_finite():
    confidence = Confidence(3)
    confidence.add(np.array([1.0, -np.inf, 0.5], np.float32), 0)
    assert all(np.isfinite(number) for number in confidence.summary().values())


def test_an_empty_answer_has_no_confidence():
    assert Confidence(3).summary() == {"n_tokens": 0.0}


@given(st.lists(st.booleans(), max_size=300), st.floats(0.01, 1.0), st.integers(1, 10))
def test_retries_never_exceed_their_share_and_the_reserve(asks, share, reserve):
    budget = RetryBudget(share=share, reserve=float(reserve))
    firsts = retries = 0
    for ask in asks:
        budget.earn()
        firsts += 1
        retries += ask and budget.take()
    assert retries <= reserve + share * firsts + 1e-9


class BreakerMachine(RuleBasedStateMachine):
    """Drives a breaker through any history, with a clock that only goes forward."""

    def __init__(self):
        super().__init__()
        self.now = 0.0
        self.config = BreakerConfig(
            consecutive=3, min_calls=4, window_s=5.0, open_s=1.0, max_open_s=8.0, probe_s=2.0
        )
        self.breaker = Breaker(self.config, clock=lambda: self.now)
        self.in_row = 0
        self.reopens_at = 0.0

    @rule(seconds=st.floats(0, 20))
    def time_passes(self, seconds):
        self.now += seconds

    @rule()
    def fails(self):
        before = self.breaker.state
        self.breaker.record_failure()
        self.in_row += 1
        if before == "half_open" or self.in_row >= self.config.consecutive:
            assert self.breaker.state == "open"

    @rule()
    def succeeds(self):
        before = self.breaker.state
        self.breaker.record_success()
        if before != "open":
            self.in_row = 0
            assert self.breaker.state == "closed"

    @rule()
    def tries(self):
        if self.breaker.allows():
            self.breaker.enter()
            if self.breaker.state == "half_open":
                assert not self.breaker.allows()

    @invariant()
    def open_means_no_attempts_until_it_says_so(self):
        assert (self.breaker.state == "open") == (self.breaker.retry_after_s > 0)
        assert self.breaker.allows() is False or self.breaker.state != "open"
        assert 0 <= self.breaker.retry_after_s <= self.config.max_open_s + 1e-6

    @invariant()
    def the_end_of_an_opening_only_moves_later(self):
        if self.breaker.state == "open":
            ends = self.now + self.breaker.retry_after_s
            assert ends >= self.reopens_at - 1e-6
            self.reopens_at = ends


TestBreaker = BreakerMachine.TestCase


def test_each_opening_lasts_twice_as_long_up_to_a_limit():
    now = [0.0]
    breaker = Breaker(
        BreakerConfig(consecutive=1, open_s=1.0, max_open_s=5.0), clock=lambda: now[0]
    )
    lasted = []
    for _ in range(5):
        breaker.record_failure()
        lasted.append(breaker.retry_after_s)
        now[0] += breaker.retry_after_s
    assert lasted == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_half_of_the_calls_failing_opens_it():
    breaker = Breaker(BreakerConfig(consecutive=99, min_calls=6), clock=lambda: 0.0)
    for turn in range(6):
        breaker.record(ok=turn % 2 == 0)
    assert breaker.state == "open"


def test_a_probe_that_never_reports_is_forgotten():
    now = [0.0]
    config = BreakerConfig(consecutive=1, open_s=1.0, probe_s=3.0)
    breaker = Breaker(config, clock=lambda: now[0])
    breaker.record_failure()
    now[0] = 1.0
    breaker.enter()
    assert not breaker.allows()
    now[0] = 4.5
    assert breaker.allows()
