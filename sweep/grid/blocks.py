"""Problems of a block whose keys are valid one by one, but do not belong together."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ssl_sweep.ssl_core.config.registry import UNTRAINED, USED_BY, looks_at
from ssl_sweep.sweep.errors import Located
from ssl_sweep.sweep.grid.marked_yaml import KeyPath, YamlSource
from ssl_sweep.sweep.grid.overrides import NOT_FOR_RANDOM
from ssl_sweep.sweep.grid.schema import EvaluateBlock, PretrainBlock
from ssl_sweep.sweep.grid.validation import path_text
from ssl_sweep.sweep.protocols import PROTOCOLS


def training_problems(
    block: PretrainBlock, path: KeyPath, doubtful: Collection[str], source: YamlSource
) -> Iterator[Located]:
    """Keys that a training needs and the block lacks, and keys that none of its methods uses.

    Args:
        doubtful: keys of the block that have a problem already.
    """
    given = block.model_fields_set
    if "method" in doubtful:
        return
    methods = ", ".join(block.method)
    if "weights" in block.method and not block.weights and "weights" not in doubtful:
        message = f"{path_text(path)} needs the key 'weights': a file, or a name of torchvision's"
        yield source.problem(path, message, key=True)
    if "weights" in given and "weights" not in block.method:
        message = f"weights: not used by {methods}; use method: weights, or remove weights"
        yield source.problem((*path, "weights"), message, key=True)
    if set(block.method) <= UNTRAINED:
        random = "random" in block.method
        for key in sorted((NOT_FOR_RANDOM if random else NOT_FOR_RANDOM | {"seed"}) & given):
            user = "a random encoder" if random else "an encoder with given weights"
            message = f"{key}: not used by {user}; put this method in a separate block without {key}"
            yield source.problem((*path, key), message, key=True)
        return
    counted = bool(block.domain) and all(pool.counted for pool in block.domain)
    if counted and "images" in given:
        message = "images: the pools of this block already have sizes; remove images"
        yield source.problem((*path, "images"), message, key=True)
    for key, users in USED_BY.items():
        if key in given and not any(looks_at(method, key) for method in block.method):
            message = f"{key}: not used by {methods}, only by {', '.join(sorted(users))}"
            yield source.problem((*path, key), message, key=True)
    for key in ("domain",) if counted else ("domain", "images"):
        if key not in given and key not in doubtful:
            yield source.problem(path, f"{path_text(path)} needs the key {key!r}", key=True)


def protocol_problems(
    block: EvaluateBlock, path: KeyPath, doubtful: Collection[str], source: YamlSource
) -> Iterator[Located]:
    """Settings of a protocol that the block does not have, so they would have no effect."""
    if "protocol" in doubtful:
        return
    users = {key: [name] for name, protocol in PROTOCOLS.items() for key in protocol.keys}
    users["representation"] = [name for name, protocol in PROTOCOLS.items() if not protocol.trains]
    for key in sorted(users.keys() & block.model_fields_set.difference(doubtful)):
        if not set(users[key]) & set(block.protocol):
            wanted = " or ".join(users[key])
            message = f"{key}: only used by protocol {wanted}; add protocol: {wanted}, or remove {key}"
            yield source.problem((*path, key), message, key=True)
