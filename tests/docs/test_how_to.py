"""The examples of the how-to pages work."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from results_frame import Table

from ssl_sweep.data_ops.dataset import corruptions
from ssl_sweep.data_ops.dataset.prepared import PreparedDataset
from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.preparation.prepare import prepare
from ssl_sweep.ssl_core.config import registry
from ssl_sweep.ssl_core.config.pretrain import default_config
from ssl_sweep.ssl_core.encoders import build
from ssl_sweep.ssl_core.evaluation import metrics
from ssl_sweep.ssl_core.evaluation.fusion import FusedFeatures
from ssl_sweep.sweep.grid import datasets
from ssl_sweep.sweep.planning import columns
from ssl_sweep.sweep.protocols.base import Budget
from ssl_sweep.sweep.report.figures.base import NARROW, Figure, Gap
from ssl_sweep.sweep.report.findings import findings

PAGES = Path(__file__).parents[2] / "docs" / "how-to"


def blocks(page: str) -> list[str]:
    """The Python blocks of a page."""
    text = (PAGES / f"{page}.md").read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)


@pytest.fixture
def module(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Loads code as a module of its own, with the given names defined first."""
    made: list[str] = []

    def load(code: str, given: Mapping[str, Any] | None = None) -> ModuleType:
        name = f"example_{request.node.name.partition('[')[0]}_{len(made)}"
        path = tmp_path / f"{name}.py"
        path.write_text(code, encoding="utf-8")
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        loaded = importlib.util.module_from_spec(spec)
        loaded.__dict__.update({key: value for key, value in (given or {}).items() if key[:2] != "__"})
        sys.modules[name] = loaded
        made.append(name)
        spec.loader.exec_module(loaded)
        return loaded

    yield load
    for name in made:
        del sys.modules[name]


def test_corruption(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = blocks("corruption")
    kind = module(code, vars(corruptions)).SOLARISE
    monkeypatch.setitem(corruptions._BY_NAME, kind.name, kind)
    images = np.full((2, 8, 8, 3), 200, np.uint8)
    asked = corruptions.parse_corruption("solarise-64")
    assert asked.canonical == "solarise-64"
    assert (corruptions.corrupt(images, np.arange(2, dtype=np.uint64), asked, 0) == 55).all()
    with pytest.raises(DataError, match="threshold"):
        corruptions.parse_corruption("solarise-300")


def test_method(module: Any) -> None:
    code, entry = blocks("method")
    info = eval(f"{{{entry}}}", {"MethodInfo": registry.MethodInfo})["vicreg"]
    vicreg = getattr(module(code), info.target.partition(":")[2])
    assert info.views == vicreg.n_views and info.labelled == vicreg.labelled
    method = vicreg(default_config("resnet-demo", 32))
    step = method((torch.randn(8, 3, 32, 32), torch.randn(8, 3, 32, 32)), None)
    step.loss.backward()
    assert step.loss.item() > 0
    learnt = [p for p in method.parameters() if p.requires_grad]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in learnt)


def test_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    (entry,) = blocks("encoder")
    found = eval(f"{{{entry}}}", {"EncoderInfo": registry.EncoderInfo})
    monkeypatch.setitem(registry.ENCODERS, "resnet101", found["resnet101"])
    encoder = build.build_encoder("resnet101", 32).eval()
    assert encoder.layers == found["resnet101"].layers
    with torch.no_grad():
        assert encoder(torch.zeros(1, 3, 32, 32)).shape == (1, 2048)


def test_source(module: Any, tmp_path: Path) -> None:
    (source,) = blocks("source")
    flat = module(source).FlatSource
    dataset = datasets.dataset_model("flat", flat)
    with pytest.raises(DataError, match="no images"):
        flat(train=str(tmp_path), test_fraction=0.5).listing("train")
    for i in range(8):
        pixels = np.full((8, 8, 3), 30 * i, np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{'cat' if i % 2 else 'dog'}_{i}.png")
    entry = dataset(source="flat", train=str(tmp_path), test_fraction=0.5)
    prepare(entry.to_source(), 8, tmp_path / "prepared")
    found = PreparedDataset(tmp_path / "prepared")
    assert len(found.images("train")) + len(found.images("test")) == 8
    assert found.manifest.n_classes() == 2


def test_protocol(module: Any) -> None:
    (code,) = blocks("protocol")
    protocol = module(code).PROTOCOL
    (config,) = protocol.configs({"centroid_power": (2.0,)}, None)
    train = np.float32([[50, 50], [0, 0], [0, 1], [5, 5], [9, 0]])
    test = np.float32([[0, 0.4], [8, 0]])
    features = SimpleNamespace(train=FusedFeatures([train]), test=FusedFeatures([test]))
    budget = Budget(np.array([1, 2, 3, 4]), np.array([3, 3, 0, 7]), 8, 0, None)
    fit = protocol.fit(config, features, budget)
    assert fit.top5[:, :3].tolist() == [[3, 0, 7], [7, 0, 3]]
    assert fit.missing == (1, 2, 4, 5, 6)


def test_column() -> None:
    declared, scored = blocks("column")
    (column,) = eval(f"({declared})", vars(columns))
    (metric,) = eval(f"{{{scored}}}", vars(metrics)).items()
    assert not {column.name, metric[0]} & set(columns.COLUMNS)
    assert column.value(SimpleNamespace(datasets=("a", "b"))) == 2
    assert metric[1].value(metrics.Ranking(np.array([3, 1]), np.array([[1, 3, 0], [0, 2, 1]]), 4)) == 0.5


def precisions() -> pd.DataFrame:
    table = Table(seed_noise=0.001, n_test=20_000)
    for precision in ("float32", "bfloat16"):
        table.add(0.5, precision=precision)
    return table.frame()


def test_figure(module: Any) -> None:
    (code,) = blocks("figure")
    draw = module(code).draw
    (drawn,) = draw(precisions())
    assert isinstance(drawn, Figure)
    assert sorted(drawn.data["precision"]) == ["bfloat16", "float32"]
    assert len(drawn.draw(NARROW).axes) == 1
    frame = precisions()
    (gap,) = draw(frame[frame["precision"] == "float32"])
    assert isinstance(gap, Gap)


def test_claim(module: Any) -> None:
    (code,) = blocks("claim")
    claim = module(code).BFLOAT16
    (found,) = findings(precisions(), [claim])
    assert (found.verdict, found.n) == ("holds", 3)
    frame = precisions()
    assert findings(frame[frame["precision"] == "float32"], [claim]) == []
