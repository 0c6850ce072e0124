"""Signs of life while a caller waits for first words."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager


@asynccontextmanager
async def every(interval_s: float, show: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Call ``show`` every ``interval_s`` seconds while the body runs, and never afterwards.

    One that has begun is waited for, so that what it sends is not cut in two.
    """
    over = asyncio.Event()
    task = asyncio.create_task(_show(interval_s, show, over))
    try:
        yield
    except BaseException:
        task.cancel()
        raise
    finally:
        over.set()
        await asyncio.wait((task,))
    task.result()


async def _show(
    interval_s: float, show: Callable[[], Awaitable[None]], over: asyncio.Event
) -> None:
    while True:
        try:
            async with asyncio.timeout(interval_s):
                await over.wait()
        except TimeoutError:
            await show()
        else:
            return
