"""A write: rows of one run, organisation, target and model, with what is the same for all of them taken out.

Belongs here: how rows are divided into writes, and their checksum. Does not belong here: SQL.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]

from elv_pipeline.errors import ContractError
from elv_pipeline.publishing.scores.rows import shortened
from elv_pipeline.publishing.scores.tables import COMPARED, FACTS, KEY, VALUES

COMMON = ("org_id", "label_col", *FACTS)
"""Columns that define a write: it has one value of each."""


@dataclass(frozen=True, kw_only=True)
class Write:
    """Rows of one write.

    Attributes:
        number: position among the writes of one call.
        constants: value of every column that is the same in all rows; these are bound, not staged row by row.
        rows: ``enrollment_id`` and the columns that differ, ordered by ``enrollment_id``.
        splits: names of the splits, in order.
        digest: of the content, without what names the run; computed while the rows are on their way to the database,
            since hashing a million of them takes as long as sorting them.
        first: earliest prediction time.
        last: latest prediction time.
    """

    number: int
    constants: Mapping[str, Any] = field(repr=False)
    rows: pl.DataFrame = field(repr=False)
    splits: str
    digest: Future[str] = field(repr=False)
    first: datetime
    last: datetime

    @property
    def height(self) -> int:
        """How many rows."""
        return self.rows.height

    @property
    def checksum(self) -> str:
        """The digest, waited for where it is not ready."""
        return self.digest.result()

    @property
    def leads(self) -> tuple[str, str]:
        """First and last lead in the order of the rows' bytes."""
        leads = self.rows["enrollment_id"]
        return leads[0], leads[-1]


def writes_of(rows: pl.DataFrame) -> list[Write]:
    """Divide storable rows into writes, in the order of what defines them; no rows, no writes.

    Raises:
        ContractError: a key appears twice.
    """
    if rows.is_empty():
        return []
    if all(_is_constant(rows[name]) for name in COMMON):
        return [_write(0, rows)]
    _refuse_duplicates(rows, rows.select(KEY).is_duplicated())
    parts = rows.partition_by(COMMON)
    parts.sort(key=lambda part: tuple(str(value) for value in part.select(COMMON).row(0)))
    return [_write(number, part) for number, part in enumerate(parts)]


def _is_constant(column: pl.Series) -> bool:
    return bool(column.ne_missing(column.first()).any() is False)


def _write(number: int, rows: pl.DataFrame) -> Write:
    # A run without learned values, ranges or reasons has one value in those columns: there is no need to carry it
    # to the database a million times.
    same = [name for name in (*COMMON, *VALUES) if name in COMMON or _is_constant(rows[name])]
    varying = [name for name in VALUES if name not in same]
    # In the order of the key every index grows at its end, which costs a fraction of the same rows in any order.
    ordered = rows.select("enrollment_id", *varying).sort("enrollment_id")
    _refuse_duplicates(ordered, ordered["enrollment_id"] == ordered["enrollment_id"].shift())
    constants = {name: rows[name].first() for name in same}
    first, last = rows.select(pl.min("prediction_time"), last=pl.max("prediction_time")).row(0)
    return Write(
        number=number,
        constants=constants,
        rows=ordered,
        splits=",".join(sorted(rows["split"].unique()))[:64],
        digest=_digest({name: constants[name] for name in same if name in (*KEY, *COMPARED)}, ordered),
        first=first,
        last=last,
    )


def _refuse_duplicates(rows: pl.DataFrame, twice: pl.Series) -> None:
    if not twice.any():
        return
    leads = rows.filter(twice)["enrollment_id"].unique().sort()
    first = ", ".join(shortened(lead) for lead in leads.head(3))
    more = f" and {leads.len() - 3} more" if leads.len() > 3 else ""
    raise ContractError(
        f"lead_scores: enrollment {first}{more} appears more than once among the rows to write; the key is "
        f"({', '.join(KEY)}), without trailing blanks. Nothing was written; remove the duplicate lead from the input."
    )


def _digest(constants: Mapping[str, Any], rows: pl.DataFrame) -> Future[str]:
    thread = ThreadPoolExecutor(max_workers=1)
    digest = thread.submit(_checksum, constants, rows)
    thread.shutdown(wait=False)  # it ends with its only task
    return digest


def _checksum(constants: Mapping[str, Any], rows: pl.DataFrame) -> str:
    """SHA-256 of the exact content: constants; then name, type, empty places and values of each column.

    The same rows have the same digest whatever the layout in memory: texts are laid end to end, empty values are zeros.
    """
    digest = hashlib.sha256(repr(sorted(constants.items())).encode())
    for column in rows.get_columns():
        digest.update(f"{column.name}:{column.dtype}:{column.len()};".encode())
        digest.update(column.is_null().cast(pl.UInt8).to_numpy().data)
        if column.dtype == pl.String:
            filled = column.fill_null("")
            digest.update(filled.str.len_bytes().cast(pl.UInt32).to_numpy().data)
            digest.update(_bytes_of(filled))
        else:
            digest.update(column.to_physical().fill_null(0).to_numpy().data)
    return digest.hexdigest()


def _bytes_of(texts: pl.Series) -> memoryview:
    array = texts.to_arrow().cast(pa.large_utf8())
    if not len(array):
        return memoryview(b"")
    data = array.buffers()[2]
    offsets = memoryview(array.buffers()[1]).cast("q")
    return memoryview(data)[offsets[array.offset] : offsets[array.offset + len(array)]]
