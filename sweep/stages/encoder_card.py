"""What the card of an encoder says beyond its weights, from what the store keeps of its making."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ssl_sweep.ssl_core.config.pretrain import SMALL_IMAGE, ProbeConfig, default_config
from ssl_sweep.sweep.spec.identity import KIND, spec_difference
from ssl_sweep.sweep.spec.specs import UNTRAINED
from ssl_sweep.sweep.store.store import Store


def encoder_facts(spec: Mapping[str, Any], outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Entries of the card: `data` (images, fingerprints and draws of the datasets), and of a training the
    `preset` and what was changed of it, and the `metrics` of its last epoch. `spec` and `outputs` are those
    of the manifest, whatever version wrote it."""
    config, parts = spec["config"], [_without_kind(part) for part in spec["parts"]]
    data = {
        "images": sum(part["images"] for part in parts),
        "fingerprints": [part["fingerprint"] for part in parts],
        "corruption": spec.get("corruption", "none"),
        "parts": parts,
    }
    if config["method"] in UNTRAINED:
        return {"data": data}
    last = outputs["epochs"][-1] if outputs.get("epochs") else {}
    metrics = {name: outputs.get(name) for name in ("loss", "steps", "seconds", "images_per_s")}
    metrics |= {name: last.get(name) for name in ("rankme", "alignment", "uniformity", "feature_std")}
    return {"data": data, "preset": preset_of(config), "metrics": metrics}


def preset_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """`name`, such as "simclr, cifar", and `changed`: the fields that are not the preset's at this schedule,
    with their values. The number of epochs is no part of a preset."""
    size, encoder = config["image_size"], config["encoder"]
    regime = "demo" if encoder == "resnet-demo" else "cifar" if size <= SMALL_IMAGE else "imagenet"
    named = {name: config[name] for name in ("method", "method_version", "epochs") if name in config}
    preset = default_config(encoder, size, **named)
    differs = {re.split(r"[.:\[]", line)[0] for line in spec_difference(config, preset)} - {"seed"}
    changed = {name: _without_kind(config[name]) for name in sorted(differs) if name in config}
    return {"name": f"{config['method']}, {regime}", "epochs": config["epochs"], "changed": changed}


def linear_probes(store: Store, encoder_id: str) -> Iterator[dict[str, Any]]:
    """Budget, draw and top-1 at the finest level of every finished linear probe of this encoder's features h
    alone, trained on the finest labels."""
    of_it = (m for m in store.manifests("features") if m.spec.get("encoder") == encoder_id)
    features = {m.id: m.spec for m in of_it if m.spec.get("representation", "h") == "h"}
    for manifest in store.manifests("probe") if features else ():
        spec = manifest.spec
        alone = set(manifest.upstream) <= set(features)
        if not alone or spec["config"][KIND] != ProbeConfig.__name__ or spec.get("level"):
            continue
        name = spec["test_features"]
        test = features[name if isinstance(name, str) else name[0]]  # text before encoders could be joined
        level, scores = next(iter(manifest.outputs["levels"].items()))
        yield {
            "probe_id": manifest.id,
            "fingerprint": test["fingerprint"],
            "corruption": test.get("corruption", "none"),
            **{name: spec[name] for name in ("n_labels", "draw", "seed")},
            "level": level,
            "top1": scores["top1"],
        }


def _without_kind(value: Any) -> Any:
    return {k: v for k, v in value.items() if k != KIND} if isinstance(value, Mapping) else value
