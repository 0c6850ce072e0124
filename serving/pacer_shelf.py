"""Where pacers are kept: how far each has counted, and what is stored of it."""

import logging
from collections.abc import Callable, Mapping
from typing import Any, Generic, Protocol, TypeVar

from bandit.pacing import BadPacerError
from feedback.ledger import PacerRow
from feedback.sql_ledger import SqlLedger

_LOG = logging.getLogger(__name__)


class Keepable(Protocol):
    """A pacer that can be stored."""

    def state(self) -> dict[str, Any]:
        """JSON-ready."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a state, or raise BadPacerError."""


P = TypeVar("P", bound=Keepable)


class PacerShelf(Generic[P]):
    """Pacers by name, each with the log position up to which it has counted.

    Parameters
    ----------
    makers
        Make each of them afresh.
    """

    def __init__(self, makers: Mapping[str, Callable[[], P]], ledger: SqlLedger) -> None:
        self._makers = dict(makers)
        self._ledger = ledger
        self.pacers: dict[str, P] = {name: make() for name, make in makers.items()}
        self.positions: dict[str, int] = {}
        self._kept: dict[str, int] = {}

    async def open(self) -> None:
        """Take up what is stored; does nothing the second time.

        Raises
        ------
        LogUnavailableError
        """
        if self.positions or not self.pacers:
            return
        found = await self._ledger.open_pacers(list(self.pacers))
        for name, row in found.items():
            if row.state is not None:
                self._restore(name, row.state)
        self._kept = {name: row.position for name, row in found.items()}
        self.positions = dict(self._kept)

    async def keep(self) -> None:
        """Store what has changed since the last time.

        Raises
        ------
        LogUnavailableError
        """
        moved = {n: at for n, at in self.positions.items() if at != self._kept.get(n)}
        if moved:
            rows = {n: PacerRow(at, self.pacers[n].state()) for n, at in moved.items()}
            await self._ledger.keep_pacers(rows)
            self._kept.update(moved)

    def _restore(self, name: str, state: Mapping[str, Any]) -> None:
        try:
            self.pacers[name].restore(state)
        except BadPacerError as error:
            _LOG.warning("the pacer %r begins anew: %s", name, error)
            self.pacers[name] = self._makers[name]()
