"""What the pixels of an image are: those that a picture viewer shows, in every format, or a message."""

from __future__ import annotations

import io
import resource
import struct
import sys
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from image_files import bomb
from PIL import Image, ImageCms, PngImagePlugin

from ssl_sweep.data_ops.dataset.duplicates import pixel_hash
from ssl_sweep.data_ops.errors import BadImageError
from ssl_sweep.data_ops.sources.decode import decode_rgb, formats, over_white, resize
from ssl_sweep.data_ops.sources.npz import NpzSource

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
ALPHA = np.random.default_rng(1).integers(0, 256, (6, 9, 1), dtype=np.uint8)
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a),
}
"""What a viewer does with each value of the EXIF tag (EXIF 2.32, 4.6.4 A)."""

TURN = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
"""EXIF with the orientation 6."""


def encoded(image: Image.Image | np.ndarray, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(file, kind, **options)
    return file.getvalue()


def tiff(values: np.ndarray, photometric: int, extra: tuple[int, ...] = (), order: str = "<") -> bytes:
    """An uncompressed TIFF of (H, W, bands), which Pillow cannot write with every number of bands."""
    height, width, bands = values.shape
    data = values.astype(values.dtype.newbyteorder(order)).tobytes()
    bits = (8 * values.dtype.itemsize,) * bands
    entries = [(256, (width,)), (257, (height,)), (258, bits), (259, (1,)), (262, (photometric,))]
    entries += [(273, (8,)), (277, (bands,)), (278, (height,)), (279, (len(data),))]
    entries += [(338, extra)] if extra else []
    at, more, table = 8 + len(data) + 6 + 12 * len(entries), b"", b""
    for tag, numbers in entries:
        kind, code = (4, "I") if tag in (273, 279) else (3, "H")
        packed = struct.pack(f"{order}{len(numbers)}{code}", *numbers)
        if len(packed) > 4:
            packed, more = struct.pack(f"{order}I", at + len(more)), more + packed
        table += struct.pack(f"{order}HHI", tag, kind, len(numbers)) + packed.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(data))
    return head + data + struct.pack(f"{order}H", len(entries)) + table + b"\0\0\0\0" + more


def with_chunk(png: bytes, kind: bytes, content: bytes, crc: int | None = None) -> bytes:
    """A PNG with one more chunk after its header."""
    crc = zlib.crc32(kind + content) if crc is None else crc
    chunk = struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)
    return png[:33] + chunk + png[33:]


LOSSLESS = {
    "PNG": {},
    "TIFF": {},
    "TIFF, LZW": {"compression": "tiff_lzw"},
    "TIFF, deflate": {"compression": "tiff_adobe_deflate"},
    "BMP": {},
    "WEBP": {"lossless": True},
    "JPEG2000": {"irreversible": False},
    "PPM": {},
    "TGA": {},
    "PCX": {},
    "SGI": {},
    "QOI": {},
    "DDS": {},
}
WITH_ALPHA = ("PNG", "TIFF", "TIFF, LZW", "WEBP", "JPEG2000", "TGA", "QOI", "DDS")


@pytest.mark.parametrize("kind", LOSSLESS)
def test_a_picture_has_one_key_in_every_lossless_format(kind):
    if kind == "QOI" and "QOI" not in Image.SAVE:
        kind = "PNG"  # older versions of Pillow only read it
    data = encoded(RGB, kind.partition(",")[0], **LOSSLESS[kind])
    assert pixel_hash(decode_rgb(data, "x")) == pixel_hash(RGB)


@pytest.mark.parametrize("kind", WITH_ALPHA)
def test_transparent_pixels_are_on_white_in_every_format(kind):
    """WebP does not even keep the colours of wholly transparent pixels."""
    alpha = ALPHA.copy()
    alpha[0], alpha[1] = 0, 255
    rgba = np.concatenate([RGB, alpha], axis=2)
    pixels = decode_rgb(encoded(rgba, kind.partition(",")[0], **LOSSLESS[kind]), "x")
    share = alpha / 255
    assert np.array_equal(pixels, np.floor(RGB * share + 255 * (1 - share) + 0.5).astype(np.uint8))
    assert (pixels[0] == 255).all() and np.array_equal(pixels[1], RGB[1])
    assert np.array_equal(over_white(rgba), pixels)


