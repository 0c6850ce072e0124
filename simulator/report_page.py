"""The page of ``pointsman report --html``: it loads nothing else."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from types import MappingProxyType
from typing import Any

from simulator.cli_report import facts, tables
from simulator.errors import BadStudyError
from simulator.report import STYLE
from simulator.report_plots import draw_report

_CAPTIONS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "front": (
            "Cost and quality",
            (
                "Drawn decisions, with 95 % intervals by session. The dotted line is what random"
                " mixes of single models reach; the violet one is the router, from no price of"
                " money to any."
            ),
        ),
        "traffic": ("Who answered", "All decisions, in the order in which they were made."),
        "spend": ("Spend", "All decisions; dashed: what single models would have cost."),
        "quality": (
            "Quality",
            (
                "Means of what was judged; dashed: single models, estimated. Votes are not missing"
                " at random."
            ),
        ),
    }
)
_MORE = """
.verdict{border-left:6px solid #e8a200;background:#fff9e6;padding:.6rem 1rem;font-size:17px}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(440px,1fr));gap:0 1.5rem}
.verdict.yes{border-color:#2b8a3e;background:#ebfbee}ul{margin:.4rem 0}
"""


def write_page(path: Path, found: Mapping[str, Any]) -> None:
    """Write the page of a report.

    Raises
    ------
    BadStudyError
        If it cannot be written there.
    """
    page = render(found)
    try:
        path.write_text(page, "utf-8")
    except OSError as error:
        raise BadStudyError("--html", str(path), error.strerror or "cannot be written") from None


def render(found: Mapping[str, Any]) -> str:
    """The page."""
    body = [_verdict(found["verdict"])]
    if found["decisions"]["all"]:
        body += [f"<p class='note'>{escape(line)}</p>" for line in facts(found)]
        first, *others = (_table(*table) if table[2] else "" for table in tables(found))
        figures = "".join(_figure(name, svg) for name, svg in draw_report(found).items())
        body += [first, f"<div class='plots'>{figures}</div>", *others]
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'>"
        f"<title>Pointsman report</title><style>{STYLE}{_MORE}</style></head><body>"
        f"<h1>Does the router earn its keep?</h1>{''.join(body)}{_FOOT}</body></html>\n"
    )


def _verdict(verdict: Mapping[str, Any]) -> str:
    kind = "verdict yes" if verdict["earns"] else "verdict"
    missing = "".join(f"<li>{escape(text)}</li>" for text in verdict["missing"])
    more = f"<ul>{missing}</ul>" if missing else ""
    return f"<div class='{kind}'>{escape(verdict['text'])}{more}</div>"


def _figure(name: str, svg: str) -> str:
    title, caption = _CAPTIONS[name]
    return (
        f"<figure id='{name}'><h2>{title}</h2>{svg}"
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    heads = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return (
        f"<h2>{escape(title)}</h2><div class='scroll'><table><thead><tr>{heads}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


_FOOT = """<p class='note'>Brackets are 95 % intervals by session (delete-one-session jackknife).
What a single model would have given is estimated from the same log, doubly robust with the logged
probabilities. AIQ: mean quality over all costs between the cheapest and the dearest model (Hu et
al., RouterBench, 2024). RCS is our own definition: the scenario's weights of problems solved, share
kept at the edge, and speed.</p>"""
