"""The registry says what the classes of methods and encoders say, without importing them."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from ssl_sweep.ssl_core.config.pretrain import PretrainConfig, default_config
from ssl_sweep.ssl_core.config.registry import ENCODERS, METHODS, USED_BY, looks_at, trained_methods
from ssl_sweep.ssl_core.encoders.build import build_encoder
from ssl_sweep.ssl_core.methods.build import method_class


@pytest.mark.parametrize("name", trained_methods())
def test_a_method_is_as_its_class_says(name: str) -> None:
    info, kind = METHODS[name], method_class(name)
    assert (kind.n_views, kind.labelled) == (info.views, info.labelled)
    assert default_config("resnet-demo", 32, method=name).method == name
    assert set(info.settings) <= {field.name for field in dataclasses.fields(PretrainConfig)}


@pytest.mark.parametrize("name", trained_methods())
def test_methods_that_read_head_layers_have_a_projection_head(name: str) -> None:
    config = default_config("resnet-demo", 32, method=name)
    if "head_layers" in METHODS[name].settings:
        assert len(list(method_class(name).build_head(config, 8).parameters())) > 0
    else:
        with pytest.raises(ValueError, match=f"method '{name}' has no projection head"):
            method_class(name).build_head(config, 8)


@pytest.mark.parametrize("name", [name for name in ENCODERS if name != "resnet50-4x"])
def test_an_encoder_is_as_its_class_says(name: str) -> None:
    info, encoder = ENCODERS[name], build_encoder(name, 32)
    assert (info.layers, info.feature_dim) == (encoder.layers, encoder.feature_dim)
    if name != "resnet-demo":  # torchvision's published sizes, with another stem
        found = sum(p.numel() for p in encoder.parameters()) / 1e6
        assert info.parameters == pytest.approx(found, rel=0.02)


def test_settings_that_a_method_reads() -> None:
    assert set(METHODS) - set(trained_methods()) == {"random", "weights"}
    assert USED_BY["temperature"] == {"simclr", "moco-v2"}
    assert looks_at("byol", "predictor_dim") and not looks_at("simclr", "predictor_dim")
    assert looks_at("rotation", "batch") and looks_at("a method of another distribution", "queue")


def test_configs_import_no_torch() -> None:
    modules = "finetune, plugins, pretrain, probe, registry"
    code = f"import sys; from ssl_sweep.ssl_core.config import {modules}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
