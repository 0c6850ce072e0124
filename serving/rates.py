"""How often the bearer of a key may ask: a bucket of requests that refills evenly."""

import time
from collections.abc import Callable

from serving.errors import RateLimitError


class RateLimiter:
    """Counts requests by key, in this process alone.

    A bucket holds what a minute allows, so that much may come at once; a refused request takes
    nothing out of it.

    Parameters
    ----------
    timer
        Seconds, monotonic.
    """

    def __init__(self, timer: Callable[[], float] = time.monotonic) -> None:
        self._timer = timer
        self._buckets: dict[str, tuple[float, float]] = {}

    def admit(self, key_id: str, per_minute: int | None) -> None:
        """Count one request; None is "as often as it likes".

        Raises
        ------
        RateLimitError
            If the bucket is empty.
        """
        if per_minute is None:
            return
        now = self._timer()
        left, since = self._buckets.get(key_id, (float(per_minute), now))
        left = min(float(per_minute), left + (now - since) * per_minute / 60.0)
        if left < 1.0:
            self._buckets[key_id] = (left, now)
            raise RateLimitError(per_minute, (1.0 - left) * 60.0 / per_minute)
        self._buckets[key_id] = (left - 1.0, now)
