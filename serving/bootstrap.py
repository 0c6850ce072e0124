"""The composition root: the only module that names adapters."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import numpy as np
import structlog

from bandit.policies.config import PolicyConfig
from bandit.policies.factory import make_policy
from bandit.policy import Policy
from features.featurizer import FeatureConfig, build_embedder, build_featurizer
from features.fitting import fit_from_file
from feedback import migrate as migrations
from feedback.engine import LogConfig
from feedback.errors import LogUnavailableError
from feedback.log import DecisionLog
from feedback.postgres import EmbeddedPostgres
from feedback.reward import RewardRules
from feedback.sql import SqlDecisionLog
from feedback.writer import DecisionWriter
from serving.arms import ArmSpec
from serving.backends.base import Backend
from serving.backends.breaker import Breaker, BreakerConfig
from serving.backends.cloud import CloudBackend, CloudConfig
from serving.backends.edge import EdgeBackend, EdgeConfig
from serving.backends.edge_chat import EDGE_CAPABILITIES
from serving.backends.standin import StandIn
from serving.backends.standin_answers import MODEL as STAND_IN_MODEL
from serving.eligibility import EVERYTHING
from serving.errors import SettingsError
from serving.keys import KeyRing
from serving.learner import Learner, LearnerConfig
from serving.learner_thread import LearnerThread
from serving.metrics import Metrics
from serving.observability import redact
from serving.pricing import Price, choose_price
from serving.reading import Featurizer
from serving.router import Router, RouterConfig
from serving.sections import ArmSettings
from serving.settings import Settings
from serving.snapshots import PolicyHolder
from serving.watching import MetricsWatcher

_LOG = structlog.get_logger("pointsman")
_REFRESH_S = 0.2
_RETRY_S = 2.0
_WATCH_S = 1.0
# Invented, so that cost has a meaning while nothing real is configured.
_STAND_IN_PRICE = Price(2.5, 10.0, "config")


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that was started for this process; ``app.state.services``.

    Attributes
    ----------
    arms, backends, breakers
        By arm id, the same ids in each.
    learner
        None where learning happens in another process.
    new_id
        32 random hexadecimal digits.
    draining
        Set when the server stops: no new work, streams end soon.
    """

    settings: Settings
    log: DecisionLog
    writer: DecisionWriter
    router: Router
    holder: PolicyHolder
    learner: LearnerThread | None
    featurizer: Featurizer
    arms: Mapping[str, ArmSpec]
    backends: Mapping[str, Backend]
    breakers: Mapping[str, Breaker]
    keys: KeyRing
    metrics: Metrics
    rules: RewardRules
    now: Callable[[], datetime]
    new_id: Callable[[], str]
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    closing: AsyncExitStack = field(default_factory=AsyncExitStack)


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


def new_hex() -> str:
    """32 random hexadecimal digits: an id that nobody can guess."""
    return secrets.token_hex(16)


async def start(settings: Settings) -> Services:
    """Start everything, slow things side by side; what was started is stopped if one fails.

    Raises
    ------
    PointsmanError
        With what could not be started and why.
    """
    async with AsyncExitStack() as stack:
        database = asyncio.create_task(_database(settings, stack))
        features = asyncio.create_task(_featurizer(settings))
        arms = asyncio.create_task(_fleet(settings, stack))
        try:
            dsn, featurizer, fleet = await asyncio.gather(database, features, arms)
        except BaseException:
            for task in (database, features, arms):
                task.cancel()
            await asyncio.gather(database, features, arms, return_exceptions=True)
            raise
        services = await _assemble(settings, stack, dsn=dsn, featurizer=featurizer, fleet=fleet)
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
        dsn, featurizer = await asyncio.gather(_database(settings, stack), _featurizer(settings))
        learner = _learner(settings, dsn, featurizer)
        stack.push_async_callback(learner.aclose)
        await learner.run(stop_)


def migrate(settings: Settings) -> None:
    """Bring the database to the newest schema; the embedded one is started for it.

    Raises
    ------
    LogUnavailableError
        If the database cannot be reached.
    """
    postgres = None if settings.database.dsn else EmbeddedPostgres(settings.postgres_dir)
    try:
        _upgrade(postgres.start() if postgres else _configured_dsn(settings))
    finally:
        if postgres:
            postgres.stop()


