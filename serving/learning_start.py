"""Learning's part of the composition root: from settings to a log, a policy and a learner."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

from bandit.policies.config import PolicyConfig
from bandit.policies.factory import Lineup, make_lineup
from bandit.policies.guarded import GuardConfig
from bandit.policies.league import LeagueConfig
from bandit.policy import Policy
from feedback.engine import LogConfig
from feedback.reward import RewardRules
from feedback.sql import SqlDecisionLog
from serving.learner import Learner, LearnerConfig
from serving.reading import Featurizer
from serving.replaying import Earlier
from serving.settings import Settings


class LearnersFeaturizer(Featurizer, Protocol):
    """A featurizer that also reads what earlier versions of it have left in the log."""

    @property
    def earlier(self) -> Earlier:
        """Contexts of earlier features, in those in force."""


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


def open_log(settings: Settings, dsn: str) -> SqlDecisionLog:
    """The decision log, with connections of its own."""
    config = LogConfig(
        reward_window_s=settings.feedback.reward_window_s,
        n_connections=settings.database.pool_size,
        timeout_s=settings.database.statement_timeout_s + 1.0,
        statement_timeout_s=settings.database.statement_timeout_s,
        max_votes_per_source_hour=settings.feedback.max_votes_per_source_hour,
    )
    return SqlDecisionLog(dsn, clock=utc_now, config=config)


def policy_maker(settings: Settings, featurizer: Featurizer) -> Callable[[], Policy]:
    """Makes the policy that the settings describe: guarded, corrected, with challengers."""
    given, guard = settings.policy, settings.guard
    live = PolicyConfig(
        name=given.name,
        schema={name: len(features) for name, features in featurizer.schema.items()},
        gamma=given.gamma,
        floor=given.floor,
        gamma_votes=given.gamma_votes,
        drift=given.drift,
        detector=given.detector,
        alarm_threshold=given.alarm_threshold,
        widen=given.widen,
        forgetting=given.forgetting,
        newcomer=given.newcomer,
    )
    challengers = {
        one.name: replace(
            live,
            name=one.policy,
            gamma=one.gamma,
            gamma_votes=one.gamma_votes,
            floor=one.floor or given.floor,
        )
        for one in given.challengers
    }
    lineup = Lineup(
        live,
        GuardConfig(**guard.model_dump(exclude={"enabled"})) if guard.enabled else None,
        challengers,
        LeagueConfig(given.promotion_alpha),
        corrected=settings.judge.corrected or settings.feedback.weigh_voters,
        weigh_voters=settings.feedback.weigh_voters,
    )
    return lambda: make_lineup(lineup)


def reward_rules(settings: Settings) -> RewardRules:
    """How judgements become quality."""
    weights = {str(name): weight for name, weight in settings.feedback.weights.items()}
    corrected = settings.judge.corrected or settings.feedback.weigh_voters
    return RewardRules(weights, settings.feedback.default_quality, corrected)


def make_learner(settings: Settings, dsn: str, featurizer: LearnersFeaturizer) -> Learner:
    """A learner with a log of its own, which it closes."""
    config = LearnerConfig(
        poll_s=settings.learner.poll_s,
        publish_s=settings.learner.publish_s,
        batch=settings.learner.batch,
        rules=reward_rules(settings),
        reward_window_s=settings.feedback.reward_window_s,
        schema_version=featurizer.schema_version,
        earlier=featurizer.earlier,
        tell_alarms=settings.alarms.webhook_url is not None,
    )
    maker = policy_maker(settings, featurizer)
    return Learner(open_log(settings, dsn), maker, utc_now, config)
