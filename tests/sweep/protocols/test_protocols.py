"""What every protocol declares fits together."""

from __future__ import annotations

from typing import Any

import pytest

from ssl_sweep.ssl_core.config.pretrain import default_config
from ssl_sweep.ssl_core.config.probe import FeatureSettings
from ssl_sweep.sweep.grid.schema import EvaluateBlock
from ssl_sweep.sweep.protocols import PROTOCOLS, protocol_of
from ssl_sweep.sweep.protocols.base import Asked, EvaluationProtocol
from ssl_sweep.sweep.spec.identity import from_form, full_form

ASKED = Asked(default_config("resnet-demo", 32), labels=50, available=500)


def usual(protocol: EvaluationProtocol[Any]) -> Any:
    """The settings of a block that gives no key of the protocol."""
    (config,) = protocol.configs({name: key.default for name, key in protocol.keys.items()}, ASKED)
    return config


@pytest.mark.smoke
@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=list(PROTOCOLS))
def test_its_settings_come_from_its_keys_and_lead_back_to_it(protocol: EvaluationProtocol[Any]) -> None:
    config = usual(protocol)
    assert protocol_of(config) is protocol
    assert from_form(type(config), full_form(config)) == config
    assert set(protocol.keys) <= set(EvaluateBlock.model_fields)
    assert all(column.of == protocol.name for column in protocol.columns)
    assert all(isinstance(column.value(config), column.type | None) for column in protocol.columns)


def test_one_that_reads_features_says_what_it_is() -> None:
    read = [usual(protocol) for protocol in PROTOCOLS.values() if not protocol.trains]
    assert [config.describe() for config in read] == [
        "linear classifier",
        "200-nearest-neighbour classifier",
    ]
    assert all(isinstance(config, FeatureSettings) for config in read)


def test_more_strengths_take_longer() -> None:
    linear, knn = PROTOCOLS["linear"], PROTOCOLS["knn"]
    few, many = linear.configs({"c_path": ("default", "simclr")}, ASKED)
    work = [protocol_of(each).multiply_adds(each, 100, 128, 10) for each in (usual(knn), few, many)]
    assert work == sorted(work) and len(set(work)) == 3
    assert linear.effort(few) < linear.effort(many) and not knn.effort(usual(knn))
