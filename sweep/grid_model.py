"""The grid file as pydantic models. Every axis takes one value or a list; a key left out takes its default.

Models check the shape of single values; what needs names, datasets or other values is checked in `grid.py`
and `expand.py`, so that every problem of a file is found in one pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.json_schema import WithJsonSchema

from data_ops.sources import DigitsSource, FolderSource, ParquetSource, SyntheticSource
from sweep.errors import did_you_mean
from sweep.sizes import Size, parse_size

T = TypeVar("T")
Scalar = str | int | float | bool


class _OneOrMany:
    """Annotation: a single value stands for a list of one; an empty list is refused."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        return handler(Annotated[source, BeforeValidator(_as_tuple)])

    def __get_pydantic_json_schema__(self, schema: Any, handler: Callable[[Any], Any]) -> Any:
        many = {**handler(schema), "minItems": 1}
        return {"anyOf": [many["items"], many]}


def _as_tuple(value: Any) -> Any:
    if value is None or value == [] or value == ():
        raise ValueError("is empty; give at least one value or leave the key out")
    return value if isinstance(value, list | tuple) else (value,)


def _one_of(what: str, names: Callable[[], frozenset[str]]) -> AfterValidator:
    def check(value: str) -> str:
        if value not in names():
            raise ValueError(f"no {what} {value!r}{did_you_mean(value, names())}")
        return value

    return AfterValidator(check)


def _methods() -> frozenset[str]:
    from ssl_core.config import METHODS

    return frozenset(METHODS) | {"random"}


def _encoders() -> frozenset[str]:
    from ssl_core.config import ENCODERS

    return frozenset(ENCODERS)


def _corruption(value: str) -> str:
    from data_ops.corruptions import parse_corruption
    from data_ops.errors import DataError

    try:
        return parse_corruption(value).canonical
    except DataError as error:
        raise ValueError(str(error)) from None


def _pool(value: Any) -> Any:
    if isinstance(value, str | int | float):
        return (str(value),)
    if not isinstance(value, list | tuple) or not value:
        raise ValueError("a domain is a dataset's name, a pool a list of names")
    if len(set(map(str, value))) < len(value):
        raise ValueError("a pool names each dataset once")
    return tuple(sorted(map(str, value)))


