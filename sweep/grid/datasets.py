"""The entries of ``datasets:`` in a grid file, derived from the sources: a field of a source is a key."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Union, get_type_hints

from pydantic import Field, create_model

from ssl_sweep.data_ops.sources.options import MOST_IMAGES, UserImages
from ssl_sweep.data_ops.sources.registry import SOURCES, Source
from ssl_sweep.sweep.grid.axes import Axis, Model


class Dataset(Model):
    """The keys of every dataset."""

    kind: ClassVar[type[Source]]
    """The source that the entry describes."""
    paths: ClassVar[tuple[str, ...]] = ()
    """The keys that hold paths."""
    if TYPE_CHECKING:
        source: str
    size: int = Field(
        default=32, ge=8, le=1024, description="Side in pixels to which every image is resized."
    )

    def to_source(self) -> Source:
        """The source, with the values of the fields that have its names."""
        names = [field.name for field in dataclasses.fields(self.kind)]
        return self.kind(**{name: getattr(self, name) for name in names})


class Expected(Model):
    """The sizes of a dataset whose images are not on this machine."""

    train: int = Field(ge=1, le=MOST_IMAGES, description="Training images.")
    test: int = Field(default=0, ge=0, le=MOST_IMAGES, description="Test images.")


class UserDataset(Dataset):
    """The keys of datasets with images on disk."""

    expect: Expected | None = Field(
        default=None,
        description="Sizes that `plan` assumes if the images are not on this machine; `run` needs the"
        " images.",
    )


def dataset_model(name: str, kind: type[Source]) -> type[Dataset]:
    """The grid's model of a source: its keys are the source's fields.

    Args:
        name: The value of the key ``source``.
        kind: A dataclass whose fields were declared with ``options.option``.
    """
    base = UserDataset if issubclass(kind, UserImages) else Dataset
    about = " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split())
    keys: dict[str, Any] = {"source": (Literal[name], Field(description=about))}
    types = get_type_hints(kind)
    fields = [field for field in dataclasses.fields(kind) if field.name not in base.model_fields]
    for field in fields:
        required = field.default is dataclasses.MISSING
        keys[field.name] = (
            _key_type(types[field.name]),
            Field(
                default=... if required else field.default,
                description=field.metadata["about"],
                **field.metadata["bounds"],
            ),
        )
    title = kind.__name__.removesuffix("Source") + "Dataset"
    model = create_model(title, __base__=base, __module__=__name__, __doc__=inspect.getdoc(kind), **keys)
    model.kind = kind
    model.paths = tuple(field.name for field in fields if field.metadata["path"])
    return model


def _key_type(kind: Any) -> Any:
    """The type of a key: one name stands for a list of one."""
    if kind == tuple[str, ...]:
        return Axis[str]
    return Axis[str] | None if kind == (tuple[str, ...] | None) else kind


class _Models(Mapping[str, type[Dataset]]):
    """The models of ``SOURCES`` as it is now."""

    def __init__(self) -> None:
        self._made: dict[type[Source], type[Dataset]] = {}

    def __getitem__(self, name: str) -> type[Dataset]:
        kind = SOURCES[name]
        if kind not in self._made:
            self._made[kind] = dataset_model(name, kind)
        return self._made[kind]

    def __iter__(self) -> Iterator[str]:
        return iter(SOURCES)

    def __len__(self) -> int:
        return len(SOURCES)


DATASETS: Mapping[str, type[Dataset]] = _Models()
"""The model of each source, by the name that a grid uses."""
if TYPE_CHECKING:
    AnyDataset = Dataset
else:
    AnyDataset = Annotated[Union[tuple(DATASETS.values())], Field(discriminator="source")]  # noqa: UP007
