"""bfloat16 is asked for by the presets of large encoders and used where the hardware is faster with it."""

from __future__ import annotations

import pytest
import torch
from training_case import small_config, train

from ssl_sweep.ssl_core.config.pretrain import default_config
from ssl_sweep.ssl_core.training import trainer
from ssl_sweep.ssl_core.training.optim import fast_bfloat16


def test_presets_ask_for_it_where_it_pays():
    assert default_config("resnet18", 32).precision == "bfloat16"
    assert default_config("resnet18", 32, precision="float32").precision == "float32"
    assert default_config("resnet-demo", 32).precision == "float32"
    assert default_config("resnet18", 32, method="random").precision == "float32"


@pytest.mark.parametrize("fast", [True, False])
def test_hardware_without_it_computes_in_float32_and_the_record_says_so(tmp_path, monkeypatch, fast):
    monkeypatch.setattr(trainer, "fast_bfloat16", lambda device: fast)
    low = train(tmp_path / "low", small_config(epochs=1, precision="bfloat16"))
    full = train(tmp_path / "full", small_config(epochs=1))
    assert (low.precision, full.precision) == ("bfloat16" if fast else "float32", "float32")
    assert (low.loss == full.loss) == (not fast)
    assert abs(low.loss - full.loss) < 0.05


def test_the_answer_is_the_processors():
    flags = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    if not flags:
        pytest.skip("this torch does not tell what the processor can do")
    known = bool(flags.get("avx512_bf16") or flags.get("amx_tile"))
    assert fast_bfloat16(torch.device("cpu")) == known
