"""API keys: made once, kept as a hash, revoked within a second."""

import hashlib
import hmac
import json
import logging
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from serving.errors import BadRequestError, ForbiddenError, SettingsError, UnauthorizedError
from serving.limits import NO_LIMITS, KeyLimits
from serving.tags import parse_tags

Scope: TypeAlias = Literal["inference", "feedback", "admin"]
SCOPES: tuple[str, ...] = get_args(Scope)
PREFIX = "sk-pm-"
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking.

    Attributes
    ----------
    key_id
        The 12 public characters of the key; empty on an open server.
    scopes
        What the key may do; ``admin`` includes the others.
    on_behalf_of
        The key whose decisions this one judges; None is its own.
    limits
        What it may ask of a scenario.
    tags
        What every query of this key is tagged with.
    """

    key_id: str
    scopes: frozenset[str]
    on_behalf_of: str | None = None
    limits: KeyLimits = NO_LIMITS
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def speaks_for(self) -> str | None:
        """The key whose decisions are visible; None is "all of them" (``admin``)."""
        return None if "admin" in self.scopes else self.on_behalf_of or self.key_id

    def require(self, scope: str) -> None:
        """Nothing, if the scope is there.

        Raises
        ------
        ForbiddenError
            If it is not.
        """
        if scope not in self.scopes and "admin" not in self.scopes:
            raise ForbiddenError(scope)

    def tagged(self, asked: Mapping[str, str]) -> Mapping[str, str]:
        """The tags of a query: those of the key, and those that it asks for.

        Raises
        ------
        BadRequestError
            If it asks for another value than the key's: nobody spends from another's budget.
        """
        for name, own in self.tags.items():
            if asked.get(name, own) != own:
                raise BadRequestError(
                    f"this API key is tagged {name}={own}; leave that tag away", "pointsman.tags"
                )
        return {**asked, **self.tags}


EVERYONE = Principal("", frozenset(SCOPES))
"""Whoever reaches an open server: one on loopback for which no key was ever made."""


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key as stored; the secret itself is nowhere.

    Attributes
    ----------
    key_id, name
        The public part, and what a person calls it.
    digest
        HMAC-SHA256 of the whole key under ``salt``, both in hexadecimal. The secret has 240 random
        bits, so a slow password hash would add nothing but delay.
    on_behalf_of
        Public part of the key whose decisions this one judges; None is its own. Revoking that key
        does not revoke this one.
    tags
        What every query of this key is tagged with, such as ``{"team": "search"}``.
    """

    key_id: str
    name: str
    scopes: tuple[str, ...]
    salt: str
    digest: str
    created_at: str
    revoked_at: str | None = None
    on_behalf_of: str | None = None
    limits: KeyLimits = NO_LIMITS
    tags: Mapping[str, str] = field(default_factory=dict)


def _digest(token: str, salt: str) -> str:
    return hmac.new(bytes.fromhex(salt), token.encode(), hashlib.sha256).hexdigest()


def _letters(n: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(n))


