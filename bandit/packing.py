"""Decisions as plain data: what the log stores, and back, bit for bit.

Vectors are little-endian float32 behind a JSON header; numbers travel through ``repr``, so a pmf
recomputed from what was stored is the pmf that was drawn from.
"""

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from bandit.errors import BanditError
from bandit.primitives import Arm, Context, Estimate, Gating, Prediction
from bandit.utility import Scenario

_MAGIC = b"PCX1"


class BadPackingError(BanditError):
    """Stored bytes that are not a packed context."""

    def __init__(self, why: str) -> None:
        super().__init__(f"not a packed context: {why}")


def pack_context(context: Context) -> bytes:
    """The context as bytes: magic, header length, JSON header, float32 values."""
    header = json.dumps(
        {
            "schema": context.schema_version,
            "ok": context.features_ok,
            "sizes": {name: len(vector) for name, vector in context.namespaces.items()},
        },
        separators=(",", ":"),
    ).encode()
    values = (np.asarray(v, dtype="<f4").tobytes() for v in context.namespaces.values())
    return b"".join((_MAGIC, struct.pack("<I", len(header)), header, *values))


def unpack_context(blob: bytes) -> Context:
    """The context that `pack_context` packed.

    Raises
    ------
    BadPackingError
        If the bytes are damaged.
    """
    if blob[:4] != _MAGIC or len(blob) < 8:
        raise BadPackingError("wrong magic")
    (size,) = struct.unpack_from("<I", blob, 4)
    try:
        header = json.loads(blob[8 : 8 + size])
        sizes: dict[str, int] = header["sizes"]
        values = np.frombuffer(blob, dtype="<f4", offset=8 + size)
    except (ValueError, KeyError, TypeError) as error:
        raise BadPackingError(str(error)) from error
    if sum(sizes.values()) != len(values):
        raise BadPackingError(f"{len(values)} values where the header says {sum(sizes.values())}")
    namespaces, start = {}, 0
    for name, length in sizes.items():
        namespaces[name] = values[start : start + length].astype(np.float32)
        start += length
    return Context(namespaces, header["schema"], header["ok"])


def arm_to_dict(arm: Arm) -> dict[str, Any]:
    """The arm as JSON-ready data."""
    return {
        "arm_id": arm.arm_id,
        "tier": arm.tier,
        "model": arm.model,
        "price_in": arm.price_in,
        "price_out": arm.price_out,
        "capabilities": sorted(arm.capabilities),
        "context_tokens": arm.context_tokens,
        "digest": arm.digest,
        "features": dict(arm.features),
        "parts": list(arm.parts),
    }


def arm_from_dict(data: Mapping[str, Any]) -> Arm:
    """The arm that `arm_to_dict` wrote, now or before there were cascades."""
    parts = tuple(data.get("parts", ()))
    return Arm(**{**data, "capabilities": frozenset(data["capabilities"]), "parts": parts})


def scenario_to_dict(scenario: Scenario) -> dict[str, Any]:
    """The scenario as JSON-ready data."""
    return {name: getattr(scenario, name) for name in Scenario.__slots__}


def scenario_from_dict(data: Mapping[str, Any]) -> Scenario:
    """The scenario that `scenario_to_dict` wrote."""
    return Scenario(**data)


def prediction_to_dict(prediction: Prediction) -> dict[str, Any]:
    """The prediction as JSON-ready data."""
    return {
        "arms": list(prediction.arms),
        "pmf": list(prediction.pmf),
        "policy_version": prediction.policy_version,
        "estimates": [
            [e.quality, e.cost_usd, e.latency_s, e.utility] for e in prediction.estimates
        ],
    }


def prediction_from_dict(data: Mapping[str, Any]) -> Prediction:
    """The prediction that `prediction_to_dict` wrote."""
    return Prediction(
        tuple(data["arms"]),
        tuple(data["pmf"]),
        data["policy_version"],
        tuple(Estimate(*e) for e in data["estimates"]),
    )


def gating_to_dict(gating: Gating) -> dict[str, Any]:
    """The second stage as JSON-ready data."""
    plain = {name: getattr(gating, name) for name in Gating.__slots__}
    prediction = prediction_to_dict(gating.prediction)
    return {**plain, "signals": dict(gating.signals), "prediction": prediction}


def gating_from_dict(data: Mapping[str, Any]) -> Gating:
    """The second stage that `gating_to_dict` wrote."""
    return Gating(**{**data, "prediction": prediction_from_dict(data["prediction"])})
