"""Does the router earn its keep? In plain words, from the figures of a report."""

from collections.abc import Mapping
from typing import Any

FEW_JUDGED, FEW_OF_AN_ARM, FEW_SESSIONS = 200, 30, 50
Figures = Mapping[str, Any]


def judge(found: Figures) -> dict[str, Any]:
    """``earns`` (None: cannot be said), ``text`` and what is ``missing``, as JSON.

    It earns its keep if the lower bound of AIQ above the hull of single models is above zero, on
    enough judged answers for bounds to be believed, and what it served is not known to be below
    that hull. Where all arms cost the same, what it served must be better than the best of them.
    """
    unknown = _unknown(found)
    if unknown is not None:
        return {"earns": None, "text": unknown, "missing": _missing(found)}
    compared = found["compared"]
    by_price = compared["aiq"]["above"] is not None
    figure = compared["aiq"]["above"] if by_price else _above_best(compared)
    name = _NAMES[by_price]
    if figure is None or figure["low"] is None:
        text = (
            "It cannot be said whether the router earns its keep: the log has too few sessions for"
            " an interval."
        )
        return {"earns": None, "text": text, "missing": _missing(found)}
    missing = _missing(found)
    at_point = compared["hull"]["served_above"]
    if figure["low"] <= 0.0:
        return {"earns": False, "text": _not_yet(found, figure, name), "missing": missing}
    if by_price and at_point is not None and (at_point["high"] or 0.0) < 0.0:
        text = (
            f"The router does not earn its keep yet: it knows which queries to keep ({name}"
            f" {_signed(figure)}), but what it served lies {_signed(at_point)} below the mix of"
            " single models of the same cost. Its exploration or its scenario costs more than it"
            " gains."
        )
        return {"earns": False, "text": text, "missing": missing}
    if _thin(compared):
        text = (
            f"The router does not earn its keep yet: {name} is {_signed(figure)}, but on too few"
            " judged answers to be believed."
        )
        return {"earns": False, "text": text, "missing": missing}
    text = f"The router earns its keep: {name} is {_signed(figure)}."
    return {"earns": True, "text": text + _money(compared), "missing": missing}


_NAMES = {
    True: "its quality over all prices of money, less that of the best mix of single models,",
    False: "the quality it served, less that of the best single model,",
}


def _unknown(found: Figures) -> str | None:
    """Why nothing can be said, or None."""
    if not found["decisions"]["all"]:
        return "There are no decisions in this stretch of the log, so there is nothing to report."
    why = _why_unknown(found["compared"])
    return why and f"It cannot be said whether the router earns its keep: {why}."


def _why_unknown(compared: Figures | None) -> str | None:
    if compared is None:
        return (
            "no decision of this stretch was drawn by the policy and answered by the arm drawn"
            " (they were forced, failed, or diverted)"
        )
    models = compared["single_models"]
    if len(models) < 2:
        only = models[0]["arm"] if models else "none"
        return f"only one model was ever drawn ({only}), so there was nothing to choose between"
    if not compared["judged"]:
        return "nobody judged an answer, so nothing is known of quality"
    mute = [m["arm"] for m in models if not m["judged"]]
    free = [m["arm"] for m in models if m["cost_usd"] is None]
    why = f"no answer of {' or '.join(mute)} was judged" if mute else None
    if why is None and (free or compared["served"]["cost_usd"] is None):
        which = f" of {', '.join(free)}" if free else ""
        why = f"what answers{which} cost is not known; give the arm a price"
    return why


def _above_best(compared: Figures) -> Any:
    """What was served above the best single model, where all cost the same; else None."""
    costs = [m["cost_usd"]["value"] for m in compared["single_models"]]
    if max(costs) - min(costs) > 1e-12:
        return None
    best = max(compared["single_models"], key=lambda m: m["quality"]["value"])
    return best["served_above"]


def _thin(compared: Figures) -> bool:
    few = any(m["judged"] < FEW_OF_AN_ARM for m in compared["single_models"])
    return few or compared["judged"] < FEW_JUDGED or compared["sessions"] < FEW_SESSIONS


def _not_yet(found: Figures, figure: Figures, name: str) -> str:
    text = f"The router does not earn its keep yet: {name} is {_signed(figure)}"
    if figure["high"] < 0.0:
        return text + ", below zero. Mixing single models at random would be better."
    text += ", not surely above zero."
    half, value = figure["high"] - figure["value"], figure["value"]
    judged = found["compared"]["judged"]
    if value > 0.0 and half > value:
        wanted = judged * (half / value) ** 2
        text += (
            f" If the difference is what it looks like, about {_round(wanted)} judged answers"
            f" would show it; there are {judged:,}."
        )
    return text


def _missing(found: Figures) -> list[str]:
    """What more the log would need, most telling first."""
    compared, judged = found["compared"], found["judged"]
    if compared is None:
        return []
    said = []
    if compared["judged"] < FEW_JUDGED:
        said.append(
            f"too few judged answers: {compared['judged']:,} of {compared['decisions']:,} drawn"
            f" decisions; below {FEW_JUDGED} little can be shown"
        )
    elif judged["share"] and judged["share"]["value"] < 0.1:
        said.append(
            f"few answers are judged: {judged['share']['value']:.1%}; a grader or a judge on a"
            " random share of answers tells more than who cares to vote"
        )
    said += [
        f"too little exploration: {m['arm']} was seen {m['seen']:,} times and judged"
        f" {m['judged']:,} times; raise policy.floor, or lower policy.gamma"
        for m in compared["single_models"]
        if m["judged"] < FEW_OF_AN_ARM
    ]
    if compared["sessions"] < FEW_SESSIONS:
        said.append(
            f"too few sessions: {compared['sessions']:,}; answers within one count as related"
        )
    if compared["single_models"] and not compared["aiq"]["curve"]:
        costs = [m["cost_usd"] for m in compared["single_models"]]
        if all(costs) and len({c["value"] for c in costs}) > 1:
            said.append("estimates: the policy that wrote the log says nothing of what it expected")
    return said


def _money(compared: Figures) -> str:
    saved, cloud = compared["saved_usd"], compared["always_cloud"]
    if saved is None:
        return ""
    word = "saved" if saved["value"] >= 0.0 else "cost more by"
    return f" Against always {cloud} it {word} ${abs(saved['value']):,.4g}."


def _signed(figure: Figures) -> str:
    text = f"{figure['value']:+.4f}"
    if figure["low"] is None:
        return text
    return f"{text} [{figure['low']:+.4f}, {figure['high']:+.4f}]"


def _round(n: float) -> str:
    """Two digits: it is a guess."""
    return f"{float(f'{n:.2g}'):,.0f}"
