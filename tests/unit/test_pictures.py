"""What is known of pictures, whatever bytes come."""

import socket
import struct
import zlib

import numpy as np
import pytest

from features.image import IMAGE, pictures_of
from features.picture import FORMATS, PICTURE, PictureLimits, decode, describe
from features.query import Query
from tests import pictures
from tests.unit.test_featurizer import NOW, made

PNG = pictures.encoded(pictures.noise())


def facts(image, kind="PNG"):
    found = describe(decode(pictures.encoded(image, kind)))
    return dict(zip(PICTURE, found.tolist(), strict=True))


def seen(*urls, **options):
    found = pictures_of([pictures.message(*urls)], **options).features()
    return dict(zip(IMAGE, found.tolist(), strict=True))


def claiming(width, height):
    """A PNG that says it is that large, and has next to nothing in it."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    pixels = zlib.compress(bytes(1000))
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", pixels), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_a_flat_picture_has_no_entropy_no_edges_and_one_colour():
    found = facts(pictures.flat("grey", (64, 32)))
    zero = ("entropy", "edge_density", "log_colours", "contrast", "saturation", "text_likeness")
    assert [found[name] for name in zero] == [0.0] * len(zero)
    assert (found["aspect"], found["log_pixels"]) == (1.0, pytest.approx(11 / 24))


def test_noise_has_all_of_them():
    found = facts(pictures.noise())
    assert found["entropy"] > 0.85
    assert found["edge_density"] > 0.8
    assert found["log_colours"] > 0.8


def test_print_looks_more_like_text_than_anything_else():
    likeness = {
        name: facts(image)["text_likeness"]
        for name, image in (
            ("print", pictures.print_like()),
            ("noise", pictures.noise()),
            ("gradient", pictures.gradient()),
        )
    }
    assert likeness["print"] > 0.3
    assert likeness["gradient"] < 0.1 < likeness["print"]


def test_colour_is_saturated_and_grey_is_not():
    assert facts(pictures.flat("red"))["saturation"] == 1.0
    assert facts(pictures.gradient())["saturation"] == 0.0


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_decoded_and_small_ones_keep_their_size(kind):
    assert decode(pictures.encoded(pictures.flat(size=(80, 40)), kind)).size == (80, 40)


def test_a_large_picture_is_reduced_and_its_size_remembered():
    blob = pictures.encoded(pictures.gradient((2000, 1000)), "JPEG")
    image = decode(blob)
    assert image.size == (256, 128)
    assert dict(zip(PICTURE, describe(image), strict=True))["log_pixels"] == pytest.approx(
        np.log2(2e6) / 24
    )


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1), (2, 3)])
def test_odd_sizes_have_finite_features_of_order_one(size):
    found = describe(decode(pictures.encoded(pictures.noise(size))))
    assert np.isfinite(found).all()
    assert np.abs(found).max() <= 3.0


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"GIF89a",
        b"<svg xmlns='x'/>",
        PNG[: len(PNG) // 2],
        PNG[:40] + bytes(100),
        pictures.encoded(pictures.flat(), "TIFF"),
        claiming(60_000, 60_000),
        claiming(2_000_000_000, 2_000_000_000),
        claiming(3_000, 3_000),
    ],
    ids=["empty", "head", "svg", "truncated", "damaged", "tiff", "huge", "absurd", "large"],
)
def test_what_cannot_or_may_not_be_decoded_is_no_picture(blob):
    assert decode(blob) is None


def test_too_many_bytes_are_not_even_tried():
    assert decode(PNG, PictureLimits(max_bytes=len(PNG))) is not None
    assert decode(PNG, PictureLimits(max_bytes=len(PNG) - 1)) is None


def test_a_photo_is_decoded_at_a_fraction_of_its_size():
    photo = pictures.encoded(pictures.gradient((3_000, 3_000)), "JPEG")
    assert decode(photo).size == (256, 256)
    assert decode(photo, PictureLimits(max_pixels=8_999_999)) is None


def test_transparent_grey_and_indexed_pictures_are_decoded():
    for mode in ("RGBA", "LA", "L", "P", "1", "I;16"):
        image = pictures.gradient((300, 200)).convert("L").convert(mode)
        assert decode(pictures.encoded(image)).mode == "RGB"


def test_a_query_without_pictures_has_zeros():
    assert not pictures_of([{"role": "user", "content": "Hello"}]).features().any()


def test_only_the_bytes_decide_what_a_picture_is():
    wrongly_labelled = pictures.url(PNG, "image/jpeg")
    assert seen(wrongly_labelled)["unreadable"] == 0.0
    assert seen(pictures.url(b"just text", "image/png"))["unreadable"] == 1.0


@pytest.mark.parametrize(
    "url",
    [
        "data:image/png;base64,@@@",
        "data:image/png,abc",
        "data:",
        "data:;base64,",
        "DATA:x;base64,A",
    ],
)
def test_a_data_url_without_a_picture_is_unreadable(url):
    found = seen(url)
    assert (found["unreadable"], found["remote"], found["log_pixels"]) == (1.0, 0.0, 0.0)


def test_an_address_is_counted_and_never_asked():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        found = seen(f"http://127.0.0.1:{listener.getsockname()[1]}/a.png", "file:///etc/passwd")
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert (found["remote"], found["unreadable"], found["log_pixels"]) == (1.0, 0.0, 0.0)


def test_pictures_beyond_the_limit_are_only_counted():
    found = pictures_of([pictures.message(*[pictures.url(PNG)] * 5)], PictureLimits(max_pictures=2))
    assert (found.n, len(found.decoded), found.unreadable) == (5, 2, 0)


def test_features_of_several_pictures_are_their_mean():
    dark, light = (pictures.url(pictures.encoded(pictures.flat(c))) for c in ("black", "white"))
    assert seen(dark, light)["brightness"] == pytest.approx(0.5)


def test_a_query_with_a_picture_has_its_features_and_counts_as_understood():
    query = Query([pictures.message(pictures.url(PNG))], NOW)
    context = made().featurize(query)
    assert context.features_ok
    assert context.namespaces["image"].any()


def test_a_broken_picture_says_so_and_the_query_still_counts():
    query = Query([pictures.message(pictures.url(b"broken"))], NOW)
    context = made().featurize(query)
    found = dict(zip(IMAGE, context.namespaces["image"].tolist(), strict=True))
    assert context.features_ok
    assert (found["unreadable"], found["brightness"]) == (1.0, 0.0)


@pytest.mark.parametrize(
    "part", [None, 5, {}, {"type": "image_url"}, {"type": "image_url", "image_url": 7}]
)
def test_parts_that_are_no_pictures_are_passed_over(part):
    assert pictures_of([{"role": "user", "content": [part]}]).n == 0
