"""Tells alarms to a webhook: at least once each, however often the webhook or this server dies.

What is still to be told is a state of the alarm's row, so it survives restarts; a claim keeps other
servers from telling the same alarm meanwhile. The alarm's id is the idempotency key.
"""

import asyncio
import hashlib
import hmac
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx
import orjson

from bandit.errors import PointsmanError
from feedback.alarms import AlarmBook, LoggedAlarm

_LOG = logging.getLogger(__name__)
_AT_ONCE = 8
_LONGEST_PAUSE_S = 300.0


@dataclass(frozen=True, slots=True)
class WebhookConfig:
    """Where alarms are told, and how patiently.

    Attributes
    ----------
    token
        Sent as ``Authorization: Bearer``; empty sends none.
    secret
        Key of the HMAC-SHA256 over ``<timestamp>.<body>`` in ``x-pointsman-signature``; empty signs
        nothing.
    timeout_s
        For one attempt.
    give_up_s
        An alarm that could not be told for so long is given up.
    poll_s
        Time between looks at what is due.
    """

    url: str
    token: str = ""
    secret: str = ""
    timeout_s: float = 5.0
    give_up_s: float = 86_400.0
    poll_s: float = 0.5


class Webhook:
    """Posts every pending alarm as JSON; any 2xx is an acknowledgement, redirects are not followed.

    Parameters
    ----------
    clock
        The one that ``book`` goes by.
    """

    def __init__(
        self, book: AlarmBook, config: WebhookConfig, *, clock: Callable[[], datetime]
    ) -> None:
        self._book = book
        self._config = config
        self._clock = clock

    async def run(self) -> None:
        """Tell until cancelled; survives everything else."""
        async with httpx.AsyncClient(timeout=self._config.timeout_s, trust_env=False) as client:
            while True:
                await self._survive(client)
                await asyncio.sleep(self._config.poll_s)

    async def deliver(self, client: httpx.AsyncClient) -> int:
        """Tell what is due now, side by side; how many attempts were made.

        Raises
        ------
        LogUnavailableError
        """
        now = self._clock()
        due = await self._book.claim(
            _AT_ONCE,
            until=now + timedelta(seconds=2 * self._config.timeout_s + 5.0),
            noticed_since=now - timedelta(seconds=self._config.give_up_s),
        )
        await asyncio.gather(*(self._tell(client, row) for row in due))
        return len(due)

    async def _survive(self, client: httpx.AsyncClient) -> None:
        try:
            await self.deliver(client)
        except PointsmanError as error:
            _LOG.debug("alarms cannot be told now: %s", error)
        except Exception:  # noqa: BLE001 - nothing may end telling for good
            _LOG.exception("telling alarms failed")

    async def _tell(self, client: httpx.AsyncClient, row: LoggedAlarm) -> None:
        error = await self._post(client, row)
        retry_at = None
        if error is not None:
            pause_s = min(_LONGEST_PAUSE_S, 2.0 ** min(row.attempts - 1, 16))
            retry_at = self._clock() + timedelta(seconds=pause_s)
            _LOG.warning("alarm %s was not told: %s", row.alarm.alarm_id, error)
        await self._book.settle(row.alarm.alarm_id, error=error, retry_at=retry_at)

    async def _post(self, client: httpx.AsyncClient, row: LoggedAlarm) -> str | None:
        """Why it was not taken; None if it was."""
        body = orjson.dumps(shown(row))
        headers = self._headers(row, body)
        try:
            async with asyncio.timeout(self._config.timeout_s):
                async with client.stream(
                    "POST", self._config.url, content=body, headers=headers
                ) as reply:
                    return None if reply.is_success else f"status {reply.status_code}"
        except TimeoutError:
            return f"no answer within {self._config.timeout_s:g} s"
        except httpx.HTTPError as error:
            return type(error).__name__

    def _headers(self, row: LoggedAlarm, body: bytes) -> dict[str, str]:
        headers = {"content-type": "application/json", "idempotency-key": row.alarm.alarm_id}
        if self._config.token:
            headers["authorization"] = f"Bearer {self._config.token}"
        if self._config.secret:
            stamp = str(int(self._clock().timestamp()))
            headers["x-pointsman-timestamp"] = stamp
            headers["x-pointsman-signature"] = sign(self._config.secret, stamp, body)
        return headers


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """The signature that a receiver checks, ``sha256=<hex>``.

    Examples
    --------
    >>> sign("key", "1760000000", b"{}").partition("=")[0]
    'sha256'
    """
    signed = timestamp.encode() + b"." + body
    return "sha256=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def shown(row: LoggedAlarm) -> dict[str, Any]:
    """An alarm as webhooks and the API show it; ``text`` is one sentence for people."""
    alarm = row.alarm
    return {
        "alarm_id": alarm.alarm_id,
        "kind": alarm.kind,
        "arm": alarm.arm,
        "decision_id": alarm.decision_id,
        "n_interactions": alarm.n_interactions,
        "before": alarm.before,
        "after": alarm.after,
        "action": alarm.action,
        "position": row.position,
        "noticed_at": row.noticed_at.isoformat(),
        "text": f"Pointsman, {alarm.kind}{f' of {alarm.arm}' if alarm.arm else ''}: {alarm.action}",
    }
