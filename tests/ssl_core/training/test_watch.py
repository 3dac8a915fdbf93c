from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from training_case import SIZE, assert_same_training, blobs, records, small_config, train, weights

from ssl_sweep.ssl_core.encoders.build import build_encoder, torch_seed
from ssl_sweep.ssl_core.training.watch import (
    ROWS,
    FeatureWatch,
    LabelledSlice,
    alignment,
    knn_accuracy,
    rankme,
    uniformity,
)

MEASURED = ("rankme", "alignment", "uniformity", "knn")


def test_rankme_is_the_entropy_of_the_singular_values():
    rng = np.random.default_rng(0)
    for shape in ((40, 6), (5, 9)):
        z = rng.normal(size=shape) * rng.uniform(0.1, 3, size=shape[1])
        singular = np.linalg.svd(z, compute_uv=False)
        shares = singular / singular.sum()
        expected = math.exp(-sum(p * math.log(p) for p in shares))
        assert rankme(torch.tensor(z)) == pytest.approx(expected, rel=1e-6)
    assert rankme(torch.eye(7)) == pytest.approx(7)
    assert rankme(torch.ones(20, 7)) == pytest.approx(1, abs=1e-5)


def test_alignment_and_uniformity_are_the_formulas():
    rng = np.random.default_rng(1)
    x, y = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in rng.normal(size=(2, 9, 4)))
    expected = sum(sum((a - b) ** 2) for a, b in zip(x, y, strict=True)) / 9
    assert alignment(torch.tensor(3 * x), torch.tensor(y)) == pytest.approx(expected)
    pairs = [math.exp(-2 * sum((x[i] - x[j]) ** 2)) for i in range(9) for j in range(i)]
    assert uniformity(torch.tensor(2 * x)) == pytest.approx(math.log(sum(pairs) / len(pairs)))
    assert uniformity(torch.ones(5, 3)) == pytest.approx(0, abs=1e-9)


def test_the_last_steps_count_up_to_a_number_of_rows():
    watch = FeatureWatch(two_views=True)
    steps = [torch.randn(2 * 600, 8) + step for step in range(4)]
    for features in steps:
        watch.add(features, 600, workers=1)
    assert len(watch.state()[0]) == math.ceil(ROWS / 1200) == 2
    report = watch.report()
    last = torch.stack(steps[-2:]).unflatten(1, (2, 600)).transpose(0, 1).flatten(1, 2)
    assert report.rankme == pytest.approx(rankme(last.flatten(0, 1)))
    assert report.alignment == pytest.approx(alignment(last[0], last[1]))
    assert report.uniformity == pytest.approx(uniformity(last[0]))
    watch.add(steps[0][:600], 600, workers=1)
    assert watch.report().alignment is None, "one view of each image has no partner"


def test_neighbours_are_found_without_changing_the_encoder():
    with torch_seed(0):
        encoder = build_encoder("resnet-demo", SIZE)
    encoder.train()
    encoder.blocks[1].eval()
    state = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    modes = [m.training for m in encoder.modules()]
    images = blobs(6).images.repeat(12, axis=0)  # 12 equal images of each of 6 kinds
    labels = np.repeat(np.array([5, 9, 2, 7, 1, 0]), 12)
    generator = torch.random.get_rng_state()
    assert knn_accuracy(encoder, LabelledSlice(images, labels), torch.device("cpu")) == 1.0
    wrong = np.random.default_rng(0).permutation(labels)
    assert knn_accuracy(encoder, LabelledSlice(images, wrong), torch.device("cpu")) < 0.5
    assert modes == [m.training for m in encoder.modules()]
    assert torch.equal(generator, torch.random.get_rng_state())
    assert all(torch.equal(tensor, state[name]) for name, tensor in encoder.state_dict().items())


@pytest.mark.parametrize("method", ["simclr", "rotation"])
def test_watching_does_not_disturb_the_training(tmp_path, monkeypatch, method):
    """Trap 34: the same weights bit for bit with the watch and without."""
    config = small_config(method=method)
    held_out = blobs(40, seed=5)
    train(tmp_path / "knn", config, watched=LabelledSlice(held_out.images, held_out.labels))
    watched = records(tmp_path / "knn")
    assert all(0 <= line["knn"] <= 1 and 1 <= line["rankme"] <= 128 for line in watched)
    assert all(-4 < line["uniformity"] <= 0 for line in watched)
    assert all((line["alignment"] is None) == (method == "rotation") for line in watched)
    train(tmp_path / "plain", config)
    assert all(line["knn"] is None for line in records(tmp_path / "plain"))
    with monkeypatch.context() as patched:  # no measure at all
        patched.setattr(FeatureWatch, "add", lambda *a: None)
        patched.setattr(FeatureWatch, "report", lambda self: type(self)._nothing())
        patched.setattr(FeatureWatch, "_nothing", staticmethod(_nothing), raising=False)
        train(tmp_path / "none", config)
    for other in ("plain", "none"):
        ours, theirs = weights(tmp_path / "knn"), weights(tmp_path / other)
        assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
        kept = [{k: v for k, v in line.items() if k not in MEASURED} for line in records(tmp_path / other)]
        assert kept == [{k: v for k, v in line.items() if k not in MEASURED} for line in watched]
    train(tmp_path / "again", config)
    assert_same_training(tmp_path / "again", tmp_path / "plain")


def _nothing():
    from ssl_sweep.ssl_core.training.watch import FeatureReport

    return FeatureReport(rankme=0.0, alignment=None, uniformity=0.0)


def test_what_a_checkpoint_kept_goes_on_where_the_next_features_are():
    """A checkpoint is read into the memory of the CPU; `meta` stands for a GPU."""
    watch, gpu = FeatureWatch(two_views=False), torch.device("meta")
    watch.restore(torch.ones(1, 2, 1, 4, 8), gpu)
    watch.add(torch.empty(4, 8, device=gpu), images=4, workers=1)
    assert watch.state().shape == (1, 3, 1, 4, 8) and watch.state().device == gpu
