"""The pictures of ``pointsman report --html``."""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import accumulate, pairwise
from typing import Any

from simulator.plots import draw_each, upper_hull

Found = Mapping[str, Any]
_SERVED, _ROUTER, _QUIET = "#0b6e99", "#7048e8", "#868e96"
_ARMS = ("#2b8a3e", "#d9480f", "#e8a200", "#c2255c", "#15aabf", "#495057")


def draw_report(found: Found) -> dict[str, str]:
    """Name to SVG text of every picture that the figures allow."""
    plots: dict[str, Callable[[Any], None]] = {
        "front": partial(_front, found),
        "traffic": partial(_traffic, found),
        "spend": partial(_spend, found),
        "quality": partial(_quality, found),
    }
    return {name: svg for name, (svg, _) in draw_each(plots).items()}


def _colours(found: Found) -> dict[str, str]:
    names = sorted(
        {arm["arm"] for arm in found["arms"]}
        | {name for part in found["over_time"] for name in part["share"]}
    )
    return {name: _ARMS[i % len(_ARMS)] for i, name in enumerate(names)}


def _front(found: Found, figure: Any) -> None:
    compared = found["compared"]
    if compared is None:
        return
    points = [("served", compared["served"], _SERVED)]
    colours = _colours(found)
    points += [(f"always {m['arm']}", m, colours.get(m["arm"], _QUIET))
               for m in compared["single_models"]]  # fmt: skip
    shown = [p for p in points if p[1]["quality"] and p[1]["cost_usd"]]
    if not shown:
        return
    axes = figure.subplots()
    for name, point, colour in shown:
        x, y = point["cost_usd"], point["quality"]
        axes.errorbar(
            1e3 * x["value"], y["value"], xerr=_bars(x, 1e3), yerr=_bars(y), fmt="o", ms=6, lw=1.2,
            color=colour, label=name,
        )  # fmt: skip
    singles = [(1e3 * p["cost_usd"]["value"], p["quality"]["value"]) for _, p, _ in shown[1:]]
    if len(singles) > 1:
        hull = upper_hull(singles)
        axes.plot(*zip(*hull, strict=True), color=_QUIET, lw=1, ls=":", label="their hull")
    curve = compared["aiq"]["curve"]
    if curve:
        axes.plot(
            [1e3 * p["cost_usd"] for p in curve], [p["quality"] for p in curve], color=_ROUTER,
            lw=1.2, marker=".", label="router, by price of money",
        )  # fmt: skip
    axes.set(xlabel="US dollars per 1,000 queries", ylabel="quality")
    axes.legend(loc="lower right")


def _bars(interval: Found, scale: float = 1.0) -> list[list[float]] | None:
    if interval["low"] is None:
        return None
    value = interval["value"]
    return [
        [scale * max(0.0, value - interval["low"])],
        [scale * max(0.0, interval["high"] - value)],
    ]


def _ends(found: Found) -> list[int]:
    return list(accumulate(part["decisions"] for part in found["over_time"]))


def _traffic(found: Found, figure: Any) -> None:
    bins = found["over_time"]
    if not bins:
        return
    axes = figure.subplots()
    names = sorted(bins[0]["share"])
    ends = _ends(found)
    edges = [0, *ends]
    axes.stackplot(
        [x for pair in pairwise(edges) for x in pair],
        *([part["share"][name] for part in bins for _ in (0, 1)] for name in names),
        labels=names,
        colors=[_colours(found)[name] for name in names],
        alpha=0.8,
    )
    axes.set(xlabel="decisions", ylabel="share of answers", ylim=(0, 1), xlim=(0, ends[-1]))
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _spend(found: Found, figure: Any) -> None:
    bins, compared = found["over_time"], found["compared"]
    if not bins or found["served"]["spend_usd"] is None:
        return
    axes = figure.subplots()
    ends = [0, *_ends(found)]
    spent = [0.0, *accumulate(part["spend_usd"] for part in bins)]
    axes.plot(ends, spent, color=_SERVED, lw=1.7, label="spent")
    for model in compared["single_models"] if compared else ():
        if model["cost_usd"]:
            axes.plot(
                [0, ends[-1]],
                [0, ends[-1] * model["cost_usd"]["value"]],
                color=_colours(found)[model["arm"]],
                lw=1,
                ls="--",
                label=f"always {model['arm']}",
            )
    axes.set(xlabel="decisions", ylabel="US dollars, cumulative", xlim=(0, ends[-1]))
    axes.legend(loc="upper left")


def _quality(found: Found, figure: Any) -> None:
    ends = zip(_ends(found), found["over_time"], strict=True)
    ends = zip(_ends(found), found["over_time"], strict=True)
    bins = [(end, part["quality"]) for end, part in ends if part["quality"] is not None]
    if not bins:
        return
    axes = figure.subplots()
    axes.plot(*zip(*bins, strict=True), color=_SERVED, lw=1.7, marker=".", label="judged, served")
    compared = found["compared"]
    for model in compared["single_models"] if compared else ():
        if model["quality"]:
            axes.axhline(
                model["quality"]["value"],
                color=_colours(found)[model["arm"]],
                lw=1,
                ls="--",
                label=f"always {model['arm']}",
            )
    axes.set(xlabel="decisions", ylabel="quality", ylim=(-0.02, 1.02))
    axes.legend(loc="lower right")
