"""Asks a judge model, within a day's money.

What a question may cost is set aside before it is asked, so that the cap holds whatever happens, in
however many processes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bandit.primitives import Decision
from features.query import Query
from feedback.judge import Case, MalformedVerdictError, Verdict, ask, parse, response_format
from feedback.judge_book import JudgeBook
from serving.backends.base import Backend, Completion
from serving.errors import (
    BackendOverloadedError,
    BackendProtocolError,
    BackendRejectedError,
    ServingError,
)
from serving.pricing import Price, charge, estimate_tokens

_PROBE_TOKENS = 1024


class CapReachedError(ServingError):
    """The day's money for judging does not suffice for another question."""

    def __init__(self, cap_usd: float) -> None:
        super().__init__(
            f"the judge has spent its {cap_usd:g} US dollars of today; raise judge.max_usd_per_day"
        )


class MalformedError(ServingError):
    """The judge answered, was paid, and said nothing that counts."""

    def __init__(self, why: str, bill: "Bill") -> None:
        super().__init__(f"the judge's reply is no verdict: {why}")
        self.why = why
        self.bill = bill


@dataclass(frozen=True, slots=True)
class Bill:
    """What one question cost, in US dollars."""

    usd: float


class JudgeClient:
    """One judge.

    Parameters
    ----------
    price
        Known: without it no cap could be kept.
    new_nonce
        Fresh hexadecimal digits for every question.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        model: str,
        price: Price,
        book: JudgeBook,
        cap_usd: float,
        new_nonce: Callable[[], str],
        now: Callable[[], datetime],
        max_chars: int = 12_000,
        max_tokens: int = 300,
        stand_in: bool = False,
    ) -> None:
        self.model = model
        self.cap_usd = cap_usd
        self.stand_in = stand_in
        self._backend = backend
        self._price = price
        self._book = book
        self._new_nonce = new_nonce
        self._now = now
        self._max_chars = max_chars
        self._max_tokens = max_tokens
        self._structured = True

    async def score(self, case: Case) -> tuple[Verdict, Bill]:
        """The verdict, and what it cost.

        Raises
        ------
        CapReachedError
            Before anything is sent.
        MalformedError
            If the reply does not count; it was paid all the same.
        BackendError
            If there is no reply.
        """
        messages = ask(case, nonce=self._new_nonce(), max_chars=self._max_chars)
        chars = sum(len(message["content"]) for message in messages)
        try:
            completion, usd = await self._paid(
                self._backend,
                self._question(messages),
                price=self._price,
                chars=chars,
                max_tokens=self._max_tokens,
            )
        except BackendRejectedError:
            if not self._structured:
                raise
            # Not every server knows schemas; the reply is checked all the same.
            self._structured = False
            return await self.score(case)
        bill = Bill(usd)
        try:
            return parse(_said(completion)), bill
        except MalformedVerdictError as error:
            raise MalformedError(error.why, bill) from error

    async def answer(self, backend: Backend, decision: Decision, query: Query) -> tuple[str, float]:
        """Another arm's answer to ``query``, paid from the judge's money, and what it cost.

        Raises
        ------
        CapReachedError, BackendError
        """
        arm = next(arm for arm in decision.arms if arm.arm_id == backend.arm_id)
        price = Price(arm.price_in, arm.price_out, "config")
        if not price.known:
            raise BackendProtocolError(
                arm.arm_id, "has no known price; a probe could cost anything"
            )
        most = min(query.max_tokens or _PROBE_TOKENS, _PROBE_TOKENS)
        fields = {k: v for k, v in query.fields.items() if k not in ("stream", "n", "pointsman")}
        fields.pop("max_completion_tokens", None)
        asked = Query(query.messages, query.received_at, {**fields, "max_tokens": most})
        chars = len(str(query.fields.get("messages", query.messages)))
        completion, usd = await self._paid(
            backend, asked, price=price, chars=chars, max_tokens=most
        )
        text = _said(completion)
        if not text:
            raise BackendProtocolError(arm.arm_id, "answered a probe without text")
        return text, usd

    async def _paid(
        self, backend: Backend, query: Query, *, price: Price, chars: int, max_tokens: int
    ) -> tuple[Completion, float]:
        # A token of two characters is as short as they come on average, whatever the language.
        reserved = price.cost_usd(2 * estimate_tokens(chars) + 64, max_tokens) or 0.0
        day = self._now().date().isoformat()
        if not await self._book.reserve(day, reserved, cap_usd=self.cap_usd):
            raise CapReachedError(self.cap_usd)
        try:
            completion = await backend.complete(query)
        except (BackendOverloadedError, BackendRejectedError):
            await self._book.settle(day, reserved_usd=reserved, spent_usd=0.0)
            raise
        # One that fails otherwise may have been paid: what was set aside then stays spent.
        usd = _cost(price, completion, chars)
        await self._book.settle(day, reserved_usd=reserved, spent_usd=usd)
        return completion, usd

    def _question(self, messages: Any) -> Query:
        fields: dict[str, Any] = {
            "messages": list(messages),
            "temperature": 0,
            "max_tokens": self._max_tokens,
        }
        if self._structured:
            fields["response_format"] = response_format()
        return Query(messages, self._now(), fields)


def _cost(price: Price, completion: Completion, chars: int) -> float:
    usage = completion.body.get("usage")
    given = usage if isinstance(usage, Mapping) else None
    spent = charge(price, given, chars_in=chars, chars_out=len(_said(completion)))
    return spent.cost_usd or 0.0


def _said(completion: Completion) -> str:
    choices = completion.body.get("choices") or [{}]
    message = choices[0].get("message") if isinstance(choices[0], Mapping) else None
    content = message.get("content") if isinstance(message, Mapping) else None
    return content if isinstance(content, str) else ""
