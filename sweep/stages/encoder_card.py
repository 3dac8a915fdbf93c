"""The card of an encoder: how it was made and how it scores, from the store; and ``ssl-sweep export``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ssl_sweep.ssl_core.config.pretrain import default_config
from ssl_sweep.ssl_core.config.probe import ProbeConfig
from ssl_sweep.ssl_core.config.registry import SMALL_IMAGE
from ssl_sweep.sweep.errors import StoreError, did_you_mean
from ssl_sweep.sweep.spec.identity import KIND, spec_difference
from ssl_sweep.sweep.spec.specs import UNTRAINED
from ssl_sweep.sweep.store.store import Store


def export_encoder(encoder_id: str, store_uri: str, output: Path) -> str:
    """Write the weights of an encoder to ``output`` and its card beside it.

    Returns:
        A sentence that names both files.

    Raises:
        StoreError: the store has no finished encoder with this id, or ``output`` cannot be written.
    """
    store = Store(store_uri)
    with store.survey():
        known = [id for id in store.ids("pretrain") if store.complete("pretrain", id)]
    if encoder_id not in known:
        raise StoreError(
            f"the store has no finished encoder {encoder_id!r}{did_you_mean(encoder_id, known)}",
            hint="the column pretrain_id of `ssl-sweep results` lists the encoders",
        )
    from safetensors import SafetensorError

    from ssl_sweep.ssl_core.export import export

    manifest = store.complete("pretrain", encoder_id)
    assert manifest is not None
    facts = {"pretrain_id": encoder_id, **encoder_facts(manifest.spec, manifest.outputs)}
    with store.survey():
        facts["linear_probes"] = list(linear_probes(store, encoder_id))
    try:
        card = export(store.fetch("pretrain", encoder_id), output, facts)
    except (OSError, ValueError, SafetensorError) as error:
        raise StoreError(f"{output} cannot be written: {error}") from error
    return f"{output} holds the weights; {card} describes them and shows how to load them"


def encoder_facts(spec: Mapping[str, Any], outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return entries of the card, from the ``spec`` and ``outputs`` of a manifest of any version.

    ``data`` has the images, fingerprints and draws of the datasets. A trained encoder also has its ``preset``
    with the settings that differ from it, and the ``metrics`` of its last epoch.
    """
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
    """Return the ``name`` of the nearest preset, such as "simclr, cifar", and what was ``changed`` in it.

    ``changed`` has the fields that differ from the preset, with their values. The number of epochs is not
    part of a preset.
    """
    size, encoder = config["image_size"], config["encoder"]
    regime = "demo" if encoder == "resnet-demo" else "cifar" if size <= SMALL_IMAGE else "imagenet"
    named = {
        name: config[name]
        for name in ("method", "method_version", "encoder_version", "epochs")
        if name in config
    }
    preset = default_config(encoder, size, **named)
    differs = {re.split(r"[.:\[]", line)[0] for line in spec_difference(config, preset)} - {"seed"}
    changed = {name: _without_kind(config[name]) for name in sorted(differs) if name in config}
    return {"name": f"{config['method']}, {regime}", "epochs": config["epochs"], "changed": changed}


def linear_probes(store: Store, encoder_id: str) -> Iterator[dict[str, Any]]:
    """Yield label budget, draw and top-1 of every finished linear probe of an encoder.

    Only probes on the features ``h`` of this one encoder count, and only those on the finest labels.
    """
    specs = ((manifest.id, manifest.spec) for manifest in store.manifests("features"))
    own = ((id, spec) for id, spec in specs if spec.get("encoder") == encoder_id)
    features = {id: spec for id, spec in own if spec.get("representation", "h") == "h"}
    for manifest in store.manifests("probe") if features else ():
        spec = manifest.spec
        only_own = set(manifest.upstream) <= set(features)
        if not only_own or spec["config"][KIND] != ProbeConfig.__name__ or spec.get("level"):
            continue
        name = spec["test_features"]
        test = features[
            name if isinstance(name, str) else name[0]
        ]  # a string before encoders could be combined
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
