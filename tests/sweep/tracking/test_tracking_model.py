"""An encoder logged as an MLflow model comes back as the same encoder, without a pickle."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ssl_sweep.ssl_core.config.pretrain import default_config
from ssl_sweep.ssl_core.encoders.build import build_encoder, torch_seed
from ssl_sweep.ssl_core.training.encoder_files import export_encoder, load_encoder

SCRIPT = """
import sys
from dataclasses import replace
from pathlib import Path
from ssl_sweep.sweep.tracking.mlflow_client import MirrorRun, Tracker, local_uri

folder = Path(sys.argv[1])
tracker = Tracker(local_uri(folder / "mlflow"), "models", folder / "artifacts")
facts = {"params": {}, "metrics": (), "tags": {}}
run = MirrorRun(id="a", name="a", started_ms=1, ended_ms=2, **facts)
assert tracker.log([run]) == 1  # without its model, as where log_models was not set yet
tracker = Tracker(local_uri(folder / "mlflow"), "models", folder / "artifacts")
assert tracker.existing() == {"a"}
run = replace(run, encoder=folder / "encoder")
assert [tracker.log([run]), tracker.log([run])] == [1, 0]
assert Tracker(local_uri(folder / "mlflow"), "models", None).existing() == {"a", "a/model"}

import mlflow.pytorch, torch
(model,) = (folder / "artifacts").rglob("MLmodel")
loaded = mlflow.pytorch.load_model(str(model.parent))
images = torch.load(folder / "images.pt", weights_only=True)
torch.save(loaded(images).detach(), folder / "features.pt")
"""


@pytest.mark.slow
def test_an_encoder_is_logged_as_a_model(tmp_path: Path) -> None:
    config = default_config("resnet-demo", 32)
    with torch_seed(0):
        encoder = build_encoder("resnet-demo", 32)
        images = torch.randn(3, 3, 32, 32)
    export_encoder(encoder, config, tmp_path / "encoder")
    torch.save(images, tmp_path / "images.pt")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    features = torch.load(tmp_path / "features.pt", weights_only=True)
    with torch.inference_mode():
        assert torch.allclose(features, load_encoder(tmp_path / "encoder")(images), atol=1e-5)
    pickles = [p for p in (tmp_path / "artifacts").rglob("*") if p.suffix in (".pkl", ".pickle", ".pth")]
    assert not pickles
