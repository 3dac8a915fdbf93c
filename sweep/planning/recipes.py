"""From the keys of a block to the fields of a config: settings, view policies, fine-tuning schedules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import product
from typing import Any

from ssl_sweep.data_ops.errors import DataError
from ssl_sweep.data_ops.views.named_policies import Mode
from ssl_sweep.data_ops.views.policy import simclr_policy
from ssl_sweep.ssl_core.config.checks import FieldError
from ssl_sweep.ssl_core.config.finetune import FinetuneConfig, default_finetune, reference_epochs
from ssl_sweep.ssl_core.config.pretrain import PretrainConfig, default_config
from ssl_sweep.ssl_core.config.probe import C_PATHS, KnnConfig, ProbeConfig
from ssl_sweep.ssl_core.config.registry import TWO_VIEWS, looks_at
from ssl_sweep.sweep.grid.schema import EvaluateBlock, PretrainBlock
from ssl_sweep.sweep.grid.views import ViewChoice

SETTINGS = tuple(
    name
    for name in PretrainConfig.__dataclass_fields__
    if name in PretrainBlock.model_fields and name not in ("method", "encoder", "seed", "views", "weights")
)
"""The fields of a config that are keys of a pretrain block as they are, each with a column of its name."""
DEFAULT_KNN = KnnConfig()
VIEWS = ("strength", "blur", "view_mode", "views")


def settings_of(block: PretrainBlock) -> Iterator[tuple[tuple[str, Any], ...]]:
    """The product of the given settings. The others keep the preset's value."""
    given = [name for name in (*SETTINGS, *VIEWS) if getattr(block, name)]
    for values in product(*(getattr(block, name) for name in given)):
        choice = dict(zip(given, values, strict=True))
        if choice.get("steps") and block.epochs and choice["epochs"] != block.epochs[0]:
            continue  # steps replace the epochs, so that several epochs are one choice
        yield tuple(choice.items())


def configured(
    method: str, encoder: str, size: int, seed: int, settings: Mapping[str, Any]
) -> PretrainConfig:
    """The preset with the settings that the method uses.

    Settings that the method does not use keep their defaults, so that equal trainings have one id.

    Raises:
        FieldError: the config or its views cannot be made.
    """
    views = {name: value for name, value in settings.items() if name in VIEWS}
    used = {name: value for name, value in settings.items() if name not in VIEWS and looks_at(method, name)}
    config = default_config(encoder, size, method=method, seed=seed, **used)
    if views:
        try:
            config = replace(config, **view_fields(config, **views))
        except DataError as error:
            raise FieldError("views" if "views" in views else "strength", str(error)) from error
    if config.head_layers == 0:  # without a head its width means nothing
        config = replace(config, head_dim=default_config(encoder, size, method=method).head_dim)
    if config.views2 == config.views:
        config = replace(config, views2=None)
    config = one_schedule(config)
    return config if config.optimizer == "lars" else replace(config, lars_form="official")


def one_schedule(config: PretrainConfig) -> PretrainConfig:
    """The config with 100 epochs if it counts in steps: then only the share of the warm-up matters."""
    if not config.steps or config.epochs == PretrainConfig.epochs:
        return config
    share = config.warmup_epochs / config.epochs
    return replace(config, epochs=PretrainConfig.epochs, warmup_epochs=share * PretrainConfig.epochs)


def bounded_queue(config: PretrainConfig, images: int) -> PretrainConfig:
    """The config without a queue that is longer than the images; the default queue is never longer."""
    return replace(config, queue=0) if config.queue > images else config


def view_fields(
    preset: PretrainConfig,
    view_mode: Mode = "exact",
    views: ViewChoice | None = None,
    strength: float | None = None,
    blur: bool | None = None,
) -> dict[str, Any]:
    """``views`` and ``views2`` of a config.

    Args:
        preset: The config of the method.
        view_mode: Mode of any policy.
        views: Policies that replace SimCLR's.
        strength: Strength of SimCLR's colour jitter.
        blur: Whether SimCLR's policy blurs.

    Raises:
        FieldError: ``views`` is given with ``strength`` or ``blur``, or with too many policies for the
            method.
    """
    size = preset.image_size
    if views is None and strength is None and blur is None:
        second = replace(preset.views2, mode=view_mode) if preset.views2 else None
        return {"views": replace(preset.views, mode=view_mode), "views2": second}
    if views is None:
        return {"views": simclr_policy(size, strength, blur, view_mode), "views2": None}
    if strength is not None or blur is not None:
        raise FieldError("views", "views: they set strength and blur; remove the keys strength and blur")
    policies = views.policies(size, view_mode)
    two = preset.method in TWO_VIEWS or preset.method_version  # an added method checks this when it trains
    if len(policies) > (2 if two else 1):
        raise FieldError(
            "views", f"views: {len(policies)} policies, but {preset.method} has one view; give one policy"
        )
    return {"views": policies[0], "views2": policies[1] if len(policies) > 1 else None}


Recipe = ProbeConfig | KnnConfig | FinetuneConfig


def recipes_of(block: EvaluateBlock, encoder: PretrainConfig, labels: int, available: int) -> list[Recipe]:
    """The recipes of the block's protocols for ``labels`` of the ``available`` labelled images.

    Each has only the settings of its own protocol.
    """
    recipes: list[Recipe] = []
    for protocol in block.protocol:
        match protocol:
            case "linear":
                recipes += [_linear(path) for path in block.c_path]
            case "knn":
                ks, temperatures = block.knn_k or (DEFAULT_KNN.k,), block.knn_temperature
                temperatures = temperatures or (DEFAULT_KNN.temperature,)
                recipes += [_neighbours(k, t) for k, t in product(ks, temperatures)]
            case "fine-tune":
                recipes += finetunings_of(block, encoder, labels, available)
    return recipes


# Each recipe is one object, so that its part of an identity is computed once.


@lru_cache(maxsize=1024)
def _linear(path: str) -> ProbeConfig:
    return ProbeConfig(cs=C_PATHS[path])


@lru_cache(maxsize=1024, typed=True)
def _neighbours(k: int, temperature: float) -> KnnConfig:
    return KnnConfig(k=k, temperature=temperature)


def finetunings_of(
    block: EvaluateBlock, encoder: PretrainConfig, labels: int, available: int
) -> list[FinetuneConfig]:
    """The fine-tuning recipes of the block for ``labels`` of the ``available`` labelled images.

    They train for the preset's constant steps, for the published epochs, or for given steps or epochs.
    """
    epochs = list(block.finetune_epochs)
    if "reference" in block.finetune_schedule:
        epochs.append(reference_epochs(labels, available, encoder.method == "random"))
    given = [(steps, 0) for steps in block.finetune_steps] + [(0, count) for count in epochs]
    if "constant-steps" in block.finetune_schedule or not given:
        given.append((0, 0))
    return [_finetuning(encoder.encoder, encoder.image_size, *schedule) for schedule in given]


@lru_cache(maxsize=1024)
def _finetuning(encoder: str, size: int, steps: int, epochs: int) -> FinetuneConfig:
    """The preset, with ``steps`` or ``epochs`` if one of them is not 0."""
    schedule = {"steps": steps, "epochs": epochs} if steps or epochs else {}
    return default_finetune(encoder, size, **schedule)