def test_arrays_have_the_pixels_of_files(tmp_path):
    """An .npz file of the same picture has the same key, with transparency too."""
    for values in (RGB, np.concatenate([RGB, ALPHA], 2), RGB[..., :1]):
        np.savez(tmp_path / "x.npz", images=values[None], labels=["a"])
        (raw,) = NpzSource(str(tmp_path / "x.npz")).listing("train").read()
        png = encoded(values[..., 0] if values.shape[2] == 1 else values, "PNG")
        assert pixel_hash(raw.decode()) == pixel_hash(decode_rgb(png, "x"))


def test_gray_palettes_and_single_bits_are_the_picture_that_they_show():
    gray, bits = RGB[..., 0], RGB[..., 0] > 127
    palette = Image.fromarray(RGB).quantize(16)
    shown = np.asarray(palette.convert("RGB"))
    for kind in ("PNG", "GIF", "TIFF", "BMP"):
        assert np.array_equal(decode_rgb(encoded(gray, kind), "x"), np.repeat(gray[..., None], 3, 2))
        assert np.array_equal(decode_rgb(encoded(palette, kind), "x"), shown)
        one = decode_rgb(encoded(Image.fromarray(bits), kind), "x")
        assert np.array_equal(one, np.repeat(bits[..., None] * np.uint8(255), 3, 2))


def test_a_transparent_colour_or_entry_is_white():
    gray = np.array([[0, 100], [200, 255]], np.uint8)
    assert decode_rgb(encoded(gray, "PNG", transparency=100), "x")[..., 0].tolist() == [[0, 255], [200, 255]]
    deep = np.array([[0, 25700], [51400, 65535]], np.uint16)
    assert decode_rgb(encoded(deep, "PNG", transparency=25700), "x")[..., 0].tolist() == [
        [0, 255],
        [200, 255],
    ]
    for clear in (1, b"\xff\0"):
        palette = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
        palette.putpalette([9, 9, 9, 7, 7, 7])
        assert decode_rgb(encoded(palette, "PNG", transparency=clear), "x")[..., 0].tolist() == [[9, 255]]
    coarse = with_chunk(_two_bit_png(), b"tRNS", b"\0\1")  # gray level 1 of 3
    assert decode_rgb(coarse, "x")[..., 0].tolist() == [[0, 255, 170, 255]]


