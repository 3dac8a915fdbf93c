"""Encoded images and label columns in Parquet files."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ssl_sweep.data_ops.dataset.passed_over import Tally
from ssl_sweep.data_ops.dataset.prepared import Split
from ssl_sweep.data_ops.errors import DataError, nearest
from ssl_sweep.data_ops.sources.decode import decode_rgb
from ssl_sweep.data_ops.sources.listing import Listing, Pixels, RawImage, Stamp, label_text, read_file, stamp
from ssl_sweep.data_ops.sources.options import SplitHere, option
from ssl_sweep.data_ops.sources.patterns import files_of, partition_values
from ssl_sweep.data_ops.sources.remote import cached_stamp, is_remote

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
        tally = Tally()
        paths = files_of(where, ".parquet", tally)
        cells = _cells_of(paths, self)
        stamps = [stamp(path) for path in paths] + [
            found for path in paths for found in _beside_stamps(path, self)
        ]
        n = sum(cells[0].values())
        return Listing(n, cells, stamps, functools.partial(_read, paths, self), tally.found)


def _cells_of(paths: list[Path], source: ParquetSource) -> tuple[Counter[str | None], ...]:
    """How many rows of all files have each label of each level, and each group. Does not read the images."""
    names = [*source.levels, *([source.group] if source.group else [])]
    found = [Counter[str | None]() for _ in names]
    for path in paths:
        with _open(path) as table:
            _check_columns(path, table.schema_arrow, source)
            given = _partition(path, table.schema_arrow)
            for name, counts in zip(names, found, strict=True):
                if name in given:
                    counts[given[name]] += table.metadata.num_rows
            row = 0
            columns = [name for name in dict.fromkeys(names) if name not in given]
            for batch in _batches(path, table, columns, 1 << 16) if columns else ():
                for name, counts in zip(names, found, strict=True):
                    if name not in given:
                        counts.update(_counted(path, batch, name, row))
                row += len(batch)
    if not sum(found[0].values()):
        raise DataError(f"{paths[0]}: no rows; give a file with images")
    if source.group is None:
        found.append(Counter({None: sum(found[0].values())}))
    return tuple(found)


def _counted(path: Path, batch: Any, name: str, first: int) -> Counter[str | None]:
    found: Counter[str | None] = Counter()
    cells = batch.column(name)
    if str(cells.type) == "halffloat":  # which Arrow does not count
        cells = cells.cast("float")
    counts = cells.value_counts()
    try:
        labels = counts.field("values").to_pylist()
    except UnicodeDecodeError:
        _cells(path, batch, first)  # says where
        raise
    for label, n in zip(labels, counts.field("counts").to_pylist(), strict=True):
        found[label_text(f"{path}, column {name!r}", label)] += n
    return found


def _partition(path: Path, schema: Any) -> dict[str, str | None]:
    """The columns that the folders of a file give and its table lacks."""
    return {name: value for name, value in partition_values(path).items() if name not in schema.names}


def _read(paths: list[Path], source: ParquetSource) -> Iterator[RawImage]:
    """The rows of all files in order, with ``_ROWS`` of them in memory at a time."""
    columns = [source.image, *source.levels, *([source.group] if source.group else [])]
    for path in paths:
        with _open(path) as table:
            _check_columns(path, table.schema_arrow, source)
            given = _partition(path, table.schema_arrow)
            own = [name for name in dict.fromkeys(columns) if name not in given]
            row = 0
            for batch in _batches(path, table, own, _ROWS):
                columns_read = _cells(path, batch, row)
                for values in zip(*columns_read, strict=True):
                    cells = dict(zip(batch.schema.names, values, strict=True)) | given
                    yield _raw_image(path, row, cells, source)
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


def _raw_image(path: Path, row: int, cells: dict[str, Any], source: ParquetSource) -> RawImage:
    data, where = cells[source.image], f"{path}, row {row}"
    beside = ""
    if isinstance(data, dict):
        name = data.get("path") or ""
        where += f" ({name})" if name else ""
        beside = "" if data["bytes"] is not None else name
        data = data["bytes"]

    def decode() -> Pixels:
        return read_file(_beside(path, beside)) if beside else decode_rgb(data or b"", where)

    group = cells[source.group] if source.group else None
    labels = tuple(label_text(where, cells[level]) for level in source.levels)
    return RawImage(where, decode, labels, label_text(where, group))


def _beside_stamps(path: Path, source: ParquetSource) -> Iterator[Stamp]:
    """The stamps of the files that rows without bytes name. Reads their names only if there are such rows."""
    with _open(path) as table:
        column = f"{source.image}.bytes"
        groups = [table.metadata.row_group(i) for i in range(table.metadata.num_row_groups)]
        chunks = [group.column(i) for group in groups for i in range(group.num_columns)]
        known = [chunk.statistics for chunk in chunks if chunk.path_in_schema == column]
        if not any(one is not None and one.null_count for one in known):
            return
        if f"{source.image}.path" not in {chunk.path_in_schema for chunk in chunks}:
            return
        for batch in _batches(path, table, [f"{source.image}.path"], 1 << 16):
            for name in batch.column(0).field("path").to_pylist():
                if name and not is_remote(name):
                    found = stamp(str(path.parent / name))
                    if found[1] >= 0:
                        yield found


def _beside(path: Path, name: str) -> str:
    """The file of an image that a row only names. Raises DataError if the table was downloaded."""
    if not is_remote(name) and cached_stamp(str(path)) is not None:
        raise DataError(
            f"{path}: the row of {name!r} names its image but holds no bytes, and only the table was "
            "fetched; write the images into the table"
        )
    return name if is_remote(name) else str(path.parent / name)


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

    image, given = source.image, _partition(path, schema)
    named = (*source.levels, *([source.group] if source.group else []))
    for column in (image, *named):
        if column not in schema.names and (column == image or column not in given):
            hint = nearest(column, schema.names)
            raise DataError(f"{path}: no column {column!r}{hint}; it has {', '.join(schema.names)}")
        if schema.names.count(column) > 1:
            raise DataError(
                f"{path}: {schema.names.count(column)} columns are named {column!r}; rename all but one"
            )
    kind = schema.field(image).type
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind = kind.field("bytes").type
    if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        raise DataError(
            f"{path}: column {image!r} is {kind}; images are encoded bytes or a struct with a field 'bytes'"
        )
    for level in named:
        if level in given:
            continue
        kind = schema.field(level).type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        if not (
            pa.types.is_integer(kind)
            or pa.types.is_floating(kind)  # what pandas makes of integers beside nulls; cells are checked
            or pa.types.is_string(kind)
            or pa.types.is_large_string(kind)
            or pa.types.is_string_view(kind)
            or pa.types.is_null(kind)  # what pandas makes of a column without any value
        ):
            raise DataError(f"{path}: label column {level!r} is {kind}; labels are integers or strings")
