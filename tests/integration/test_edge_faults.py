"""The edge backend when its worker crashes, hangs, or has no usable model."""

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import aclosing, asynccontextmanager

import psutil
import pytest

from serving.backends.base import Load
from serving.backends.edge import EdgeBackend, EdgeConfig, bundled_model
from serving.backends.edge_process import Limits
from serving.errors import BackendRejectedError, BackendUnavailableError
from tests.scripted import query

STORY = "Tell me a very long story"
PARENT = """
import asyncio, sys
from serving.backends.base import Load
from serving.backends.edge import EdgeBackend, EdgeConfig
from serving.backends.standin import StandIn

async def main():
    edge, stand_in = EdgeBackend(EdgeConfig(), arm_id="edge"), StandIn()
    await edge.start()
    await stand_in.start()
    print(*edge.worker_pids, stand_in.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@asynccontextmanager
async def started(**settings):
    backend = EdgeBackend(EdgeConfig(**settings), arm_id="edge")
    await backend.start()
    try:
        yield backend
    finally:
        await backend.aclose()


async def until(condition, *, within_s=30.0):
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        await asyncio.sleep(0.02)


async def rest(stream):
    return [chunk async for chunk in stream]


def alive(pid):
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


async def test_a_crash_fails_the_answer_and_the_worker_comes_back():
    async with started() as backend:
        (pid,) = backend.worker_pids
        async with aclosing(backend.stream(query(STORY, temperature=0))) as stream:
            await anext(stream)
            os.kill(pid, signal.SIGSEGV)
            with pytest.raises(BackendUnavailableError, match="signal 11"):
                await rest(stream)
        assert not backend.health()[0]
        with pytest.raises(BackendUnavailableError):
            await backend.complete(query())
        await until(lambda: backend.health()[0])
        assert (await backend.complete(query(max_tokens=2))).body["choices"]
        assert backend.worker_pids != (pid,)


async def test_whoever_waits_when_the_worker_crashes_is_told_at_once():
    async with started() as backend:
        (pid,) = backend.worker_pids
        tasks = [
            asyncio.create_task(backend.complete(query(STORY, temperature=0))) for _ in range(3)
        ]
        await until(lambda: backend.load().queued == 2)
        os.kill(pid, signal.SIGKILL)
        results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
        assert {type(result) for result in results} == {BackendUnavailableError}
        assert backend.load() == Load()


async def test_a_hang_is_noticed_and_the_worker_replaced():
    async with started(limits=Limits(hang_s=1.0)) as backend:
        (pid,) = backend.worker_pids
        task = asyncio.create_task(backend.complete(query(STORY, temperature=0)))
        await until(lambda: backend.load().running == 1)
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(BackendUnavailableError, match="no sign of life"):
            await task
        await until(lambda: backend.health()[0])
        assert backend.worker_pids != (pid,)
        assert not alive(pid)


async def test_a_worker_that_does_not_stop_a_query_is_replaced():
    async with started(limits=Limits(cancel_s=1.0)) as backend:
        (pid,) = backend.worker_pids
        async with aclosing(backend.stream(query(STORY, temperature=0))) as stream:
            await anext(stream)
            os.kill(pid, signal.SIGSTOP)
        await until(lambda: backend.health()[0] and backend.worker_pids != (pid,))


async def test_stopping_ends_answers_and_leaves_no_process():
    async with started() as backend:
        pids = backend.worker_pids
        task = asyncio.create_task(backend.complete(query(STORY, temperature=0)))
        await until(lambda: backend.load().running == 1)
        await backend.aclose()
        with pytest.raises(BackendUnavailableError):
            await task
        assert not any(alive(pid) for pid in pids)


async def test_thirty_callers_that_drop_leave_every_place_free():
    rng = random.Random(5)

    async def drop(backend):
        async with aclosing(backend.stream(query(STORY, temperature=0, max_tokens=50))) as stream:
            for _ in range(rng.randrange(4)):
                await anext(stream)

    async with started(workers=2, max_queue=40, max_wait_s=1e6) as backend:
        tasks = [asyncio.create_task(drop(backend)) for _ in range(30)]
        for turn, task in enumerate(rng.sample(tasks, 15)):
            for _ in range(turn % 7):
                await asyncio.sleep(0)
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(result) for result in results} == {type(None), asyncio.CancelledError}
        assert backend.load() == Load()
        assert (await backend.complete(query(max_tokens=1))).body["choices"]


async def test_two_workers_answer_at_the_same_time():
    async with started(workers=2) as backend:
        tasks = [
            asyncio.create_task(backend.complete(query(STORY, temperature=0))) for _ in range(2)
        ]
        await until(lambda: backend.load().running == 2)
        assert backend.load().queued == 0
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_worker_knows_nobodys_keys(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    async with started() as backend:
        environment = psutil.Process(backend.worker_pids[0]).environ()
    assert "PATH" in environment
    assert "OPENAI_API_KEY" not in environment


def spoiled(folder, how):
    data = bundled_model().read_bytes()
    bad = {
        "empty": lambda: b"",
        "text": lambda: b"this is not a model" * 100,
        "truncated": lambda: data[: len(data) // 2],
        "header only": lambda: data[:4096],
        "mutated": lambda: data[:8] + bytes(byte ^ 0xFF for byte in data[8:4096]) + data[4096:],
    }
    path = folder / "model.gguf"
    path.write_bytes(bad[how]())
    return path


@pytest.mark.parametrize("how", ["empty", "text", "truncated", "header only", "mutated"])
async def test_a_broken_model_file_leaves_the_server_without_the_edge_and_says_so(tmp_path, how):
    path = spoiled(tmp_path, how)
    async with started(model_path=path) as backend:
        healthy, why = backend.health()
        assert not healthy
        assert str(path) in why
        assert "model_path" in why
        with pytest.raises(BackendUnavailableError):
            await backend.complete(query())


async def test_a_missing_model_file_is_named(tmp_path):
    async with started(model_path=tmp_path / "none.gguf") as backend:
        healthy, why = backend.health()
    assert not healthy
    assert "none.gguf" in why
    assert "No such file" in why


async def test_a_file_that_appears_later_is_taken(tmp_path):
    path = tmp_path / "late.gguf"
    async with started(model_path=path) as backend:
        assert not backend.health()[0]
        path.symlink_to(bundled_model())
        await until(lambda: backend.health()[0])


async def test_another_digest_than_the_configured_one_is_refused():
    async with started(sha256="0" * 64) as backend:
        healthy, why = backend.health()
    assert not healthy
    assert "sha256" in why


async def test_too_little_memory_fails_the_worker_and_not_the_server():
    async with started(memory_limit_mb=300) as backend:
        assert not backend.health()[0]
        with pytest.raises(BackendUnavailableError):
            await backend.complete(query())


async def test_no_more_context_is_offered_than_the_model_was_trained_on():
    async with started(context_tokens=100_000) as backend:
        assert backend.context_tokens == 8192


async def test_another_chat_template_may_be_configured():
    template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    async with started(chat_template=template) as backend:
        answer = await backend.complete(query("one two three", max_tokens=1))
    assert answer.body["usage"]["prompt_tokens"] <= 4


async def test_a_template_that_refuses_is_the_callers_error():
    async with started(chat_template="{{ raise_exception('no such roles') }}") as backend:
        with pytest.raises(BackendRejectedError) as caught:
            await backend.complete(query())
    assert "no such roles" in caught.value.body["error"]["message"]


@pytest.mark.parametrize("stopped", [False, True])
def test_children_die_with_their_parent_even_when_they_are_stopped(stopped):
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as parent:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        try:
            assert len(pids) == 2
            if stopped:
                for pid in pids:
                    os.kill(pid, signal.SIGSTOP)
            parent.kill()
            deadline = time.monotonic() + 10
            while any(alive(pid) for pid in pids):
                assert time.monotonic() < deadline, "still there"
                time.sleep(0.02)
        finally:
            parent.kill()
