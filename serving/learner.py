"""The one that learns: reads the log by position, teaches a policy, publishes snapshots.

The policy at position p is a function of the log up to p and of nothing else: killed anywhere, the
learner starts from the newest snapshot and its position, and becomes the policy it would have been.
See `feedback.joiner` for what is taught where, `serving.continuing` for where it begins, and
`serving.replaying` for votes that change.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from bandit.errors import BadSnapshotError, PointsmanError
from feedback.errors import FencedError, LogUnavailableError
from feedback.joiner import changed_from
from feedback.log import DecisionLog
from feedback.reward import RewardRules
from serving.alarming import AlarmBell
from serving.continuing import SavedStates
from serving.leading import Lead
from serving.replaying import Earlier, lineage, replay, teach
from serving.snapshots import PolicyMaker, make_snapshot

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LearnerConfig:
    """How the learner goes about it.

    Attributes
    ----------
    poll_s
        Seconds between looks at the log when there is nothing to do.
    publish_s
        Least time between two snapshots, in seconds.
    batch
        Events read at once.
    rules
        How feedback becomes quality, and what silence means.
    reward_window_s
        Seconds after which a decision that nobody judged counts as silent.
    schema_version
        Decisions whose features are other ones teach nothing; None takes any.
    earlier
        Reads decisions of earlier features in those in force.
    tell_alarms
        Whether somebody waits to be told of alarms.
    """

    poll_s: float = 0.2
    publish_s: float = 0.5
    batch: int = 500
    rules: RewardRules = field(default_factory=RewardRules)
    reward_window_s: float = 7 * 86400.0
    schema_version: str | None = None
    earlier: Earlier | None = None
    tell_alarms: bool = False


@dataclass(slots=True)
class LearnerStatus:
    """How learning goes.

    Attributes
    ----------
    leads
        Whether this is the one learner; others stand by.
    position
        Log position up to which the policy has learned.
    n_interactions
        Interactions in the policy.
    n_poison
        Interactions that the policy could not take; each was left out.
    n_foreign
        Interactions left out because their decisions' features are other ones than those in force.
    n_replays
        Times that a changed vote made the learner go back.
    error
        What is wrong now, in words; None if nothing is.
    """

    alive: bool = False
    leads: bool = False
    position: int = 0
    version: str | None = None
    n_interactions: int = 0
    n_poison: int = 0
    n_foreign: int = 0
    n_replays: int = 0
    error: str | None = None


class Learner:
    """Teaches one policy from the log. One event loop, in one thread, owns an instance.

    Parameters
    ----------
    log
        Read, and closed by `aclose`.
    make_policy
        Makes the policy of position 0; must always make the same one.
    clock
        Gives the time in UTC; decides only when windows close.
    """

    def __init__(
        self,
        log: DecisionLog,
        make_policy: PolicyMaker,
        clock: Callable[[], datetime],
        config: LearnerConfig | None = None,
    ) -> None:
        self._log = log
        self._clock = clock
        self._config = config or LearnerConfig()
        earlier = self._config.earlier
        ours = lineage(
            make_policy(),
            self._config.rules,
            self._config.schema_version,
            earlier=() if earlier is None else earlier.versions,
        )
        self._saved = SavedStates(log, make_policy, ours)
        self._bell = AlarmBell(log.alarms, tell=self._config.tell_alarms)
        self._lead = Lead(log)
        self._state = self._saved.fresh()
        self._serial = 0
        self._publish_from = 0
        self._unpublished = False
        self._told_foreign = False
        self._unfit: str | None = None
        self._published_at = float("-inf")
        self._closed_at = float("-inf")
        self.status = LearnerStatus()

    async def step(self) -> int:
        """Read one batch and learn it; publish if it is time; how many events were read.

        Raises
        ------
        LogUnavailableError
            The step can be repeated.
        """
        if not await self._leads():
            return 0
        try:
            await self._close_windows()
            n_events = await self._learn()
            await self._ring()
            if n_events < self._config.batch:
                self._tell_foreign()
            if n_events < self._config.batch or self._state.position >= self._publish_from:
                await self._publish_in_time()
        except FencedError as error:
            await self._lose(str(error))
            return 0
        self._report()
        return n_events

    async def run(self, stop: asyncio.Event) -> None:
        """Step until ``stop`` is set; survives everything but that."""
        self.status.alive = True
        try:
            while not stop.is_set():
                n_events = await self._survive()
                if n_events < self._config.batch:
                    await _sleep(stop, self._config.poll_s)
        finally:
            self.status.alive = False

    async def flush(self) -> None:
        """Publish what was learned and not published yet."""
        if self._lead.epoch is not None and self._unpublished:
            await self._publish()

    async def aclose(self) -> None:
        """Publish what is left, give up the lead, close the log."""
        try:
            await self.flush()
        except PointsmanError as error:
            _LOG.warning("the last snapshot was not published: %s", error)
        finally:
            await self._resign()
            await self._log.aclose()

    async def _survive(self) -> int:
        try:
            n_events = await self.step()
        except LogUnavailableError as error:
            self.status.error = str(error)
            return 0
        except Exception as error:  # noqa: BLE001 - nothing may end learning for good
            # Whatever broke may have left the policy half taught: begin again from a snapshot.
            _LOG.exception("a learning step failed")
            await self._lose(f"{type(error).__name__}: {error}")
            return 0
        self.status.error = self._unfit
        return n_events

    # -- leading ----------------------------------------------------------------------------------

    async def _leads(self) -> bool:
        if await self._lead.is_lost():
            await self._lose("the lead was lost")
        if self._lead.epoch is None and await self._lead.take():
            await self._begin()
        return self._lead.epoch is not None

    async def _lose(self, why: str) -> None:
        _LOG.warning("no longer the learner: %s", why)
        self.status.error = why
        await self._resign()

    async def _resign(self) -> None:
        self.status.leads = False
        await self._lead.resign()

    async def _begin(self) -> None:
        try:
            beginning = await self._saved.newest()
        except BaseException:
            await self._resign()
            raise
        self._state, self._serial = beginning.state, beginning.serial
        self._publish_from = beginning.publish_from
        self._unpublished = not beginning.published
        self._told_foreign |= beginning.published and beginning.state.n_foreign > 0
        self._report()

    # -- learning ---------------------------------------------------------------------------------

    async def _close_windows(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._config.rules.default_quality is None or now - self._closed_at < 1.0:
            return
        window = timedelta(seconds=self._config.reward_window_s)
        n_closed = await self._log.close_windows(self._clock() - window, self._config.batch)
        self._closed_at = now if n_closed < self._config.batch else self._closed_at

    async def _learn(self) -> int:
        state, config = self._state, self._config
        events = await self._log.read(state.position, config.batch)
        if not events:
            return 0
        until = events[-1].position
        changed = [
            changed_from(e, learned_to=state.position, as_of=until, rules=config.rules)
            for e in events
        ]
        bound = min((at for at in changed if at is not None), default=None)
        before = state.n_interactions
        if bound is None:
            await teach(state, events, config=config, as_of=until)
            self._unpublished |= state.n_interactions != before
        else:
            await self._go_back(bound)
        return len(events)

    async def _ring(self) -> None:
        state = self._state
        quiet = state.position <= self._publish_from
        await self._bell.ring(state.policy.alarms, position=state.position, quiet=quiet)

    def _tell_foreign(self) -> None:
        """Say once, when all that there is was read, what of it could not be learned."""
        if self._state.n_foreign and not self._told_foreign:
            self._told_foreign = True
            _LOG.warning(
                "%d outcomes and votes of earlier decisions are not learned: their features are "
                "others than those in force (%s), as after a change of 'features' or of the "
                "embedding model; what comes from now on is learned",
                self._state.n_foreign,
                self._config.schema_version,
            )

    async def _go_back(self, bound: int) -> None:
        until = await self._log.last_position()
        self._state = await replay(
            self._log, self._saved.before, bound, until=until, config=self._config
        )
        self.status.n_replays += 1
        self._unpublished = True

    # -- publishing -------------------------------------------------------------------------------

    async def _publish_in_time(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._unpublished and now - self._published_at >= self._config.publish_s:
            await self._publish()
            self._published_at = now

    async def _publish(self) -> None:
        state = self._state
        if self._lead.epoch is None:
            return
        version = f"{state.policy.name}-{self._serial + 1}"
        try:
            snapshot = make_snapshot(
                state.policy,
                version=version,
                position=state.position,
                canaries=tuple(state.canaries),
                facts=self._facts(),
            )
        except BadSnapshotError as error:
            self._unfit = f"not published: {error}"
            _LOG.error("the policy is not fit to be published: %s", error)
            return
        await self._log.publish(snapshot, epoch=self._lead.epoch)
        self._serial += 1
        self._unpublished, self._unfit = False, None

    def _facts(self) -> dict[str, Any]:
        return {
            "serial": self._serial + 1,
            "lineage": self._saved.lineage,
            "schema_version": self._config.schema_version,
            "n_interactions": self._state.n_interactions,
            "n_poison": self._state.n_poison,
            "n_foreign": self._state.n_foreign,
        }

    def _report(self) -> None:
        self.status.leads = self._lead.epoch is not None
        self.status.position = self._state.position
        self.status.n_interactions = self._state.n_interactions
        self.status.n_poison = self._state.n_poison
        self.status.n_foreign = self._state.n_foreign
        self.status.version = self._state.policy.version


async def _sleep(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
