"""Which reader a file needs, by its first bytes: text, Excel workbook or Parquet.

Belongs here: the choice, and what every reader offers to connectors. Does not belong here: the formats themselves.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

from elv_pipeline.errors import ContractError
from elv_pipeline.ingest.parsing.columnar import parquet_rows_holding, read_parquet
from elv_pipeline.ingest.parsing.raw_text import RawText, recognise
from elv_pipeline.ingest.parsing.spreadsheet import read_spreadsheet, spreadsheet_rows_holding
from elv_pipeline.ingest.parsing.text_table import Layout, TextTable, read_text_table

_WORKBOOK = b"PK\x03\x04"
_PARQUET = b"PAR1"
_BLOCK_BYTES = 1 << 20
_LARGEST_CELL = 2**31 - 1


def read_any(
    file: Path,
    *,
    choose: Callable[[list[str]], Layout],
    name: str,
    decimal: str,
    allow_no_rows: bool,
) -> TextTable:
    """Read the chosen columns of a file as text, whatever its format.

    Args:
        file: a local file. What counts is its content: an Excel workbook named ``ads.csv`` is one.
        choose: given the cells of the header, which columns to load; it may raise ``ContractError``.
        name: the table that the file should hold, for messages.
        decimal: decimal mark of numbers written as text; typed numbers are written with it as well.
        allow_no_rows: whether a header alone is a valid file.

    Raises:
        ContractError: the file cannot be read.
    """
    start = _start(file)
    if start.startswith(_WORKBOOK):
        return read_spreadsheet(file, choose=choose, name=name, decimal=decimal, allow_no_rows=allow_no_rows)
    if start.startswith(_PARQUET):
        return read_parquet(file, choose=choose, name=name, decimal=decimal, allow_no_rows=allow_no_rows)
    return read_text_table(file, choose=choose, name=name, allow_no_rows=allow_no_rows)


def rows_holding(file: Path, *, marker: str, separator: str) -> frozenset[int]:
    """Numbers of the rows of which any cell holds this text; no other value is kept.

    Args:
        file: a file that ``read_any`` has read.
        marker: the text, in one line.
        separator: of a text file.
    """
    start = _start(file)
    if start.startswith(_WORKBOOK):
        return spreadsheet_rows_holding(file, marker)
    if start.startswith(_PARQUET):
        return parquet_rows_holding(file, marker)
    raw = recognise(file, name=file.name)
    return _text_rows_holding(raw, marker=marker, separator=separator) if _occurs(raw, marker) else frozenset()


def _start(file: Path) -> bytes:
    if not file.is_file():
        raise ContractError(f"{file}: no such file. Correct the path or export it.")
    with file.open("rb") as raw:
        return raw.read(4)


def _occurs(raw: RawText, marker: str) -> bool:
    """Whether the text is there at all: nearly always it is not, and no row needs to be taken apart."""
    sought = [marker.encode(encoding) for encoding in ("utf-8", "utf-16-le", "utf-16-be")]
    kept = max(map(len, sought)) - 1
    with raw.open_bytes() as handle:
        tail = b""
        while block := handle.read(_BLOCK_BYTES):
            window = tail + block
            if any(text in window for text in sought):
                return True
            tail = window[-kept:]
    return False


def _text_rows_holding(raw: RawText, *, marker: str, separator: str) -> frozenset[int]:
    csv.field_size_limit(_LARGEST_CELL)  # else one long answer would be an error here and nowhere else
    with raw.open_text() as text:
        rows = enumerate(csv.reader(text, delimiter=separator), start=1)
        return frozenset(row for row, cells in rows if any(marker in cell for cell in cells))
