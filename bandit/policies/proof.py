"""How much of what a gate claims to see came true."""

import math
from collections.abc import Sequence

_KEEP = 0.998
"""What a label's weight becomes with every later label: five hundred are remembered."""
_PRIOR = (10.0, 0.0, 0.0, 1.0, 1.0, 2.0)
"""Ten corrections, of .1 when squared, that came true, with a variance of .1 about them."""


class Proof:
    """The slope of what was missed on what was corrected, less its standard error.

    Every correction is held against a truth that came later. A slope of 1 says that corrections
    are right on average, 0 that they are noise. Whoever pays for corrections should count on what
    is sure of it: the lower end of an interval, not its middle.

    Parameters
    ----------
    sums
        What `sums` was, to continue from: of one, of corrections, of what was missed, and of the
        squares and the product of the two.

    Examples
    --------
    >>> proof = Proof()
    >>> before = proof.slope
    >>> for i in range(400):
    ...     proof.learn(0.2 * (-1) ** i, 0.2 * (-1) ** i)
    >>> before < 0.75 < 0.9 < proof.slope
    True
    """

    def __init__(self, sums: Sequence[float] | None = None) -> None:
        self.sums = list(_PRIOR if sums is None else sums)

    @property
    def slope(self) -> float:
        """The share of corrections that surely comes true, in [0, 1]."""
        n, x, y, xx, xy, yy = self.sums
        var_x, cov, var_y = xx - x * x / n, xy - x * y / n, yy - y * y / n
        slope = cov / max(1e-9, var_x)
        error = math.sqrt(max(0.0, var_y - slope * cov) / n / max(1e-9, var_x))
        return min(1.0, max(0.0, slope - error))

    def learn(self, correction: float, missed: float) -> None:
        """Take in a correction that was made before the truth was known, and the truth."""
        x, y = correction, missed
        new = (1.0, x, y, x * x, x * y, y * y)
        self.sums = [_KEEP * old + value for old, value in zip(self.sums, new, strict=True)]
