"""Joules of an answer: this machine's own counter shared out, else an estimate by tokens.

The counter is RAPL (running average power limit), which Linux shows under ``/sys/class/powercap``
for Intel and AMD processors; most systems let only root read it. It counts whole processor
packages, whoever uses them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_POWERCAP = Path("/sys/class/powercap")
_MICRO = 1e-6


@dataclass(frozen=True, slots=True)
class EnergyRate:
    """Joules per prompt and completion token; None where nobody said.

    Examples
    --------
    >>> EnergyRate(0.01, 0.5).energy_j(100, 20)
    11.0
    >>> EnergyRate().energy_j(100, 20) is None
    True
    """

    in_j_per_token: float | None = None
    out_j_per_token: float | None = None

    def energy_j(self, tokens_in: int | None, tokens_out: int | None) -> float | None:
        """Energy of an answer in joules, a rate that is missing counting as 0; None without any."""
        if self.in_j_per_token is None and self.out_j_per_token is None:
            return None
        if tokens_in is None or tokens_out is None:
            return None
        spent_in = tokens_in * (self.in_j_per_token or 0.0)
        return spent_in + tokens_out * (self.out_j_per_token or 0.0)


@dataclass(slots=True)
class _Domain:
    """One package's counter: a file of microjoules that starts over at ``most``."""

    file: Path
    most: int
    last: int = 0
    total: int = 0

    def read(self) -> int:
        now = int(self.file.read_text())
        self.total += now - self.last if now >= self.last else now - self.last + self.most
        self.last = now
        return self.total


class Rapl:
    """Joules that the processor packages have used since this was made.

    Parameters
    ----------
    domains
        As `find_rapl` finds them.
    """

    def __init__(self, domains: Sequence[_Domain]) -> None:
        self._domains = tuple(domains)

    def __call__(self) -> float:
        """Never falls: each counter is followed past its end, if it is read once a round."""
        return _MICRO * sum(domain.read() for domain in self._domains)


def find_rapl(root: Path = _POWERCAP) -> Rapl | None:
    """The counters of this machine; None where there is none that may be read."""
    domains = []
    # Packages are "intel-rapl:0"; what lies within one has two colons and is counted with it.
    for folder in sorted(root.glob("intel-rapl:*")):
        try:
            if folder.name.count(":") == 1 and (folder / "name").read_text().startswith("package"):
                most = int((folder / "max_energy_range_uj").read_text())
                last = int((folder / "energy_uj").read_text())
                domains.append(_Domain(folder / "energy_uj", most, last))
        except (OSError, ValueError):
            continue
    return Rapl(domains) if domains else None


@dataclass(slots=True)
class Share:
    """One answer's part of the energy, in joules."""

    energy_j: float = 0.0


class EnergyMeter:
    """Shares energy out among the answers that run: what is used while n run, each has 1/n of.

    So the shares sum to all that was used while any ran. One event loop owns an instance.

    Parameters
    ----------
    counter
        Joules so far; never falls.

    Examples
    --------
    >>> joules = iter([0.0, 10.0, 30.0, 36.0])
    >>> meter = EnergyMeter(lambda: next(joules))
    >>> with meter.running() as first:
    ...     with meter.running() as second:
    ...         pass
    >>> first.energy_j, second.energy_j
    (26.0, 10.0)
    """

    def __init__(self, counter: Callable[[], float]) -> None:
        self._counter = counter
        self._last = 0.0
        self._shares: list[Share] = []

    @contextmanager
    def running(self) -> Iterator[Share]:
        """An answer runs; its share is complete at the end."""
        self._settle()
        share = Share()
        self._shares.append(share)
        try:
            yield share
        finally:
            self._settle()
            self._shares = [other for other in self._shares if other is not share]

    def _settle(self) -> None:
        now = self._counter()
        for share in self._shares:
            share.energy_j += (now - self._last) / len(self._shares)
        self._last = now


class EnergyBoard:
    """Recent energy of every arm's answers: an exponential mean, in joules.

    Examples
    --------
    >>> board = EnergyBoard()
    >>> board.record("edge", 20.0)
    >>> board.recent_j("edge")
    20.0
    """

    def __init__(self, *, smoothing: float = 0.1) -> None:
        self._smoothing = smoothing
        self._mean_j: dict[str, float] = {}

    def record(self, arm_id: str, energy_j: float) -> None:
        """Take in the energy of one full answer."""
        last = self._mean_j.get(arm_id, energy_j)
        self._mean_j[arm_id] = last + self._smoothing * (energy_j - last)

    def recent_j(self, arm_id: str) -> float | None:
        """Recent energy of an answer; None before the first that is known."""
        mean = self._mean_j.get(arm_id)
        return None if mean is None else round(mean, 6)
