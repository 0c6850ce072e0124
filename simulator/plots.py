"""The pictures of a report, as SVG and PNG; matplotlib is imported when the first is drawn."""

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from simulator.errors import MissingExtraError
from simulator.series import PROPENSITY_EDGES

Results = Mapping[str, Any]
Series = Mapping[str, Any]
Draw = Callable[..., None]

COLOURS = (
    "#0b6e99", "#d9480f", "#7048e8", "#2b8a3e", "#c2255c", "#e8a200", "#495057", "#15aabf",
    "#845ef7", "#5c940d", "#a61e4d", "#868e96", "#1864ab", "#f76707",
)  # fmt: skip
_QUIET = frozenset(
    {"always-edge", "always-cloud", "random", "oracle", "static-domain", "threshold"}
)
"""Drawn dashed: yardsticks, not learners."""


def draw_all(results: Results, series: Series) -> dict[str, tuple[str, bytes]]:
    """Name to (SVG text, PNG bytes) of every plot that the results allow."""
    return draw_each(
        {name: partial(draw, results=results, series=series) for name, draw in PLOTS.items()}
    )


def draw_each(plots: Mapping[str, Callable[[Any], None]]) -> dict[str, tuple[str, bytes]]:
    """Name to (SVG text, PNG bytes) of every plot that draws something.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    drawn = {}
    with _style() as figure_class:
        for name, draw in plots.items():
            figure = figure_class(figsize=(7.2, 3.9), layout="constrained")
            draw(figure)
            if figure.axes:
                drawn[name] = (_svg(figure), _png(figure))
    return drawn


def line_chart(
    x: Sequence[float],
    lines: Mapping[str, Sequence[tuple[float, float, float]]],
    *,
    title: str,
    x_label: str,
    kind: str,
) -> bytes:
    """Lines with bands around them, ``svg`` or ``png``; every point is mean, low and high."""

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for (name, points), colour in zip(lines.items(), COLOURS, strict=False):
            mean, low, high = zip(*points, strict=True)
            axes.plot(x, mean, color=colour, lw=1.7, marker="o", ms=3, label=name)
            axes.fill_between(x, low, high, color=colour, alpha=0.18, lw=0)
        axes.set(xlabel=x_label, title=title)
        axes.set_ylim(bottom=0.0)
        axes.legend()

    return draw_one(draw, kind=kind)


def draw_one(
    draw: Callable[[Any], None], *, kind: str, size: tuple[float, float] = (7.2, 3.9)
) -> bytes:
    """One picture, ``svg`` or ``png``, of so many inches.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    with _style() as figure_class:
        figure = figure_class(figsize=size, layout="constrained")
        draw(figure)
        return _svg(figure).encode() if kind == "svg" else _png(figure)


@contextmanager
def _style() -> Iterator[Any]:
    """The class of figures, while they look as ours do."""
    try:
        import matplotlib as mpl  # noqa: PLC0415 - an optional extra
        from matplotlib.figure import Figure  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise MissingExtraError("matplotlib", "sim", "a report") from error
    settings = {
        "svg.hashsalt": "pointsman",
        "svg.fonttype": "none",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.25,
        "legend.frameon": False,
        "legend.fontsize": 7.5,
    }
    with mpl.rc_context(settings):
        yield Figure


def _svg(figure: Any) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    whole = text.getvalue()
    # Namespaces of the metadata are addresses; without it the page names no other host's.
    return re.sub(r"<metadata>.*?</metadata>", "", whole[whole.index("<svg") :], flags=re.DOTALL)


def _png(figure: Any) -> bytes:
    blob = io.BytesIO()
    figure.savefig(blob, format="png", dpi=110, metadata={"Software": None})
    return blob.getvalue()


def _lines(results: Results) -> list[tuple[str, dict[str, Any]]]:
    return [
        (name, {"color": COLOURS[i % len(COLOURS)], "lw": 1.0 if name in _QUIET else 1.7}
         | {"ls": "--" if name in _QUIET else "-"})
        for i, name in enumerate(results["policies"])
    ]  # fmt: skip


