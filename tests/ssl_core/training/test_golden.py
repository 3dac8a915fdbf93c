from __future__ import annotations

import json

import numpy as np
import pytest
from golden_curves import FOLDER, curve

from ssl_sweep.ssl_core.config.registry import trained_methods


@pytest.mark.parametrize("method", trained_methods())
def test_loss_curve_is_the_golden_one(tmp_path, method):
    golden = json.loads((FOLDER / f"{method}.json").read_text())
    found = curve(method, tmp_path)
    assert len(found) == len(golden) == 20
    np.testing.assert_allclose(found, golden, rtol=1e-4)
    assert max(golden) - min(golden) > 0.01, "a curve that does not move proves nothing"
