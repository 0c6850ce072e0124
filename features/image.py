"""What is known of a query's pictures before choosing. Nothing is ever fetched.

Pictures come as ``data:`` URLs in the parts of messages. One that is only an address on the web is
counted as remote and gives zeros: fetching it would tell its owner, and anyone could make the
server ask anything.
"""

import base64
import binascii
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from PIL import Image

from features.picture import DEFAULT_LIMITS, PICTURE, Floats, PictureLimits, decode, describe
from features.projection import random_projection

IMAGE: tuple[str, ...] = ("log_pictures", "remote", "unreadable", *PICTURE)
"""Names of the features; all 0 for a query without pictures."""

_MOST_COUNTED = 1_024
_COMPONENTS = 16


class ImageEncoder(Protocol):
    """A model that turns pictures into vectors.

    ``source_hash`` is the digest of its files, which ``model_id`` names in short.
    """

    model_id: str
    source_hash: str
    dimension: int

    def encode(self, images: Sequence[Image.Image]) -> Floats:
        """Unit vectors of shape (len(images), dimension)."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """The pictures of one query.

    Attributes
    ----------
    decoded
        Those that could be, small, in order.
    n
        How many parts are pictures.
    remote, unreadable
        How many are addresses on the web; how many could or may not be decoded.
    """

    decoded: tuple[Image.Image, ...] = ()
    n: int = 0
    remote: int = 0
    unreadable: int = 0

    def features(self) -> Floats:
        """Shape (len(IMAGE),): counts, and the mean of what `describe` says of the decoded ones."""
        found = np.zeros(len(IMAGE), dtype=np.float32)
        if self.n:
            found[:3] = math.log1p(self.n) / 2.0, self.remote / self.n, self.unreadable / self.n
        if self.decoded:
            found[3:] = np.mean([describe(image) for image in self.decoded], axis=0)
        return found


class Sight:
    """An encoder's view of a query's pictures, in few numbers.

    The mean of their unit vectors, projected at random: pictures come too seldom to fit a
    projection on, and a policy learns the fewer numbers the faster.
    """

    def __init__(self, encoder: ImageEncoder) -> None:
        self.encoder = encoder
        self._projection = random_projection(
            encoder.dimension, encoder.source_hash, n_components=_COMPONENTS, n_clusters=1
        )
        n = len(self._projection.components)
        self.names = tuple(f"image_component_{i}" for i in range(n))

    def features(self, pictures: Pictures) -> Floats:
        """Shape (len(names),), within [-3, 3]; zeros without a picture that could be decoded."""
        if not pictures.decoded:
            return np.zeros(len(self.names), dtype=np.float32)
        mean = self.encoder.encode(pictures.decoded).mean(axis=0, keepdims=True)
        found: Floats = self._projection.apply(mean)[0]
        return found


def pictures_of(
    messages: Sequence[Mapping[str, Any]], limits: PictureLimits = DEFAULT_LIMITS
) -> Pictures:
    """The pictures in ``messages``, the newest first; beyond the limit they are only counted."""
    urls = list(_urls(messages))
    embedded = [url for url in urls if url[:5].lower() == "data:"]
    tried = [decoded_url(url, limits) for url in embedded[: limits.max_pictures]]
    decoded = tuple(image for image in tried if image is not None)
    return Pictures(decoded, len(urls), len(urls) - len(embedded), len(tried) - len(decoded))


def picture_of(blob: bytes, limits: PictureLimits = DEFAULT_LIMITS) -> Pictures:
    """One picture from its bytes, as if a query had it as its only one."""
    image = decode(blob, limits)
    return Pictures((), 1, 0, 1) if image is None else Pictures((image,), 1)


def decoded_url(url: str, limits: PictureLimits = DEFAULT_LIMITS) -> Image.Image | None:
    """The picture in a ``data:`` URL; None if there is none to be had."""
    head, comma, payload = url.partition(",")
    # Base64 has four characters for three bytes: what is too long is not even decoded.
    if (
        not comma
        or not head.lower().endswith(";base64")
        or len(payload) > limits.max_bytes * 3 // 2
    ):
        return None
    try:
        blob = base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError):
        return None
    return decode(blob, limits)


def _urls(messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    n = 0
    for message in reversed(messages):
        content = message.get("content") if isinstance(message, Mapping) else None
        for part in content if isinstance(content, list) else ():
            url = _url(part)
            if url is not None:
                yield url
                n += 1
            if n == _MOST_COUNTED:
                return


def _url(part: Any) -> str | None:
    if not isinstance(part, Mapping) or part.get("type") != "image_url":
        return None
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, Mapping) else image
    return url if isinstance(url, str) else None
