"""Teaching a policy from events; going back when a vote that was learned has changed.

``state(p)`` is the fold of a fresh policy over what the events up to p teach, *as known at p*. A
snapshot of position s can be continued to p if nothing that was taught up to s is taught otherwise
as known at p; else an earlier one must be.
"""

import asyncio
import hashlib
import json
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Protocol

from bandit.errors import BadInteractionError, PointsmanError
from bandit.policies.config import CHOOSING
from bandit.policies.corrected import CorrectedPolicy
from bandit.policy import Policy
from bandit.primitives import Context, Interaction
from feedback.joiner import changed_from, lesson
from feedback.log import DecisionLog, LogEvent, Snapshot
from feedback.reward import RewardRules
from serving.snapshots import N_CANARIES, Canary, PolicyMaker, canaries_of, load_snapshot

_BREATH = 8
"""Lessons between two pauses, so that a server in the same process gets the interpreter."""

_LOG = logging.getLogger(__name__)


class Teaching(Protocol):
    """What `serving.learner.LearnerConfig` says of teaching."""

    @property
    def batch(self) -> int:
        """Events read at once."""

    @property
    def rules(self) -> RewardRules:
        """How feedback becomes quality."""

    @property
    def schema_version(self) -> str | None:
        """The features that the policy knows; None takes any."""

    @property
    def earlier(self) -> "Earlier | None":
        """Reads contexts of other features; None reads none."""


class Earlier(Protocol):
    """What was known of queries by earlier versions, in the features in force."""

    @property
    def versions(self) -> tuple[str, ...]:
        """Versions of features that can be read."""

    def widened(self, context: Context) -> Context | None:
        """``context`` with the features in force; None if that cannot be."""


@dataclass(slots=True)
class State:
    """A policy and the log position up to which it has learned.

    Attributes
    ----------
    n_poison
        Lessons that the policy could not take.
    n_foreign
        Lessons of decisions whose features are other ones, and cannot be read in those in force.
    """

    policy: Policy
    position: int = 0
    n_interactions: int = 0
    n_poison: int = 0
    n_foreign: int = 0
    canaries: deque[Canary] = field(default_factory=lambda: deque(maxlen=N_CANARIES))


def lineage(
    policy: Policy,
    rules: RewardRules,
    schema_version: str | None,
    *,
    earlier: Sequence[str] = (),
) -> str:
    """Digest of all that decides what a log teaches; snapshots of another one are not continued."""
    # Others that stand around a policy have its settings among their own.
    inner = policy.inner if isinstance(policy, CorrectedPolicy) else None
    facts = [
        policy.name,
        _lessons(getattr(policy, "config", None)),
        _lessons(getattr(inner, "config", None)),
        schema_version,
        list(earlier),
        sorted(rules.weights.items()),
        rules.default_quality,
        rules.corrected,
    ]
    return hashlib.sha256(json.dumps(facts, default=repr).encode()).hexdigest()[:16]


def _lessons(config: Any) -> Any:
    """Settings without those that say how to choose: these may change at any time."""
    if is_dataclass(config):
        config = {f.name: getattr(config, f.name) for f in fields(config)}
        config = {name: value for name, value in config.items() if name not in CHOOSING}
    if isinstance(config, Mapping):
        return {str(name): _lessons(config[name]) for name in sorted(config)}
    return config


def restored(snapshot: Snapshot, make_policy: PolicyMaker, wanted_lineage: str) -> State | None:
    """The state that was saved; None if it cannot be continued.

    The log says why where it is damaged; that many were learned by other rules is no news.
    """
    if snapshot.manifest.get("lineage") != wanted_lineage:
        return None
    try:
        policy = load_snapshot(snapshot, make_policy)
        canaries = canaries_of(snapshot)
    except PointsmanError as error:
        _LOG.warning("snapshot %s cannot be continued: %s", snapshot.version, error)
        return None
    return State(
        policy,
        snapshot.position,
        int(snapshot.manifest.get("n_interactions", 0)),
        int(snapshot.manifest.get("n_poison", 0)),
        int(snapshot.manifest.get("n_foreign", 0)),
        deque(canaries, maxlen=N_CANARIES),
    )


async def teach(state: State, events: Sequence[LogEvent], *, as_of: int, config: Teaching) -> None:
    """Teach ``events`` as known at ``as_of``; the state then stands at the last of them."""
    for n, event in enumerate(events):
        found = lesson(event, position=event.position, as_of=as_of, rules=config.rules)
        fitting = None if found is None else _fitting(found, config)
        if fitting is not None:
            _teach_one(state, fitting)
            if n % _BREATH == 0:
                await asyncio.sleep(0)
        elif found is not None:
            state.n_foreign += 1
    state.position = events[-1].position


async def replay(
    log: DecisionLog,
    base: Callable[[int], Awaitable[State]],
    bound: int,
    *,
    until: int,
    config: Teaching,
) -> State:
    """The state at ``until``, from the newest saved one that can be continued to there.

    Parameters
    ----------
    base
        Gives the newest saved state below a position; a fresh one in the end.
    bound
        Position of a lesson that has changed.
    """
    while True:
        state = await base(bound)
        stale = await _earliest_change(log, state.position, until=until, config=config)
        if stale is None:
            break
        bound = stale
    while events := await log.read(state.position, config.batch, until=until):
        await teach(state, events, as_of=until, config=config)
    return state


async def _earliest_change(
    log: DecisionLog, learned_to: int, *, until: int, config: Teaching
) -> int | None:
    found: list[int] = []
    after = learned_to
    while learned_to and (events := await log.read(after, config.batch, until=until)):
        for event in events:
            at = changed_from(event, learned_to=learned_to, as_of=until, rules=config.rules)
            if at is not None:
                found.append(at)
        after = events[-1].position
    return min(found, default=None)


def _fitting(interaction: Interaction, config: Teaching) -> Interaction | None:
    """The lesson in the features that the policy knows; None if it cannot be had in them."""
    decision = interaction.decision
    if config.schema_version in (None, decision.context.schema_version):
        return interaction
    context = None if config.earlier is None else config.earlier.widened(decision.context)
    if context is None:
        return None
    return replace(interaction, decision=replace(decision, context=context))


def _teach_one(state: State, interaction: Interaction) -> None:
    try:
        state.policy.learn(interaction)
    except (BadInteractionError, ValueError, ArithmeticError, LookupError, TypeError) as error:
        # One interaction that cannot be learned must not stop all those behind it.
        state.n_poison += 1
        _LOG.warning("decision %s is left out: %s", interaction.decision.decision_id, error)
        return
    state.n_interactions += 1
    state.canaries.append(Canary.of(interaction.decision))