def _mark_drift(axes: Any, results: Results, series: Series) -> None:
    for event in series["drift"]["events"]:
        start, end = event["start"], min(event["end"], results["rounds"])
        axes.axvspan(start, end, color="#fa5252", alpha=0.07, lw=0)
        axes.annotate(
            event["kind"], (start, 1.0), xycoords=("data", "axes fraction"), fontsize=7,
            color="#c92a2a", va="bottom",
        )  # fmt: skip


def _legend(axes: Any) -> None:
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _learning(figure: Any, results: Results, series: Series) -> None:
    axes = figure.subplots()
    seeds = max(1, results["seeds"])
    for name, style in _lines(results):
        curve = series["policies"][name]
        # A moving mean over a sixth of the run: single stretches are mostly the queries' luck.
        mean, spread = _smooth(curve["quality"]), _smooth(curve["quality_sd"])
        half = 1.96 * spread / np.sqrt(seeds)
        axes.plot(curve["rounds"], mean, label=name, **style)
        if name not in _QUIET and seeds > 1:
            axes.fill_between(
                curve["rounds"], mean - half, mean + half, color=style["color"], alpha=0.13, lw=0
            )
    _mark_drift(axes, results, series)
    axes.set(xlabel="round", ylabel="quality (moving mean)")
    _legend(axes)


