"""A router with a cascade of two scripted backends, and what comes of a query to it."""

from dataclasses import replace

from serving.backends.base import Completion
from serving.errors import BackendRejectedError, BackendUnavailableError
from serving.selector import Wish
from tests.scripted import (
    BODY,
    CHUNKS,
    GATED,
    USAGE,
    ScriptedBackend,
    chunk,
    make_router,
    query,
)

DOWN = BackendUnavailableError("edge", "gone")
LIMIT = {"error": {"code": "context_length_exceeded"}}
TOO_LONG = BackendRejectedError("edge", 400, LIMIT)
BAD = BackendRejectedError("edge", 422, {"error": {"message": "no", "code": "bad"}})
SURE = {"margin_mean": 0.5}
EDGE_CHUNKS = (*CHUNKS[:-1], replace(CHUNKS[-1], confidence={"margin_mean": 0.9}))
CLOUD_CHUNKS = (chunk("Bet"), chunk("ter"), chunk(finish="stop"), chunk(usage=USAGE))
CLOUD_USD = (10 * 1.0 + 5 * 3.0) / 1e6


class Speaker(ScriptedBackend):
    """Says ``text``."""

    def __init__(self, arm_id, text, *script, finish="stop"):
        super().__init__(arm_id, *script)
        self.text = text
        self.finish = finish

    async def complete(self, query):
        made = await super().complete(query)
        choice = {**BODY["choices"][0], "finish_reason": self.finish}
        choice["message"] = {"role": "assistant", "content": self.text}
        told = SURE if self.arm_id == "edge" else {}
        return Completion({**made.body, "model": self.arm_id, "choices": [choice]}, 0.25, told)


def cascading(log, policy, edge=None, cloud=None, *, specs=GATED, **more):
    edge = edge or Speaker("edge", "four")
    cloud = cloud or Speaker("cloud", "Four.")
    return make_router(edge, cloud, policy=policy, log=log, specs=specs, **more)


async def completed(router, asked=None, wish=None):
    routed = await router.decide(asked or query(), wish or Wish())
    answer, completion = await router.complete(routed)
    await router.aclose()
    return answer, completion.body["choices"][0]["message"]["content"]


async def streamed(router, **options):
    routed = await router.decide(query(stream=True))
    async with router.stream(routed, **options) as (answer, chunks):
        parts = [one.body["choices"] async for one in chunks]
    await router.aclose()
    return answer, "".join(part[0]["delta"].get("content", "") for part in parts if part)


async def outcome_of(log, answer):
    return (await log.get(answer.routed.decision.decision_id)).outcome
