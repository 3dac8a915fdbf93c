"""`ssl-sweep export`: an encoder of the store as files that others load."""

from __future__ import annotations

from pathlib import Path

from ssl_sweep.sweep.errors import StoreError, did_you_mean
from ssl_sweep.sweep.stages.encoder_card import encoder_facts, linear_probes
from ssl_sweep.sweep.store.store import Store


def export_encoder(encoder_id: str, store_uri: str, output: Path) -> str:
    """Writes the encoder's weights to `output` and its card beside it; says where the card is.

    Raises:
        StoreError: no such encoder in the store, it is not finished, or `output` cannot be written.
    """
    store = Store(store_uri)
    with store.survey():
        known = [id for id in store.ids("pretrain") if store.complete("pretrain", id)]
    if encoder_id not in known:
        raise StoreError(
            f"the store has no finished encoder {encoder_id!r}{did_you_mean(encoder_id, known)}",
            hint="the column pretrain_id of `ssl-sweep results` names them",
        )
    from safetensors import SafetensorError

    from ssl_sweep.ssl_core.export import export

    made = store.complete("pretrain", encoder_id)
    assert made is not None
    facts = {"pretrain_id": encoder_id, **encoder_facts(made.spec, made.outputs)}
    with store.survey():
        facts["linear_probes"] = list(linear_probes(store, encoder_id))
    try:
        card = export(store.fetch("pretrain", encoder_id), output, facts)
    except (OSError, ValueError, SafetensorError) as error:
        raise StoreError(f"{output} cannot be written: {error}") from error
    return f"{output} holds the weights, {card} says what they are and how to load them"
