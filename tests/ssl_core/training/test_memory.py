from __future__ import annotations

import dataclasses

import pytest
import torch
from training_case import assert_same_training, small_config, train

from ssl_sweep.ssl_core.encoders.build import build_encoder, torch_seed
from ssl_sweep.ssl_core.methods.simclr import SimCLR
from ssl_sweep.ssl_core.training.memory import OutOfMemory, checkpoint_blocks, memory_guard


@pytest.mark.parametrize("method", ["simclr", "byol"])
def test_activation_checkpointing_gives_the_same_training(tmp_path, method):
    """Weights and batch-norm statistics too: the second forward pass must not count."""
    config = small_config(method=method, epochs=2)
    train(tmp_path / "plain", config)
    train(tmp_path / "checkpointed", config, activation_checkpointing=True)
    assert_same_training(tmp_path / "checkpointed", tmp_path / "plain")


def test_activation_checkpointing_keeps_less():
    def kept(checkpointed: bool) -> int:
        with torch_seed(0):
            encoder = build_encoder("resnet-demo", 32)
        if checkpointed:
            assert checkpoint_blocks(encoder) == 4
        saved = [0]

        def count(tensor: torch.Tensor) -> torch.Tensor:
            saved[0] += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            encoder(torch.randn(8, 3, 32, 32))
        return saved[0]

    assert kept(True) < 0.5 * kept(False)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you"),
    ],
)
def test_out_of_memory_names_three_ways_out(tmp_path, monkeypatch, error):
    """Trap 13: the batch is never shrunk in silence."""

    def forward(*_):
        raise error

    monkeypatch.setattr(SimCLR, "forward", forward)
    with pytest.raises(OutOfMemory) as found:
        train(tmp_path, small_config())
    expected = (
        "a batch of 16 at 16 px does not fit into the memory of 1 worker; use batch=8 (another training), "
        "or workers=2 (the same one), or activation_checkpointing (the same numbers, slower)"
    )
    assert str(found.value) == expected


def test_out_of_memory_names_what_is_left():
    config = small_config()
    for precision, last in (
        ("float32", "precision=bfloat16"),
        ("bfloat16", "a smaller encoder than resnet-demo"),
    ):
        guard = memory_guard(dataclasses.replace(config, precision=precision), 4, checkpointed=True)
        with pytest.raises(OutOfMemory, match=f"workers=8 .*or {last}"), guard:
            raise MemoryError
    with pytest.raises(RuntimeError, match="shapes"), memory_guard(config, 1, checkpointed=False):
        raise RuntimeError("shapes differ")


def test_only_the_encoder_is_compiled(tmp_path, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module: compiled.append(type(module).__name__))
    train(tmp_path, small_config(epochs=1), compile=True)
    assert compiled == ["DemoResNet"]
