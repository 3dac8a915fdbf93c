"""The card of an encoder: how it was made and how it scores, from the store; and ``ssl-sweep export``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ssl_sweep.ssl_core.config.pretrain import PretrainConfig, default_config
from ssl_sweep.ssl_core.config.probe import ProbeConfig
from ssl_sweep.ssl_core.config.registry import FEATURES, SMALL_IMAGE, UNTRAINED
from ssl_sweep.sweep.errors import StoreError, did_you_mean
from ssl_sweep.sweep.spec.identity import full_form
from ssl_sweep.sweep.spec.specs import FeatureSpec, PretrainSpec, ProbeSpec
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
    spec = manifest.typed()
    if not isinstance(spec, PretrainSpec):
        raise StoreError(
            f"the encoder {encoder_id} has an id of an older form", hint="run: ssl-sweep migrate STORE"
        )
    facts = {"pretrain_id": encoder_id, **encoder_facts(spec, manifest.outputs)}
    with store.survey():
        facts["linear_probes"] = list(linear_probes(store, encoder_id))
    try:
        card = export(store.fetch("pretrain", encoder_id), output, facts)
    except (OSError, ValueError, SafetensorError) as error:
        raise StoreError(f"{output} cannot be written: {error}") from error
    return f"{output} holds the weights; {card} describes them and shows how to load them"


def encoder_facts(spec: PretrainSpec, outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return entries of the card, from the ``spec`` and ``outputs`` of a pretraining.

    ``data`` has the digest of the images, and the fingerprints and draws of the datasets. A trained encoder
    also has its ``preset`` with the settings that differ from it, and the ``metrics`` of its last epoch.
    """
    data = {
        "images": sum(part.images for part in spec.parts),
        "digest": spec.images,
        "fingerprints": [part.fingerprint for part in spec.parts],
        "corruption": spec.corruption,
        "parts": [full_form(part) for part in spec.parts],
    }
    if spec.config.method in UNTRAINED:
        return {"data": data}
    last = outputs["epochs"][-1] if outputs.get("epochs") else {}
    metrics = {name: outputs.get(name) for name in ("loss", "steps", "seconds", "images_per_s")}
    metrics |= {name: last.get(name) for name in ("rankme", "alignment", "uniformity", "feature_std")}
    return {"data": data, "preset": preset_of(spec.config), "metrics": metrics}


def preset_of(config: PretrainConfig) -> dict[str, Any]:
    """Return the ``name`` of the nearest preset, such as "simclr, cifar", and what was ``changed`` in it.

    ``changed`` has the fields that differ from the preset, with their values. The number of epochs is not
    part of a preset.
    """
    size, encoder = config.image_size, config.encoder
    regime = "demo" if encoder == "resnet-demo" else "cifar" if size <= SMALL_IMAGE else "imagenet"
    given = ("method", "method_version", "encoder_version", "epochs")
    named = {name: getattr(config, name) for name in given}
    preset, own = full_form(default_config(encoder, size, **named)), full_form(config)
    changed = {name: own[name] for name in sorted(own) if own[name] != preset[name] and name != "seed"}
    return {"name": f"{config.method}, {regime}", "epochs": config.epochs, "changed": changed}


def linear_probes(store: Store, encoder_id: str) -> Iterator[dict[str, Any]]:
    """Yield label budget, draw and top-1 of every finished linear probe of an encoder.

    Only probes on the features ``h`` of this one encoder count, and only those on the finest labels.
    """
    specs = ((manifest.id, manifest.typed()) for manifest in store.manifests("features"))
    features = {
        id: spec
        for id, spec in specs
        if isinstance(spec, FeatureSpec) and (spec.encoder, spec.representation) == (encoder_id, FEATURES)
    }
    for manifest in store.manifests("probe") if features else ():
        spec = manifest.typed()
        if not isinstance(spec, ProbeSpec) or not set(manifest.upstream) <= set(features):
            continue
        if not isinstance(spec.config, ProbeConfig) or spec.level:
            continue
        level, scores = next(iter(manifest.outputs["levels"].items()))
        yield {
            "probe_id": manifest.id,
            "fingerprint": spec.fingerprint,
            "corruption": features[spec.test_features[0]].corruption,
            "n_labels": spec.n_labels,
            "draw": spec.draw,
            "seed": spec.seed,
            "level": level,
            "top1": scores["top1"],
        }
