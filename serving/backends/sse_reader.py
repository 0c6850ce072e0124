"""Server-sent events from somebody else's server, read with suspicion."""

import codecs

MEBIBYTE = 1 << 20


class BadEventStreamError(Exception):
    """Bytes that are not an event stream, or too many of them."""


class EventStreamReader:
    r"""Cuts bytes into the data of events; takes any line ending, comments and unknown fields.

    Parameters
    ----------
    max_line_bytes
        Longest line, and most data of one event.
    max_total_bytes
        Longest stream.

    Examples
    --------
    >>> reader = EventStreamReader()
    >>> reader.feed(b": ping\r\n\r\ndata: tex")
    []
    >>> reader.feed(b"t\r\n\r\ndata: [DONE]")
    ['text']
    >>> reader.close()
    ['[DONE]']
    """

    def __init__(
        self, *, max_line_bytes: int = MEBIBYTE, max_total_bytes: int = 64 * MEBIBYTE
    ) -> None:
        self._max_line = max_line_bytes
        self._max_total = max_total_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("strict")
        self._total = 0
        self._line: list[str] = []
        self._line_chars = 0
        self._after_return = False
        self._data: list[str] = []
        self._data_chars = 0

    def feed(self, data: bytes) -> list[str]:
        """Data of the events that ``data`` completes.

        Raises
        ------
        BadEventStreamError
            If it is not UTF-8, or over a limit.
        """
        self._total += len(data)
        if self._total > self._max_total:
            raise BadEventStreamError(f"the stream is longer than {self._max_total} bytes")
        try:
            text = self._decoder.decode(data)
        except UnicodeDecodeError as error:
            raise BadEventStreamError("the stream is not UTF-8") from error
        return self._lines(text)

    def close(self) -> list[str]:
        """Data of a last event that the end of the stream cut short of its blank line."""
        return [*self._end_line(), *self._dispatch()]

    def _lines(self, text: str) -> list[str]:
        if self._after_return and text:
            # The second half of a CRLF that was cut in two.
            text = text.removeprefix("\n")
            self._after_return = False
        self._after_return = self._after_return or text.endswith("\r")
        *whole, rest = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        events: list[str] = []
        for line in whole:
            self._extend(line)
            events += self._end_line()
        self._extend(rest)
        return events

    def _extend(self, text: str) -> None:
        self._line_chars += len(text)
        if self._line_chars > self._max_line:
            raise BadEventStreamError(f"a line is longer than {self._max_line} bytes")
        if text:
            self._line.append(text)

    def _end_line(self) -> list[str]:
        line = "".join(self._line)
        self._line, self._line_chars = [], 0
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        if name == "data":
            value = value.removeprefix(" ")
            self._data_chars += len(value)
            if self._data_chars > self._max_line:
                raise BadEventStreamError(f"an event is longer than {self._max_line} bytes")
            self._data.append(value)
        return []

    def _dispatch(self) -> list[str]:
        data, self._data, self._data_chars = self._data, [], 0
        return ["\n".join(data)] if data else []
