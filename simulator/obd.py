"""The Open Bandit Dataset as a judge of the estimators.

Two policies ran, so each can be valued by the other's log, and by its own. Saito, Aihara, Matsutani
and Narita, "Open Bandit Dataset and Pipeline", NeurIPS Datasets and Benchmarks 2021: a uniformly
random policy and Bernoulli Thompson sampling recommended fashion items in three positions of a
page; the reward is the click. Rows have columns ``policy`` (``random`` or ``bts``), ``item_id``,
``position``, ``click`` and ``propensity_score``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bandit.ope import estimate_all, snips
from bandit.sample import Sample
from simulator.errors import BadTableError, nearest
from simulator.sources import open_source

RANDOM, THOMPSON = "random", "bts"
_COLUMNS = ("policy", "item_id", "position", "click", "propensity_score")


@dataclass(frozen=True, slots=True, eq=False)
class BanditLog:
    """One policy's rows, each array of shape (n,)."""

    item: NDArray[np.int64]
    position: NDArray[np.int64]
    click: NDArray[np.float64]
    propensity: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.item)


def compare(path: Path, *, alpha: float = 0.05) -> dict[str, Any]:
    """Each policy's value from the other's log beside its own mean; see `compare_logs`.

    Raises
    ------
    BadTableError
        If the file is not such a log.
    """
    source = open_source(path)
    for name in _COLUMNS:
        if name not in source.names:
            raise BadTableError(path, "", f"no column {name!r}{nearest(name, source.names)}")
    columns = source.read(_COLUMNS, 10_000_000)
    policy = np.asarray(columns["policy"], dtype=str)
    logs = {}
    for name in (RANDOM, THOMPSON):
        rows = np.flatnonzero(policy == name)
        if not len(rows):
            raise BadTableError(path, "column 'policy'", f"no row of {name!r}")
        logs[name] = BanditLog(
            _picked(columns["item_id"], rows, np.int64),
            _picked(columns["position"], rows, np.int64),
            _picked(columns["click"], rows, np.float64),
            _picked(columns["propensity_score"], rows, np.float64),
        )
    return compare_logs(logs[RANDOM], logs[THOMPSON], alpha=alpha)


def compare_logs(random: BanditLog, thompson: BanditLog, *, alpha: float = 0.05) -> dict[str, Any]:
    """Both directions: ``random`` and ``bts``, each with ``on_policy`` and ``off_policy``.

    The random policy is uniform over the items. What Thompson sampling would do on the random
    policy's rows is not in the data; its frequencies of items by position in its own log stand in,
    which is its average over the days, blind to how it changed.
    """
    n_items = int(max(random.item.max(), thompson.item.max())) + 1
    uniform = np.full(len(thompson), 1.0 / n_items)
    n_positions = int(max(random.position.max(), thompson.position.max())) + 1
    frequencies = item_frequencies(thompson, n_positions, n_items)
    learned = frequencies[random.position, random.item]
    return {
        RANDOM: _direction(random, thompson, uniform, alpha=alpha),
        THOMPSON: _direction(thompson, random, learned, alpha=alpha),
    }


def item_frequencies(log: BanditLog, n_positions: int, n_items: int) -> NDArray[np.float64]:
    """Share of each item at each position, shape (n_positions, n_items)."""
    counts = np.zeros((n_positions, n_items))
    np.add.at(counts, (log.position, log.item), 1.0)
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0))


def _direction(
    own: BanditLog, other: BanditLog, target: NDArray[np.float64], *, alpha: float
) -> dict[str, Any]:
    ones = np.ones(len(own))
    sample = Sample(other.click, other.propensity, target)
    w_max = float(target.max() / other.propensity.min())
    estimates = estimate_all(sample, w_max=w_max, alpha=alpha)
    return {
        "on_policy": snips(Sample(own.click, ones, ones), alpha=alpha).to_dict(),
        "off_policy": [estimate.to_dict() for estimate in estimates],
    }


def _picked(column: ArrayLike, rows: NDArray[np.int64], kind: type) -> NDArray[Any]:
    return np.asarray(column)[rows].astype(kind)
