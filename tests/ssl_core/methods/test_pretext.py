"""Rotation, jigsaw, inpainting and supervised training: what each step sees, and that it can be learned."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from training_case import blobs, small_config

from ssl_sweep.data_ops.views.torch_views import pixels_to_input
from ssl_sweep.ssl_core.config.pretrain import default_config
from ssl_sweep.ssl_core.config.registry import trained_methods
from ssl_sweep.ssl_core.encoders.build import torch_seed
from ssl_sweep.ssl_core.methods.build import build_method
from ssl_sweep.ssl_core.methods.inpainting import Centre, Decoder
from ssl_sweep.ssl_core.methods.jigsaw import (
    PERMUTATIONS,
    cut_tiles,
    distant_permutations,
    normalised,
    tile_side,
)
from ssl_sweep.ssl_core.methods.rotation import all_rotations

METHODS = ("rotation", "jigsaw", "inpainting", "supervised")


def method(name, encoder="resnet-demo", size=16, n_classes=3):
    with torch_seed(0):
        return build_method(default_config(encoder, size, method=name), n_classes)


def labels_of(images):
    """Three classes by the mean colour: easily learned."""
    return images.float().mean((2, 3)).argmax(dim=1)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(("encoder", "size"), [("resnet-demo", 16), ("resnet18", 33), ("vit-s", 16)])
def test_a_step_reaches_every_weight(name, encoder, size):
    model = method(name, encoder, size)
    assert model.n_views == 1 and model.labelled == (name == "supervised")
    images = torch.randn(4, 3, size, size) if encoder != "vit-s" else torch.randn(2, 3, size, size)
    output = model((images,), labels_of(images))
    output.loss.backward()
    assert output.loss.shape == () and output.features.shape[1] == model.encoder.feature_dim
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("name", METHODS)
def test_loss_starts_at_chance_and_falls(name):
    """64 images again and again; chance is the logarithm of the number of answers, or the variance of the
    pixels around mid-grey."""
    model = method(name)
    images = pixels_to_input(blobs(64).images)
    labels = labels_of(images)
    chance = {"rotation": np.log(4), "jigsaw": np.log(PERMUTATIONS), "supervised": np.log(3)}
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    losses = []
    with torch_seed(0):
        for _ in range(60 if name == "jigsaw" else 40):
            output = model((images,), labels)
            optimizer.zero_grad()
            output.loss.backward()
            optimizer.step()
            losses.append(float(output.loss.detach()))
    if name in chance:
        assert losses[0] == pytest.approx(chance[name], rel=0.25)
    assert np.mean(losses[-5:]) < (0.9 if name == "jigsaw" else 0.6) * losses[0], losses


def test_rotations_are_exact_and_in_the_order_of_their_labels():
    images = torch.arange(2 * 3 * 4 * 4.0).view(2, 3, 4, 4)
    turned, targets = all_rotations(images)
    assert targets.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    for k in range(4):
        expected = np.rot90(images.numpy(), k, (2, 3))
        np.testing.assert_array_equal(turned[2 * k : 2 * k + 2].numpy(), expected)


def test_a_turned_batch_is_the_same_rotation_step():
    """All four ways of each image are seen, so turning the input changes only the order."""
    model = method("rotation").double()
    model.eval()
    images = torch.randn(4, 3, 16, 16, dtype=torch.float64)
    features = model((images,), None).features.view(4, 4, -1)
    again = model((torch.rot90(images, 1, (2, 3)),), None).features.view(4, 4, -1)
    torch.testing.assert_close(again, features.roll(-1, 0))


def test_permutations_are_far_apart_and_always_the_same():
    chosen = distant_permutations(PERMUTATIONS)
    assert chosen.shape == (PERMUTATIONS, 9) and len({tuple(row) for row in chosen.tolist()}) == PERMUTATIONS
    assert (np.sort(chosen, axis=1) == np.arange(9)).all()
    apart = (chosen[:, None] != chosen[None]).sum(axis=2)[np.triu_indices(PERMUTATIONS, 1)]
    random = np.random.default_rng(0).permuted(np.tile(np.arange(9), (PERMUTATIONS, 1)), axis=1)
    usual = (random[:, None] != random[None]).sum(axis=2)[np.triu_indices(PERMUTATIONS, 1)]
    assert (apart > 0).all() and apart.mean() > usual.mean()
    nine = (chosen[:9, None] != chosen[None, :9]).sum(axis=2)[np.triu_indices(9, 1)]
    assert nine.min() == 9  # a Latin square: the first nine differ everywhere
    np.testing.assert_array_equal(chosen[1], [1, 0, 3, 2, 5, 4, 7, 8, 6])


def test_greedy_choice_is_the_papers():
    """Algorithm 1, written out: each next one has the largest summed distance to those chosen."""
    chosen = distant_permutations(12).astype(int)
    rng = np.random.default_rng(0)
    for k in range(1, 12):
        reached = (chosen[:k] != chosen[k]).sum()
        others = rng.permuted(np.tile(np.arange(9), (2000, 1)), axis=1)
        assert reached >= (others[:, None] != chosen[None, :k]).sum(axis=(1, 2)).max()


@pytest.mark.parametrize("count", [0, 362_881])
def test_number_of_permutations(count):
    with pytest.raises(ValueError, match=f"permutations is {count}"):
        distant_permutations(count)


@pytest.mark.parametrize(("size", "side"), [(255, 64), (224, 56), (32, 8), (16, 4)])
def test_tiles_leave_a_gap_and_stay_in_their_cells(size, side):
    assert tile_side(size) == side
    rows = torch.arange(size * 1.0).view(1, 1, size, 1).expand(6, 1, size, size)
    columns = rows.transpose(2, 3)
    with torch_seed(0):
        tiles = cut_tiles(torch.cat([rows, columns], dim=1))
    assert tiles.shape == (6, 9, 2, side, side)
    cell = size // 3
    for tile in range(9):
        for axis, place in enumerate(divmod(tile, 3)):
            values = tiles[:, tile, axis]
            assert values.min() >= place * cell and values.max() < (place + 1) * cell
            assert (values.amax((1, 2)) - values.amin((1, 2)) == side - 1).all()  # contiguous
    starts = tiles[..., 0, 0].unique(dim=0)
    assert len(starts) > 1  # at random places


def test_every_tile_is_normalised_by_itself():
    tiles = (
        torch.randn(2, 9, 3, 8, 8) * (torch.rand(2, 9, 3, 1, 1) + 0.1) * 5 + torch.randn(2, 9, 3, 1, 1) * 9
    )
    result = normalised(tiles)
    torch.testing.assert_close(result.mean((-2, -1)), torch.zeros(2, 9, 3), atol=1e-4, rtol=0)
    assert (result.std((-2, -1), correction=0) > 0.9).all()
    flat = normalised(torch.full((1, 9, 3, 4, 4), 2.0))
    assert torch.equal(flat, torch.zeros_like(flat))


def test_shuffling_features_is_shuffling_tiles():
    """The loss of a puzzle is that of a network that is shown the tiles in the shuffled order."""
    model = method("jigsaw").double().eval()
    images = torch.randn(5, 3, 16, 16, dtype=torch.float64)
    with torch_seed(3):
        loss = model((images,), None).loss
    with torch_seed(3):
        gray = torch.rand(5) < 0.3
        targets = torch.randint(PERMUTATIONS, (5,))
        shown = torch.where(gray.view(-1, 1, 1, 1), images.mean(1, keepdim=True), images)
        tiles = normalised(cut_tiles(shown))
    logits = []
    for tile_row, target in zip(tiles, targets, strict=True):
        order = model.permutations[target]
        enlarged = F.interpolate(tile_row[order], (16, 16), mode="bilinear", align_corners=False)
        logits.append(model.head(model.tile_head(model.encoder(enlarged)).flatten()))
    expected = F.cross_entropy(torch.stack(logits), targets)
    torch.testing.assert_close(loss, expected.float(), rtol=1e-5, atol=0)


def test_puzzles_follow_the_generator():
    model = method("jigsaw").eval()
    images = torch.randn(4, 3, 16, 16)
    losses = []
    for seed in (1, 1, 2):
        with torch_seed(seed):
            losses.append(float(model((images,), None).loss.detach()))
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize(("size", "side", "hidden"), [(128, 64, 56), (32, 16, 14), (16, 8, 8), (33, 16, 14)])
def test_the_hole_is_hidden_and_its_strip_is_not(size, side, hidden):
    """At 128 px it is the paper's: 64 px drawn, 4 px of it visible."""
    centre = Centre(size)
    images = torch.ones(2, 3, size, size)
    masked = centre.masked(images)
    assert int((masked[0, 0] == 0).sum()) == hidden**2 and centre.of(images).shape == (2, 3, side, side)
    assert int((centre.of(masked)[0, 0] == 0).sum()) == hidden**2
    assert torch.equal(images, torch.ones_like(images))
    weights = centre.weights(images)
    assert float(weights.mean()) == pytest.approx(1)
    if hidden < side:
        assert float(weights[0, 0] / weights[side // 2, side // 2]) == pytest.approx(10)


def test_what_is_hidden_cannot_be_seen():
    model = method("inpainting", size=32)
    model.eval()
    images = torch.randn(3, 3, 32, 32)
    other = images.clone()
    other[:, :, 9:23, 9:23] = torch.randn(3, 3, 14, 14)
    with torch.no_grad():
        assert torch.equal(model((images,), None).features, model((other,), None).features)
        assert not torch.equal(model((images,), None).loss, model((other,), None).loss)


@pytest.mark.parametrize("side", [4, 8, 16, 17, 25, 48, 112])
def test_decoder_draws_the_whole_centre(side):
    decoder = Decoder(6, side)
    assert decoder(torch.randn(2, 6)).shape == (2, 3, side, side) and decoder.start <= 7


def test_supervised_loss_is_cross_entropy_of_the_labels():
    model = method("supervised").eval()
    images, labels = torch.randn(5, 3, 16, 16), torch.tensor([0, 1, 2, 2, 1])
    output = model((images,), labels)
    logits = model.head(model.encoder(images))
    expected = -torch.log_softmax(logits, dim=1)[torch.arange(5), labels].mean()
    torch.testing.assert_close(output.loss, expected)


@pytest.mark.parametrize("encoder", ["resnet-demo", "resnet18"])
def test_every_method_starts_from_the_same_encoder(encoder):
    """Trap 32: the supervised baseline has the stem, the width and the initial weights of the others."""
    models = [method(name, encoder, 32) for name in trained_methods()]
    first = models[0].encoder.state_dict()
    for model in models[1:]:
        state = model.encoder.state_dict()
        assert list(state) == list(first) and all(torch.equal(state[k], first[k]) for k in first)


def test_supervised_needs_labels():
    with pytest.raises(ValueError, match="0 classes"):
        build_method(small_config(method="supervised"), 0)
    with pytest.raises(ValueError, match="without labels"):
        method("supervised")((torch.randn(2, 3, 16, 16),), None)
