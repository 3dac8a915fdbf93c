"""The grid file as pydantic models. Every axis takes one value or a list; a missing key takes its default.

Models check single values. Checks that need names, datasets or other values are in ``grid.load``,
``grid.blocks`` and ``planning.expand``, so that one pass finds every problem of a file.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, create_model
from pydantic.json_schema import WithJsonSchema

from ssl_sweep.data_ops.views.named_policies import POLICIES
from ssl_sweep.ssl_core.config.registry import ENCODERS, FEATURES, METHODS
from ssl_sweep.ssl_core.config.training import TrainingOptions
from ssl_sweep.sweep.errors import did_you_mean
from ssl_sweep.sweep.grid.axes import Axis, Model, Scalar, Seed
from ssl_sweep.sweep.grid.datasets import AnyDataset
from ssl_sweep.sweep.grid.pools import Pool, parse_pool
from ssl_sweep.sweep.grid.sizes import MAX_COUNT, Size, parse_size
from ssl_sweep.sweep.grid.views import ViewChoice, parse_views
from ssl_sweep.sweep.protocols import PROTOCOLS

if TYPE_CHECKING:
    from ssl_sweep.ssl_core.config.plugins import Kind


def _registered(kind: Kind, built_in: Collection[str]) -> AfterValidator:
    def check(value: str) -> str:
        if value not in built_in:
            # Only a name that is not built in needs a look at the plugins
            from ssl_sweep.ssl_core.config.plugins import added, names

            known = names(kind)
            if value not in known:
                refused = added(kind).refused.get(value)
                raise ValueError(refused or f"no {kind} {value!r}{did_you_mean(value, known)}")
        return value

    return AfterValidator(check)


def _corruption(value: str) -> str:
    from ssl_sweep.data_ops.dataset.corruptions import parse_corruption
    from ssl_sweep.data_ops.errors import DataError

    try:
        return parse_corruption(value).canonical
    except DataError as error:
        raise ValueError(str(error)) from None


_SIZE_SCHEMA = {
    "anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": "^(all|[0-9._]+ ?[kKmM%]?)$"}]
}
Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Method = Annotated[str, _registered("method", METHODS)]
Encoder = Annotated[str, _registered("encoder", ENCODERS)]
Corruption = Annotated[str, AfterValidator(_corruption)]
Sized = Annotated[Size, BeforeValidator(parse_size), WithJsonSchema(_SIZE_SCHEMA)]
_POOL_SCHEMA = {
    "anyOf": [
        {"type": "string"},
        {"type": "array", "items": {"type": "string"}},
        {"type": "object", "additionalProperties": _SIZE_SCHEMA},
    ]
}
Pooled = Annotated[Pool, BeforeValidator(parse_pool), WithJsonSchema(_POOL_SCHEMA)]
_VIEWS_SCHEMA = {"anyOf": [{"enum": list(POLICIES)}, {"type": "object"}, {"type": "array"}]}
Viewed = Annotated[ViewChoice, BeforeValidator(parse_views), WithJsonSchema(_VIEWS_SCHEMA)]
HEADS = ("none", "linear", "mlp2", "mlp3")
_HEAD_SCHEMA = {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 3}, {"enum": list(HEADS)}]}
HeadLayers = Annotated[
    int,
    Field(ge=0, le=3),
    BeforeValidator(lambda value: HEADS.index(value) if value in HEADS else value),
    WithJsonSchema(_HEAD_SCHEMA),
]
Draw = Literal["uniform", "stratified"]
Imbalance = Annotated[float, Field(ge=1, allow_inf_nan=False)]
Rule = dict[str, Axis[Scalar]]


def _one_set(value: Any) -> Any:
    """Put a single set of rules into a list of sets."""
    single = isinstance(value, list) and value and all(isinstance(item, dict) for item in value)
    return [value] if single else value


def _two_or_more(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    if len(rules) < 2:
        raise ValueError("joins two or more encoders; give one rule for each")
    return rules


FusedRules = Annotated[tuple[Rule, ...], AfterValidator(_two_or_more)]


class PretrainBlock(Model):
    """A product of axes. All blocks are joined, and duplicates count once."""

    method: Axis[Method] = Field(
        default=("simclr",), description="Pretraining method; random, an untrained encoder, is the baseline."
    )
    domain: Axis[Pooled] = Field(
        default=(),
        description="Datasets to pretrain on. An inner list is a pool with equal shares, an inner mapping a"
        " pool with given shares (75%) or sizes (250k).",
    )
    images: Axis[Sized] = Field(default=(), description="Total number of images: 500, 50k, 1M, 10%, all.")
    corruption: Axis[Corruption] = Field(
        default=("none",), description="Corruption of the pretraining images."
    )
    subset_seed: Axis[Seed] = Field(default=(0,), description="Seed of the draw of the images.")
    draw: Axis[Draw] = Field(
        default=("uniform",), description="How the images are drawn: uniformly or by class."
    )
    imbalance: Axis[Imbalance] = Field(
        default=(1.0,),
        description="Long tail: the largest class of the subset is this many times the smallest.",
    )
    seed: Axis[Seed] = Field(
        default=(), description="Seed of initialisation, order and views. Default: 0; for random: 0, 1, 2."
    )
    encoder: Axis[Encoder] = Field(default=("resnet-demo",), description="Architecture.")
    epochs: Axis[Count] = Field(default=(), description="Number of passes over the images.")
    batch: Axis[Count] = Field(
        default=(), description="Global batch size: number of images whose views are contrasted together."
    )
    optimizer: Axis[Literal["lars", "sgd", "adamw"]] = Field(default=(), description="Optimiser.")
    learning_rate: Axis[Positive] = Field(
        default=(), description="Base learning rate, before scaling with the batch."
    )
    lr_scaling: Axis[Literal["linear", "sqrt"]] = Field(
        default=(), description="How the learning rate grows with the batch."
    )
    warmup_epochs: Axis[NotNegative] = Field(default=(), description="Epochs of linear warm-up.")
    weight_decay: Axis[NotNegative] = Field(default=(), description="Weight decay.")
    temperature: Axis[Positive] = Field(default=(), description="Temperature of the loss.")
    head_layers: Axis[HeadLayers] = Field(
        default=(),
        description="Number of layers of the projection head: 0 to 3, or none, linear, mlp2, mlp3.",
    )
    head_dim: Axis[Count] = Field(default=(), description="Width of the projection.")
    strength: Axis[NotNegative] = Field(
        default=(), description="Strength of the colour jitter; 1 is SimCLR's strength on ImageNet."
    )
    blur: Axis[bool] = Field(default=(), description="Gaussian blur of the views.")
    views: Axis[Viewed] = Field(
        default=(),
        description="View policy: a name (simclr, moco-v2, byol, crop, colour, …), a mapping of fields, or"
        " a list with one of these for each view. Default: simclr's policy for the image size.",
    )
    view_mode: Axis[Literal["exact", "affine"]] = Field(
        default=(), description="Exact or affine colour operations."
    )
    steps: Axis[Annotated[int, Field(ge=0, le=MAX_COUNT)]] = Field(
        default=(), description="Number of optimisation steps, used instead of epochs; 0 uses epochs."
    )
    momentum: Axis[NotNegative] = Field(default=(), description="Momentum of the optimiser.")
    momentum_encoder: Axis[NotNegative] = Field(
        default=(), description="Share of MoCo's and BYOL's momentum encoder that a step keeps."
    )
    queue: Axis[Annotated[int, Field(ge=0, le=MAX_COUNT)]] = Field(
        default=(),
        description="Number of images in MoCo's queue; a multiple of the batch, or 0 for the default.",
    )
    predictor_dim: Axis[Annotated[int, Field(ge=0, le=MAX_COUNT)]] = Field(
        default=(), description="Width of BYOL's hidden layers; 0 for the default."
    )
    grad_clip: Axis[NotNegative] = Field(
        default=(), description="Largest allowed norm of the gradient; 0 for no limit."
    )
    lars_form: Axis[Literal["official", "you2017"]] = Field(
        default=(),
        description="Trust ratio of LARS: as in SimCLR's code (official), or as published (you2017).",
    )
    weights: Axis[str] = Field(
        default=(),
        description="For method weights: a file (.pt, .ckpt, .safetensors), or a name of torchvision's.",
    )
    precision: Axis[Literal["float32", "bfloat16"]] = Field(
        default=(), description="Number format of the training."
    )


class _Evaluate(Model):
    """A product of axes, crossed with every pretraining that ``match`` selects."""

    domain: Axis[str] = Field(description="Datasets to evaluate on.")
    labels: Axis[Sized] = Field(description="Label budgets: 50, 1k, 10%, all.")
    draw: Axis[Draw] = Field(
        default=("uniform",), description="How the label budget is drawn: uniformly or by class."
    )
    imbalance: Axis[Imbalance] = Field(
        default=(1.0,),
        description="Long tail: the largest class of the label budget is this many times the smallest.",
    )
    corruption: Axis[Corruption] = Field(
        default=("none",),
        description="Corruption of the test images; the labelled training images stay clean.",
    )
    protocol: Axis[str] = ("linear",)
    representation: Axis[str] = Field(
        default=(FEATURES,),
        description="Features that a protocol reads: h (before the projection head), g(h) (after it), or the"
        " output of a block (layer3).",
    )
    train_level: Axis[str] = Field(
        default=("finest",),
        description="Label level that is learnt; predictions are mapped up to test coarser levels. each: one"
        " classifier for every level.",
    )
    fuse: Annotated[Axis[FusedRules], BeforeValidator(_one_set)] = Field(
        default=(),
        description="Join features of several encoders: each entry is a list of rules over results columns,"
        " one for each encoder.",
    )
    seed: Axis[Seed] = Field(
        default=(0,), description="Seed of the draws of the label budget and of the folds."
    )
    match: Rule = Field(
        default={}, description="Use only pretrainings whose results columns have these values."
    )


def _with_protocols(base: type[_Evaluate]) -> type[_Evaluate]:
    """The model with the keys that the protocols declare."""
    about = " ".join(f"{found.name}: {found.about}." for found in PROTOCOLS.values())
    names: Any = Literal.__getitem__(tuple(PROTOCOLS))
    axis: Any = Axis
    keys: dict[str, Any] = {"protocol": (axis[names], Field(default=("linear",), description=about))}
    for protocol in PROTOCOLS.values():
        for name, key in protocol.keys.items():
            keys[name] = (axis[key.kind], Field(default=key.default, description=key.about))
    return create_model("EvaluateBlock", __base__=base, __module__=__name__, __doc__=base.__doc__, **keys)


if TYPE_CHECKING:
    EvaluateBlock = _Evaluate
else:
    EvaluateBlock = _with_protocols(_Evaluate)


class Compute(Model):
    """Resources of a run. They are never part of an identity."""

    workers: Count = Field(default=1, description="Number of workers of each training.")
    min_workers: Count | None = Field(
        default=None,
        description="Number of workers with which a training may start or continue if there is no room for"
        " all. They share the same batch, so the result is the same. Default: all.",
    )
    placement: Literal["pack", "spread"] = Field(
        default="pack",
        description="Put the workers of one training on few nodes (pack), or each on its own node if possible"
        " (spread).",
    )
    device: Literal["auto", "cpu", "gpu"] = Field(
        default="auto", description="auto uses GPUs if there are any."
    )
    probe_device: Literal["cpu", "gpu"] = Field(
        default="cpu",
        description="Device that fits linear probes; gpu is faster from about 100,000 labels.",
    )
    cpus_per_worker: Count | None = Field(
        default=None,
        description="CPU cores for each worker. Default: 1; on GPUs an equal share of the cores, at most 8.",
    )
    gpus_per_worker: Positive | None = Field(
        default=None, description="GPUs for each worker. Default: 1 on device gpu."
    )
    backend: Literal["auto", "torch", "dali"] = Field(
        default="auto", description="Software that renders the views."
    )
    mode: Literal["auto", "workers", "in-process"] = Field(
        default="auto",
        description="Run a training in worker processes of Ray Train (workers), or inside its task"
        " (in-process), which suits short ones. auto chooses.",
    )
    checkpoint_every_s: Positive = Field(default=30.0, description="Seconds between checkpoints.")
    checkpoint_every_steps: Annotated[int, Field(ge=0, le=MAX_COUNT)] = Field(
        default=0,
        description="Steps between checkpoints, in addition to the seconds; 0 uses only the seconds.",
    )
    activation_checkpointing: bool = Field(
        default=False, description="Compute activations twice: less memory, more time, the same result."
    )
    compile: bool = Field(
        default=False, description="Use torch.compile; its warm-up counts as training time."
    )
    cuda_graph: bool = Field(
        default=False,
        description="On a GPU, record forward and backward pass once as a CUDA graph and replay it. For one"
        " worker, and for methods that draw no random numbers in a step.",
    )
    resident_images: bool = Field(
        default=True,
        description="Keep all training images on the GPU if they have at most 64 pixels a side and take up to"
        " a quarter of its free memory.",
    )
    loss_lag: Annotated[int, Field(ge=0, le=MAX_COUNT)] = Field(
        default=2,
        description="Steps that a GPU may be behind when a loss is read; 0 waits for every step.",
    )
    hardware: str = Field(
        default="",
        description="Name of the GPU or processor for which `plan` estimates, such as NVIDIA H200. Default:"
        " that of this machine.",
    )
    price_per_hour: NotNegative | None = Field(
        default=None, description="Price of one GPU for one hour; without GPUs, of one CPU core."
    )
    hang_after_s: Positive = Field(
        default=900.0,
        description="Seconds without a step after which a training counts as hung. It is stopped, and resumes"
        " once from its checkpoint. Before the first step, at least 600 seconds.",
    )
    grace_s: Positive = Field(
        default=25.0,
        description="Seconds that running work has to stop after Ctrl-C or SIGTERM; then it is dropped.",
    )
    log_models: bool = Field(
        default=False, description="Also log every encoder as an MLflow model; takes a few seconds each."
    )
    watch_knn: bool = Field(
        default=False,
        description="After each epoch, log the nearest-neighbour accuracy on 384 labelled images that are"
        " not used for training; nothing without such images.",
    )

    @property
    def training(self) -> TrainingOptions:
        """The keys that say how each training runs."""
        return TrainingOptions(**{field.name: getattr(self, field.name) for field in fields(TrainingOptions)})


class Outline(Model):
    """The sections of a grid file, whose entries are then checked one by one."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="Name of the sweep.")
    datasets: dict[str, Any] = Field(min_length=1, description="Name → source of images.")
    pretrain: Axis[Any] = Field(description="Blocks of encoders to train; all blocks are joined.")
    evaluate: Axis[Any] = Field(description="Blocks of evaluations.")
    exclude: tuple[Any, ...] = Field(
        default=(),
        description="Rules over results columns; a cell that matches all values of a rule is excluded.",
    )
    leakage: Literal["drop", "report"] = Field(
        default="drop",
        description="What to do with training images that are also test images of an evaluation. drop:"
        " exclude them from pretraining, and from label budgets if they are test images of the same dataset."
        " report: only count them.",
    )
    compute: Any = Field(
        default=Compute(), description="Resources of a run; they never change a result's identity."
    )


def _field(name: str) -> Any:
    """The default and the description of a section."""
    section = Outline.model_fields[name]
    return Field(default=section.default, description=section.description)


class GridModel(Outline):
    """A sweep: datasets, pretrainings and evaluations."""

    datasets: dict[str, AnyDataset] = _field("datasets")
    pretrain: Axis[PretrainBlock] = _field("pretrain")
    evaluate: Axis[EvaluateBlock] = _field("evaluate")
    exclude: tuple[Rule, ...] = _field("exclude")
    compute: Compute = _field("compute")


def grid_schema() -> dict[str, Any]:
    """The JSON Schema of a grid file."""
    schema: dict[str, Any] = _tidy(GridModel.model_json_schema())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "ssl-sweep grid"}


def _tidy(value: Any) -> Any:
    """``value`` without ``"default": []``, which the models use for "not given" but which is not valid."""
    if isinstance(value, dict):
        return {key: _tidy(item) for key, item in value.items() if not (key == "default" and item == [])}
    return [_tidy(item) for item in value] if isinstance(value, list) else value
