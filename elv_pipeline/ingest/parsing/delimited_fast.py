"""Delimited text read by Polars' parallel parser, where a look at the bytes proves that it cannot misread them.

Belongs here: that proof, and the fast read. Does not belong here: words for what is wrong; whatever is not proven is
left to ``delimited_strict``.

Polars alone would fill short rows with nulls, cut long ones where columns are left out, and guess at stray quotes.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from elv_pipeline.contracts.spec import PolarsType
from elv_pipeline.ingest.parsing.categories import all_categories, distinct_values
from elv_pipeline.ingest.parsing.numbers import exact_counts, exact_micros
from elv_pipeline.ingest.parsing.raw_text import RawText
from elv_pipeline.ingest.source_file import SOURCE_ROW

_CHUNK_BYTES = 1 << 18  # stays in the processor's cache while it is looked at several times
_QUOTE, _LINE_FEED, _RETURN = ord('"'), ord("\n"), ord("\r")
_MARK = b"\xef\xbb\xbf"
_Bytes = npt.NDArray[np.uint8]


@dataclass
class _Shape:
    """What the bytes seen so far say; ``inside`` is whether the next byte lies in a quoted value."""

    separators: int = 0
    line_feeds: int = 0
    quotes: int = 0
    inside: bool = False


@dataclass(frozen=True)
class _Lines:
    """The rows of one file for Polars; a cell that is not in ``position`` is only counted."""

    source: Path | io.BytesIO
    separator: str
    width: int
    position: Mapping[str, int]

    def parsed(self, columns: Iterable[str], *, types: Mapping[str, PolarsType], quoted: bool) -> pl.DataFrame | None:
        """Some columns, as text where ``types`` does not say otherwise; None where a row or a cell does not fit."""
        names = {place: name for name, place in self.position.items()}
        known = {place: names.get(place, f"{SOURCE_ROW} {place}") for place in range(self.width)}
        schema = {name: types.get(name, pl.String) for name in known.values()}
        if isinstance(self.source, io.BytesIO):
            self.source.seek(0)
        lines = pl.scan_csv(
            self.source,
            has_header=False,
            skip_lines=1,
            schema=schema,
            separator=self.separator,
            quote_char='"' if quoted else None,
        )
        try:
            return lines.select(list(columns)).collect()
        except pl.exceptions.PolarsError:
            return None  # long rows and bytes that are not UTF-8 end here; the strict parser words them


def read_fast(
    raw: RawText, *, separator: str, width: int, position: Mapping[str, int], types: Mapping[str, PolarsType]
) -> pl.DataFrame | None:
    """The wanted columns, trimmed, with row numbers, or None where only the strict parser can tell.

    Args:
        raw: the file.
        separator: one character.
        width: number of cells of the header.
        position: place of each wanted column.
        types: how columns are to be read that are not text (see ``Layout``).
    """
    if width < 2 or not position:
        return None  # in a single column a blank line and an empty value look the same
    source, data = _bytes_of(raw)
    start = _after_header(data)
    if not start or data[start : start + len(_MARK)].tobytes() == _MARK:
        return None  # a byte-order mark there is a character of the first cell, which Polars would leave out
    end = _end_of_rows(data, start)
    lines = _Lines(source, separator, width, position)
    # The parser does not wait for the look at the bytes: what it has read of a file that it misreads is thrown away.
    with ThreadPoolExecutor(max_workers=1) as background:
        look = background.submit(_shape_of, data, start=start, end=end, lines=lines)
        quoted = bool((data[start : start + _CHUNK_BYTES] == _QUOTE).any())
        frame = lines.parsed(position, types=types, quoted=quoted)
        shape = look.result()
    rows = None if shape is None else _rows_in(data, shape, start=start, end=end, width=width)
    if shape is None or rows is None:
        return None
    if shape.quotes and not quoted:
        frame, quoted = None, True  # let go of what was misread before it is read again
        frame = lines.parsed(position, types=types, quoted=quoted)
    if frame is None and types:  # a cell may be no plain number
        frame = lines.parsed(position, types=_without_numbers(types), quoted=quoted)
    # Blank lines at the end become empty rows; any other difference means that the two disagree about the rows.
    if frame is None or not 0 <= frame.height - rows <= np.count_nonzero(data[end:] == _LINE_FEED):
        return None
    certain = _with_exact_numbers(frame.head(rows), lines=lines, quoted=quoted)
    if certain is None:
        return None
    numbers = pl.int_range(2, rows + 2, dtype=pl.Int64, eager=True)
    return _trimmed(certain).insert_column(0, numbers.alias(SOURCE_ROW))


def _rows_in(data: _Bytes, shape: _Shape, *, start: int, end: int, width: int) -> int | None:
    """How many rows the bytes hold, or None where a row may have too many or too few cells, or a quote stays open."""
    rows = shape.line_feeds + 1 if end > start else 0
    full = not shape.inside and shape.separators == rows * (width - 1)
    return rows if full and _returns_end_lines(data, data[end:], at=end) else None


def _without_numbers(types: Mapping[str, PolarsType]) -> dict[str, PolarsType]:
    return {name: dtype for name, dtype in types.items() if dtype == pl.Categorical}


def _with_exact_numbers(frame: pl.DataFrame, *, lines: _Lines, quoted: bool) -> pl.DataFrame | None:
    """Numbers that are certain as integers; the text of every other column, for ``numbers`` to read or refuse."""
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(_in_one_piece, frame.iter_columns()))
    columns = [column for column in found if column is not None]
    if len(columns) < len(found):
        known = {column.name for column in columns}
        texts = lines.parsed([name for name in frame.columns if name not in known], types={}, quoted=quoted)
        if texts is None:
            return None
        columns += texts.head(frame.height).get_columns()
    return pl.DataFrame(columns).select(frame.columns)


def _in_one_piece(column: pl.Series) -> pl.Series | None:
    """The column without the seams that parallel parsing leaves; None for numbers that are not certain."""
    if column.dtype == pl.Float64:
        return exact_micros(column)
    return exact_counts(column) if column.dtype == pl.Int64 else column.rechunk()


def _bytes_of(raw: RawText) -> tuple[Path | io.BytesIO, _Bytes]:
    """What Polars reads from, and the same bytes for a look; a plain file is mapped, not loaded."""
    if raw.compression is None and raw.is_utf8:
        return raw.file, np.memmap(raw.file, dtype=np.uint8, mode="r")
    content = raw.as_utf8()
    return io.BytesIO(content), np.frombuffer(content, dtype=np.uint8)


def _after_header(data: _Bytes) -> int:
    """Where the second line begins; 0 where there is none, or the header itself goes on in it."""
    for at in range(0, data.size, _CHUNK_BYTES):
        found = np.flatnonzero(data[at : at + _CHUNK_BYTES] == _LINE_FEED)
        if found.size:
            start = at + int(found[0]) + 1
            return 0 if np.count_nonzero(data[:start] == _QUOTE) % 2 else start
    return 0


def _end_of_rows(data: _Bytes, start: int) -> int:
    end = data.size
    while end > start and data[end - 1] in (_LINE_FEED, _RETURN):
        end -= 1
    return end


def _shape_of(data: _Bytes, *, start: int, end: int, lines: _Lines) -> _Shape | None:
    """Count what matters outside quotes; None where a quote, line end or zero byte needs the strict parser."""
    shape, separator, width = _Shape(), ord(lines.separator), lines.width
    for at in range(start, end, _CHUNK_BYTES):
        chunk = data[at : min(at + _CHUNK_BYTES, end)]
        # A search for a rare byte is several times faster than a comparison of every byte.
        content = chunk.tobytes()
        if b"\0" in content or (b"\r" in content and not _returns_end_lines(data, chunk, at=at)):
            return None
        separators, line_feeds = chunk == separator, chunk == _LINE_FEED
        if b'"' in content:
            marks = chunk == _QUOTE
            quotes = np.flatnonzero(marks)
            if not _quotes_are_plain(data, quotes + at, separator=separator, start=start, inside=shape.inside):
                return None
            outside = ~(np.bitwise_xor.accumulate(marks) ^ shape.inside)
            separators &= outside
            line_feeds &= outside
            shape.quotes += quotes.size
            shape.inside ^= bool(quotes.size % 2)
        elif shape.inside:
            continue
        # Polars does not see that a row is too long where columns are left out, nor where its last cells are empty.
        if not _rows_are_full(separators, line_feeds, width=width, before=shape.separators + shape.line_feeds):
            return None
        shape.separators += int(np.count_nonzero(separators))
        shape.line_feeds += int(np.count_nonzero(line_feeds))
    return shape


def _returns_end_lines(data: _Bytes, chunk: _Bytes, *, at: int) -> bool:
    # A carriage return alone ends a row for the strict parser and is part of a value for the fast one.
    returns = np.flatnonzero(chunk == _RETURN)
    if not returns.size:
        return True
    after = returns + at + 1
    return bool(after[-1] < data.size and (data[after] == _LINE_FEED).all())


def _quotes_are_plain(data: _Bytes, places: npt.NDArray[Any], *, separator: int, start: int, inside: bool) -> bool:
    """Whether every value is quoted entirely or not at all, with inner quotes doubled (RFC 4180)."""
    opening, closing = (places[1::2], places[::2]) if inside else (places[::2], places[1::2])
    before = data[opening - 1]
    opens = (before == separator) | (before == _LINE_FEED) | (before == _QUOTE)
    after = data[np.minimum(closing + 1, data.size - 1)]
    closes = (after == separator) | (after == _LINE_FEED) | (after == _RETURN) | (after == _QUOTE)
    return bool(opens.all() and (closes | (closing + 1 == data.size)).all())


def _rows_are_full(separators: npt.NDArray[Any], line_feeds: npt.NDArray[Any], *, width: int, before: int) -> bool:
    """Whether every ``width``-th mark is a line end and no other, ``before`` marks having been seen."""
    ends = line_feeds[np.flatnonzero(separators | line_feeds)]
    expected = ends[(width - 1 - before) % width :: width]
    return bool(expected.all()) and np.count_nonzero(ends) == expected.size


def _trimmed(frame: pl.DataFrame) -> pl.DataFrame:
    """Blank is null, blanks around a value are gone; most columns need neither, and are left as they are."""
    texts = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    length = pl.col(texts).str.len_bytes()
    blanks = (pl.col(texts).str.strip_chars().str.len_bytes() != length) | (length == 0)
    verdicts = frame.select(blanks.any()).row(0, named=True) if texts else {}
    untidy = [name for name in texts if verdicts[name]] + _untidy_categories(frame)
    if not untidy:
        return frame
    tidy = pl.col(untidy).cast(pl.String).str.strip_chars().replace("", None)
    trimmed = frame.select(tidy).cast({name: frame.schema[name] for name in untidy})
    return frame.with_columns(trimmed.get_columns())


def _untidy_categories(frame: pl.DataFrame) -> list[str]:
    names = [name for name, dtype in frame.schema.items() if dtype == pl.Categorical]
    if not names or not _has_blanks(all_categories(frame.schema[names[0]])):
        return []
    return [name for name in names if _has_blanks(distinct_values(frame[name]))]


def _has_blanks(distinct: pl.Series) -> bool:
    return bool(((distinct.str.strip_chars() != distinct) | (distinct == "")).any())
