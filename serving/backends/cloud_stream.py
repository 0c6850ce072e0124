"""The chunks of an upstream's stream, read, checked and followed to their end."""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from serving.backends.cloud_answer import in_band, parse
from serving.backends.inflating import Inflater
from serving.backends.sse_reader import EventStreamReader
from serving.errors import BackendProtocolError


class StreamCheck:
    """Follows the chunks of one stream, to tell a whole answer from one that was cut short."""

    def __init__(self, arm: str) -> None:
        self._arm = arm
        self._open: set[Any] = set()
        self._finished: set[Any] = set()

    @property
    def finished(self) -> bool:
        """Whether every choice that began has given its finish reason."""
        return bool(self._finished) and not self._open

    def chunk(self, data: str) -> dict[str, Any]:
        """A ``chat.completion.chunk`` as it came.

        Raises
        ------
        BackendError
            If it is an error or not a chunk.
        """
        body = parse(self._arm, data)
        in_band(self._arm, body)
        choices = body.get("choices")
        if not isinstance(choices, list) or not all(isinstance(one, dict) for one in choices):
            raise BackendProtocolError(self._arm, "sent an event that is not a chunk")
        for choice in choices:
            self._follow(choice)
        return body

    def _follow(self, choice: Mapping[str, Any]) -> None:
        index = choice.get("index", 0)
        if not isinstance(index, int) or not isinstance(choice.get("delta", {}), dict):
            raise BackendProtocolError(self._arm, "sent an event that is not a chunk")
        if choice.get("finish_reason"):
            self._open.discard(index)
            self._finished.add(index)
        elif index not in self._finished:
            self._open.add(index)

    def end(self) -> None:
        """Check that the stream may end here.

        Raises
        ------
        BackendProtocolError
            If a choice has no finish reason yet.
        """
        if not self.finished:
            raise BackendProtocolError(self._arm, "the stream ended in the middle of the answer")


class CloudStream:
    """The chunks of one response.

    Parameters
    ----------
    raw
        The body's bytes as they come.
    close
        Lets go of the connection.
    encoding
        The ``content-encoding`` of ``raw``.
    """

    def __init__(
        self,
        arm: str,
        raw: AsyncIterator[bytes],
        close: Callable[[], Awaitable[None]],
        *,
        encoding: str,
        max_line_bytes: int,
        max_body_bytes: int,
    ) -> None:
        self._raw = raw
        self._inflater = Inflater(encoding, max_bytes=max_body_bytes)
        self._reader = EventStreamReader(
            max_line_bytes=max_line_bytes, max_total_bytes=max_body_bytes
        )
        self._check = StreamCheck(arm)
        self._data: deque[str] = deque()
        self._over = False
        self._peeked: list[dict[str, Any]] = []
        self.aclose = close

    @property
    def finished(self) -> bool:
        """Whether the answer is whole, though usage may follow."""
        return self._check.finished and not self._peeked

    async def peek(self) -> None:
        """Wait for the first chunk and keep it for `next`."""
        body = await self.next()
        if body is not None:
            self._peeked.append(body)

    async def next(self) -> dict[str, Any] | None:
        """The next chunk; None after a proper end.

        Raises
        ------
        BackendError
            For an error in the stream, or an end in the middle of the answer.
        """
        if self._peeked:
            return self._peeked.pop()
        while not self._data and not self._over:
            await self._more()
        if not self._data or self._data[0].strip() == "[DONE]":
            self._check.end()
            return None
        return self._check.chunk(self._data.popleft())

    async def _more(self) -> None:
        raw = await anext(self._raw, None)
        if raw is None:
            self._over = True
            self._data.extend(self._reader.close())
        else:
            self._data.extend(self._reader.feed(self._inflater.feed(raw)))
