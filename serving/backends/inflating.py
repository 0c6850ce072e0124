"""Bodies, decompressed no further than a limit."""

import zlib
from collections.abc import Mapping

_WINDOW_BITS: Mapping[str, int] = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}


class BadBodyError(Exception):
    """A body that is too long, or compressed in a way that was not asked for."""


class Inflater:
    """Passes bytes on, decompressed where they are, and counts what comes out.

    Examples
    --------
    >>> Inflater("identity", max_bytes=3).feed(b"abc")
    b'abc'
    """

    def __init__(self, encoding: str, *, max_bytes: int) -> None:
        encoding = encoding.strip().lower()
        if encoding not in ("", "identity", *_WINDOW_BITS):
            raise BadBodyError(f"the body has an encoding that was not asked for: {encoding[:20]}")
        bits = _WINDOW_BITS.get(encoding)
        self._inflate = None if bits is None else zlib.decompressobj(bits)
        self._left = max_bytes
        self._max_bytes = max_bytes

    def feed(self, data: bytes) -> bytes:
        """The plain bytes.

        Raises
        ------
        BadBodyError
            If they are too many or broken.
        """
        plain = data if self._inflate is None else self._decompress(data)
        self._left -= len(plain)
        if self._left < 0:
            raise BadBodyError(f"the body is longer than {self._max_bytes} bytes")
        return plain

    def _decompress(self, data: bytes) -> bytes:
        assert self._inflate is not None  # noqa: S101 - the caller looked
        try:
            # One more than is left is enough to see that it is too long.
            return self._inflate.decompress(data, self._left + 1)
        except zlib.error as error:
            raise BadBodyError("the body is not compressed as it says") from error
