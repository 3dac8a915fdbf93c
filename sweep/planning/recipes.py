"""From the keys of a block to the fields of a config: settings, view policies, fine-tuning schedules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import product
from typing import Any

from ssl_sweep.data_ops.views.named_policies import Mode
from ssl_sweep.data_ops.views.policy import simclr_policy
from ssl_sweep.ssl_core.config.finetune import FinetuneConfig, default_finetune, reference_epochs
from ssl_sweep.ssl_core.config.pretrain import PretrainConfig, default_config
from ssl_sweep.ssl_core.config.probe import C_PATHS, KnnConfig, ProbeConfig
from ssl_sweep.ssl_core.config.registry import TWO_VIEWS, looks_at
from ssl_sweep.sweep.grid.schema import EvaluateBlock, PretrainBlock
from ssl_sweep.sweep.grid.views import ViewChoice
from ssl_sweep.sweep.planning.cells import LATER_SETTINGS, RECIPE

SETTINGS = (
    "epochs",
    "batch",
    *RECIPE,
    "precision",
    *(name for name in LATER_SETTINGS if name != "weights"),
)
DEFAULT_KNN = KnnConfig()
VIEWS = ("strength", "blur", "view_mode", "views")


def settings_of(block: PretrainBlock) -> Iterator[tuple[tuple[str, Any], ...]]:
    """The product of the given settings; those left out keep the preset's value."""
    given = [name for name in (*SETTINGS, *VIEWS) if getattr(block, name)]
    for values in product(*(getattr(block, name) for name in given)):
        yield tuple(zip(given, values, strict=True))


def configured(
    method: str, encoder: str, size: int, seed: int, settings: Mapping[str, Any]
) -> PretrainConfig:
    """The preset with the settings that the method looks at; the others are left at their defaults, so that
    trainings that differ in nothing are one. ValueError or DataError as for the config and its views."""
    views = {name: value for name, value in settings.items() if name in VIEWS}
    used = {name: value for name, value in settings.items() if name not in VIEWS and looks_at(method, name)}
    config = default_config(encoder, size, method=method, seed=seed, **used)
    if views:
        config = replace(config, **view_fields(config, **views))
    if config.head_layers == 0:  # no head, and so no width of it
        config = replace(config, head_dim=default_config(encoder, size, method=method).head_dim)
    if config.views2 == config.views:
        config = replace(config, views2=None)
    return config if config.optimizer == "lars" else replace(config, lars_form="official")


def bounded_queue(config: PretrainConfig, images: int) -> PretrainConfig:
    """A preset's queue that is longer than the images gives way to the default one, which ends with them."""
    return replace(config, queue=0) if config.queue > images else config


def view_fields(
    preset: PretrainConfig,
    view_mode: Mode = "exact",
    views: ViewChoice | None = None,
    strength: float | None = None,
    blur: bool | None = None,
) -> dict[str, Any]:
    """`views` and `views2` of a config; strength and blur are those of SimCLR's policy, the mode is any
    policy's. ValueError where a policy of its own meets SimCLR's settings, or a method takes one view."""
    size = preset.image_size
    if views is None and strength is None and blur is None:
        second = replace(preset.views2, mode=view_mode) if preset.views2 else None
        return {"views": replace(preset.views, mode=view_mode), "views2": second}
    if views is None:
        return {"views": simclr_policy(size, strength, blur, view_mode), "views2": None}
    if strength is not None or blur is not None:
        raise ValueError("views: it says strength and blur itself; leave the keys strength and blur out")
    policies = views.policies(size, view_mode)
    two = preset.method in TWO_VIEWS or preset.method_version  # an added method says so when it trains
    if len(policies) > (2 if two else 1):
        raise ValueError(f"views: {len(policies)} policies, and {preset.method} has fewer views; give one")
    return {"views": policies[0], "views2": policies[1] if len(policies) > 1 else None}


Recipe = ProbeConfig | KnnConfig | FinetuneConfig


def recipes_of(block: EvaluateBlock, encoder: PretrainConfig, labels: int, available: int) -> list[Recipe]:
    """What the block's protocols do with `labels` of the `available` labelled images, each with its own
    settings only."""
    recipes: list[Recipe] = []
    for protocol in block.protocol:
        match protocol:
            case "linear":
                recipes += [ProbeConfig(cs=C_PATHS[path]) for path in block.c_path]
            case "knn":
                ks, temperatures = block.knn_k or (DEFAULT_KNN.k,), block.knn_temperature
                temperatures = temperatures or (DEFAULT_KNN.temperature,)
                recipes += [KnnConfig(k=k, temperature=t) for k, t in product(ks, temperatures)]
            case "fine-tune":
                recipes += finetunings_of(block, encoder, labels, available)
    return recipes


def finetunings_of(
    block: EvaluateBlock, encoder: PretrainConfig, labels: int, available: int
) -> list[FinetuneConfig]:
    """The recipes of the block for an encoder and `labels` of the `available` labelled images: the preset's
    constant steps, the published epochs, or given steps or epochs. Those that come to the same are one."""
    epochs = list(block.finetune_epochs)
    if "reference" in block.finetune_schedule:
        epochs.append(reference_epochs(labels, available, encoder.method == "random"))
    given = [(steps, 0) for steps in block.finetune_steps] + [(0, count) for count in epochs]
    if "constant-steps" in block.finetune_schedule or not given:
        given.append((0, 0))
    return [_finetuning(encoder.encoder, encoder.image_size, *schedule) for schedule in given]


@lru_cache(maxsize=1024)
def _finetuning(encoder: str, size: int, steps: int, epochs: int) -> FinetuneConfig:
    """The preset where neither steps nor epochs are given."""
    schedule = {"steps": steps, "epochs": epochs} if steps or epochs else {}
    return default_finetune(encoder, size, **schedule)
