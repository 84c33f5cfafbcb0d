"""A Parquet file as text columns with row numbers, so that every connector sees one shape.

Belongs here: how a typed value is written as text. Does not belong here: which names mean which column
(``connectors``), types or rules about values (``tables``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import polars as pl

from elv_pipeline.errors import ContractError
from elv_pipeline.ingest.parsing.text_table import Layout, TextTable
from elv_pipeline.ingest.source_file import SOURCE_ROW

_EXACT_BELOW = 10**15


def read_parquet(
    file: Path,
    *,
    choose: Callable[[list[str]], Layout],
    name: str,
    decimal: str = ".",
    allow_no_rows: bool = False,
) -> TextTable:
    """Read the chosen columns of a Parquet file; the others are never loaded.

    Rows are numbered as in a text file: the column names count as row 1.

    Args:
        file: the export.
        choose: given the column names, which to load; it may raise ``ContractError``.
        name: the table that the file should hold, for messages.
        decimal: mark with which numbers are written, so that columns of numbers and columns of text agree.
        allow_no_rows: whether a file without rows is valid.

    Raises:
        ContractError: no Parquet file, a column that holds no plain values, or no rows.
    """
    lazy, schema = _scan(file)
    header = [column.strip() for column in schema.names()]
    layout = choose(header)
    stored = {column: schema.names()[place] for column, place in layout.position.items()}
    texts = [
        _text(pl.col(source), dtype=schema[source], decimal=decimal, place=f"{file.name}: column {source!r}").alias(
            column
        )
        for column, source in stored.items()
    ]
    frame = lazy.select(texts).with_row_index(SOURCE_ROW, offset=2).with_columns(pl.col(SOURCE_ROW).cast(pl.Int64))
    found = frame.collect()
    if found.is_empty() and not allow_no_rows:
        raise ContractError(f"{file.name}: no rows; {name} needs at least one. Export again.")
    with file.open("rb") as raw:
        digest = hashlib.file_digest(raw, "sha256").hexdigest()
    return TextTable(frame=found, header=tuple(header), layout=layout, sha256=digest, separator="")


def parquet_rows_holding(file: Path, marker: str) -> frozenset[int]:
    """Numbers of the rows of which a text column holds this text."""
    lazy, schema = _scan(file)
    columns = [name for name, dtype in schema.items() if dtype == pl.String]
    if not columns:
        return frozenset()
    holds = pl.any_horizontal(pl.col(columns).str.contains(marker, literal=True).fill_null(False))
    rows = lazy.select(holds.alias("holds")).with_row_index("row", offset=2).filter("holds").collect()
    return frozenset(rows["row"].to_list())


def _scan(file: Path) -> tuple[pl.LazyFrame, pl.Schema]:
    lazy = pl.scan_parquet(file)
    try:
        return lazy, lazy.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ContractError(
            f"{file.name}: not readable as Parquet ({error}); the file is damaged or incomplete. Export it again."
        ) from None


def _text(column: pl.Expr, *, dtype: pl.DataType, decimal: str, place: str) -> pl.Expr:
    if dtype.is_nested() or dtype == pl.Binary or dtype == pl.Object:
        raise ContractError(f"{place} holds {dtype}; plain values are needed. Export it as text, numbers or times.")
    if isinstance(dtype, pl.Datetime):
        moments = column.cast(pl.Datetime("us", dtype.time_zone))
        if dtype.time_zone is None:
            return moments.dt.strftime("%Y-%m-%d %H:%M:%S%.6f")
        return moments.dt.convert_time_zone("UTC").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
    if dtype.is_float():
        return _float_text(column, decimal=decimal)
    if dtype.is_decimal():  # a whole number of a column with three decimals is no 1.000, which a text file might mean
        return column.cast(pl.String).str.replace(r"\.0+$", "").str.replace(".", decimal, literal=True)
    return column.cast(pl.String).str.strip_chars().replace("", None)


def _float_text(column: pl.Expr, *, decimal: str) -> pl.Expr:
    whole = (column == column.floor()) & (column.abs() < _EXACT_BELOW)
    digits = pl.when(whole).then(column).cast(pl.Int64, strict=False).cast(pl.String)
    written = column.fill_nan(None).cast(pl.String).str.replace(".", decimal, literal=True)
    return pl.coalesce(digits, written)
