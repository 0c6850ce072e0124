"""OpenAI's own Python SDK tries again when it is told to."""

import openai
import pytest

from feedback.memory import MemoryDecisionLog
from serving.errors import BackendOverloadedError, BackendUnavailableError
from tests.chat_server import serving
from tests.scripted import CHUNKS, NOW, ScriptedBackend

HELLO = [{"role": "user", "content": "Hello"}]
FULL = BackendOverloadedError("edge", "full", 0.01)
DOWN = BackendUnavailableError("edge", "gone")


class Recovering(ScriptedBackend):
    """Fails as often as there are errors, then answers."""

    def __init__(self, *errors):
        super().__init__("edge", *CHUNKS)
        self.errors = list(errors)

    async def complete(self, query):
        self._fail()
        return await super().complete(query)

    def _fail(self):
        if self.errors:
            raise self.errors.pop(0)


@pytest.fixture
def log():
    return MemoryDecisionLog(clock=lambda: NOW)


async def ask(client, **options):
    url = f"{client.base_url}/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key="none", **options) as sdk:
        return await sdk.chat.completions.with_raw_response.create(model="edge", messages=HELLO)


async def test_a_429_is_tried_again_after_the_time_it_names(tmp_path, log):
    edge = Recovering(FULL, FULL)
    async with serving(tmp_path, log, edge) as client:
        raw = await ask(client, max_retries=2)
    assert raw.parse().choices[0].message.content == "Hello"
    assert raw.retries_taken == 2


async def test_every_attempt_is_a_decision_of_its_own(tmp_path, log):
    async with serving(tmp_path, log, Recovering(FULL)) as client:
        await ask(client, max_retries=1)
    assert len({event.logged.decision.decision_id for event in await log.read(0, 10)}) == 2


async def test_a_503_is_tried_again(tmp_path, log):
    async with serving(tmp_path, log, Recovering(DOWN)) as client:
        raw = await ask(client, max_retries=1)
    assert raw.retries_taken == 1


@pytest.mark.parametrize(
    ("error", "raised"), [(FULL, openai.RateLimitError), (DOWN, openai.InternalServerError)]
)
async def test_a_client_that_does_not_try_again_is_told(tmp_path, log, error, raised):
    async with serving(tmp_path, log, Recovering(error)) as client:
        with pytest.raises(raised) as caught:
            await ask(client, max_retries=0)
    assert caught.value.code
