"""Building blocks of the grid's models: axes that take a value or a list, and the strict base model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

T = TypeVar("T")
Scalar = str | int | float | bool


class _OneOrMany:
    """Annotation: a single value stands for a list of one, and an empty list is refused."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        return handler(Annotated[source, BeforeValidator(_as_tuple)])

    def __get_pydantic_json_schema__(self, schema: Any, handler: Callable[[Any], Any]) -> Any:
        many = {**handler(schema), "minItems": 1}
        return {"anyOf": [many["items"], many]}


def _as_tuple(value: Any) -> Any:
    if value is None or value == [] or value == ():
        raise ValueError("is empty; give at least one value or remove the key")
    return value if isinstance(value, list | tuple) else (value,)


Axis = Annotated[tuple[T, ...], _OneOrMany()]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class Model(BaseModel):
    """A frozen model that refuses unknown keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, coerce_numbers_to_str=True
    )
