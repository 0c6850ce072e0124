"""Numbers that describe a picture: pillow decodes it within limits, numpy does the rest."""

import io
import logging
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]
Grey = NDArray[np.float32]

PICTURE: tuple[str, ...] = (
    "log_pixels",
    "aspect",
    "brightness",
    "contrast",
    "saturation",
    "entropy",
    "edge_density",
    "log_colours",
    "text_likeness",
)
"""Names of the numbers of `describe`."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
_SIDE = 256
"""Pictures are looked at no larger than this; what is finer is noise or costs too much."""
_EDGE = 32.0
"""Steps between neighbours that count as an edge, of 255."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PictureLimits:
    """What is decoded.

    Attributes
    ----------
    max_bytes, max_pixels
        Of one picture; a larger one is not decoded.
    max_decoded_pixels
        That are really decoded: JPEG can be decoded to an eighth of its width and height, others
        cannot. 4.2 million take 13 MB for a moment, and a tenth of a second.
    max_pictures
        Of one query; the others are counted.
    """

    max_bytes: int = 8 * 1024 * 1024
    max_pixels: int = 1 << 25
    max_decoded_pixels: int = 1 << 22
    max_pictures: int = 4


DEFAULT_LIMITS = PictureLimits()


def decode(blob: bytes, limits: PictureLimits = DEFAULT_LIMITS) -> Image.Image | None:
    """The picture in RGB, reduced to at most 256 pixels a side; None if it cannot or may not be.

    Whatever the caller says that it is, only the bytes decide, and only a few formats are known.
    """
    if not 0 < len(blob) <= limits.max_bytes:
        return None
    try:
        with Image.open(io.BytesIO(blob), formats=FORMATS) as image:
            width, height = image.size
            if not 0 < width * height <= limits.max_pixels:
                return None
            # JPEG decodes to a fraction of its size at once; other formats ignore this.
            image.draft("RGB", (2 * _SIDE, 2 * _SIDE))
            if math.prod(image.size) > limits.max_decoded_pixels:
                return None
            if image.mode in ("RGB", "RGBA", "L"):
                image.thumbnail((_SIDE, _SIDE), Image.Resampling.BOX)
            small = image.convert("RGB")
    except Exception as error:  # noqa: BLE001 - decoders fail in every way on bytes from anywhere
        _LOG.debug("a picture could not be decoded: %s", type(error).__name__)
        return None
    small.thumbnail((_SIDE, _SIDE), Image.Resampling.BOX)
    small.info = {"size": (width, height)}
    return small


def describe(image: Image.Image) -> Floats:
    """Shape (len(PICTURE),), each value of order 1, of a picture that `decode` gave.

    Entropy is that of the grey levels; edge density the share of pixels with a strong step to a
    neighbour; colours are counted at four bits a channel; text-likeness is high where the picture
    falls into two grey levels (Otsu, "A threshold selection method from gray-level histograms",
    1979: between-class over total variance) that alternate often along a row.
    """
    width, height = image.info.get("size", image.size)
    rgb = np.asarray(image, dtype=np.uint8)
    levels = np.asarray(image.convert("L"), dtype=np.uint8)
    grey = levels.astype(np.float32)
    counts = np.bincount(levels.ravel(), minlength=256)
    separation, threshold = _otsu(counts)
    values = (
        math.log2(width * height) / 24.0,
        max(-3.0, min(3.0, math.log2(width / height))),
        float(grey.mean()) / 255.0,
        float(grey.std()) / 128.0,
        _saturation(rgb),
        _entropy(counts) / 8.0,
        _edge_density(grey),
        math.log2(_n_colours(rgb)) / 12.0,
        _text_likeness(grey, separation, threshold),
    )
    return np.array(values, dtype=np.float32)


def _saturation(rgb: NDArray[np.uint8]) -> float:
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    most = np.maximum(np.maximum(red, green), blue)
    return float((most - np.minimum(np.minimum(red, green), blue)).mean()) / 255.0


def _entropy(counts: NDArray[np.int64]) -> float:
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log2(p)).sum())


def _otsu(counts: NDArray[np.int64]) -> tuple[float, int]:
    """Share of the variance that lies between the two best classes of grey, and their border."""
    p = counts / counts.sum()
    levels = np.arange(256)
    below, mass = np.cumsum(p), np.cumsum(p * levels)
    mean = mass[-1]
    variance = float((p * (levels - mean) ** 2).sum())
    if variance < 1e-9:
        return 0.0, 128
    inside = below * (1.0 - below)
    between = np.divide((mean * below - mass) ** 2, inside, out=np.zeros(256), where=inside > 1e-12)
    best = int(np.argmax(between))
    return min(1.0, float(between[best]) / variance), best


def _edge_density(grey: Grey) -> float:
    steps = np.zeros(grey.shape, dtype=np.bool_)
    steps[:, 1:] |= np.abs(np.diff(grey, axis=1)) > _EDGE
    steps[1:, :] |= np.abs(np.diff(grey, axis=0)) > _EDGE
    return float(steps.mean())


def _n_colours(rgb: NDArray[np.uint8]) -> int:
    coarse = (rgb >> 4).astype(np.uint16)
    codes = (coarse[..., 0] << 8) | (coarse[..., 1] << 4) | coarse[..., 2]
    return int(np.count_nonzero(np.bincount(codes.ravel(), minlength=4096)))


def _text_likeness(grey: Grey, separation: float, threshold: int) -> float:
    dark = grey <= threshold
    changes = float((dark[:, 1:] != dark[:, :-1]).mean()) if grey.shape[1] > 1 else 0.0
    # Print alternates every five pixels or so; more than that counts no further.
    return separation * min(1.0, 5.0 * changes)
