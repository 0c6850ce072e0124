"""Where learning begins: the saved states of a log, and which of them may be continued."""

import logging
from dataclasses import dataclass

from feedback.log import DecisionLog, Snapshot
from serving.replaying import State, restored
from serving.snapshots import PolicyMaker

_LOG = logging.getLogger(__name__)
_N_TRIED = 20
"""Older snapshots that are looked at before the log is learned anew."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a learner that has just got the lead goes on from.

    Attributes
    ----------
    serial
        Of the newest snapshot, whether it is continued or not.
    publish_from
        Position before which nothing is published: servers keep what they have until the new
        policy knows as much.
    published
        Whether the state is the newest snapshot's.
    """

    state: State
    serial: int = 0
    publish_from: int = 0
    published: bool = False


class SavedStates:
    """The states that the snapshots of a log hold, as far as one lineage may continue them.

    Parameters
    ----------
    make_policy
        Makes the policy of position 0.
    lineage
        As of `serving.replaying.lineage`.
    """

    def __init__(self, log: DecisionLog, make_policy: PolicyMaker, lineage: str) -> None:
        self._log = log
        self._make_policy = make_policy
        self.lineage = lineage

    def fresh(self) -> State:
        """The state of position 0."""
        return State(self._make_policy())

    async def newest(self) -> Beginning:
        """The newest snapshot that can be continued, else position 0."""
        newest = await self._log.latest_snapshot()
        if newest is None:
            return Beginning(self.fresh())
        serial = int(newest.manifest.get("serial", 0))
        state = self._restored(newest)
        if state is not None:
            return Beginning(state, serial, published=True)
        older = await self._older(newest)
        _LOG.warning(
            "snapshot %s cannot be continued under the settings in force; the log is learned again "
            "from position %d, and nothing is published before position %d",
            newest.version,
            older.position,
            newest.position,
        )
        return Beginning(older, serial, publish_from=newest.position)

    async def before(self, position: int) -> State:
        """The newest state before ``position`` that can be continued, else that of position 0."""
        while found := await self._log.snapshots_before(position, 1):
            state = self._restored(found[0])
            if state is not None:
                return state
            position = found[0].position
        return self.fresh()

    async def _older(self, newest: Snapshot) -> State:
        for snapshot in await self._log.snapshots_before(newest.position + 1, _N_TRIED):
            state = None if snapshot.version == newest.version else self._restored(snapshot)
            if state is not None:
                return state
        return self.fresh()

    def _restored(self, snapshot: Snapshot) -> State | None:
        return restored(snapshot, self._make_policy, self.lineage)
