"""The arms' part of the composition root: from settings to backends that run."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import TypeAlias

from serving.arm_sections import ArmSettings
from serving.arms import EVERYTHING, ArmSpec, joined
from serving.backends.base import Backend
from serving.backends.breaker import Breaker, BreakerConfig
from serving.backends.cloud import CloudBackend, CloudConfig
from serving.backends.edge import EdgeBackend, EdgeConfig
from serving.backends.edge_chat import EDGE_CAPABILITIES
from serving.backends.standin import StandIn
from serving.backends.standin_answers import MODEL as STAND_IN_MODEL
from serving.energy import EnergyMeter, EnergyRate, find_rapl
from serving.pricing import Price, choose_price
from serving.settings import Settings

# Invented, so that cost has a meaning while nothing real is configured.
_STAND_IN_PRICE = Price(2.5, 10.0, "config")
_STAND_IN_ANSWER_TOKENS = 256


@dataclass(frozen=True, slots=True)
class Fleet:
    """The arms, what answers for them, and what remembers whether they fail.

    A cascade has no backend of its own: those of its parts answer.
    """

    arms: Mapping[str, ArmSpec]
    backends: Mapping[str, Backend]
    breakers: Mapping[str, Breaker]


async def start_fleet(settings: Settings, stack: AsyncExitStack) -> Fleet:
    """Start what answers for every arm, side by side; ``stack`` stops it.

    Raises
    ------
    BackendUnavailableError
        If a stand-in does not come up. A model that cannot be loaded is no error: its arm is
        unhealthy and says why.
    """
    counter = find_rapl()
    meter = None if counter is None else EnergyMeter(counter)
    singles = [arm for arm in settings.arms if arm.backend != "cascade"]
    peeks = _peeks(settings.arms)
    work = (_arm(arm, stack, meter, peek_tokens=peeks.get(arm.id, 0)) for arm in singles)
    made = await asyncio.gather(*work)
    breakers = {arm.id: Breaker(BreakerConfig(), clock=time.monotonic) for arm in settings.arms}
    specs = {spec.arm_id: spec for spec, _ in made}
    return Fleet(
        {arm.id: specs.get(arm.id) or _cascade(arm, specs) for arm in settings.arms},
        {spec.arm_id: backend for spec, backend in made},
        breakers,
    )


def respecified(spec: ArmSpec, arm: ArmSettings) -> ArmSpec:
    """``spec`` at the prices and energy of ``arm``; looking a price up may take 60 ms."""
    return replace(spec, price=_price(arm), energy=_energy(arm))


def _energy(arm: ArmSettings) -> EnergyRate:
    return EnergyRate(arm.energy_in_j_per_token, arm.energy_out_j_per_token)


def _price(arm: ArmSettings) -> Price:
    given = arm.price_in is not None and arm.price_out is not None
    if arm.backend == "cascade":
        return Price()  # what it costs depends on the gate
    if arm.backend == "llama_cpp":
        # What runs here has no price a token, unless the operator gives it one.
        return Price(arm.price_in or 0.0, arm.price_out or 0.0, "config")
    if arm.backend == "stand_in" and not given:
        return _STAND_IN_PRICE
    return choose_price(arm.price_in, arm.price_out, model=arm.model, provider=arm.price_provider)


def _peeks(arms: Sequence[ArmSettings]) -> dict[str, int]:
    """After how many tokens somebody wants to know how confident an arm is so far."""
    peeks: dict[str, int] = {}
    for arm in arms:
        if arm.edge is not None and arm.hold_tokens is not None:
            peeks[arm.edge] = max(peeks.get(arm.edge, 0), arm.hold_tokens)
    return peeks


def _cascade(arm: ArmSettings, specs: Mapping[str, ArmSpec]) -> ArmSpec:
    edge, cloud = specs[arm.edge or ""], specs[arm.cloud or ""]
    return joined(arm.id, edge, cloud, hold_tokens=arm.hold_tokens)


async def _arm(
    arm: ArmSettings, stack: AsyncExitStack, meter: EnergyMeter | None, *, peek_tokens: int
) -> tuple[ArmSpec, Backend]:
    if arm.backend == "llama_cpp":
        return await _edge(arm, stack, meter, peek_tokens=peek_tokens)
    return await _MAKERS[arm.backend](arm, stack)


async def _edge(
    arm: ArmSettings, stack: AsyncExitStack, meter: EnergyMeter | None, *, peek_tokens: int
) -> tuple[ArmSpec, Backend]:
    usual = EdgeConfig()
    config = EdgeConfig(
        model_path=arm.model_path,
        sha256=arm.sha256,
        threads=arm.threads,
        workers=arm.workers,
        max_queue=arm.queue_limit,
        deadline_s=arm.total_timeout_s,
        peek_tokens=peek_tokens,
        model=arm.model or usual.model,
        context_tokens=arm.context_tokens or usual.context_tokens,
    )
    backend = EdgeBackend(config, arm_id=arm.id, energy=meter)
    stack.push_async_callback(backend.aclose)
    await backend.start()
    spec = ArmSpec(
        arm.id,
        arm.tier,
        config.model,
        _price(arm),
        EDGE_CAPABILITIES if arm.capabilities is None else arm.capabilities,
        backend.context_tokens or config.context_tokens,
        backend.digest,
        _energy(arm),
        answer_tokens=arm.answer_tokens,
    )
    return spec, backend


async def _cloud(arm: ArmSettings, stack: AsyncExitStack) -> tuple[ArmSpec, Backend]:
    return await _http(arm, stack, base_url=arm.base_url or "", model=arm.model)


async def _stand_in(arm: ArmSettings, stack: AsyncExitStack) -> tuple[ArmSpec, Backend]:
    stand_in = StandIn()
    stack.push_async_callback(stand_in.aclose)
    await stand_in.start()
    model = arm.model or STAND_IN_MODEL
    return await _http(arm, stack, base_url=stand_in.base_url, model=model)


async def _http(
    arm: ArmSettings, stack: AsyncExitStack, *, base_url: str, model: str
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
    longest = arm.answer_tokens
    if longest is None and arm.backend == "stand_in":
        longest = _STAND_IN_ANSWER_TOKENS
    spec = ArmSpec(
        arm.id,
        arm.tier,
        model,
        _price(arm),
        capabilities,
        arm.context_tokens,
        digest,
        _energy(arm),
        answer_tokens=longest,
    )
    return spec, backend


_Maker: TypeAlias = Callable[[ArmSettings, AsyncExitStack], Awaitable[tuple[ArmSpec, Backend]]]
_MAKERS: Mapping[str, _Maker] = {"openai": _cloud, "stand_in": _stand_in}
