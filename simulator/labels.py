"""How a policy is named in a study: a name, with settings in brackets."""

import re
from collections.abc import Collection, Mapping
from dataclasses import fields, replace
from typing import Any

from simulator.errors import BadStudyError, nearest

Settings = Mapping[str, str]


def read_label(label: str, known: Collection[str]) -> tuple[str, dict[str, str]]:
    """Name, one of those ``known``, and settings of a label.

    Raises
    ------
    BadStudyError
        If the name is none of them.

    Examples
    --------
    >>> read_label("linucb[width=0.2]", ["linucb"])
    ('linucb', {'width': '0.2'})
    """
    match = re.fullmatch(r"([a-z-]+)(?:\[([^\]]*)\])?", label)
    if match is None or match[1] not in known:
        name = match[1] if match else label
        raise BadStudyError("--policies", label, f"unknown{nearest(name, list(known))}")
    settings: dict[str, str] = {}
    for part in filter(None, (match[2] or "").split(",")):
        key, _, value = part.partition("=")
        settings[key.strip()] = value.strip()
    return match[1], settings


def split_labels(text: str) -> tuple[str, ...]:
    """Labels of a comma-separated list; commas in brackets belong to their label.

    Examples
    --------
    >>> split_labels("composed[gamma=3,floor=0.1], linucb")
    ('composed[gamma=3,floor=0.1]', 'linucb')
    """
    labels = (label.strip() for label in re.findall(r"(?:[^,\[]|\[[^\]]*\])+", text))
    return tuple(dict.fromkeys(label for label in labels if label))


def configured(config: Any, settings: Settings, label: str) -> Any:
    """A dataclass with some of its fields replaced by text, read as the type they have now."""
    valid = {f.name: getattr(config, f.name) for f in fields(config)}
    changes: dict[str, Any] = {}
    for key, text in settings.items():
        if key not in valid:
            raise BadStudyError("--policies", label, f"no setting {key!r}{nearest(key, [*valid])}")
        try:
            changes[key] = _like(valid[key], text)
        except ValueError:
            raise BadStudyError("--policies", label, f"{key} = {text!r} is not a number") from None
    return replace(config, **changes)


def _like(example: Any, text: str) -> Any:
    if isinstance(example, bool):
        return text.lower() in {"1", "true", "yes", "on"}
    if isinstance(example, int):
        return int(text)
    if isinstance(example, float) or example is None:
        return float(text)
    return text
