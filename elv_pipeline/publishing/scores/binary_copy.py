"""PostgreSQL's binary COPY format, built by columns: a Python loop over values would cost more than the server.

Belongs here: bytes of rows. Does not belong here: the statement or the connection.

Format: https://www.postgresql.org/docs/current/sql-copy.html (Binary Format). A row is the number of its fields and,
for each, its length and its bytes; the length of an empty field is -1.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
Value = str | float | int | datetime | None
_EPOCH_MICROSECONDS = 946_684_800_000_000
"""PostgreSQL counts microseconds from 2000-01-01."""
_EPOCH = datetime(2000, 1, 1)  # noqa: DTZ001  # the columns store no zone
_ROWS = 50_000
"""Rows a block: enough to hide the cost of a call, few enough to stay in the processor's cache."""


def copy_blocks(rows: pl.DataFrame, *, first: Sequence[Value] = ()) -> Iterator[memoryview | bytes]:
    """The stream that ``COPY ... FROM STDIN (FORMAT BINARY)`` reads.

    Args:
        rows: columns of String, Float64 and Datetime("us") without a zone, in the order of the statement's columns.
        first: values of the columns before them, the same in every row; an ``int`` is a BIGINT.
    """
    start = struct.pack(">h", len(first) + rows.width) + b"".join(_field(value) for value in first)
    yield HEADER
    for block in rows.iter_slices(_ROWS):
        yield _block(block, start)
    yield TRAILER


def _field(value: Value) -> bytes:
    if value is None:
        return struct.pack(">i", -1)
    if isinstance(value, str):
        text = value.encode()
        return struct.pack(">i", len(text)) + text
    if isinstance(value, float):
        return struct.pack(">id", 8, value)
    # A moment divided by a microsecond is exact; its seconds as a float are not.
    whole = value if isinstance(value, int) else (value - _EPOCH) // timedelta(microseconds=1)
    return struct.pack(">iq", 8, whole)


def _block(rows: pl.DataFrame, start: bytes) -> memoryview:
    fields = [_scalar(start)]
    for column in rows.get_columns():
        fields.extend(_text(column) if column.dtype == pl.String else [_eight_bytes(column)])
    # The values of a binary array lie end to end: its data is the stream of rows.
    joined = pc.binary_join_element_wise(*fields, _scalar(b""))
    return memoryview(joined.buffers()[2])


def _text(column: pl.Series) -> list[pa.Array]:
    lengths = column.str.len_bytes().cast(pl.Int32).fill_null(-1)
    values = column.fill_null("").cast(pl.Binary).to_arrow().cast(pa.large_binary())
    return [_fixed(lengths.to_numpy().astype(">i4")), values]


def _eight_bytes(column: pl.Series) -> pa.Array:
    """A number or a moment: the length 8 and eight bytes, or the length -1 and nothing."""
    here = column.drop_nulls()
    values = here.to_numpy() if column.dtype == pl.Float64 else here.to_physical().to_numpy() - _EPOCH_MICROSECONDS
    filled = np.empty(len(here), dtype=[("length", ">i4"), ("value", ">f8" if column.dtype == pl.Float64 else ">i8")])
    filled["length"], filled["value"] = 8, values
    if not column.null_count():
        return _fixed(filled)
    empty = column.is_null().to_numpy()
    # Four bytes for an empty field, twelve for another; three words of four bytes are laid out and the unused dropped.
    words = np.full((len(column), 3), -1, dtype=">i4")
    words[~empty] = filled.view(">i4").reshape(-1, 3)
    used = np.ones((len(column), 3), dtype=bool)
    used[empty, 1:] = False
    ends = np.cumsum(np.where(empty, 4, 12))
    return _binary(words[used], np.concatenate([[0], ends]))


def _fixed(values: npt.NDArray[np.generic]) -> pa.Array:
    width = values.dtype.itemsize
    return _binary(values, np.arange(0, (len(values) + 1) * width, width, dtype=np.int64))


def _binary(values: npt.NDArray[np.generic], offsets: npt.NDArray[np.int64]) -> pa.Array:
    buffers = [None, pa.py_buffer(offsets.astype(np.int64)), pa.py_buffer(np.ascontiguousarray(values).view(np.uint8))]
    return pa.Array.from_buffers(pa.large_binary(), len(offsets) - 1, buffers)


def _scalar(value: bytes) -> pa.Scalar:
    """One value; ``pa.scalar`` would import pandas for it, which takes a second of the first write."""
    return pa.Array.from_buffers(
        pa.large_binary(), 1, [None, pa.py_buffer(np.array([0, len(value)], dtype=np.int64)), pa.py_buffer(value)]
    )[0]
