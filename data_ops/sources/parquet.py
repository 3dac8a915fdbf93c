"""Encoded images and label columns in Parquet files."""

from __future__ import annotations

import dataclasses
import functools
import glob
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ssl_sweep.data_ops.dataset.prepared import Split
from ssl_sweep.data_ops.errors import DataError, nearest
from ssl_sweep.data_ops.sources.decode import decode_rgb
from ssl_sweep.data_ops.sources.listing import Listing, Pixels, RawImage, label_text, stamp
from ssl_sweep.data_ops.sources.options import SplitHere, option
from ssl_sweep.data_ops.sources.remote import is_remote, remote_files

_ROWS = 256  # rows decoded from Parquet at a time


@dataclasses.dataclass(frozen=True)
class ParquetSource(SplitHere):
    """Encoded images in Parquet, as on the Hugging Face Hub."""

    train: str = option(
        "A file, a folder of *.parquet, a glob or an address (s3://…). ${VAR} is expanded.", path=True
    )
    test: str | None = option("The same for the test images.", None, path=True)
    image: str = option("Column of the encoded images: a struct {bytes, path}, or binary.", "image")
    levels: tuple[str, ...] = option("Label columns, fine to coarse.", ("label",))
    group: str | None = option(
        "Column of groups, such as scenes or patients; the program keeps each group on one side of a split.",
        None,
        later=True,
    )

    def listing(self, split: Split) -> Listing | None:
        """The images of a split.

        Raises:
            DataError: Files, rows or a column are missing, or a column has the wrong type.
        """
        where = self.train if split == "train" else self.test
        if where is None:
            return None
        paths = files(where)
        fine = _fine_labels(paths, self)
        stamps = [stamp(path) for path in paths]
        n_labeled = sum(fine.values()) - fine[None]
        classes = frozenset(label for label in fine if label is not None)
        return Listing(sum(fine.values()), n_labeled, classes, stamps, functools.partial(_read, paths, self))


def files(where: str) -> list[Path]:
    """The Parquet files of a file name, a folder, a glob or an address, in name order.

    Raises:
        DataError: No such file was found.
    """
    if is_remote(where):
        found = remote_files(where, ".parquet")
        if not found:
            raise DataError(f"{where}: no Parquet files here; check the address")
        return found
    path = Path(where)
    if path.is_file():
        return [path]
    if path.is_dir():
        found = sorted(path.glob("*.parquet"))
    elif glob.has_magic(where):
        found = sorted(Path(match) for match in glob.glob(where, recursive=True) if Path(match).is_file())
    else:
        raise DataError(f"{where}: no such file or folder; check the path")
    if not found:
        raise DataError(f"{where}: no Parquet files here; check the path")
    return found


def _fine_labels(paths: list[Path], source: ParquetSource) -> Counter[str | None]:
    """How many rows of all files have each label of the finest level. Does not read the images."""

    found: Counter[str | None] = Counter()
    for path in paths:
        with _open(path) as table:
            _check_columns(path, table.schema_arrow, source)
            row = 0
            for batch in _batches(path, table, [source.levels[0]], 1 << 16):
                counts = batch.column(0).value_counts()
                try:
                    labels = counts.field("values").to_pylist()
                except UnicodeDecodeError:
                    labels = _cells(path, batch, row)[0]  # says where
                for label, n in zip(labels, counts.field("counts").to_pylist(), strict=True):
                    found[label_text(f"{path}, column {source.levels[0]!r}", label)] += n
                row += len(batch)
    if not found:
        raise DataError(f"{paths[0]}: no rows; give a file with images")
    return found


def _read(paths: list[Path], source: ParquetSource) -> Iterator[RawImage]:
    """The rows of all files in order, with ``_ROWS`` of them in memory at a time."""
    columns = [source.image, *source.levels, *([source.group] if source.group else [])]
    for path in paths:
        with _open(path) as table:
            _check_columns(path, table.schema_arrow, source)
            row = 0
            for batch in _batches(path, table, list(dict.fromkeys(columns)), _ROWS):
                columns_read = _cells(path, batch, row)
                for values in zip(*columns_read, strict=True):
                    cells = dict(zip(batch.schema.names, values, strict=True))
                    yield _raw_image(f"{path}, row {row}", cells, source)
                    row += 1


def _cells(path: Path, batch: Any, first: int) -> list[list[Any]]:
    """The columns of a batch whose first row is ``first``. Raises DataError for text that is not UTF-8."""
    columns = []
    for name in batch.schema.names:
        try:
            columns.append(batch.column(name).to_pylist())
        except UnicodeDecodeError as error:
            row = first + next(i for i, cell in enumerate(batch.column(name)) if not _is_text(cell))
            raise DataError(
                f"{path}, row {row}: column {name!r} holds text that is not UTF-8 ({error.reason}); "
                "write the file again"
            ) from error
    return columns


def _is_text(cell: Any) -> bool:
    try:
        cell.as_py()
    except UnicodeDecodeError:
        return False
    return True


def _raw_image(where: str, cells: dict[str, Any], source: ParquetSource) -> RawImage:
    data = cells[source.image]
    if isinstance(data, dict):
        where += f" ({data['path']})" if data.get("path") else ""
        data = data["bytes"]

    def decode() -> Pixels:
        return decode_rgb(data or b"", where)

    group = cells[source.group] if source.group else None
    labels = tuple(label_text(where, cells[level]) for level in source.levels)
    return RawImage(where, decode, labels, label_text(where, group))


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
            raise DataError(f"{path}: no column {column!r}{hint}; it has {', '.join(schema.names)}")
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
        if not (
            pa.types.is_integer(kind)
            or pa.types.is_floating(kind)  # what pandas makes of integers beside nulls; cells are checked
            or pa.types.is_string(kind)
            or pa.types.is_large_string(kind)
        ):
            raise DataError(f"{path}: label column {level!r} is {kind}; labels are integers or strings")
