from __future__ import annotations

import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from finetune_case import (
    CLASSES,
    SIZE,
    TEST_IMAGES,
    budget_of,
    config_of,
    fit,
    logits_of,
    random_start,
    same,
    top1,
)
from torch import nn

from ssl_sweep.data_ops.hashing import hash64
from ssl_sweep.data_ops.views.named_policies import named_policy
from ssl_sweep.ssl_core.config.finetune import FinetuneConfig, default_finetune, reference_epochs
from ssl_sweep.ssl_core.encoders.build import build_encoder, torch_seed
from ssl_sweep.ssl_core.evaluation import finetune as module
from ssl_sweep.ssl_core.evaluation.finetune import FinetuneFit, Supervision, finetune, split_budget
from ssl_sweep.ssl_core.training.trainer import DivergedError, Interrupted


@pytest.fixture(scope="module")
def usual() -> FinetuneFit:
    torch.set_num_threads(1)
    return fit(budget_of(48))


def test_it_learns():
    found = fit(budget_of(32), config=config_of(steps=50))
    assert top1(found) > 0.6  # chance is 0.25
    assert found.converged and found.steps == 50 and found.missing_classes == () and found.seconds > 0
    assert found.learning_rate in config_of().learning_rates and len(found.held_out) == 3
    assert (np.sort(found.top5[:, :CLASSES], axis=1) == np.arange(CLASSES)).all()
    assert (found.top5[:, CLASSES:] == -1).all()
    assert found.held_out[config_of().learning_rates.index(found.learning_rate)] == max(found.held_out)


def test_same_seed_same_logits_bit_for_bit(monkeypatch):
    fixed = budget_of(6)  # too few to choose: one fit
    state = torch.random.get_rng_state()
    first = logits_of(fixed, monkeypatch)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(123)
    again = logits_of(fixed, monkeypatch)
    other = logits_of(fixed, monkeypatch, seed=1)
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_the_choice_follows_the_seed(usual):
    assert same(usual, fit(budget_of(48)))


def test_the_encoder_that_is_given_stays_as_it_is():
    encoder = random_start(0).eval()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    fit(budget_of(6), encoder=encoder)
    assert all(torch.equal(v, before[k]) for k, v in encoder.state_dict().items()) and not encoder.training


def test_every_weight_is_trained(monkeypatch):
    """End to end, from a frozen encoder too."""
    trained = []
    usual_scores = module._Fits.scores
    monkeypatch.setattr(
        module._Fits, "scores", lambda s, m, i, r: (trained.append(m), usual_scores(s, m, i, r))[1]
    )
    with torch_seed(0):
        encoder = build_encoder("resnet-demo", SIZE, zero_init_residual=False).requires_grad_(False)
    fit(budget_of(8), encoder=encoder)
    after = dict(trained[0][0].named_parameters())
    assert all(not torch.equal(p, after[name]) for name, p in encoder.named_parameters())


def test_test_images_have_no_part_in_the_training(usual):
    """Trap 26: whatever the test set, the rate and the model are the same; its labels do not even come in."""
    assert not any("label" in name for name in finetune.__annotations__)
    shuffled = np.random.default_rng(0).permutation(len(TEST_IMAGES))
    poisoned = TEST_IMAGES[shuffled]
    poisoned[40:] = np.random.default_rng(1).integers(0, 256, poisoned[40:].shape)
    found = fit(budget_of(48), test_images=poisoned)
    assert found.held_out == usual.held_out and found.learning_rate == usual.learning_rate
    np.testing.assert_array_equal(found.top5[:40], usual.top5[shuffled[:40]])


def test_labels_outside_the_budget_are_never_read(usual):
    """The budget is some rows of a large array; the pixels of the others are poison."""
    budget = budget_of(48)
    images = np.random.default_rng(5).integers(0, 256, (200, SIZE, SIZE, 3), dtype=np.uint8)
    rows = np.random.default_rng(6).permutation(200)[:48]
    images[rows] = budget.images
    assert same(usual, fit(replace(budget, images=images, rows=rows)))


def test_pretrained_and_scratch_share_the_recipe(monkeypatch):
    """Trap 32: same steps, rates, batches and views, whatever the encoder."""
    seen = []
    usual_fit = module._Fits.fit

    def spy(self, name, members, rate):
        seen[-1].append((members.tolist(), rate, self._config.total_steps(len(members))))
        return usual_fit(self, name, members, rate)

    monkeypatch.setattr(module._Fits, "fit", spy)
    pretrained = random_start(0)
    with torch.no_grad():
        for p in pretrained.parameters():
            p.mul_(0.9)
    for encoder in (random_start(1), pretrained):
        seen.append([])
        fit(budget_of(16), encoder=encoder, config=config_of(steps=2))
    assert seen[0][:-1] == seen[1][:-1] and len(seen[0]) == 3 * 3 + 1


def test_a_budget_that_misses_classes():
    found = fit(budget_of(20, classes=(0, 3)))
    assert found.missing_classes == (1, 2) and set(np.unique(found.top5)) == {-1, 0, 3}


def test_one_class():
    found = fit(budget_of(5, classes=(2,)))
    assert (found.top5[:, 0] == 2).all() and (found.top5[:, 1:] == -1).all()
    assert found.missing_classes == (0, 1, 3) and found.steps == 0


@pytest.mark.parametrize("n", [2, 3])
def test_two_or_three_images(n):
    found = fit(budget_of(n), config=config_of(batch=2))
    assert found.learning_rate == config_of().learning_rates[1] and found.held_out == ()
    assert len(found.missing_classes) == CLASSES - n


