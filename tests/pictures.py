"""Pictures made on the spot."""

import base64
import io

import numpy as np
from PIL import Image


def flat(colour="grey", size=(64, 48)):
    return Image.new("RGB", size, colour)


def noise(size=(96, 96), seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def gradient(size=(128, 128)):
    row = np.linspace(0, 255, size[0]).astype(np.uint8)
    return Image.fromarray(np.tile(row, (size[1], 1))).convert("RGB")


def print_like(size=(128, 128), seed=0):
    """Lines of dark blots on white, with white between the lines."""
    rng = np.random.default_rng(seed)
    pixels = np.full((size[1], size[0]), 255, dtype=np.uint8)
    for top in range(8, size[1] - 8, 12):
        blots = np.repeat(rng.random(size[0] // 3) < 0.5, 3)
        pixels[top : top + 6, : len(blots)][:, blots] = 0
    return Image.fromarray(pixels).convert("RGB")


def encoded(image, kind="PNG"):
    out = io.BytesIO()
    image.save(out, format=kind)
    return out.getvalue()


def url(blob, kind="image/png"):
    return f"data:{kind};base64,{base64.b64encode(blob).decode()}"


def message(*urls, text="What is this?"):
    parts = [{"type": "image_url", "image_url": {"url": one}} for one in urls]
    return {"role": "user", "content": [{"type": "text", "text": text}, *parts]}
