"""The figures of ``pointsman report``: a stretch of the log as one document, described in docs."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np

from bandit.alarm import Alarm
from feedback.alarms import LoggedAlarm
from serving.backends.standin_answers import MODEL as STAND_IN
from simulator.clustering import Tally, clusters, ratio
from simulator.counterfactual import Pool, pool_of
from simulator.earning import Earning, Point, earning_of
from simulator.keeping import kept_at_edge, known, plain, roles_of, scenario_rows
from simulator.ledger import Entry, Ledger
from simulator.verdict import judge

VERSION = 1
_BINS = 24


def reckon(ledger: Ledger, *, alarms: Sequence[LoggedAlarm] = ()) -> dict[str, Any]:
    """The whole report, as JSON."""
    drawn = ledger.drawn()
    pool = pool_of(drawn) if drawn else None
    singles = [name for name, arm in ledger.arms.items() if arm.tier != "cascade"]
    earning = None if pool is None else earning_of(pool, sorted(singles))
    moments = [e.decision.decided_at for e in ledger.entries]
    found = {
        "version": VERSION,
        "period": {"first": _moment(moments, first=True), "last": _moment(moments, first=False)},
        "decisions": ledger.counts(),
        "judged": _judged(ledger.entries),
        "served": _served(ledger.entries),
        "forced": _served([e for e in ledger.entries if e.decision.forced]),
        "compared": None if pool is None or earning is None else _compared(ledger, pool, earning),
        "arms": _arms(ledger),
        "scenarios": [] if pool is None else scenario_rows(ledger, pool, roles_of(ledger, pool)),
        "over_time": _over_time(ledger),
        "alarms": [_alarm(alarm) for alarm in alarms],
    }
    return {**found, "verdict": judge(found)}


def _moment(moments: Sequence[datetime], *, first: bool) -> str | None:
    if not moments:
        return None
    return (min(moments) if first else max(moments)).isoformat(timespec="seconds")


def _alarm(logged: LoggedAlarm) -> dict[str, Any]:
    said = {name: getattr(logged.alarm, name) for name in Alarm.__slots__}
    return {"noticed_at": logged.noticed_at.isoformat(), **said}


def _points(point: Point) -> dict[str, Any]:
    return {name: plain(getattr(point, name)) for name in ("quality", "cost_usd", "latency_s")}


def _means(
    entries: Sequence[Entry], values: Sequence[float | None], *, within: bool = False
) -> Any:
    """Mean of what is known, with its interval; None where nothing is."""
    if not entries:
        return None
    tally = Tally(clusters([e.session for e in entries]))
    cut = tally.add(np.stack(known(values), axis=1))
    # Shares, qualities, bills and times: none of them can be negative.
    found = tally.interval(ratio(cut.start, cut.start + 1), within=within)
    return plain(None if found is None else found.from_zero())


def _served(entries: Sequence[Entry]) -> dict[str, Any]:
    """What was answered: totals and means of what is known, nothing estimated."""
    answered = [e for e in entries if not e.failed]
    outcomes = [e.record.outcome for e in answered]
    costs = [None if o is None else o.cost_usd for o in outcomes]
    billed = [cost for cost in costs if cost is not None]
    return {
        "decisions": len(entries),
        "answered": len(answered),
        "quality": _means(answered, [e.record.quality for e in answered], within=True),
        "cost_usd": _means(answered, costs),
        "spend_usd": float(sum(billed)) if billed else None,
        "cost_known": len(billed) / len(answered) if answered else None,
        "latency_s": _means(answered, [None if o is None else o.latency_s for o in outcomes]),
    }


def _judged(entries: Sequence[Entry]) -> dict[str, Any]:
    answered = [e for e in entries if not e.failed]
    by: dict[tuple[str, str], list[float]] = defaultdict(list)
    for entry in answered:
        for vote in entry.votes:
            by[vote.metric, vote.source].append(float(vote.value or 0.0))
    share = _means(answered, [float(e.record.quality is not None) for e in answered], within=True)
    ranked = sorted(by.items(), key=lambda item: (-len(item[1]), item[0]))
    return {
        "decisions": sum(e.record.quality is not None for e in answered),
        "share": share,
        "sources": len({source for _, source in by}),
        "by": [
            {
                "metric": metric,
                "source": source,
                "votes": len(values),
                "mean": float(np.mean(values)),
            }
            for (metric, source), values in ranked[:20]
        ],
    }


def _arms(ledger: Ledger) -> list[dict[str, Any]]:
    """What every chosen arm came to; raw means, forced decisions included."""
    total = _served(ledger.entries)["spend_usd"]
    names = sorted({e.decision.arm for e in ledger.entries})
    return [_arm(ledger, name, total) for name in names]


def _arm(ledger: Ledger, name: str, total_usd: float | None) -> dict[str, Any]:
    mine = [e for e in ledger.entries if e.decision.arm == name]
    answered = [e for e in mine if not e.failed]
    told, arm = _served(mine), ledger.arms.get(name)
    judged = [float(e.record.quality is not None) for e in answered]
    chosen = [float(e.decision.arm == name) for e in ledger.entries]
    spend = told["spend_usd"]
    return {
        "arm": name,
        "tier": ledger.tier(name),
        "model": arm.model if arm else None,
        "stand_in": arm is not None and STAND_IN in arm.model,
        "forced": sum(e.decision.forced for e in mine),
        "failed": sum(e.failed for e in mine),
        "share": _means(ledger.entries, chosen, within=True),
        "share_of_spend": spend / total_usd if total_usd and spend is not None else None,
        "judged": int(sum(judged)),
        "judged_share": _means(answered, judged, within=True),
        **told,
    }


def _compared(ledger: Ledger, pool: Pool, earning: Earning) -> dict[str, Any]:
    n = len(pool.drawn)
    roles = roles_of(ledger, pool)
    saved = next((m.saved for m in earning.singles if m.arm == roles.cloud), None)
    return {
        "decisions": n,
        "sessions": len({e.session for e in pool.entries}),
        "judged": int(np.isfinite(pool.seen["quality"][pool.first]).sum()),
        "served": _points(earning.served),
        "always_cloud": roles.cloud,
        "always_edge": roles.edge,
        "single_models": [
            {
                "arm": model.arm,
                "tier": ledger.tier(model.arm),
                **_points(model.point),
                "served_above": plain(model.below),
                "saved_usd": plain(None if model.saved is None else model.saved.times(n)),
                "seen": model.n_seen,
                "judged": model.n_judged,
                "not_eligible": model.n_absent,
            }
            for model in earning.singles
        ],
        "saved_usd": plain(None if saved is None else saved.times(n)),
        "kept_at_edge": kept_at_edge(ledger, pool, roles.cloud),
        "hull": {
            "corners": list(earning.corners),
            "quality": plain(earning.hull),
            "served_above": plain(earning.gap),
        },
        "aiq": {
            "router": plain(earning.aiq),
            "hull": plain(earning.aiq_hull),
            "above": plain(earning.aiq_gap),
            "curve": [{"cost_usd": c, "quality": q} for c, q in earning.curve],
        },
    }


def _over_time(ledger: Ledger) -> list[dict[str, Any]]:
    """Equally many decisions a bin: share by arm, spend, quality judged."""
    entries = sorted(ledger.entries, key=lambda e: e.decision.decided_at)
    if not entries:
        return []
    bins = np.array_split(np.arange(len(entries)), min(_BINS, len(entries)))
    arms = sorted({e.answered_by for e in entries})
    rows = []
    for part in bins:
        mine = [entries[i] for i in part]
        costs = [e.record.outcome.cost_usd for e in mine if e.record.outcome is not None]
        quality = [e.record.quality for e in mine if e.record.quality is not None]
        rows.append(
            {
                "until": mine[-1].decision.decided_at.isoformat(),
                "decisions": len(mine),
                "share": {a: float(np.mean([e.answered_by == a for e in mine])) for a in arms},
                "spend_usd": float(sum(c for c in costs if c is not None)),
                "quality": float(np.mean(quality)) if quality else None,
            }
        )
    return rows
