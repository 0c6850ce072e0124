"""Tags: what callers and keys say of themselves, such as ``team=search``; budgets go by them."""

from collections.abc import Mapping, Sequence
from typing import Any

from serving.errors import BadRequestError, SettingsError

_MOST = 16
_LONGEST = 64


def is_tag(name: object, value: object) -> bool:
    """Whether ``name=value`` can be a tag: 1 to 64 printable characters each, no ``=`` in a name.

    Examples
    --------
    >>> is_tag("team", "search"), is_tag("team", "")
    (True, False)
    """
    texts = (name, value)
    if not all(isinstance(t, str) and 0 < len(t) <= _LONGEST and t.isprintable() for t in texts):
        return False
    return "=" not in str(name)


def parse_tag(text: str, where: str) -> tuple[str, str]:
    """Name and value of ``name=value``.

    Raises
    ------
    SettingsError
        If it is none.

    Examples
    --------
    >>> parse_tag("team=search", "--tag")
    ('team', 'search')
    """
    name, _, value = text.partition("=")
    if not is_tag(name, value):
        raise SettingsError(where, f"{text[:80]!r}; want name=value, of printable characters")
    return name, value


def parse_tags(texts: Sequence[str]) -> dict[str, str]:
    """The tags of a new key.

    Raises
    ------
    SettingsError
        If one is none, or a name comes twice.
    """
    tags = dict(parse_tag(text, "--tag") for text in texts)
    if len(tags) < len(texts):
        raise SettingsError("--tag", "a key has one value of each name")
    return tags


def read_tags(value: Any, where: str) -> Mapping[str, str]:
    """The tags that a request asks for.

    Raises
    ------
    BadRequestError
        If they are none.
    """
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > _MOST:
        raise BadRequestError(f"{where} must be an object with at most {_MOST} names", where)
    if not all(is_tag(name, text) for name, text in value.items()):
        raise BadRequestError(
            f"{where} must have names and texts of 1 to {_LONGEST} printable characters, and no "
            "'=' in a name",
            where,
        )
    return value
