"""The composition root.

It and its parts (`serving.database`, `serving.fleet`, `serving.judge_start`,
`serving.learning_start`, `serving.treasury_start`) alone name adapters.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import numpy as np
import structlog

from bandit.policies.factory import maker_of
from features.featurizer import FeatureConfig, build_embedder, build_featurizer
from features.fitting import fit_from_file
from feedback.log import DecisionLog
from feedback.reward import RewardRules
from feedback.writer import DecisionWriter
from serving.arms import ArmSpec
from serving.backends.base import Backend
from serving.backends.breaker import Breaker
from serving.database import background, start_database
from serving.errors import SettingsError
from serving.fleet import Fleet, start_fleet
from serving.judge_start import start_judge
from serving.judging import JudgeWorker
from serving.judging_log import judge_log
from serving.judging_watch import JudgingWatcher
from serving.keys import KeyRing
from serving.learner_thread import LearnerThread
from serving.learning_start import (
    LearnersFeaturizer,
    make_learner,
    open_log,
    policy_maker,
    reward_rules,
    utc_now,
)
from serving.metrics import Metrics
from serving.purse import NO_BUDGETS
from serving.rates import RateLimiter
from serving.reading import Featurizer
from serving.recording import Watcher, Watchers
from serving.reloading import Reloader
from serving.router import Router, RouterConfig
from serving.settings import Settings
from serving.snapshots import PolicyHolder
from serving.treasury import Treasury
from serving.treasury_start import start_treasury
from serving.watching import MetricsWatcher
from serving.webhook import Webhook, WebhookConfig

_LOG = structlog.get_logger("pointsman")
_REFRESH_S = 0.2


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that was started for this process; ``app.state.services``.

    Attributes
    ----------
    arms, backends, breakers
        By arm id; a cascade has no backend of its own.
    learner
        None where learning happens in another process.
    judge
        None where nothing is judged, or another process does so.
    new_id
        32 random hexadecimal digits.
    reloader
        Takes up changed settings; ``settings`` are those of the start.
    treasury
        None where there are no budgets.
    rates
        Counts the requests of keys that are limited.
    draining
        Set when the server stops: no new work, streams end soon.
    """

    settings: Settings
    log: DecisionLog
    writer: DecisionWriter
    router: Router
    holder: PolicyHolder
    learner: LearnerThread | None
    judge: JudgeWorker | None
    featurizer: Featurizer
    arms: Mapping[str, ArmSpec]
    backends: Mapping[str, Backend]
    breakers: Mapping[str, Breaker]
    keys: KeyRing
    metrics: Metrics
    rules: RewardRules
    now: Callable[[], datetime]
    new_id: Callable[[], str]
    reloader: Reloader
    treasury: Treasury | None = None
    rates: RateLimiter = field(default_factory=RateLimiter)
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    closing: AsyncExitStack = field(default_factory=AsyncExitStack)


def new_hex() -> str:
    """32 random hexadecimal digits: an id that nobody can guess."""
    return secrets.token_hex(16)


async def start(settings: Settings, *, source: Callable[[], Settings] | None = None) -> Services:
    """Start everything, slow things side by side; what was started is stopped if one fails.

    Parameters
    ----------
    source
        Reads the settings again, for a reload; None always gives the same ones.

    Raises
    ------
    PointsmanError
        With what could not be started and why.
    """
    async with AsyncExitStack() as stack:
        database = asyncio.create_task(start_database(settings, stack))
        features = asyncio.create_task(_featurizer(settings))
        arms = asyncio.create_task(start_fleet(settings, stack))
        try:
            dsn, featurizer, fleet = await asyncio.gather(database, features, arms)
        except BaseException:
            for task in (database, features, arms):
                task.cancel()
            await asyncio.gather(database, features, arms, return_exceptions=True)
            raise
        services = await _assemble(settings, stack, dsn=dsn, featurizer=featurizer, fleet=fleet)
        if source is not None:
            reloader = Reloader(settings, source, services.router)
            services = replace(services, reloader=reloader)
        services.closing.push_async_exit(stack.pop_all())
    return services


async def stop(services: Services) -> None:
    """Write what is left, stop everything, the last started first."""
    services.draining.set()
    await services.closing.aclose()


async def learn(settings: Settings, stop_: asyncio.Event) -> None:
    """Learn until ``stop_`` is set, and serve nothing.

    Raises
    ------
    PointsmanError
        If the database or the features cannot be had.
    """
    async with AsyncExitStack() as stack:
        dsn, featurizer = await asyncio.gather(
            start_database(settings, stack), _featurizer(settings)
        )
        log = open_log(settings, dsn)
        stack.push_async_callback(log.aclose)
        _tell_alarms(settings, stack, log)
        learner = make_learner(settings, dsn, featurizer)
        stack.push_async_callback(learner.aclose)
        await learner.run(stop_)


async def judge(settings: Settings, stop_: asyncio.Event) -> None:
    """Judge from the log until ``stop_`` is set, and serve nothing.

    Raises
    ------
    SettingsError
        If texts are not stored: there would be nothing to judge.
    PointsmanError
        If the database or the features cannot be had.
    """
    if not (settings.privacy.store_prompts and settings.privacy.store_answers):
        raise SettingsError(
            "judge", "a process of its own reads texts from the log, and none are stored",
            "set privacy.store_prompts and privacy.store_answers, or judge.in_server",
        )  # fmt: skip
    async with AsyncExitStack() as stack:
        dsn, featurizer = await asyncio.gather(
            start_database(settings, stack), _featurizer(settings)
        )
        log = open_log(settings, dsn)
        stack.push_async_callback(log.aclose)
        holder = await _start_holder(settings, stack, log=log, featurizer=featurizer)
        # Probes need the arms, which run in the server.
        worker = await start_judge(settings, stack, log=log, holder=holder)
        background(stack, worker.run())
        background(stack, judge_log(log, worker))
        await stop_.wait()


