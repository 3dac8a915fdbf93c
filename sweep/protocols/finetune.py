"""Protocol ``fine-tune``: the encoder and a classifier are trained end to end, in the stage ``finetune``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from ssl_sweep.data_ops.sources.options import MOST_IMAGES
from ssl_sweep.ssl_core.config.finetune import FinetuneConfig, default_finetune, reference_epochs
from ssl_sweep.sweep.protocols.base import Asked, EvaluationProtocol, Key
from ssl_sweep.sweep.spec.columns import Column

_Count = Annotated[int, Field(ge=1, le=MOST_IMAGES)]


@lru_cache(maxsize=1024)
def _config(encoder: str, size: int, steps: int, epochs: int) -> FinetuneConfig:
    """The preset, with ``steps`` or ``epochs`` if one of them is not 0."""
    schedule = {"steps": steps, "epochs": epochs} if steps or epochs else {}
    return default_finetune(encoder, size, **schedule)


class FineTune(EvaluationProtocol[FinetuneConfig]):
    """See ``ssl_core.evaluation.finetune`` and ``stages.finetune``."""

    name = "fine-tune"
    about = "the encoder is trained further, end to end; with method random this is training from scratch"
    config = FinetuneConfig
    keys: ClassVar[Mapping[str, Key]] = {
        "finetune_schedule": Key(
            Literal["constant-steps", "reference"],
            "constant-steps: the preset's steps, the same for every label budget. reference: SimCLR's"
            " epochs: 60 up to 1 % of the labels, else 30; 90 from scratch. Default: constant-steps, unless"
            " steps or epochs are given.",
        ),
        "finetune_steps": Key(
            _Count, "Steps of a fine-tuning, the same for every label budget. Default: the preset's."
        ),
        "finetune_epochs": Key(
            _Count, "Epochs of a fine-tuning, instead of steps; fewer labels then take fewer steps."
        ),
    }
    columns = (
        Column("finetune_steps", int, lambda f: f.steps or None, of="fine-tune"),
        Column("finetune_epochs", int, lambda f: None if f.steps else f.epochs, of="fine-tune"),
    )
    trains = True

    def configs(self, given: Mapping[str, tuple[Any, ...]], asked: Asked) -> list[FinetuneConfig]:
        """They train for the preset's constant steps, for the published epochs, or for given steps or
        epochs."""
        encoder, epochs = asked.encoder, list(given["finetune_epochs"])
        if "reference" in given["finetune_schedule"]:
            scratch = encoder.method == "random"
            epochs.append(reference_epochs(asked.labels, asked.available, scratch))
        schedules = [(steps, 0) for steps in given["finetune_steps"]] + [(0, count) for count in epochs]
        if "constant-steps" in given["finetune_schedule"] or not schedules:
            schedules.append((0, 0))
        return [_config(encoder.encoder, encoder.image_size, *schedule) for schedule in schedules]


PROTOCOL = FineTune()
