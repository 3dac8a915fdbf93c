"""Corruptions do what their names say, once per image, whatever the batch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssl_sweep.data_ops.dataset.corruptions import KINDS, NAMES, Corruption, corrupt, parse_corruption
from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.synthetic import domains as synthetic

ALL = [
    "none",
    "resize-20",
    "downsample-2x",
    "downsample-4x",
    "downsample-1.5x",
    "jpeg",
    "jpeg-30",
    "salt-and-pepper-0.2",
    "gaussian-noise",
    "gaussian-blur",
    "grayscale",
    "grayscale-0.5",
]


def test_every_kind_is_tested_and_every_listed_name_can_be_read():
    assert {parse_corruption(text).name for text in ALL} == {kind.name for kind in KINDS}
    assert {parse_corruption(name).name for name in NAMES} == {kind.name for kind in KINDS}


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return synthetic.render("organisms", np.arange(300), seed=0)


KEYS = np.arange(300, dtype=np.uint64) * np.uint64(977)


@pytest.mark.parametrize("text", ALL)
def test_each_image_is_corrupted_alike_in_any_batch(images, text):
    kind, before = parse_corruption(text), images.copy()
    whole = corrupt(images, KEYS, kind, seed=3)
    some = np.array([299, 0, 17])
    assert np.array_equal(corrupt(images[some], KEYS[some], kind, seed=3), whole[some])
    assert np.array_equal(images, before) and whole is not images
    assert whole.dtype == np.uint8 and whole.shape == images.shape
    assert np.array_equal(whole, images) == (text == "none")


def test_salt_and_pepper_has_its_share_and_follows_key_and_seed(images):
    gray = np.full_like(images, 100)
    noisy = corrupt(gray, KEYS, Corruption("salt-and-pepper", 0.05), seed=0)
    hit = (noisy != 100).any(axis=3)
    assert set(np.unique(noisy)) == {0, 100, 255}
    assert np.array_equal(hit, (noisy != 100).all(axis=3))  # all channels of a pixel together
    pixels = hit.size
    assert abs(hit.mean() - 0.05) < 5 * np.sqrt(0.05 / pixels)
    assert abs((noisy == 255).all(3).mean() - 0.025) < 5 * np.sqrt(0.025 / pixels)
    assert len(np.unique(hit.reshape(300, -1), axis=0)) > 295  # images differ
    assert not np.array_equal(noisy, corrupt(gray, KEYS, Corruption("salt-and-pepper", 0.05), seed=1))
    more = corrupt(gray, KEYS, Corruption("salt-and-pepper", 0.2), seed=0)
    assert np.array_equal(more[hit], noisy[hit])  # a larger share contains the smaller one


def test_downsampling_removes_what_the_small_image_cannot_hold():
    stripes = np.zeros((1, 32, 32, 3), np.uint8)
    stripes[:, :, ::2] = 255
    assert np.ptp(corrupt(stripes, KEYS[:1], parse_corruption("downsample-4x"), 0)[:, :, 8:-8]) < 8
    flat = np.full((1, 32, 32, 3), 77, np.uint8)
    assert (corrupt(flat, KEYS[:1], parse_corruption("downsample-2x"), 0) == 77).all()
    with pytest.raises(DataError, match="leaves nothing of 32 x 32"):
        corrupt(flat, KEYS[:1], parse_corruption("downsample-100x"), 0)


def test_jpeg_error_falls_with_quality(images):
    def error(quality: int) -> float:
        result = corrupt(images[:50], KEYS[:50], Corruption("jpeg", quality), 0).astype(float)
        return float(np.abs(result - images[:50]).mean())

    assert error(10) > error(40) > error(90) > 0


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("none", "none"),
        ("jpeg", "jpeg-10"),
        ("jpeg-10", "jpeg-10"),
        ("downsample-2x", "downsample-2x"),
        ("downsample-1.50x", "downsample-1.5x"),
        ("salt-and-pepper", "salt-and-pepper-0.01"),
        ("salt-and-pepper-.05", "salt-and-pepper-0.05"),
        ("resize", "resize-256"),
        ("gaussian-noise", "gaussian-noise-0.1"),
        ("gaussian-blur", "gaussian-blur-1"),
        ("grayscale", "grayscale-1"),
        ("salt-and-pepper-0.00005", "salt-and-pepper-0.00005"),
        ("resize-1000000", "resize-1000000"),
        ("gaussian-blur-1.2345678", "gaussian-blur-1.2345678"),
    ],
)
def test_canonical_text(text, canonical):
    assert parse_corruption(text).canonical == canonical
    assert parse_corruption(canonical) == parse_corruption(text)


@given(
    st.sampled_from(["salt-and-pepper", "gaussian-noise", "gaussian-blur", "grayscale", "downsample"]),
    st.floats(0, exclude_min=True, allow_infinity=False),
)
def test_the_canonical_text_of_any_severity_can_be_read_back(name, severity):
    if name in ("salt-and-pepper", "grayscale"):
        severity = min(severity, 1.0)
    if name == "downsample":
        severity = 1.0 + max(severity, 1e-9)
    one = Corruption(name, severity)
    assert parse_corruption(one.canonical) == one


@given(st.decimals("0.000001", "0.999999", places=6))
def test_usual_severities_keep_the_spelling_that_stages_were_named_by(share):
    """Six digits or fewer and no exponent: what format's "g" wrote."""
    old = f"{float(share):g}"
    if "e" not in old:
        assert Corruption("grayscale", float(share)).canonical == f"grayscale-{old}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("jpg", "did you mean 'jpeg'"),
        ("salt-and-peper", "did you mean 'salt-and-pepper'"),
        ("downsample-2", "did you mean 'downsample-2x'"),
        ("downsample", "use one of none, resize, downsample-2x"),
        ("resize-0", "whole number of pixels"),
        ("gaussian-blur-0", "must be above 0"),
        ("grayscale-1.5", "at most 1"),
        ("none-3", "no corruption 'none-3'"),
        ("jpeg-0", "from 1 to 100"),
        ("jpeg-10.5", "whole number"),
        ("downsample-1x", "above 1"),
        ("salt-and-pepper-2", "at most 1"),
        ("jpeg-10\n", "no corruption"),
        ("gaussian-noise-1" + "0" * 400, "larger than any number"),
    ],
)
def test_bad_text(text, message):
    with pytest.raises(DataError, match=message):
        parse_corruption(text)


