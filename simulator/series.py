"""What the plots need of a run, in a size that does not grow with the rounds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.trace import Trace

BINS = 60
PROPENSITY_EDGES = np.linspace(0.0, 1.0, 21)
QUALITY_EDGES = np.linspace(0.0, 1.0, 11)


def summarise(trace: Trace, n_arms: int) -> dict[str, Any]:
    """Curves over `BINS` stretches of the run, and two histograms.

    ``calibration`` has, per tenth of predicted quality, the number of rounds, the sum of what was
    predicted and the sum of what came.
    """
    edges = np.linspace(0, len(trace), min(BINS, len(trace)) + 1).astype(int)
    starts, lengths = edges[:-1], np.diff(edges)

    def mean(column: NDArray[Any]) -> NDArray[np.float64]:
        sums = np.add.reduceat(column.astype(np.float64), starts)
        return np.asarray(sums / lengths)

    known = np.isfinite(trace.predicted)
    tenth = np.clip(np.digitize(trace.predicted[known], QUALITY_EDGES) - 1, 0, 9)
    counts, _ = np.histogram(trace.propensity, PROPENSITY_EDGES)
    return {
        "rounds": edges[1:].tolist(),
        "quality": mean(trace.quality).tolist(),
        "reward": mean(trace.reward).tolist(),
        "regret": np.cumsum(mean(trace.best - trace.reward) * lengths).tolist(),
        "spend_usd": np.cumsum(mean(trace.cost_usd) * lengths).tolist(),
        "share": [mean(trace.arm == j).tolist() for j in range(n_arms)],
        "propensity": counts.tolist(),
        "calibration": [
            np.bincount(tenth, minlength=10).tolist(),
            np.bincount(tenth, trace.predicted[known], minlength=10).tolist(),
            np.bincount(tenth, trace.quality[known], minlength=10).tolist(),
        ],
    }


def pool(summaries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means over seeds, the sums of the histograms, and the curves' standard deviations."""
    pooled: dict[str, Any] = {"rounds": summaries[0]["rounds"]}
    for name in ("quality", "reward", "regret", "spend_usd", "share"):
        stack = np.array([summary[name] for summary in summaries])
        pooled[name] = stack.mean(axis=0).tolist()
        pooled[f"{name}_sd"] = stack.std(axis=0).tolist()
    for name in ("propensity", "calibration"):
        pooled[name] = np.array([summary[name] for summary in summaries]).sum(axis=0).tolist()
    return pooled
