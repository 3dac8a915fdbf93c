from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open
from training_case import Evil

from ssl_sweep.ssl_core.config.pretrain import default_config
from ssl_sweep.ssl_core.encoders.build import build_encoder
from ssl_sweep.ssl_core.training.checkpoint import Checkpoint, Progress, load_checkpoint, save_checkpoint
from ssl_sweep.ssl_core.training.encoder_files import export_encoder, load_encoder
from ssl_sweep.ssl_core.training.reporter import CHECKPOINT_FILE, EpochRecord

RECORD = EpochRecord(
    epoch=0, loss=1 / 3, learning_rate=0.1, grad_norm=1e-300, feature_std=0.5, images_per_s=9.0, seconds=2.0
)


def checkpoint(value: float) -> Checkpoint:
    return Checkpoint(
        identity={"seed": 1, "views": {"scale": [0.08, 1.0]}},
        progress=Progress(step=7, loss_sum=0.1 + 0.2, seconds=1.5, epochs=(RECORD,)),
        model={"w": torch.full((3,), value)},
        optimizer={
            "state": {0: {"momentum_buffer": torch.ones(3)}},
            "param_groups": [{"lr": 0.1, "params": [0]}],
        },
    )


def test_round_trip_is_exact(tmp_path):
    save_checkpoint(checkpoint(0.1), tmp_path)
    found = load_checkpoint(tmp_path)
    assert found.progress == checkpoint(0.1).progress and found.identity == checkpoint(0.1).identity
    assert torch.equal(found.model["w"], torch.full((3,), 0.1))
    assert found.optimizer["param_groups"] == [{"lr": 0.1, "params": [0]}]


def test_a_write_that_fails_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    save_checkpoint(checkpoint(1.0), tmp_path)

    def half_written(content, path):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", half_written)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(checkpoint(2.0), tmp_path)
    assert torch.equal(load_checkpoint(tmp_path).model["w"], torch.ones(3))


def test_nothing_in_a_checkpoint_is_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"format": 1, "model": Evil()}, tmp_path / CHECKPOINT_FILE)
    with pytest.raises(ValueError, match="not a readable checkpoint"):
        load_checkpoint(tmp_path)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
def test_unreadable_checkpoint_names_the_file(tmp_path, content):
    (tmp_path / CHECKPOINT_FILE).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{CHECKPOINT_FILE} is not a readable checkpoint.*delete it"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("name", ["resnet-demo", "resnet18"])
def test_exported_encoder_gives_the_same_features(tmp_path, name):
    encoder = build_encoder(name, 32).to(memory_format=torch.channels_last)
    images = torch.randn(4, 3, 32, 32)
    encoder.train()
    encoder(images)  # moves the running statistics
    encoder.eval()
    export_encoder(encoder, default_config(name, 32), tmp_path, {"loss": 1.25})
    state = torch.random.get_rng_state()
    loaded = load_encoder(tmp_path)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not loaded.training
    with torch.no_grad():
        assert torch.equal(loaded.to(memory_format=torch.channels_last)(images), encoder(images))
    card = json.loads((tmp_path / "encoder.json").read_text())
    assert (card["encoder"], card["feature_dim"], card["method"]) == (name, encoder.feature_dim, "simclr")
    assert card["training"] == {"loss": 1.25} and card["config"]["views"]["size"] == 32
    with safe_open(tmp_path / "encoder.safetensors", "pt") as file:
        assert set(file.keys()) == set(encoder.state_dict())


def test_no_encoder_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no exported encoder"):
        load_encoder(tmp_path)