def _two_bit_png() -> bytes:
    """The four levels of gray that 2 bits have."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 4, 1, 2, 0, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"\0\x1b")
    chunks = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (header, data)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + struct.pack(">I", 0) + b"IEND\xaeB`\x82"


@pytest.mark.parametrize("turn", UPRIGHT)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
def test_the_orientation_is_applied_in_every_format(kind, turn):
    """Row of faults: EXIF orientation in JPEG and PNG was not applied, in TIFF it was."""
    if kind not in formats():
        kind = "WEBP"
    blocks = np.kron(RGB[:2, :3], np.ones((16, 16, 1), np.uint8))  # compresses without much loss
    exif = Image.Exif()
    exif[0x0112] = turn
    options = {"quality": 95} if kind in ("JPEG", "AVIF") else {"lossless": True} if kind == "WEBP" else {}
    plain = decode_rgb(encoded(blocks, kind, **options), "x")
    pixels = decode_rgb(encoded(blocks, kind, exif=exif, **options), "x")
    assert np.array_equal(pixels, UPRIGHT[turn](plain))


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0garbage",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x2a\0\0\0\0\0\0\0",  # orientation 42
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x02\0\0\0a\0\0\0\0\0\0\0",  # a text
        b"",
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_broken_orientation_is_ignored(kind, exif):
    options = {"lossless": True} if kind == "WEBP" else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pixels = decode_rgb(encoded(RGB, kind, exif=exif, **options), "x")
    assert np.array_equal(pixels, decode_rgb(encoded(RGB, kind, **options), "x"))


def test_the_orientation_of_a_png_may_follow_the_pixels_or_stand_in_xmp():
    png = encoded(RGB, "PNG")
    after = with_chunk(png, b"eXIf", TURN)[33 : 33 + 12 + len(TURN)]
    assert np.array_equal(decode_rgb(png[:-12] + after + png[-12:], "x"), np.rot90(RGB, -1))
    xmp = b'XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation="6"/>'
    assert np.array_equal(decode_rgb(with_chunk(png, b"iTXt", xmp), "x"), np.rot90(RGB, -1))


def test_texts_and_profiles_of_any_size_are_no_obstacle():
    """Pillow refuses a PNG for a text or a profile above 1 MiB, and for many broken ones."""
    big = b"\0" * (8 << 20)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "x" * (70 << 20))
    cases = [
        encoded(RGB, "PNG", icc_profile=profile),
        encoded(RGB, "PNG", icc_profile=b"not a profile"),
        encoded(RGB, "PNG", pnginfo=info),
        with_chunk(encoded(RGB, "PNG"), b"zTXt", b"Comment\0\0" + zlib.compress(big)),
        with_chunk(encoded(RGB, "PNG"), b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(big)),
        with_chunk(encoded(RGB, "PNG"), b"iCCP", b"name\0\0" + zlib.compress(big)),
        with_chunk(encoded(RGB, "PNG"), b"iCCP", b"name\0\x07broken"),
        with_chunk(encoded(RGB, "PNG"), b"tEXt", b"Comment\0hello", crc=1),
        with_chunk(encoded(RGB, "PNG"), b"gAMA", b""),
        with_chunk(encoded(RGB, "PNG"), b"acTL", b"\0"),
        encoded(RGB, "TIFF", icc_profile=b"not a profile" * 100_000),
        encoded(RGB, "WEBP", lossless=True, icc_profile=b"not a profile"),
    ]
    for data in cases:
        assert np.array_equal(decode_rgb(data, "x"), RGB)
    plain = decode_rgb(encoded(RGB, "JPEG"), "x")
    for more in ({"icc_profile": b"not a profile" * 10_000}, {"comment": b"x" * 60_000}):
        assert np.array_equal(decode_rgb(encoded(RGB, "JPEG", **more), "x"), plain)


def test_the_first_frame_or_page_is_read():
    first, second = Image.fromarray(RGB), Image.fromarray(255 - RGB)
    for kind in ("PNG", "TIFF"):
        frames = encoded(first, kind, save_all=True, append_images=[second])
        assert np.array_equal(decode_rgb(frames, "x"), RGB)
    frames = encoded(first, "WEBP", save_all=True, append_images=[second], lossless=True)
    assert np.array_equal(decode_rgb(frames, "x"), RGB)
    gif = encoded(first.quantize(16), "GIF", save_all=True, append_images=[second.quantize(16)])
    assert np.array_equal(decode_rgb(gif, "x"), np.asarray(first.quantize(16).convert("RGB")))


def test_what_a_gif_does_not_draw_is_white():
    dot = Image.new("P", (4, 4), 1)
    dot.putpalette([0, 0, 255, 255, 0, 0])
    gif = bytearray(encoded(dot, "GIF"))
    gif[6:10] = struct.pack("<HH", 8, 8)  # the screen is larger than the frame
    pixels = decode_rgb(bytes(gif), "x")
    assert (
        (pixels[:4, :4] == (255, 0, 0)).all() and (pixels[4:] == 255).all() and (pixels[:, 4:] == 255).all()
    )


def test_white_may_be_zero():
    ramp = np.arange(256).reshape(16, 16)
    for values in (ramp.astype(np.uint8), (ramp * 257).astype(np.uint16)):
        for order in "<>":
            assert np.array_equal(decode_rgb(tiff(values[..., None], 1, order=order), "x")[..., 1], ramp)
    for values in (ramp.astype(np.uint8), (ramp * 257).astype(np.uint16)):
        assert np.array_equal(decode_rgb(tiff(values[..., None], 0), "x")[..., 1], 255 - ramp)


def test_cmyk_and_lab():
    red = decode_rgb(encoded(Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "TIFF"), "x")
    assert (red == (255, 0, 0)).all()
    to_lab = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    lab = ImageCms.applyTransform(Image.new("RGB", (4, 4), (200, 100, 50)), to_lab)
    pixels = decode_rgb(encoded(lab, "TIFF"), "x").astype(int)
    assert np.abs(pixels - (200, 100, 50)).max() <= 3


@pytest.mark.parametrize(
    ("bands", "kind", "photometric", "extra"),
    [
        (4, np.uint16, 2, ()),
        (4, np.uint16, 2, (0,)),
        (4, np.uint16, 2, (2,)),
        (2, np.uint16, 1, ()),
        (2, np.uint16, 1, (0,)),
        (5, np.uint16, 2, (0, 0)),
        (5, np.uint16, 1, (0, 0, 0, 0)),
        (4, np.uint16, 1, (0, 0, 0)),
        (2, np.uint8, 1, (0,)),
        (4, np.uint8, 2, (0,)),
        (5, np.uint8, 2, (0, 0)),
        (5, np.uint8, 2, (1, 0)),
        (12, np.uint16, 1, (0,) * 11),
    ],
)
def test_bands_of_unknown_meaning_are_refused_by_their_number(bands, kind, photometric, extra):
    """Row of faults: a four-band 16-bit TIFF was read as RGBA; 2 and 5 bands were an "unknown format"."""
    values = np.zeros((4, 4, bands), kind)
    for order in "<>":
        with pytest.raises(
            BadImageError, match=rf"x\.tif: {bands} bands of {8 * values.itemsize} bits; .*; save"
        ):
            decode_rgb(tiff(values, photometric, extra, order), "x.tif")


def test_bands_that_are_a_picture_are_read():
    for values, photometric, extra in (
        (RGB[..., :1], 1, ()),
        (RGB, 2, ()),
        (np.concatenate([RGB, np.full_like(ALPHA, 255)], 2), 2, (2,)),
        (np.concatenate([RGB, np.full_like(ALPHA, 255)], 2), 2, ()),
        (np.concatenate([RGB[..., :1], np.full_like(ALPHA, 255)], 2), 1, (2,)),
        (RGB.astype(np.uint16) * 257, 2, ()),
    ):
        expected = RGB if values.shape[2] > 2 else np.repeat(RGB[..., :1], 3, 2)
        assert np.array_equal(decode_rgb(tiff(values, photometric, extra), "x"), expected)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 40, "x"),
        (b"broken", "x.heic"),
        (b"", "x.HEIC"),
        (b"", "all.parquet, row 3 (x.hif)"),
    ],
)
def test_heic_says_what_to_install(monkeypatch, data, name):
    """Row of faults: an empty x.heic."""
    monkeypatch.setattr("ssl_sweep.data_ops.sources.decode.formats", lambda: ("PNG", "JPEG"))
    with pytest.raises(BadImageError, match="install pillow-heif, or save it as JPEG") as error:
        decode_rgb(data, name)
    assert "HEIC is not read here" in str(error.value)


def test_a_pointer_of_git_lfs_says_how_to_get_the_image():
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0a\nsize 12\n"
    with pytest.raises(BadImageError, match=r"x\.png: a pointer of Git LFS .*; run git lfs pull"):
        decode_rgb(pointer, "x.png")


def test_no_program_is_run_for_a_drawing():
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(%pipe%touch ran) (w) file\n"
    with pytest.raises(BadImageError, match="unknown format"):
        decode_rgb(eps, "x.eps")


def test_a_large_photograph_is_read_and_a_bomb_is_not(monkeypatch):
    monkeypatch.setattr("ssl_sweep.data_ops.sources.decode.MAX_PIXELS", 1 << 14)
    noise = np.random.default_rng(2).integers(0, 256, (150, 150, 3), dtype=np.uint8)
    assert np.array_equal(decode_rgb(encoded(noise, "PNG"), "x"), noise)
    with pytest.raises(BadImageError, match=r"x\.png: 800 x 800 pixels.*decompression bomb"):
        decode_rgb(encoded(np.zeros((800, 800, 3), np.uint8), "PNG"), "x.png")
    with pytest.raises(BadImageError, match=r"x\.png: .*decompression bomb"):
        decode_rgb(bomb(), "x.png")


def test_a_strip_becomes_a_square():
    assert resize(np.full((1, 5000, 3), 7, np.uint8), 8).tolist() == np.full((8, 8, 3), 7).tolist()


def test_ordinary_images_keep_their_keys():
    """Keys of earlier versions: identities of prepared datasets hang on them."""
    pattern = np.add.outer(np.arange(24) * 7, np.arange(32) * 5).astype(np.uint8)
    colour = np.stack([pattern, pattern.T.repeat(2, 0)[:24].repeat(2, 1)[:, :32], 255 - pattern], axis=2)
    opaque = np.concatenate([colour, np.full((24, 32, 1), 255, np.uint8)], axis=2)
    deep = pattern.astype(np.uint16) * 257
    keys = {
        "colour": pixel_hash(decode_rgb(encoded(colour, "PNG"), "x")),
        "opaque": pixel_hash(decode_rgb(encoded(opaque, "PNG"), "x")),
        "gray": pixel_hash(decode_rgb(encoded(pattern, "PNG"), "x")),
        "deep": pixel_hash(decode_rgb(encoded(deep, "PNG"), "x")),
    }
    assert keys == {
        "colour": "6e81b0c13b729d628ea5eb61dde96dbd",
        "opaque": "6e81b0c13b729d628ea5eb61dde96dbd",
        "gray": "8fecc89e25929f1914e843c5142d370a",
        "deep": "8fecc89e25929f1914e843c5142d370a",
    }


SEEDS = {
    "PNG": encoded(RGB, "PNG"),
    "PNG, palette": encoded(Image.fromarray(RGB).quantize(16), "PNG", transparency=3),
    "PNG, 16 bits": encoded(RGB[..., 0].astype(np.uint16) * 257, "PNG"),
    "JPEG": encoded(
        RGB, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    ),
    "TIFF": tiff(RGB, 2),
    "TIFF, LZW": encoded(RGB, "TIFF", compression="tiff_lzw"),
    "GIF": encoded(Image.fromarray(RGB).quantize(16), "GIF", transparency=3),
    "WEBP": encoded(np.concatenate([RGB, ALPHA], 2), "WEBP", lossless=True),
    "BMP": encoded(RGB, "BMP"),
    "PPM": encoded(RGB, "PPM"),
    "TGA": encoded(RGB, "TGA"),
    "ICO": encoded(Image.fromarray(RGB), "ICO", sizes=[(6, 6)]),
    "JPEG2000": encoded(RGB, "JPEG2000"),
}


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A sound file with some bytes changed, cut out, put in, or its end cut off."""
    data = bytearray(SEEDS[draw(st.sampled_from(sorted(SEEDS)))])
    for _ in range(draw(st.integers(1, 6))):
        at, n = draw(st.integers(0, len(data))), draw(st.integers(0, 6))
        data[at : at + n] = draw(st.binary(max_size=6))
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.one_of(damaged(), st.binary(max_size=200)))
def test_any_bytes_are_pixels_or_a_message(data):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        pixels = decode_rgb(data, "x")
    except BadImageError as error:
        assert str(error).startswith("x: ") and "\n" not in str(error) and " at 0x" not in str(error)
        assert len(str(error)) < 400 and len(error.content) == 64
    else:
        assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.size
        assert pixels.flags.c_contiguous and pixels.shape[0] * pixels.shape[1] <= 1 << 26
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < (2 << 20 if sys.platform == "linux" else 2 << 30)  # 2 GiB