async def _database(settings: Settings, stack: AsyncExitStack) -> str:
    if settings.database.dsn is not None:
        dsn = _configured_dsn(settings)
        try:
            await asyncio.to_thread(_upgrade, dsn)
        except LogUnavailableError as error:
            _LOG.warning("database away", error=str(error), then="serving without it")
            _background(stack, _upgrade_later(dsn))
        return dsn
    postgres = EmbeddedPostgres(settings.postgres_dir)
    # Registered first: a start that is cancelled half way is undone too.
    stack.push_async_callback(asyncio.to_thread, postgres.stop)
    dsn = await asyncio.to_thread(postgres.start)
    await asyncio.to_thread(_upgrade, dsn)
    _background(stack, _keep_running(postgres))
    return dsn


async def _keep_running(postgres: EmbeddedPostgres) -> None:
    """Start the embedded Postgres again if it dies; nobody else looks after it."""
    while True:
        await asyncio.sleep(_WATCH_S)
        if postgres.pid is None:
            _LOG.warning("embedded Postgres is gone", then="starting it again")
            try:
                await asyncio.to_thread(postgres.start)
            except LogUnavailableError as error:
                _LOG.warning("embedded Postgres does not start", error=str(error))


def _configured_dsn(settings: Settings) -> str:
    given = settings.database.dsn.get_secret_value() if settings.database.dsn else ""
    scheme, _, rest = given.partition("://")
    if scheme not in ("postgres", "postgresql", "postgresql+psycopg"):
        raise SettingsError("database.dsn", "want postgresql://user@host/name")
    return f"postgresql+psycopg://{rest}"


def _upgrade(dsn: str) -> None:
    try:
        migrations.upgrade(dsn)
    except Exception as error:
        # Alembic lets through whatever the driver raises, and the driver is behind feedback.sql.
        raise LogUnavailableError(f"cannot migrate: {redact(str(error))}") from error


async def _upgrade_later(dsn: str) -> None:
    while True:
        await asyncio.sleep(_RETRY_S)
        try:
            await asyncio.to_thread(_upgrade, dsn)
        except LogUnavailableError:
            continue
        _LOG.info("database is back")
        return


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
    )


async def _featurizer(settings: Settings) -> Featurizer:
    return await asyncio.to_thread(build_featurizer, _feature_config(settings), settings.models_dir)


@dataclass(frozen=True, slots=True)
class _Fleet:
    """The arms, what answers for them, and what remembers whether they fail."""

    arms: Mapping[str, ArmSpec]
    backends: Mapping[str, Backend]
    breakers: Mapping[str, Breaker]


async def _fleet(settings: Settings, stack: AsyncExitStack) -> _Fleet:
    made = await asyncio.gather(*(_arm(arm, stack) for arm in settings.arms))
    breakers = {arm.id: Breaker(BreakerConfig(), clock=time.monotonic) for arm in settings.arms}
    return _Fleet(
        {spec.arm_id: spec for spec, _ in made},
        {spec.arm_id: backend for spec, backend in made},
        breakers,
    )


async def _arm(arm: ArmSettings, stack: AsyncExitStack) -> tuple[ArmSpec, Backend]:
    return await _MAKERS[arm.backend](arm, stack)


async def _edge(arm: ArmSettings, stack: AsyncExitStack) -> tuple[ArmSpec, Backend]:
    usual = EdgeConfig()
    config = EdgeConfig(
        model_path=arm.model_path,
        sha256=arm.sha256,
        threads=arm.threads,
        workers=arm.workers,
        max_queue=arm.queue_limit,
        deadline_s=arm.total_timeout_s,
        model=arm.model or usual.model,
        context_tokens=arm.context_tokens or usual.context_tokens,
    )
    backend = EdgeBackend(config, arm_id=arm.id)
    stack.push_async_callback(backend.aclose)
    await backend.start()
    spec = ArmSpec(
        arm.id,
        arm.tier,
        config.model,
        # What runs here has no price a token, unless the operator gives it one.
        Price(arm.price_in or 0.0, arm.price_out or 0.0, "config"),
        EDGE_CAPABILITIES if arm.capabilities is None else arm.capabilities,
        backend.context_tokens or config.context_tokens,
        backend.digest,
    )
    return spec, backend


async def _cloud(arm: ArmSettings, stack: AsyncExitStack) -> tuple[ArmSpec, Backend]:
    price = choose_price(arm.price_in, arm.price_out, model=arm.model, provider=arm.price_provider)
    return await _http(arm, stack, base_url=arm.base_url or "", model=arm.model, price=price)


async def _stand_in(arm: ArmSettings, stack: AsyncExitStack) -> tuple[ArmSpec, Backend]:
    stand_in = StandIn()
    stack.push_async_callback(stand_in.aclose)
    await stand_in.start()
    model = arm.model or STAND_IN_MODEL
    price = _STAND_IN_PRICE
    if arm.price_in is not None and arm.price_out is not None:
        price = Price(arm.price_in, arm.price_out, "config")
    return await _http(arm, stack, base_url=stand_in.base_url, model=model, price=price)


