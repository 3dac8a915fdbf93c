"""Encoded images and label columns in Parquet files."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_ops.decode import decode_rgb
from data_ops.errors import DataError
from data_ops.names import nearest
from data_ops.sources import Pixels, RawImage

_ROWS = 256  # rows decoded from Parquet at a time


def files(where: str) -> list[Path]:
    """The Parquet files of a file name, a folder or a glob, in name order. DataError where there are none."""
    path = Path(where)
    if path.is_file():
        return [path]
    if path.is_dir():
        found = sorted(path.glob("*.parquet"))
    elif glob.has_magic(where):
        found = sorted(Path(match) for match in glob.glob(where, recursive=True) if Path(match).is_file())
    else:
        raise DataError(f"{where}: no such file or folder")
    if not found:
        raise DataError(f"{where}: no Parquet files here")
    return found


def count_rows(paths: list[Path], image: str, levels: tuple[str, ...]) -> int:
    """Rows in all files, from their footers. DataError for no rows, or missing or wrongly typed columns."""
    if not levels:
        raise DataError("levels is empty; name at least one label column")
    total = 0
    for path in paths:
        with _open(path) as table:
            _check_columns(path, table.schema_arrow, image, levels)
            total += table.metadata.num_rows
    if not total:
        raise DataError(f"{paths[0]}: no rows")
    return total


def iterate(where: str, image: str, levels: tuple[str, ...]) -> Iterator[RawImage]:
    """The rows of all files in order, `_ROWS` in memory at a time."""
    for path in files(where):
        with _open(path) as table:
            _check_columns(path, table.schema_arrow, image, levels)
            row = 0
            for batch in _batches(path, table, [image, *levels]):
                for cells in batch.select([image, *levels]).to_pylist():
                    yield _raw_image(f"{path}, row {row}", cells, image, levels)
                    row += 1


def _raw_image(where: str, cells: dict[str, Any], image: str, levels: tuple[str, ...]) -> RawImage:
    data = cells[image]
    if isinstance(data, dict):
        where += f" ({data['path']})" if data.get("path") else ""
        data = data["bytes"]
    for level in levels:
        if cells[level] is None:
            raise DataError(f"{where}: no label in column {level!r}; fill it in or remove the row")

    def decode() -> Pixels:
        return decode_rgb(data or b"", where)

    return RawImage(where, decode, tuple(str(cells[level]) for level in levels))


def _open(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(
            f"{path}: not a readable Parquet file ({error}); write or download the file again"
        ) from error


def _batches(path: Path, table: Any, columns: list[str]) -> Iterator[Any]:
    import pyarrow as pa

    try:
        yield from table.iter_batches(batch_size=_ROWS, columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path}: damaged Parquet data ({error}); write or download the file again"
        ) from error


def _check_columns(path: Path, schema: Any, image: str, levels: tuple[str, ...]) -> None:
    import pyarrow as pa

    for column in (image, *levels):
        if column not in schema.names:
            hint = nearest(column, schema.names)
            raise DataError(f"{path}: no column {column!r}{hint} It has {', '.join(schema.names)}")
    kind = schema.field(image).type
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind = kind.field("bytes").type
    if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        raise DataError(
            f"{path}: column {image!r} is {kind}; images are encoded bytes or a struct with a field 'bytes'"
        )
    for level in levels:
        kind = schema.field(level).type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        if not (pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise DataError(f"{path}: label column {level!r} is {kind}; labels are integers or strings")
