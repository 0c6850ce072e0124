"""How far the choices usually lie apart: the unit in which gamma counts."""

from collections.abc import Mapping, Sequence

MOST_SCENARIOS = 256
"""Scenarios that are remembered; callers may bring numbers of their own."""


class Gaps:
    """The running mean of gaps in utility, scenario by scenario.

    Parameters
    ----------
    saved
        What `state` gave, to continue from.

    Examples
    --------
    >>> gaps = Gaps()
    >>> gaps.note("quality", 0.6)
    >>> round(gaps.typical("quality"), 3), gaps.typical("speed")
    (0.1, 0.05)
    """

    def __init__(self, saved: Mapping[str, Sequence[float]] | None = None) -> None:
        self._sums = {name: list(sums) for name, sums in (saved or {}).items()}

    def typical(self, scenario: str) -> float:
        """The usual gap under a scenario, above 0."""
        total, weight = self._sums.get(scenario, (0.0, 0.0))
        # Ten gaps of .05 stand in until real ones are seen.
        return max(1e-6, (total + 10 * 0.05) / (weight + 10))

    def note(self, scenario: str, gap: float) -> None:
        """Count one gap; the past counts for 1 % less."""
        total, weight = self._sums.pop(scenario, (0.0, 0.0))
        # Last in the order of the names: the one seen longest ago is the first to be forgotten.
        self._sums[scenario] = [0.99 * total + gap, 0.99 * weight + 1.0]
        if len(self._sums) > MOST_SCENARIOS:
            del self._sums[next(iter(self._sums))]

    def state(self) -> dict[str, list[float]]:
        """Everything, as JSON-ready data: the scenario seen longest ago comes first."""
        return self._sums
