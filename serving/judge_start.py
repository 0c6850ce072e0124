"""The judge's part of the composition root: from settings to a worker that can run."""

import secrets
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import numpy as np

from bandit.auditing import AuditConfig
from feedback.log import DecisionLog
from serving.backends.base import Backend
from serving.backends.cloud import CloudBackend, CloudConfig
from serving.backends.retrying import RetryConfig
from serving.backends.standin import StandIn
from serving.backends.standin_answers import MODEL as STAND_IN_MODEL
from serving.deciding import Holder
from serving.errors import SettingsError
from serving.judge_client import JudgeClient
from serving.judge_sections import JudgeSettings
from serving.judging import JudgeWorker, JudgingConfig
from serving.metrics import Metrics
from serving.pricing import Price, choose_price
from serving.settings import Settings

_FREE = Price(0.0, 0.0, "config")


async def start_judge(
    settings: Settings,
    stack: AsyncExitStack,
    *,
    log: DecisionLog,
    holder: Holder,
    backends: Mapping[str, Backend] | None = None,
    metrics: Metrics | None = None,
) -> JudgeWorker:
    """The worker, ready to run; ``stack`` stops what it needs.

    Raises
    ------
    SettingsError
        If the judge's price is not known: no cap could be kept.
    BackendUnavailableError
        If a stand-in does not come up.
    """
    given = settings.judge
    backend, model, price = await _backend(given, stack)
    client = JudgeClient(
        backend,
        model=model,
        price=price,
        book=log.judges,
        cap_usd=given.max_usd_per_day,
        new_nonce=lambda: secrets.token_hex(12),
        now=lambda: datetime.now(UTC),
        max_chars=given.max_chars,
        max_tokens=given.max_answer_tokens,
        stand_in=given.backend == "stand_in",
    )
    config = JudgingConfig(
        sample_rate=given.sample_rate,
        per_minute=given.max_per_minute,
        queue_limit=given.queue_limit,
        concurrency=given.concurrency,
        local=given.local,
        audits=AuditConfig(given.audit_rate if given.correct else 0.0, given.audit_strategy),
        probe_rate=given.probe_rate if backends else 0.0,
        keep_reasons=settings.privacy.store_answers,
    )

    def count(what: str, usd: float) -> None:
        if metrics is not None:
            metrics.judged.labels(what).inc()
            metrics.judge_cost_usd.inc(usd)

    return JudgeWorker(
        client,
        log,
        holder,
        config,
        backends=backends or {},
        rng=np.random.default_rng(),
        new_id=lambda: secrets.token_hex(16),
        now=lambda: datetime.now(UTC),
        on_event=count,
    )


async def _backend(given: JudgeSettings, stack: AsyncExitStack) -> tuple[Backend, str, Price]:
    if given.backend == "stand_in":
        stand_in = StandIn()
        stack.push_async_callback(stand_in.aclose)
        await stand_in.start()
        model, url = given.model or STAND_IN_MODEL, stand_in.base_url
        price = _FREE
        if given.price_in is not None and given.price_out is not None:
            price = Price(given.price_in, given.price_out, "config")
    else:
        model, url = given.model, given.base_url or ""
        price = choose_price(
            given.price_in, given.price_out, model=model, provider=given.price_provider
        )
    if not price.known:
        raise SettingsError(
            "judge.price_in", f"the price of {model!r} is unknown, so no cap could be kept",
            "set judge.price_in and judge.price_out",
        )  # fmt: skip
    config = CloudConfig(
        url,
        model,
        given.api_key,
        deadline_s=given.timeout_s,
        retry=RetryConfig(most=0),
    )
    backend = CloudBackend(config, arm_id="judge")
    stack.push_async_callback(backend.aclose)
    await backend.start()
    return backend, model, price
