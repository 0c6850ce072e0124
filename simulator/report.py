"""``report.html``: every number and picture of a study on one page that loads nothing else."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from types import MappingProxyType
from typing import Any

from simulator.plots import draw_all

CAPTIONS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "learning": (
            "Learning curve",
            "Quality as a moving mean; bands are 95 % intervals of the mean over seeds.",
        ),
        "regret": (
            "Cumulative regret",
            "Reward of each round's best arm minus the policy's, summed.",
        ),
        "share": ("Share of the cloud arm", "Over time; what drifts is shaded."),
        "front": (
            "Cost and quality",
            "Whole run. The dotted line is what random mixes of single models reach at best.",
        ),
        "spend": ("Spend", "Cumulative; dotted: the budget, where there is one."),
        "recovery": ("Recovery", "Reward in each phase."),
        "propensity": (
            "Propensities",
            "How often an arm was drawn with which probability: the support of any later estimate.",
        ),
        "calibration": (
            "Calibration",
            "Predicted against actual quality of the chosen arm, in tenths with 20 rounds or more.",
        ),
    }
)
_COLUMNS = (
    ("quality", "quality", 4, 1),
    ("95 %", "", 3, 1),
    ("reward", "reward", 4, 1),
    ("regret", "regret", 4, 1),
    ("APGR", "apgr", 3, 1),
    ("CPT50", "cpt50", 3, 1),
    ("CPT80", "cpt80", 3, 1),
    ("RCS*", "rcs", 3, 1),
    ("$ / 1,000", "cost_usd", 4, 1000),
    ("latency s", "latency_s", 2, 1),
    ("spend/budget", "spend_over_budget", 3, 1),
)
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1080px;margin:2rem auto;padding:0 1rem}
h1{margin-bottom:.2rem}h2{margin-top:2.2rem}p.note{color:#5c636a;margin:.2rem 0}
table{border-collapse:collapse;font-size:13px;width:100%}th,td{padding:.2rem .5rem}
td,th{text-align:right}
th:first-child,td:first-child{text-align:left}thead th{border-bottom:2px solid #adb5bd}
tbody tr:nth-child(odd){background:#f4f6f8}figure{margin:1rem 0}svg{max-width:100%;height:auto}
figcaption{color:#5c636a;font-size:13px}.scroll{overflow-x:auto}
"""


def write_report(
    folder: Path,
    results: Mapping[str, Any],
    series: Mapping[str, Any],
    *,
    notes: Sequence[str] = (),
) -> None:
    """Write ``report.html`` and each plot as SVG and PNG into ``folder``."""
    plots = draw_all(results, series)
    for name, (svg, png) in plots.items():
        (folder / f"{name}.svg").write_text(svg, "utf-8")
        (folder / f"{name}.png").write_bytes(png)
    page = render(results, series, {name: svg for name, (svg, _) in plots.items()}, notes=notes)
    (folder / "report.html").write_text(page, "utf-8")


def render(
    results: Mapping[str, Any],
    series: Mapping[str, Any],
    plots: Mapping[str, str],
    *,
    notes: Sequence[str] = (),
) -> str:
    """The page."""
    tables = "".join(
        _table(title, results, measured) for title, measured in _windows(results["policies"])
    )
    figures = "".join(
        f"<figure id='{name}'><h2>{CAPTIONS[name][0]}</h2>{svg}"
        f"<figcaption>{escape(CAPTIONS[name][1])}</figcaption></figure>"
        for name, svg in plots.items()
    )
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'>"
        f"<title>Pointsman: {escape(results['table'])}</title><style>{STYLE}</style></head><body>"
        f"{_head(results, series, notes)}{tables}{figures}{_FOOT}</body></html>\n"
    )


def _windows(policies: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Title and measures by policy of every stretch that has numbers."""
    windows = [
        ("Second half", {name: m["halves"][1] for name, m in policies.items()}),
        ("First half", {name: m["halves"][0] for name, m in policies.items()}),
        ("Whole run", {name: m["all"] for name, m in policies.items()}),
    ]
    for i, phase in enumerate(next(iter(policies.values()))["phases"]):
        title = f"Phase {phase['name']} (rounds {phase['start']}–{phase['end']})"
        windows.append((title, {name: m["phases"][i] for name, m in policies.items()}))
    return windows


def _head(results: Mapping[str, Any], series: Mapping[str, Any], notes: Sequence[str]) -> str:
    facts = (
        f"{' | '.join(results['arms'])} · {results['rounds']:,} rounds · "
        f"{results['seeds']} seeds · scenario {results['scenario']} · "
        f"drift: {series['drift']['name']}"
    )
    said = "".join(f"<p class='note'>{escape(note)}</p>" for note in notes)
    return f"<h1>{escape(results['table'])}</h1><p class='note'>{escape(facts)}</p>{said}"


def _table(title: str, results: Mapping[str, Any], measured: Mapping[str, Any]) -> str:
    arms = results["arms"]
    heads = "".join(f"<th>{escape(name)}</th>" for name, *_ in _COLUMNS)
    heads += "".join(f"<th>{escape(arm)}</th>" for arm in arms)
    rows = []
    for name, m in measured.items():
        cells = [_cell(m, *column) for column in _COLUMNS]
        cells += [f"{m['share'][arm]:.3f}" for arm in arms]
        body = "".join(f"<td>{cell}</td>" for cell in cells)
        rows.append(f"<tr><td>{escape(name)}</td>{body}</tr>")
    return (
        f"<h2>{escape(title)}</h2><div class='scroll'><table><thead><tr><th>policy</th>{heads}"
        f"</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cell(measured: Mapping[str, Any], head: str, key: str, digits: int, scale: float) -> str:
    if head == "95 %":
        return f"{measured['quality_low']:.3f}–{measured['quality_high']:.3f}"
    value = measured[key]
    return "–" if value is None else f"{scale * value:.{digits}f}"


_FOOT = """<p class='note'>APGR and CPT: Ong et al., RouteLLM (ICLR 2025), progressive: rounds are
ranked by the advantage of the last arm over the first that the policy predicted before it learned
from them; 0.5 is a random order, “–” means that the last arm is no better than the first, so that
there is no gap to recover. Shares are of all answers. *RCS: our own definition (the scenario's
weights of problems solved, share kept at the first arm, and speed); the weights of the paper it
comes from are unknown.</p>"""
