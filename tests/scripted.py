"""Small stand-ins for the router's ports, for tests without I/O."""

import asyncio
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count

import numpy as np

from bandit.primitives import Context, Prediction
from bandit.utility import PRESETS
from features.query import Query
from feedback.memory import MemoryDecisionLog
from serving.arms import ArmSpec, joined
from serving.backends.base import Chunk, Completion, Load
from serving.backends.breaker import Breaker, BreakerConfig
from serving.pricing import Price
from serving.router import Router

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
SPECS = (
    ArmSpec("edge", "edge", "small", Price(0.0, 0.0, "config"), frozenset({"n"}), 2048, "sha"),
    ArmSpec("cloud", "cloud", "vendor/large", Price(1.0, 3.0, "config"), frozenset({"*"})),
)
CASCADE = joined("cascade", *SPECS)
GATED = (*SPECS, CASCADE)


def query(text="Hello", *, requires=(), **fields):
    messages = [{"role": "user", "content": text}]
    return Query(messages, NOW, {"messages": messages, **fields}, frozenset(requires))


def chunk(text=None, *, finish=None, usage=None, role=None, model="m"):
    delta = {"content": text} if text is not None else {}
    delta = {**delta, "role": role} if role else delta
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    body = {"id": "upstream", "created": 1, "model": model, "choices": choices}
    return Chunk({**body, "choices": [], "usage": usage} if usage else body)


CHUNKS = (
    chunk("", role="assistant"),
    chunk("Hel"),
    chunk("lo"),
    chunk(finish="stop"),
    chunk(usage=USAGE),
)
BODY = {
    "id": "upstream",
    "created": 1,
    "model": "m",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}
    ],
    "usage": USAGE,
}


class ScriptedBackend:
    """Plays ``script``: chunks go out, errors are raised, events are waited for.

    Before an event is waited for, ``waiting`` is set.
    """

    def __init__(self, arm_id, *script, healthy=True, wait_s=0.0):
        self.arm_id = arm_id
        self.script = script
        self.healthy = healthy
        self.wait_s = wait_s
        self.calls = 0
        self.cancelled = 0
        self.waiting = asyncio.Event()

    async def complete(self, query):
        self.calls += 1
        with self._counting_cancels():
            for step in self.script:
                await self._play(step)
        return Completion(BODY, confidence={"margin_mean": 0.5})

    async def stream(self, query):
        self.calls += 1
        with self._counting_cancels():
            for step in self.script or CHUNKS:
                await self._play(step)
                if isinstance(step, Chunk):
                    yield step

    async def _play(self, step):
        if isinstance(step, Exception):
            raise step
        if isinstance(step, asyncio.Event):
            self.waiting.set()
            await step.wait()

    @contextmanager
    def _counting_cancels(self):
        try:
            yield
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled += 1
            raise

    def load(self):
        return Load(wait_s=self.wait_s)

    def health(self):
        return self.healthy, ""

    async def aclose(self):
        pass


class FixedPolicy:
    """Always the same preference, scaled to whatever arms are there."""

    name = "fixed"

    def __init__(self, version="fixed-1", error=None, **weights):
        self.version = version
        self.error = error
        self.weights = weights

    def predict(self, context, arms, scenario):
        if self.error is not None:
            raise self.error
        weights = [self.weights.get(arm.arm_id, 1.0) for arm in arms]
        pmf = tuple(weight / sum(weights) for weight in weights)
        return Prediction(tuple(arm.arm_id for arm in arms), pmf, self.version)


class GatedPolicy(FixedPolicy):
    """Likes cascades; its gate accepts with probability ``accept``, and keeps what it was shown."""

    has_gate = True

    def __init__(self, accept=1.0, *, gate_error=None, **weights):
        super().__init__(**(weights or {"cascade": 1.0, "edge": 1e-9, "cloud": 1e-9}))
        self.accept = accept
        self.gate_error = gate_error
        self.shown = []

    def gate(self, context, edge, cloud, scenario, signals):
        if self.gate_error is not None:
            raise self.gate_error
        self.shown.append((edge.arm_id, cloud.arm_id, signals))
        return Prediction(("accept", "escalate"), (self.accept, 1.0 - self.accept), self.version)


class Holder:
    """Holds one policy."""

    def __init__(self, policy):
        self.current = policy


class PlainFeaturizer:
    """One constant; ``error`` is raised instead."""

    schema_version = "plain-1"
    schema = {"bias": ("one",)}  # noqa: RUF012 - never changed

    def __init__(self, error=None):
        self.error = error

    def featurize(self, query):
        if self.error is not None:
            raise self.error
        return Context({"bias": np.ones(1, np.float32)}, self.schema_version)


class PlainWriter:
    """Writes at once; ``durable`` False says that it could not."""

    def __init__(self, log, *, durable=True):
        self.log = log
        self.durable = durable

    async def add(self, logged):
        if self.durable:
            await self.log.add_decisions([logged])
        return self.durable


def make_router(
    *backends,
    policy=None,
    holder=None,
    log=None,
    writer=None,
    featurizer=None,
    specs=SPECS,
    rng=None,
    **more,
):
    """A router over ``backends``, with all else as plain as can be."""
    log = log or MemoryDecisionLog(clock=lambda: NOW)
    ids = (f"{n:032x}" for n in count(1))
    return Router(
        featurizer=featurizer or PlainFeaturizer(),
        holder=holder or Holder(policy or FixedPolicy(edge=1.0, cloud=1e-9)),
        arms=specs,
        backends={backend.arm_id: backend for backend in backends},
        breakers={s.arm_id: Breaker(BreakerConfig(), clock=lambda: 0.0) for s in specs},
        writer=writer or PlainWriter(log),
        log=log,
        scenarios=PRESETS,
        default_scenario="balanced",
        rng=rng or np.random.default_rng(0),
        new_id=lambda: next(ids),
        now=lambda: NOW,
        **more,
    )