_SIZE_SCHEMA = {
    "anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": "^(all|[0-9._]+ ?[kKmM%]?)$"}]
}
Axis = Annotated[tuple[T, ...], _OneOrMany()]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Method = Annotated[str, _one_of("method", _methods)]
Encoder = Annotated[str, _one_of("encoder", _encoders)]
Corruption = Annotated[str, AfterValidator(_corruption)]
Sized = Annotated[Size, BeforeValidator(parse_size), WithJsonSchema(_SIZE_SCHEMA)]
Pool = Annotated[
    tuple[str, ...],
    BeforeValidator(_pool),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
Rule = dict[str, Axis[Scalar]]


class Model(BaseModel):
    """Frozen; unknown keys are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, coerce_numbers_to_str=True
    )


class Dataset(Model):
    """What every dataset entry has."""

    size: int = Field(
        default=32, ge=8, le=1024, description="Side in pixels to which every image is brought."
    )


class SyntheticDataset(Dataset):
    """A procedural domain that ships with the program."""

    source: Literal["synthetic"] = Field(description="Procedurally rendered images.")
    domain: str = Field(description="Name of the procedural domain.")
    train: int = Field(default=4000, ge=1, description="Training images.")
    test: int = Field(default=1000, ge=0, description="Test images.")
    seed: Seed = Field(default=0, description="Another seed is another set of images.")

    def to_source(self) -> SyntheticSource:
        return SyntheticSource(self.domain, self.train, self.test, self.seed, size=self.size)


class DigitsDataset(Dataset):
    """scikit-learn's handwritten digits."""

    source: Literal["digits"] = Field(description="scikit-learn's 1,797 handwritten digits.")
    test_fraction: float = Field(default=0.3, gt=0, lt=1, description="Share held out as test images.")
    seed: Seed = Field(default=0, description="Draw of the test images.")

    def to_source(self) -> DigitsSource:
        return DigitsSource(self.test_fraction, self.seed)


class ParquetDataset(Dataset):
    """Images and labels in Parquet files."""

    source: Literal["parquet"] = Field(description="Encoded images in Parquet, as on the Hugging Face Hub.")
    train: str = Field(description="A file, a folder of *.parquet or a glob. ${VAR} is expanded.")
    test: str | None = Field(default=None, description="The same for the test split.")
    image: str = Field(default="image", description="Column of the encoded images.")
    levels: Axis[str] = Field(default=("label",), description="Label columns, fine to coarse.")
    test_fraction: float | None = Field(
        default=None, gt=0, lt=1, description="Share to hold out where there is no test split."
    )
    seed: Seed = Field(default=0, description="Draw of the held-out images.")

    def to_source(self) -> ParquetSource:
        return ParquetSource(self.train, self.test, self.image, self.levels, self.test_fraction, self.seed)


class FolderDataset(Dataset):
    """Image files in one sub-folder per class."""

    source: Literal["folder"] = Field(description="Image files in one sub-folder per class.")
    train: str = Field(description="The folder. ${VAR} is expanded.")
    test: str | None = Field(default=None, description="The same for the test split.")
    test_fraction: float | None = Field(
        default=None, gt=0, lt=1, description="Share to hold out where there is no test split."
    )
    seed: Seed = Field(default=0, description="Draw of the held-out images.")

    def to_source(self) -> FolderSource:
        return FolderSource(self.train, self.test, self.test_fraction, self.seed)


AnyDataset = Annotated[
    SyntheticDataset | DigitsDataset | ParquetDataset | FolderDataset, Field(discriminator="source")
]
DATASETS: Mapping[str, type[SyntheticDataset | DigitsDataset | ParquetDataset | FolderDataset]] = {
    "synthetic": SyntheticDataset,
    "digits": DigitsDataset,
    "parquet": ParquetDataset,
    "folder": FolderDataset,
}


class PretrainBlock(Model):
    """A product of axes; blocks are united and duplicates fall together."""

    method: Axis[Method] = Field(
        default=("simclr",), description="How the encoder learns; random is the floor."
    )
    domain: Axis[Pool] = Field(default=(), description="Datasets to pretrain on; an inner list is a pool.")
    images: Axis[Sized] = Field(default=(), description="Total images: 500, 50k, 1M, 10%, all.")
    corruption: Axis[Corruption] = Field(
        default=("none",), description="Damage done to the pretraining images."
    )
    subset_seed: Axis[Seed] = Field(default=(0,), description="Draw of the images.")
    seed: Axis[Seed] = Field(
        default=(), description="Initialisation, order and views. Default 0; random: 0, 1, 2."
    )
    encoder: Axis[Encoder] = Field(default=("resnet-demo",), description="Architecture.")
    epochs: Axis[Count] = Field(default=(), description="Passes over the images.")
    batch: Axis[Count] = Field(
        default=(), description="Global batch: images whose views are contrasted together."
    )
    optimizer: Axis[Literal["lars", "sgd"]] = Field(default=(), description="Optimiser.")
    learning_rate: Axis[Positive] = Field(default=(), description="Base rate, before scaling with the batch.")
    lr_scaling: Axis[Literal["linear", "sqrt"]] = Field(
        default=(), description="How the rate grows with the batch."
    )
    warmup_epochs: Axis[NotNegative] = Field(default=(), description="Epochs of linear warm-up.")
    weight_decay: Axis[NotNegative] = Field(default=(), description="Weight decay.")
    temperature: Axis[Positive] = Field(default=(), description="Temperature of the loss.")
    head_layers: Axis[Count] = Field(default=(), description="Layers of the projection head.")
    head_dim: Axis[Count] = Field(default=(), description="Width of the projection.")
    strength: Axis[NotNegative] = Field(
        default=(), description="Strength of the colour jitter; 1 as on ImageNet."
    )
    blur: Axis[bool] = Field(default=(), description="Gaussian blur of the views.")
    view_mode: Axis[Literal["exact", "affine"]] = Field(
        default=(), description="Exact or affine colour operations."
    )
    precision: Axis[Literal["float32", "bfloat16"]] = Field(
        default=(), description="Number format of the training."
    )


class EvaluateBlock(Model):
    """A product of axes, crossed with every pretraining that `match` lets through."""

    domain: Axis[str] = Field(description="Datasets to evaluate on.")
    labels: Axis[Sized] = Field(description="Label budgets: 50, 1k, 10%, all.")
    draw: Axis[Literal["uniform", "stratified"]] = Field(
        default=("uniform",), description="Draw of the budget."
    )
    protocol: Axis[Literal["linear"]] = Field(default=("linear",), description="How features are judged.")
    seed: Axis[Seed] = Field(default=(0,), description="Draw of the budget and of the folds.")
    match: Rule = Field(default={}, description="Only pretrainings whose results columns have these values.")


class Compute(Model):
    """Where and how fast; never part of an identity."""

    workers: Count = Field(default=1, description="Workers of each training.")
    device: Literal["auto", "cpu", "gpu"] = Field(
        default="auto", description="auto takes GPUs where there are any."
    )
    cpus_per_worker: Count | None = Field(
        default=None,
        description="CPU cores a worker; default 1, on GPUs an even part of the cores, at most 8.",
    )
    gpus_per_worker: Positive | None = Field(
        default=None, description="GPUs a worker; default 1 on device gpu."
    )
    backend: Literal["auto", "torch", "dali"] = Field(default="auto", description="What renders the views.")
    mode: Literal["auto", "workers", "in-process"] = Field(
        default="auto",
        description="Ray Train's worker processes, or the training inside its task for short ones.",
    )
    checkpoint_every_s: Positive = Field(default=30.0, description="Seconds between checkpoints.")


class Outline(Model):
    """The sections of a grid file, before their entries are checked one by one."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="Name of the sweep.")
    datasets: dict[str, Any] = Field(min_length=1, description="Name → where images come from.")
    pretrain: Axis[Any] = Field(description="Blocks of encoders to make; they are united.")
    evaluate: Axis[Any] = Field(description="Blocks of evaluations.")
    exclude: tuple[Any, ...] = Field(
        default=(),
        description="Rules over results columns; a cell that fits all of a rule's values is left out.",
    )
    compute: Any = Field(default=Compute(), description="Resources; they change no result's identity.")


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
    """Without `"default": []`: that is how the models write "not given", and no valid value."""
    if isinstance(value, dict):
        return {key: _tidy(item) for key, item in value.items() if not (key == "default" and item == [])}
    return [_tidy(item) for item in value] if isinstance(value, list) else value