def test_gaussian_noise_has_its_deviation_and_follows_key_and_seed(images):
    gray = np.full_like(images, 128)
    kind = parse_corruption("gaussian-noise-0.1")
    noise = corrupt(gray, KEYS, kind, seed=0).astype(float) - 128
    assert abs(noise.std() - 25.5) < 0.2 and abs(noise.mean()) < 0.2
    assert abs(np.corrcoef(noise[:, :, :-1].ravel(), noise[:, :, 1:].ravel())[0, 1]) < 0.01  # white
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.1
    assert not np.array_equal(corrupt(gray, KEYS, kind, 0), corrupt(gray, KEYS, kind, 1))


def test_grayscale_is_pillows_and_a_share_lies_between(images):
    from PIL import Image

    gray = corrupt(images, KEYS, parse_corruption("grayscale"), 0)
    luma = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in images])
    assert (gray[..., 0] == gray[..., 1]).all() and (gray[..., 1] == gray[..., 2]).all()
    assert np.abs(gray[..., 0].astype(int) - luma).max() <= 1
    half = corrupt(images, KEYS, parse_corruption("grayscale-0.5"), 0).astype(int)
    assert np.abs(half - (gray.astype(int) + images) / 2).max() <= 1


def test_the_control_changes_nothing_where_images_are_that_small_already(images):
    control, smaller = parse_corruption("resize-32"), parse_corruption("resize-16")
    assert control.changes_nothing(32) and not smaller.changes_nothing(32)
    assert np.array_equal(corrupt(images, KEYS, control, 0), images)
    twice = corrupt(images, KEYS, parse_corruption("downsample-2x"), 0)
    assert np.array_equal(corrupt(images, KEYS, smaller, 0), twice)
    assert parse_corruption("downsample-1.01x").changes_nothing(32)
