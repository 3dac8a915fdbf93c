"""Encoded images and label columns in Parquet files."""

from __future__ import annotations

import dataclasses
import functools
import glob
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from data_ops.dataset import Split
from data_ops.decode import decode_rgb
from data_ops.errors import DataError
from data_ops.listing import Listing, Pixels, RawImage, stamp
from data_ops.names import nearest
from data_ops.remote import is_remote, remote_files
from data_ops.source_options import LATER, SplitHere

_ROWS = 256  # rows decoded from Parquet at a time


@dataclasses.dataclass(frozen=True)
class ParquetSource(SplitHere):
    """Encoded images in Parquet, as on the HF Hub. `train`, `test`: a file, a folder of *.parquet, a glob or
    an address.

    `image` is a struct {bytes, path} or a binary column; `levels` are int or string columns, fine to coarse,
    null where an image has no label; `group` names a column of scenes, patients or the like.
    """

    train: str
    test: str | None = None
    image: str = "image"
    levels: tuple[str, ...] = ("label",)
    group: str | None = dataclasses.field(default=None, metadata=LATER)
    version: ClassVar[str] = ""

    @property
    def label_levels(self) -> tuple[str, ...]:
        return self.levels

    def listing(self, split: Split) -> Listing | None:
        """DataError for no files or rows, and for a missing or wrongly typed column."""
        where = self.train if split == "train" else self.test
        if where is None:
            return None
        paths = files(where)
        fine = _fine_labels(paths, self)
        stamps = [stamp(path) for path in paths]
        n_labeled = len(fine) - fine.null_count
        classes = frozenset(map(str, fine.drop_null().unique().to_pylist()))
        return Listing(len(fine), n_labeled, classes, stamps, functools.partial(_read, paths, self))


def files(where: str) -> list[Path]:
    """The Parquet files of a file name, a folder or a glob, in name order. DataError where there are none."""
    if is_remote(where):
        found = remote_files(where, ".parquet")
        if not found:
            raise DataError(f"{where}: no Parquet files here")
        return found
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


def _fine_labels(paths: list[Path], source: ParquetSource) -> Any:
    """The finest label column of all files; the images are not read."""
    import pyarrow as pa

    if not source.levels:
        raise DataError("levels is empty; name at least one label column")
    columns = []
    for path in paths:
        with _open(path) as table:
            _check_columns(path, table.schema_arrow, source)
            batches = _batches(path, table, [source.levels[0]], 1 << 16)
            columns += [batch.column(0).cast(pa.string()) for batch in batches]
    if not sum(map(len, columns)):
        raise DataError(f"{paths[0]}: no rows")
    return pa.chunked_array(columns)


def _read(paths: list[Path], source: ParquetSource) -> Iterator[RawImage]:
    """The rows of all files in order, `_ROWS` in memory at a time."""
    columns = [source.image, *source.levels, *([source.group] if source.group else [])]
    for path in paths:
        with _open(path) as table:
            _check_columns(path, table.schema_arrow, source)
            row = 0
            for batch in _batches(path, table, list(dict.fromkeys(columns)), _ROWS):
                for cells in batch.to_pylist():
                    yield _raw_image(f"{path}, row {row}", cells, source)
                    row += 1


def _raw_image(where: str, cells: dict[str, Any], source: ParquetSource) -> RawImage:
    data = cells[source.image]
    if isinstance(data, dict):
        where += f" ({data['path']})" if data.get("path") else ""
        data = data["bytes"]

    def decode() -> Pixels:
        return decode_rgb(data or b"", where)

    group = cells[source.group] if source.group else None
    return RawImage(where, decode, tuple(_text(cells[level]) for level in source.levels), _text(group))


def _text(cell: Any) -> str | None:
    return None if cell is None else str(cell)


def _open(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(
            f"{path}: not a readable Parquet file ({error}); write or download the file again"
        ) from error


def _batches(path: Path, table: Any, columns: list[str], rows: int) -> Iterator[Any]:
    import pyarrow as pa

    try:
        yield from table.iter_batches(batch_size=rows, columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path}: damaged Parquet data ({error}); write or download the file again"
        ) from error


def _check_columns(path: Path, schema: Any, source: ParquetSource) -> None:
    import pyarrow as pa

    image = source.image
    named = (*source.levels, *([source.group] if source.group else []))
    for column in (image, *named):
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
    for level in named:
        kind = schema.field(level).type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        if not (pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise DataError(f"{path}: label column {level!r} is {kind}; labels are integers or strings")