def _smooth(values: Sequence[float]) -> Any:
    data = np.asarray(values, dtype=np.float64)
    width = max(1, len(data) // 6)
    sums = np.cumsum(np.concatenate([np.zeros(1), data]))
    ends = np.arange(1, len(data) + 1)
    starts = np.maximum(0, ends - width)
    return (sums[ends] - sums[starts]) / (ends - starts)


def _regret(figure: Any, results: Results, series: Series) -> None:
    axes = figure.subplots()
    for name, style in _lines(results):
        curve = series["policies"][name]
        axes.plot(curve["rounds"], curve["regret"], label=name, **style)
    _mark_drift(axes, results, series)
    axes.set(xlabel="round", ylabel="cumulative regret (reward)")
    _legend(axes)


def _share(figure: Any, results: Results, series: Series) -> None:
    axes = figure.subplots()
    cloud = results["arms"][-1]
    for name, style in _lines(results):
        if name in {"always-edge", "always-cloud"}:
            continue
        curve = series["policies"][name]
        axes.plot(curve["rounds"], _smooth(curve["share"][-1]), label=name, **style)
    _mark_drift(axes, results, series)
    axes.set(xlabel="round", ylabel=f"share of {cloud}", ylim=(-0.02, 1.02))
    _legend(axes)


def _front(figure: Any, results: Results, series: Series) -> None:
    axes = figure.subplots()
    policies = results["policies"]
    for name, style in _lines(results):
        m = policies[name]["all"]
        error = [[m["quality"] - m["quality_low"]], [m["quality_high"] - m["quality"]]]
        axes.errorbar(
            1e3 * m["cost_usd"], m["quality"], yerr=_lengths(error), fmt="o", ms=5, lw=1,
            color=style["color"], label=name,
        )  # fmt: skip
    points = sorted((1e3 * cost, quality) for cost, quality in series["alone"].values())
    hull = upper_hull(points)
    axes.plot(*zip(*points, strict=True), "x", color="#495057", ms=6, label="single models")
    axes.plot(*zip(*hull, strict=True), color="#868e96", lw=1, ls=":", label="their hull")
    axes.set(xlabel="cost (US dollars per 1,000 queries)", ylabel="quality")
    _legend(axes)


def upper_hull(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Corners of what random mixes of the points reach at best, never decreasing in cost.

    After Hu et al., "RouterBench" (arXiv 2403.12031): the non-decreasing convex hull.

    Examples
    --------
    >>> upper_hull([(0.0, 0.5), (1.0, 0.6), (2.0, 0.9), (3.0, 0.8)])
    [(0.0, 0.5), (2.0, 0.9), (3.0, 0.9)]
    """
    hull: list[tuple[float, float]] = []
    for x, y in sorted(points):
        while len(hull) > 1 and _above(hull[-2], (x, y), hull[-1]):
            hull.pop()
        if not hull or y > hull[-1][1]:
            hull.append((x, y))
    last = max(x for x, _ in points)
    return hull if hull[-1][0] == last else [*hull, (last, hull[-1][1])]


def _above(
    start: tuple[float, float], end: tuple[float, float], middle: tuple[float, float]
) -> bool:
    slope = (end[1] - start[1]) / max(1e-300, end[0] - start[0])
    return start[1] + slope * (middle[0] - start[0]) >= middle[1]


def _lengths(error: Sequence[Sequence[float]]) -> Any:
    # Rounding must not make a bar shorter than nothing.
    return np.maximum(0.0, np.asarray(error))


def _propensity(figure: Any, results: Results, series: Series) -> None:
    axes = figure.subplots()
    middles = (PROPENSITY_EDGES[:-1] + PROPENSITY_EDGES[1:]) / 2
    for name, style in _lines(results):
        if name in _QUIET:
            continue
        counts = np.asarray(series["policies"][name]["propensity"], dtype=np.float64)
        axes.step(middles, counts / max(1.0, counts.sum()), where="mid", label=name, **style)
    if not axes.lines:
        figure.clear()
        return
    axes.set(xlabel="probability of the arm that was drawn", ylabel="share of rounds")
    axes.set_yscale("symlog", linthresh=0.01)
    _legend(axes)


def _calibration(figure: Any, results: Results, series: Series) -> None:
    axes = figure.subplots()
    shown = False
    for name, style in _lines(results):
        counts, predicted, came = (
            np.asarray(part, dtype=np.float64) for part in series["policies"][name]["calibration"]
        )
        enough = counts >= 20
        if name in _QUIET or not enough.any():
            continue
        shown = True
        axes.plot(
            predicted[enough] / counts[enough], came[enough] / counts[enough], marker="o", ms=4,
            label=name, **style,
        )  # fmt: skip
    if not shown:
        figure.clear()
        return
    axes.plot([0, 1], [0, 1], color="#868e96", lw=1, ls=":")
    axes.set(xlabel="predicted quality", ylabel="mean quality that came", xlim=(0, 1), ylim=(0, 1))
    _legend(axes)


def _spend(figure: Any, results: Results, series: Series) -> None:
    axes = figure.subplots()
    for name, style in _lines(results):
        curve = series["policies"][name]
        axes.plot(curve["rounds"], curve["spend_usd"], label=name, **style)
    if series["budget_usd"]:
        total = series["budget_usd"] * results["rounds"]
        axes.plot([0, results["rounds"]], [0, total], color="#212529", lw=1.4, ls=":")
        axes.annotate("budget", (results["rounds"], total), fontsize=8, ha="right", va="bottom")
    _mark_drift(axes, results, series)
    axes.set(xlabel="round", ylabel="spend (US dollars, cumulative)")
    _legend(axes)


def _recovery(figure: Any, results: Results, series: Series) -> None:  # noqa: ARG001 - one signature for all
    policies = results["policies"]
    first = next(iter(policies.values()))
    if len(first["phases"]) < 2:
        return
    axes = figure.subplots()
    names = [phase["name"] for phase in first["phases"]]
    width = 0.8 / len(policies)
    for i, (name, style) in enumerate(_lines(results)):
        rewards = [phase["reward"] for phase in policies[name]["phases"]]
        at = np.arange(len(names)) + (i - (len(policies) - 1) / 2) * width
        axes.bar(at, rewards, width=0.9 * width, color=style["color"], label=name)
    tops = [p["reward"] for m in policies.values() for p in m["phases"]]
    axes.set(ylabel="reward, by phase", ylim=(max(0.0, min(tops) - 0.05), max(tops) + 0.02))
    axes.set_xticks(range(len(names)), names)
    _legend(axes)


PLOTS: Mapping[str, Draw] = MappingProxyType(
    {
        "learning": _learning,
        "regret": _regret,
        "share": _share,
        "front": _front,
        "spend": _spend,
        "recovery": _recovery,
        "propensity": _propensity,
        "calibration": _calibration,
    }
)
