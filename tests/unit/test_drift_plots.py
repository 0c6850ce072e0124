"""Pictures of what a drift does over time."""

import numpy as np
import pytest

from simulator.cli_drift import _kind
from simulator.drift import DriftPlan, Event
from simulator.drift_plots import draw_courses, panel_of, shortened
from simulator.engine import run_study
from simulator.errors import BadStudyError
from tests.studies import study

PLAN = DriftPlan(events=(Event("price", 60, 120, fields={"arm": "cloud", "times": 2.0}),))


def panel(**options):
    made = study(240, policies=("always-cloud", "always-edge"), plan=PLAN, **options)
    return panel_of(made, run_study(made, workers=1), title="a <title>", arm="cloud")


def test_a_panel_has_shares_and_spend_over_time_and_when_something_happened():
    seen = panel(budget_usd=0.001)
    assert seen.spans == ((60, 120),)
    assert set(seen.courses["always-cloud"].share) == {1.0}
    assert set(seen.courses["always-edge"].share) == {0.0}
    spend = seen.courses["always-cloud"].spend
    assert spend[0] == pytest.approx(1.0)
    assert spend[-1] == pytest.approx(1.25)


def test_without_a_budget_the_spend_is_in_dollars_per_thousand_queries():
    spend = panel().courses["always-cloud"].spend
    assert (spend[0], max(spend)) == (pytest.approx(1.0), pytest.approx(2.0))


def test_it_is_drawn_small_and_with_its_words():
    svg = draw_courses([panel(budget_usd=0.001)] * 3, "svg")
    assert svg.startswith(b"<svg")
    assert len(svg) < 45_000
    for word in (b"always-cloud", b"a &lt;title&gt;", b"share of", b"spend / budget so far"):
        assert word in svg
    assert draw_courses([panel()], "png").startswith(b"\x89PNG")


def test_shortening_leaves_words_and_sizes_alone():
    text = b'<text font-size="8.25" x="1.23456">0.125 of it</text>'
    assert shortened(text) == text


def test_a_picture_of_another_kind_is_refused(tmp_path):
    with pytest.raises(BadStudyError, match="--plot"):
        _kind(tmp_path / "picture.gif")
    assert (_kind(None), _kind(tmp_path / "picture.png")) == ("", "png")


def test_the_mean_of_a_moving_window_begins_at_the_first_stretch():
    made = study(240, policies=("always-cloud",))
    seen = panel_of(made, run_study(made, workers=1), title="", arm="edge")
    assert not np.isnan(seen.courses["always-cloud"].share).any()
    assert seen.spans == ()