class KeyRing:
    """The keys in a file, read again whenever the file changes.

    Parameters
    ----------
    path
        The file; it need not exist.
    required
        Whether a key is needed even while there is none. Once a key was seen, it stays so: deleting
        the file locks a server, it never opens one.
    """

    def __init__(self, path: Path, *, required: bool = False) -> None:
        self._path = path
        self._required = required
        self._was_open = False
        self._stamp: tuple[int, int, int] | None = None
        self._records: Mapping[str, KeyRecord] = {}

    def authenticate(self, token: str | None) -> Principal:
        """Who the bearer of ``token`` is.

        Raises
        ------
        UnauthorizedError
            If a key is needed and ``token`` is not a valid one.
        """
        self._refresh()
        if not self._required:
            return EVERYONE
        record = self._records.get(_public_part(token or ""))
        # The comparison is made for unknown keys too, so that time tells nothing about which exist.
        expected = record.digest if record else "0" * 64
        given = _digest(token or "", record.salt if record else "00")
        if not hmac.compare_digest(expected, given) or record is None or record.revoked_at:
            raise UnauthorizedError
        scopes = frozenset(record.scopes)
        return Principal(
            record.key_id, scopes, record.on_behalf_of, record.limits, dict(record.tags)
        )

    @property
    def open(self) -> bool:
        """Whether requests need no key."""
        self._refresh()
        return not self._required

    def list(self) -> Sequence[KeyRecord]:
        """Every key ever made, oldest first."""
        self._refresh()
        return sorted(self._records.values(), key=lambda record: record.created_at)

    def create(
        self,
        scopes: Sequence[str],
        *,
        name: str,
        now: Callable[[], datetime],
        on_behalf_of: str | None = None,
        limits: KeyLimits = NO_LIMITS,
        tags: Sequence[str] = (),
    ) -> tuple[str, KeyRecord]:
        """A new key in clear, for the only time, and its record.

        Parameters
        ----------
        on_behalf_of
            Public part of the key whose decisions the new one judges; only for ``feedback`` alone.
        tags
            ``name=value``, each.

        Raises
        ------
        SettingsError
            If a scope is unknown or none is given, or there are no decisions to judge that way.
        """
        unknown = [scope for scope in scopes if scope not in SCOPES]
        if unknown or not scopes:
            given = ", ".join(map(repr, unknown)) or "nothing"
            raise SettingsError("--scope", f"{given}; want one or more of {', '.join(SCOPES)}")
        key_id, salt = _letters(12), secrets.token_hex(16)
        token = f"{PREFIX}{key_id}-{_letters(48)}"
        made = tuple(scope for scope in SCOPES if scope in scopes)
        created_at, digest = now().isoformat(), _digest(token, salt)
        record = KeyRecord(
            key_id,
            name,
            made,
            salt,
            digest,
            created_at,
            on_behalf_of=on_behalf_of,
            limits=limits,
            tags=parse_tags(tags),
        )
        self._refresh()
        if on_behalf_of is not None:
            self._check_behalf(on_behalf_of, made)
        self._write({**self._records, key_id: record})
        return token, record

    def revoke(self, key_id: str, *, now: Callable[[], datetime]) -> KeyRecord:
        """The record, revoked; servers notice with their next request.

        Raises
        ------
        SettingsError
            If there is no such key.
        """
        self._refresh()
        if key_id not in self._records:
            raise SettingsError("key", f"no key {key_id[:40]!r}", "see 'pointsman keys list'")
        record = self._records[key_id]
        if record.revoked_at is None:
            record = replace(record, revoked_at=now().isoformat())
            self._write({**self._records, key_id: record})
        return record

    def _check_behalf(self, key_id: str, scopes: Sequence[str]) -> None:
        if tuple(scopes) != ("feedback",):
            # A key that asks could not judge its own decisions any more.
            raise SettingsError(
                "--for", "only a key with the scope feedback alone judges for another"
            )
        asks = self._records.get(key_id)
        if asks is None or asks.revoked_at or not {"inference", "admin"} & set(asks.scopes):
            raise SettingsError(
                "--for",
                f"no valid key {key_id[:40]!r} with the scope inference",
                "see 'pointsman keys list'",
            )

    def _refresh(self) -> None:
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            self._was_open = not self._required
            return
        try:
            self._records = _read(self._path) if stamp else {}
        except SettingsError as error:
            if self._stamp is None:
                raise
            # Half a file, as an editor may leave it for a moment, locks nobody out.
            _LOG.error("the API keys stay those that were last read: %s", error)
        self._stamp = stamp
        self._required = self._required or bool(self._records)
        if self._was_open and self._required:
            self._was_open = False
            _LOG.warning("a first API key was made: requests without one are refused from now on")

    def _write(self, records: Mapping[str, KeyRecord]) -> None:
        try:
            self._replace(records)
        except OSError as error:
            why = f"{self._path} cannot be written ({error.strerror})"
            raise SettingsError("database.data_dir", why, "name another folder") from error

    def _replace(self, records: Mapping[str, KeyRecord]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        rows = [asdict(record) for record in records.values()]
        scratch = self._path.with_suffix(".tmp")
        with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump({"keys": rows}, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(self._path)


def check_exposure(host: str, ring: KeyRing) -> None:
    """Refuse to listen beyond this machine without a key.

    Raises
    ------
    SettingsError
        If there is no key that is still valid.
    """
    if host not in _LOOPBACK and all(record.revoked_at for record in ring.list()):
        raise SettingsError(
            "server.host",
            f"{host} is open to others and there is no API key",
            "make one with 'pointsman keys create --scope inference --scope feedback', "
            "or listen on 127.0.0.1",
        )


def _public_part(token: str) -> str:
    return token.removeprefix(PREFIX).partition("-")[0] if token.startswith(PREFIX) else ""


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(path: Path) -> dict[str, KeyRecord]:
    try:
        rows = json.loads(path.read_text())["keys"]
        records = [_record(row) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(str(path), f"not a readable key file ({error})") from error
    return {record.key_id: record for record in records}


def _record(row: Mapping[str, Any]) -> KeyRecord:
    limits = row.get("limits") or {}
    limits = KeyLimits(**{**limits, "scenarios": tuple(limits.get("scenarios", ()))})
    return KeyRecord(**{**row, "scopes": tuple(row["scopes"]), "limits": limits})
