"""What a drift does over time: the share of the arm that it befalls, and the spend."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulator.drift import Event
from simulator.engine import Run
from simulator.plots import COLOURS, draw_one
from simulator.series import pool
from simulator.study import Study
from simulator.table import Floats

_WIDTH = 3
"""Stretches of a run that a point is the mean of."""
_TOP = 3.0
"""Spend over budget is cut off above it."""


@dataclass(frozen=True, slots=True)
class Course:
    """Over the rounds at whose ends ``rounds`` are: an arm's share, and the spend.

    ``spend`` is spend so far over budget so far, or US dollars per 1,000 queries without a budget.
    """

    rounds: Floats
    share: Floats
    spend: Floats


@dataclass(frozen=True, slots=True)
class Panel:
    """One world: what happens when, and each policy's course.

    ``spans`` are the rounds from which and to which something is other than at the start.
    """

    title: str
    arm: str
    paced: bool
    spans: tuple[tuple[int, int], ...]
    courses: Mapping[str, Course]


def panel_of(study: Study, runs: Mapping[str, Sequence[Run]], *, title: str, arm: str) -> Panel:
    """The means of a study's runs."""
    return Panel(
        title,
        arm,
        study.budget_usd is not None,
        tuple(span for event in study.plan.events for span in spans_of(event, study.rounds)),
        {
            name: _course(pool([run.series for run in some]), study, study.arms.index(arm))
            for name, some in runs.items()
        },
    )


def spans_of(event: Event, rounds: int) -> list[tuple[int, int]]:
    """From and to which round an event is there; what is so from the start is no change.

    Examples
    --------
    >>> spans_of(Event("quality", 2, 99, "recurring", period=4), 9)
    [(2, 4), (6, 8)]
    >>> spans_of(Event("mix", 0, 5), 9)
    []
    """
    there = event.intensity(np.arange(rounds)) >= 0.5
    edges = np.flatnonzero(np.diff(np.concatenate([[False], there, [False]]).astype(np.int8)))
    pairs = zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
    return [(start, end) for start, end in pairs if start > 0]


def _course(series: Mapping[str, Any], study: Study, arm: int) -> Course:
    rounds = np.asarray(series["rounds"], dtype=np.float64)
    so_far = np.asarray(series["spend_usd"], dtype=np.float64)
    if study.budget_usd is None:
        lengths = np.diff(rounds, prepend=0.0)
        spend = _moving(1000.0 * np.diff(so_far, prepend=0.0) / lengths)
    else:
        spend = so_far / (study.budget_usd * rounds)
    return Course(rounds, _moving(np.asarray(series["share"][arm])), spend)


def _moving(values: Floats) -> Floats:
    """Means of each value and up to `_WIDTH` - 1 before it."""
    sums = np.cumsum(np.concatenate([np.zeros(1), values]))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - _WIDTH)
    return np.asarray((sums[ends] - sums[starts]) / (ends - starts))


def draw_courses(panels: Sequence[Panel], kind: str) -> bytes:
    """A column for each panel, shares above spend, as ``svg`` or ``png``."""

    def draw(figure: Any) -> None:
        grid = figure.subplots(2, len(panels), sharex="col", sharey="row", squeeze=False)
        for (above, below), panel in zip(grid.T, panels, strict=True):
            _fill(above, below, panel)
        arms = sorted({panel.arm for panel in panels})
        named = arms[0] if len(arms) == 1 else "the arm"
        grid[0, 0].set_ylabel(f"share of\n{named}", fontsize=8)
        paced = panels[0].paced
        grid[1, 0].set(ylabel="spend / budget so far" if paced else "$ per 1,000 queries")
        figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5)

    picture = draw_one(draw, kind=kind, size=(1.0 + 2.7 * len(panels), 4.4))
    return shortened(picture) if kind == "svg" else picture


def _fill(above: Any, below: Any, panel: Panel) -> None:
    for axes in (above, below):
        for start, end in panel.spans:
            axes.axvspan(start, end, color="#fa5252", alpha=0.08, lw=0)
    for (name, course), colour in zip(panel.courses.items(), COLOURS, strict=False):
        style = {"color": colour, "lw": 1.8 if name == "composed" else 1.1, "label": name}
        above.plot(course.rounds, course.share, **style)
        below.plot(course.rounds, np.minimum(course.spend, _TOP), **style)
    if panel.paced:
        below.axhline(1.0, color="#212529", lw=1.0, ls=":")
    above.set(title=panel.title, ylim=(-0.02, 1.02))
    below.set(xlabel="round")
    below.set_ylim(bottom=0.0, auto=None)


def shortened(svg: bytes) -> bytes:
    r"""Coordinates to a tenth of a point, and no more names and spaces than needed: half the size.

    Examples
    --------
    >>> shortened(b'<g id="line_1">\n <path d="M 1.23456 -7.891 \nL 2 3 \n"/></g>')
    b'<g><path d="M1.2 -7.9L2 3"/></g>'
    """

    def path(found: re.Match[bytes]) -> bytes:
        short = re.sub(rb"-?\d+\.\d+", lambda m: b"%.1f" % float(m[0]), found[0])
        return re.sub(rb"\s*\n\s*", b"", re.sub(rb"([MLCQ]) ", rb"\1", short))

    named = re.sub(rb'<g id="[^"]*">', b"<g>", re.sub(rb' d="[^"]*"', path, svg))
    plain = re.sub(rb"font-family: [^;\"]*", b"font-family: sans-serif", named)
    return re.sub(rb">\s+<", b"><", plain)