class Explosive(nn.Module):
    """An encoder whose features overflow once its weight has grown."""

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.feature_dim = 3
        self.weight = nn.Parameter(torch.ones(3))
        self.limit = limit
        self.norm = nn.BatchNorm1d(3, affine=False)

    def forward(self, images):
        features = self.norm(images.mean((2, 3))) * self.weight
        return features / (self.weight.detach() - 1).abs().max().lt(self.limit)  # else divided by 0


def test_a_rate_that_diverges_loses_only_itself():
    rates = (0.1, 1.0, 1e6)
    found = fit(budget_of(40), encoder=Explosive(50.0), config=config_of(learning_rates=rates))
    assert math.isnan(found.held_out[2]) and not any(map(math.isnan, found.held_out[:2]))
    assert found.learning_rate in rates[:2] and found.converged


def test_the_next_best_rate_takes_over_in_the_final_fit(monkeypatch, usual):
    usual_fit = module._Fits.fit

    def failing(self, name, members, rate):
        whole = len(members) == len(self._budget.labels)
        return None if whole and rate == usual.learning_rate else usual_fit(self, name, members, rate)

    monkeypatch.setattr(module._Fits, "fit", failing)
    found = fit(budget_of(48))
    assert found.learning_rate != usual.learning_rate and not found.converged


def test_all_rates_diverge():
    with pytest.raises(DivergedError, match="lower learning_rates"):
        fit(budget_of(40), encoder=Explosive(-1.0))


def test_it_stops_when_asked(monkeypatch):
    monkeypatch.setattr(module, "_LOOK_EVERY_S", 0.0)
    steps = []
    watched = Supervision(
        progress=lambda done, total: steps.append((done, total)), stop=lambda: len(steps) > 4
    )
    with pytest.raises(Interrupted, match="after step 5 of 200"):
        fit(budget_of(48), watched=watched)
    assert steps == [(k, 200) for k in range(1, 6)]


def test_progress_ends_at_its_total():
    steps = []
    fit(budget_of(16), config=config_of(steps=3), watched=Supervision(progress=lambda *s: steps.append(s)))
    assert steps[-1] == (30, 30) and [done for done, _ in steps] == list(range(1, 31))


def test_bfloat16_and_lars_train():
    config = config_of(precision="bfloat16", optimizer="lars", steps=10)
    found = fit(budget_of(24), config=config)
    assert found.converged and not same(found, fit(budget_of(24), config=replace(config, optimizer="sgd")))


def test_splits():
    labels = np.arange(400) % 4
    config = config_of()
    assert split_budget(labels[:7], None, seed=0, config=config) == []
    folds = split_budget(labels[:60], None, seed=0, config=config)
    assert len(folds) == 3 and sorted(np.concatenate([held for _, held in folds])) == list(range(60))
    ((train, held),) = split_budget(labels, None, seed=0, config=config)
    assert len(held) == 58 and not set(train) & set(held) and len(train) + len(held) == 400
    assert np.ptp(np.bincount(labels[held])) <= 1  # stratified
    groups = np.arange(60) // 5
    for train, held in split_budget(labels[:60], groups, seed=0, config=config):
        assert not set(groups[train]) & set(groups[held])
    assert split_budget(labels[:60], np.zeros(60, np.int64), seed=0, config=config) == []


@pytest.mark.parametrize(
    ("labels", "batch", "expected"),
    [(10, 256, (10, 1)), (300, 256, (150, 2)), (3, 2, (3, 1)), (1, 2, (1, 1))],
)
def test_batches(labels, batch, expected):
    config = config_of(batch=batch)
    assert config.batches(labels) == expected
    assert replace(config, steps=0, epochs=5).total_steps(labels) == 5 * expected[1]
    assert config.total_steps(labels) == 20


def test_presets():
    large = default_finetune("resnet50", 224)
    assert (large.steps, large.batch, large.learning_rates[1]) == (20_000, 256, 0.05)
    assert large.views == named_policy("supervised", 224)[0]
    assert (large.precision, default_finetune("resnet-demo", 32).precision) == ("bfloat16", "float32")
    shares = [reference_epochs(n, 1_281_167) for n in (12_811, 128_116, 1_281_167)]
    assert shares == [60, 30, 30] and reference_epochs(12_811, 1_281_167, from_scratch=True) == 90
    assert {f.name for f in fields(FinetuneConfig)} >= {"steps", "epochs", "learning_rates"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0),
        ("epochs", 5),
        ("batch", 1),
        ("learning_rates", (0.1, 0.05, 0.2)),
        ("learning_rates", (0.1, 0.2, math.inf)),
        ("optimizer", "adam"),
        ("momentum", 1.0),
        ("weight_decay", -1.0),
        ("folds", 1),
        ("holdout", 1),
        ("precision", "half"),
    ],
)
def test_config_names_the_field(field, value):
    with pytest.raises(ValueError, match="steps" if field == "epochs" else field):
        config_of(**{field: value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.full(20, 9)}, "labels run from 9 to 9"),
        ({"keys": hash64(0, np.arange(3))}, "3 keys"),
        ({"groups": np.zeros(2, np.int64)}, "groups are"),
        ({"images": np.zeros((20, 8, 8, 3), np.uint8)}, "training images are uint8"),
    ],
)
def test_input_that_does_not_fit(change, message):
    with pytest.raises(ValueError, match=message):
        fit(replace(budget_of(20), **change))


def test_no_test_images():
    with pytest.raises(ValueError, match="test images"):
        fit(budget_of(20), test_images=TEST_IMAGES[:0])