def fit_features(
    settings: Settings, prompts: Path, out: Path, *, progress: Callable[[int, int], None]
) -> int:
    """Fit a projection on a file of prompts and write it to ``out``; how many features it makes.

    Raises
    ------
    PointsmanError
        If the prompts cannot be read, or the embedding model cannot be had.
    """
    embedder = build_embedder(_feature_config(settings), settings.models_dir)
    projection = fit_from_file(prompts, out, embedder, progress=progress)
    return len(projection.components)


def _feature_config(settings: Settings) -> FeatureConfig:
    given = settings.features
    return FeatureConfig(
        model=given.model,
        precision=given.precision,
        max_tokens=given.max_tokens,
        projection=given.projection,
        cache_size=given.remembered_queries,
        image_model=given.image_model,
    )


async def _featurizer(settings: Settings) -> LearnersFeaturizer:
    return await asyncio.to_thread(build_featurizer, _feature_config(settings), settings.models_dir)


async def _assemble(
    settings: Settings,
    stack: AsyncExitStack,
    *,
    dsn: str,
    featurizer: LearnersFeaturizer,
    fleet: Fleet,
) -> Services:
    log = open_log(settings, dsn)
    stack.push_async_callback(log.aclose)
    writer = DecisionWriter(log, timeout_s=settings.database.write_timeout_s)
    stack.push_async_callback(writer.aclose)
    holder = await _start_holder(settings, stack, log=log, featurizer=featurizer)
    _tell_alarms(settings, stack, log)
    learner = None
    if settings.learner.enabled:
        learner = LearnerThread(lambda: make_learner(settings, dsn, featurizer))
        learner.start()
        stack.push_async_callback(learner.stop)
    metrics = Metrics()
    treasury = start_treasury(settings, stack, dsn=dsn, arms=fleet.arms)
    judge = None
    watcher: Watcher = MetricsWatcher(metrics)
    if settings.judge.enabled and settings.judge.in_server:
        judge = await start_judge(
            settings, stack, log=log, holder=holder, backends=fleet.backends, metrics=metrics
        )
        watcher = Watchers(watcher, JudgingWatcher(judge))
        background(stack, judge.run())
    router = Router(
        featurizer=featurizer,
        holder=holder,
        arms=tuple(fleet.arms.values()),
        backends=fleet.backends,
        breakers=fleet.breakers,
        writer=writer,
        log=log,
        scenarios=settings.known_scenarios,
        default_scenario=settings.scenario,
        rng=np.random.default_rng(settings.policy.draw_seed),
        new_id=lambda: f"dec_{new_hex()}",
        now=utc_now,
        config=RouterConfig(
            deadline_s=settings.server.answer_timeout_s,
            log_timeout_s=settings.database.write_timeout_s,
            featurizer_threads=settings.features.threads,
            keep_prompts=settings.privacy.store_prompts,
            keep_answers=settings.privacy.store_answers,
            sign_of_life_s=settings.server.sign_of_life_s,
        ),
        watcher=watcher,
        purse=treasury or NO_BUDGETS,
    )
    stack.push_async_callback(router.aclose)
    return Services(
        settings=settings,
        log=log,
        writer=writer,
        router=router,
        holder=holder,
        learner=learner,
        judge=judge,
        featurizer=featurizer,
        arms=router.arms,
        backends=fleet.backends,
        breakers=fleet.breakers,
        keys=KeyRing(settings.keys_file),
        metrics=metrics,
        rules=reward_rules(settings),
        now=utc_now,
        new_id=new_hex,
        reloader=Reloader(settings, lambda: settings, router),
        treasury=treasury,
    )


def _tell_alarms(settings: Settings, stack: AsyncExitStack, log: DecisionLog) -> None:
    given = settings.alarms
    if given.webhook_url is None:
        return
    token, secret = (
        "" if one is None else one.get_secret_value()
        for one in (given.webhook_token, given.webhook_secret)
    )
    config = WebhookConfig(
        given.webhook_url, token, secret, timeout_s=given.timeout_s, give_up_s=given.give_up_s
    )
    background(stack, Webhook(log.alarms, config, clock=utc_now).run())


async def _start_holder(
    settings: Settings,
    stack: AsyncExitStack,
    *,
    log: DecisionLog,
    featurizer: LearnersFeaturizer,
) -> PolicyHolder:
    holder = PolicyHolder(
        log,
        policy_maker(settings, featurizer),
        floor=settings.policy.floor,
        schema_version=featurizer.schema_version,
        as_saved=maker_of,
    )
    await holder.refresh()
    background(stack, _keep_fresh(holder))
    return holder


async def _keep_fresh(holder: PolicyHolder) -> None:
    while True:
        await asyncio.sleep(_REFRESH_S)
        try:
            await holder.refresh()
        except Exception:  # noqa: BLE001 - an old policy is better than no swap ever again
            _LOG.exception("policy refresh failed")
