"""Small worlds with a known truth, and logs of them by the thousand.

Two kinds of query, equally frequent, and two arms. The logging policy is greedy but for a floor;
the target always plays arm 0, which the logging policy thinks worse of for the second kind: half of
the target's choices are seen with the probability of the floor only.
"""

from dataclasses import dataclass

import numpy as np

from bandit.sample import Sample


@dataclass(frozen=True)
class World:
    """Rewards take the values ``levels``; ``law[kind][arm]`` are their probabilities."""

    levels: tuple[float, ...]
    law: tuple[tuple[tuple[float, ...], ...], ...]

    def mean(self, kind, arm):
        return float(np.dot(self.levels, self.law[kind][arm]))

    @property
    def value(self):
        """True value of always playing arm 0."""
        return (self.mean(0, 0) + self.mean(1, 0)) / 2

    def rows(self, floor):
        """Every row that can be logged.

        Columns are its probability, reward, propensity, target, q_logged and q_target. The model is
        wrong by a tenth, up for one kind and down for the other.
        """
        found = []
        for kind, error in ((0, 0.1), (1, -0.1)):
            for arm in (0, 1):
                p = 1 - floor if arm == kind else floor
                q = [min(1.0, max(0.0, self.mean(kind, a) + error)) for a in (0, 1)]
                for level, chance in zip(self.levels, self.law[kind][arm], strict=True):
                    row = (0.5 * p * chance, level, p, float(arm == 0), q[arm], q[0])
                    found.append(row)
        return np.array(found).T

    def logs(self, rng, *, n_logs, n, floor, shuffled=False):
        """``n_logs`` independent logs of ``n`` rows as one `Sample` of shape (n_logs, n)."""
        chance, *columns = self.rows(floor)
        counts = rng.multinomial(n, chance / chance.sum(), size=n_logs)
        kinds = np.repeat(np.tile(np.arange(len(chance)), n_logs), counts.ravel())
        kinds = kinds.reshape(n_logs, n)
        if shuffled:
            kinds = rng.permuted(kinds, axis=1)
        return Sample(*(column[kinds] for column in columns))


def coin(p):
    return (1 - p, p)


BALANCED = World((0.0, 1.0), ((coin(0.5), coin(0.7)), (coin(0.6), coin(0.4))))
"""Right or wrong, about as often."""
GOOD = World((0.0, 1.0), ((coin(0.9), coin(0.8)), (coin(0.85), coin(0.9))))
"""Mostly right: what a router usually sees."""
GRADED = World(
    (0.0, 0.25, 0.5, 0.75, 1.0),
    (
        ((0.05, 0.1, 0.2, 0.3, 0.35), (0.1, 0.2, 0.3, 0.2, 0.2)),
        ((0.1, 0.15, 0.25, 0.3, 0.2), (0.05, 0.05, 0.2, 0.4, 0.3)),
    ),
)
"""A judge's grades."""
RARE = World((0.0, 1.0), ((coin(0.15), coin(0.1)), (coin(0.1), coin(0.2))))
"""Mostly wrong."""