async def _http(
    arm: ArmSettings, stack: AsyncExitStack, *, base_url: str, model: str, price: Price
) -> tuple[ArmSpec, Backend]:
    config = CloudConfig(
        base_url,
        model,
        arm.api_key,
        connect_s=arm.connect_timeout_s,
        ttft_s=arm.first_token_timeout_s,
        deadline_s=arm.total_timeout_s,
    )
    backend = CloudBackend(config, arm_id=arm.id)
    stack.push_async_callback(backend.aclose)
    await backend.start()
    capabilities = frozenset({EVERYTHING}) if arm.capabilities is None else arm.capabilities
    digest = f"{model} at {base_url}" if arm.backend == "openai" else model
    spec = ArmSpec(arm.id, arm.tier, model, price, capabilities, arm.context_tokens, digest)
    return spec, backend


_Maker: TypeAlias = Callable[[ArmSettings, AsyncExitStack], Awaitable[tuple[ArmSpec, Backend]]]
_MAKERS: Mapping[str, _Maker] = {"llama_cpp": _edge, "openai": _cloud, "stand_in": _stand_in}


async def _assemble(
    settings: Settings, stack: AsyncExitStack, *, dsn: str, featurizer: Featurizer, fleet: _Fleet
) -> Services:
    log = _log(settings, dsn)
    stack.push_async_callback(log.aclose)
    writer = DecisionWriter(log, timeout_s=settings.database.write_timeout_s)
    stack.push_async_callback(writer.aclose)
    holder = PolicyHolder(
        log,
        _policy_maker(settings, featurizer),
        floor=settings.policy.floor,
        schema_version=featurizer.schema_version,
    )
    await holder.refresh()
    _background(stack, _keep_fresh(holder))
    learner = None
    if settings.learner.enabled:
        learner = LearnerThread(lambda: _learner(settings, dsn, featurizer))
        learner.start()
        stack.push_async_callback(learner.stop)
    metrics = Metrics()
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
        ),
        watcher=MetricsWatcher(metrics),
    )
    stack.push_async_callback(router.aclose)
    return Services(
        settings=settings,
        log=log,
        writer=writer,
        router=router,
        holder=holder,
        learner=learner,
        featurizer=featurizer,
        arms=fleet.arms,
        backends=fleet.backends,
        breakers=fleet.breakers,
        keys=KeyRing(settings.keys_file),
        metrics=metrics,
        rules=_rules(settings),
        now=utc_now,
        new_id=new_hex,
    )


def _log(settings: Settings, dsn: str) -> SqlDecisionLog:
    config = LogConfig(
        reward_window_s=settings.feedback.reward_window_s,
        n_connections=settings.database.pool_size,
        timeout_s=settings.database.statement_timeout_s + 1.0,
        statement_timeout_s=settings.database.statement_timeout_s,
    )
    return SqlDecisionLog(dsn, clock=utc_now, config=config)


def _policy_maker(settings: Settings, featurizer: Featurizer) -> Callable[[], Policy]:
    config = PolicyConfig(
        name=settings.policy.name,
        schema={name: len(features) for name, features in featurizer.schema.items()},
        gamma=settings.policy.gamma,
        floor=settings.policy.floor,
    )
    return lambda: make_policy(config)


def _rules(settings: Settings) -> RewardRules:
    weights = {str(name): weight for name, weight in settings.feedback.weights.items()}
    return RewardRules(weights, settings.feedback.default_quality)


def _learner(settings: Settings, dsn: str, featurizer: Featurizer) -> Learner:
    config = LearnerConfig(
        poll_s=settings.learner.poll_s,
        publish_s=settings.learner.publish_s,
        batch=settings.learner.batch,
        rules=_rules(settings),
        reward_window_s=settings.feedback.reward_window_s,
        schema_version=featurizer.schema_version,
    )
    maker = _policy_maker(settings, featurizer)
    return Learner(_log(settings, dsn), maker, utc_now, config)


async def _keep_fresh(holder: PolicyHolder) -> None:
    while True:
        await asyncio.sleep(_REFRESH_S)
        try:
            await holder.refresh()
        except Exception:  # noqa: BLE001 - an old policy is better than no swap ever again
            _LOG.exception("policy refresh failed")


def _background(stack: AsyncExitStack, work: Coroutine[None, None, None]) -> None:
    task = asyncio.create_task(work)

    async def end() -> None:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    stack.push_async_callback(end)
