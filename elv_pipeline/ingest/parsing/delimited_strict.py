"""Delimited text read by the standard library's parser: slow, exact, and able to say what is wrong and where.

Belongs here: the meaning of quotes, blank lines and ragged rows, and the words for each. Does not belong here: the
choice between this parser and the fast one (``text_table``), headers, types.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import islice
from typing import IO, Any

import polars as pl

from elv_pipeline.errors import ContractError
from elv_pipeline.ingest.parsing.raw_text import RawText
from elv_pipeline.ingest.source_file import SOURCE_ROW

SEPARATORS = (",", ";", "\t", "|")
_BLOCK_ROWS = 50_000
# The parser's own limit is 131,072 characters for the whole process; the fast parser knows none, and both must agree.
_LARGEST_CELL = 2**31 - 1


def read_header(raw: RawText) -> tuple[list[str], str]:
    """The cells of the first row and the separator: the one that yields the most cells.

    Raises:
        ContractError: the row is not readable, with any separator.
    """
    found: dict[str, list[str]] = {}
    for separator in SEPARATORS:
        with raw.open_text() as text:
            try:
                found[separator] = next(_reader(text, separator, raw), [])
            except csv.Error:
                continue  # a quoted header in front of another separator is no quoted cell
    if not found:
        raise ContractError(_unreadable(raw, line=1, error="the header has a quote in the wrong place"))
    separator = max(found, key=lambda tried: len(found[tried]))
    return found[separator], separator


def read_strictly(raw: RawText, *, separator: str, width: int, position: dict[str, int]) -> pl.DataFrame:
    """The wanted columns as trimmed text (blank is null) with the number of each row; blank lines are left out.

    Args:
        raw: the file.
        separator: one character.
        width: number of cells of the header, which every row must have.
        position: place of each wanted column.

    Raises:
        ContractError: naming the row or line and what is wrong with it.
    """
    with raw.open_text() as text:
        reader = _reader(text, separator, raw)
        try:
            next(reader, None)
            blocks = list(_blocks(reader, raw=raw, separator=separator, width=width, position=position))
        except csv.Error as error:
            raise ContractError(_unreadable(raw, line=reader.line_num, error=str(error))) from None
    if blocks:
        return pl.concat(blocks, rechunk=True)
    return pl.DataFrame(schema={SOURCE_ROW: pl.Int64, **dict.fromkeys(position, pl.String)})


def _reader(text: IO[str], separator: str, raw: RawText) -> Any:
    csv.field_size_limit(_LARGEST_CELL)
    return csv.reader(_without_zeros(text, raw), delimiter=separator, strict=True)


def _without_zeros(text: IO[str], raw: RawText) -> Iterator[str]:
    for number, line in enumerate(text, start=1):
        if "\x00" in line:
            raise ContractError(
                f"{raw.file.name} line {number}: a zero byte; the file is damaged or no text. Export it again as UTF-8."
            )
        yield line


def _blocks(
    reader: Any, *, raw: RawText, separator: str, width: int, position: dict[str, int]
) -> Iterator[pl.DataFrame]:
    row = 1
    while block := list(islice(reader, _BLOCK_ROWS)):
        numbers = list(range(row + 1, row + 1 + len(block)))
        row += len(block)
        if set(map(len, block)) != {width}:
            pairs = [(number, cells) for number, cells in zip(numbers, block, strict=True) if cells]
            _refuse_ragged(pairs, raw=raw, separator=separator, width=width)
            if not pairs:
                continue  # blank lines only, as at the end of many exports
            numbers, block = [number for number, _ in pairs], [cells for _, cells in pairs]
        columns = {name: [cells[place] for cells in block] for name, place in position.items()}
        schema = {SOURCE_ROW: pl.Int64, **dict.fromkeys(columns, pl.String)}
        trimmed = pl.col(pl.String).str.strip_chars().replace("", None)
        yield pl.DataFrame({SOURCE_ROW: numbers, **columns}, schema=schema).with_columns(trimmed)


def _refuse_ragged(pairs: list[tuple[int, list[str]]], *, raw: RawText, separator: str, width: int) -> None:
    ragged = [(number, len(cells)) for number, cells in pairs if len(cells) != width]
    if ragged:
        number, found = ragged[0]
        more = f" (and {len(ragged) - 1:,} more rows nearby)" if len(ragged) > 1 else ""
        separator_name = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a vertical bar"}[separator]
        raise ContractError(
            f"{raw.file.name} row {number}: {found} cells{more}, but the header has {width}; every row must have as "
            f"many. Put values that contain {separator_name} or a line break in double quotes."
        )


def _unreadable(raw: RawText, *, line: int, error: str) -> str:
    return (
        f"{raw.file.name} line {line}: not readable as CSV ({error}); a quote is opened or closed in the "
        f"wrong place. Export again with every quote inside a quoted value doubled."
    )
