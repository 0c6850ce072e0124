"""What other ways of choosing would have come to, from the decisions of a ledger.

Every figure is doubly robust and stratified by arm. A ridge regression that never saw the row
(`simulator.reward_model`) says what each arm would have given; the mean error of that on the arm's
own answers, each weighted by ``π(arm) / probability of seeing it``, is put right:

    ``V(π) = mean_i Σ_a π_i(a) m_a(x_i) + Σ_a mean_i π_i(a) · Σ w (y - m_a) / Σ w``

with the inner sums over the answers of arm a in which y is known. Dividing by the arm's own ``Σ w``
has two uses: weights need not average to 1 in the sample, and where one arm's answers are judged
more often than another's, that cancels. It rests on judging being at random *within* an arm.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from simulator.clustering import Figure, Floats, Ints, Tally, clusters
from simulator.evidence import Gates, gates_of
from simulator.ledger import Entry
from simulator.logged_features import feature_matrix, session_numbers
from simulator.reward_model import Rows, cross_fitted, folds

METRICS = ("quality", "cost_usd", "latency_s")
_FOLDS = 5


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Drawn decisions laid out for sums, n rows and k arms.

    Attributes
    ----------
    pmf
        As logged, shape (n, k); 0 for arms that were not eligible.
    drawn
        Column of the arm drawn, shape (n,).
    row, arm, divisor
        Of every answer that was seen, those inside cascades included; the first of a row is the
        drawn arm's.
    first
        Which of those are.
    seen, model
        By metric: what each of those answers came to, NaN where unknown; and what every arm is
        expected to give for every row, shape (n, k).
    """

    entries: Sequence[Entry]
    arms: tuple[str, ...]
    cluster: Ints
    pmf: Floats
    drawn: Ints
    row: Ints
    arm: Ints
    divisor: Floats
    first: Ints
    seen: Mapping[str, Floats]
    model: Mapping[str, Floats]

    def always(self, column: int) -> Floats:
        """The pmf of one arm wherever it was eligible; elsewhere that of the log."""
        able = self.pmf[:, [column]] > 0.0
        return np.where(able, np.eye(len(self.arms))[column], self.pmf)


def pool_of(entries: Sequence[Entry], *, seed: int = 0) -> Pool:
    """The pool of decisions that were drawn and answered (`Ledger.drawn`), at least one."""
    gates = gates_of(e.record for e in entries)
    arms = tuple(sorted({name for e in entries for name in e.decision.prediction.arms}))
    column = {name: j for j, name in enumerate(arms)}
    pmf = np.zeros((len(entries), len(arms)))
    for i, e in enumerate(entries):
        pmf[i, [column[name] for name in e.decision.prediction.arms]] = e.decision.prediction.pmf
    row, arm, divisor, values = _sightings(entries, gates, column)
    decisions = [e.decision for e in entries]
    features = feature_matrix(decisions)
    fold = folds(session_numbers(decisions), _FOLDS, np.random.default_rng(seed))
    seen = dict(zip(METRICS, values.T, strict=True))
    return Pool(
        entries,
        arms,
        clusters([e.session for e in entries]),
        pmf,
        np.array([column[d.arm] for d in decisions], dtype=np.int64),
        row,
        arm,
        divisor,
        np.flatnonzero(np.diff(row, prepend=-1)),
        seen,
        {
            name: _expected(features, fold, Rows(features, arm, y, len(arms)), row)
            for name, y in seen.items()
        },
    )


def _sightings(
    entries: Sequence[Entry], gates: Gates, column: Mapping[str, int]
) -> tuple[Ints, Ints, Floats, Floats]:
    rows, arms, divisors, values = [], [], [], []
    for i, e in enumerate(entries):
        for sight in gates.sightings(e.record):
            if sight.arm not in column:
                continue
            cost = None if sight.outcome is None else sight.outcome.cost_usd
            latency = None if sight.outcome is None else sight.outcome.latency_s
            rows.append(i)
            arms.append(column[sight.arm])
            divisors.append(sight.probability)
            values.append([e.record.quality, cost, latency])
    return (
        np.array(rows, dtype=np.int64),
        np.array(arms, dtype=np.int64),
        np.array(divisors),
        np.array(values, dtype=np.float64),
    )


def _expected(features: Floats, fold: Ints, seen: Rows, row: Ints) -> Floats:
    """Every arm's expected value for every row, from other folds; 0 where nothing is known."""
    known = np.isfinite(seen.reward)
    if not known.any():
        return np.zeros((len(features), seen.n_arms))
    scale = max(float(seen.reward[known].max()), 1e-12)
    # What is known teaches; every row is then asked for as one more, without a value of its own.
    taught = row[known]
    rows = Rows(features[taught], seen.arm[known], seen.reward[known] / scale, seen.n_arms)
    return scale * cross_fitted(rows, fold[taught], ask=(features, fold))


@dataclass(frozen=True, slots=True)
class Worth:
    """Where one policy's sums of one metric lie among the totals of a tally."""

    cut: slice
    n_arms: int

    def __call__(self, totals: Floats) -> Floats:
        """Its mean a decision; NaN where an arm that it wants was never seen."""
        part, k = totals[..., self.cut], self.n_arms
        n, model = part[..., 0], part[..., 1]
        mass, error, weight = (part[..., 2 + i * k : 2 + (i + 1) * k] for i in range(3))
        wanted = mass > 1e-12
        mended = np.where(wanted, error / weight, 0.0)
        return np.asarray((model + (np.where(wanted, mass, 0.0) * mended).sum(axis=-1)) / n)


def add_policy(
    tally: Tally, pool: Pool, metric: str, target: Floats | None, mask: Floats | None = None
) -> Worth:
    """Sums for the value of a policy; its figure is the result.

    Parameters
    ----------
    target
        Its pmf, shape (n, k); None is what was drawn, whose answers count once each.
    mask
        1 for the rows that count, shape (n,).
    """
    k, y, model = len(pool.arms), pool.seen[metric], pool.model[metric]
    counted = np.ones(len(pool.drawn)) if mask is None else mask
    chosen = np.eye(k)[pool.drawn] if target is None else target
    weight = chosen[pool.row, pool.arm] / pool.divisor
    if target is None:
        weight = np.zeros(len(pool.row))
        weight[pool.first] = 1.0
    known = np.isfinite(y)
    weight = np.where(known, weight, 0.0) * counted[pool.row]
    error = weight * np.where(known, y - model[pool.row, pool.arm], 0.0)
    spread = np.eye(k)[pool.arm]
    n = len(counted)
    sums = [np.stack([np.bincount(pool.row, part * spread[:, j], n) for j in range(k)], axis=1)
            for part in (error, weight)]  # fmt: skip
    masses = chosen * counted[:, None]
    columns = [counted, (chosen * model).sum(axis=1) * counted, *masses.T, *sums[0].T, *sums[1].T]
    return Worth(tally.add(np.stack(columns, axis=1)), k)


def difference(first: Figure, second: Figure) -> Figure:
    """The figure ``first - second``."""
    return lambda totals: np.asarray(first(totals) - second(totals))
