"""Named blobs and JSON in one string of bytes: the form of every policy's snapshot."""

import hashlib
import json
import struct
from collections.abc import Mapping
from typing import Any

from bandit.errors import BadSnapshotError

_MAGIC = b"PMS1"


def write_archive(header: Mapping[str, Any], blobs: Mapping[str, bytes]) -> bytes:
    """Bytes of ``header`` and ``blobs``, sealed by a SHA-256."""
    meta = {"header": header, "sizes": {name: len(blob) for name, blob in blobs.items()}}
    text = json.dumps(meta, separators=(",", ":"), allow_nan=False).encode()
    body = b"".join((struct.pack("<I", len(text)), text, *blobs.values()))
    return _MAGIC + hashlib.sha256(body).digest() + body


def read_archive(data: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Header and blobs that `write_archive` wrote.

    Raises
    ------
    BadSnapshotError
        If a byte is missing or changed. VW itself loads most damaged files without complaint.
    """
    if data[:4] != _MAGIC or len(data) < 40:
        raise BadSnapshotError("wrong magic or too short")
    body = data[36:]
    if hashlib.sha256(body).digest() != data[4:36]:
        raise BadSnapshotError("its SHA-256 does not match its content")
    (size,) = struct.unpack_from("<I", body)
    meta = json.loads(body[4 : 4 + size])
    blobs, start = {}, 4 + size
    for name, length in meta["sizes"].items():
        blobs[name] = body[start : start + length]
        start += length
    return meta["header"], blobs


def read_policy(
    data: bytes, *, name: str, schema: Mapping[str, int]
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Header and blobs of a policy called ``name`` over features laid out as ``schema``.

    Raises
    ------
    BadSnapshotError
        If the bytes are damaged, or hold another policy or other features.
    """
    header, blobs = read_archive(data)
    if header["policy"] != name:
        raise BadSnapshotError(f"it holds a {header['policy']!r} policy, not {name!r}")
    if header["config"]["schema"] != dict(schema):
        raise BadSnapshotError("its features have another layout")
    return header, blobs
