"""Delimited text read by Polars' parallel parser, where a look at the bytes proves that it cannot misread them.

Belongs here: that proof, and the fast read. Does not belong here: words for what is wrong; whatever is not proven is
left to ``delimited_strict``.

Polars alone would fill short rows with nulls, cut long ones where columns are left out, and guess at stray quotes.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from elv_pipeline.ingest.categories import distinct_values
from elv_pipeline.ingest.raw_text import RawText
from elv_pipeline.ingest.source_file import SOURCE_ROW

_CHUNK_BYTES = 1 << 18  # stays in the processor's cache while it is looked at several times
_QUOTE, _LINE_FEED, _RETURN = ord('"'), ord("\n"), ord("\r")
_Bytes = npt.NDArray[np.uint8]


@dataclass
class _Shape:
    """What the bytes seen so far say; ``inside`` is whether the next byte lies in a quoted value."""

    separators: int = 0
    line_feeds: int = 0
    quotes: int = 0
    inside: bool = False


def read_fast(
    raw: RawText, *, separator: str, width: int, position: dict[str, int], repeated: frozenset[str]
) -> pl.DataFrame | None:
    """The wanted columns as trimmed text with row numbers, or None where only the strict parser can tell.

    Args:
        raw: the file.
        separator: one character.
        width: number of cells of the header.
        position: place of each wanted column.
        repeated: columns to read as categories.
    """
    if width < 2 or not position:
        return None  # in a single column a blank line and an empty value look the same
    source, data = _bytes_of(raw)
    start = _after_header(data)
    end = _end_of_rows(data, start)
    exact = len(position) < width
    shape = _shape_of(data, start=start, end=end, separator=ord(separator), width=width, exact=exact) if start else None
    if shape is None or not _returns_end_lines(data, data[end:], at=end):
        return None
    rows = shape.line_feeds + 1 if end > start else 0
    if shape.inside or shape.separators != rows * (width - 1):
        return None
    frame = _parsed(source, separator=separator, width=width, position=position, repeated=repeated, shape=shape)
    surplus = int(np.count_nonzero(data[end:] == _LINE_FEED))
    # Blank lines at the end become empty rows; any other difference means that the two disagree about the rows.
    if frame is None or not 0 <= frame.height - rows <= surplus:
        return None
    texts = _trimmed(frame.head(rows))
    return texts.insert_column(0, pl.int_range(2, rows + 2, dtype=pl.Int64, eager=True).alias(SOURCE_ROW))


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


def _shape_of(data: _Bytes, *, start: int, end: int, separator: int, width: int, exact: bool) -> _Shape | None:
    """Count what matters outside quotes; None where a quote, line end or zero byte needs the strict parser."""
    shape = _Shape()
    for at in range(start, end, _CHUNK_BYTES):
        chunk = data[at : min(at + _CHUNK_BYTES, end)]
        if chunk.min() == 0 or not _returns_end_lines(data, chunk, at=at):
            return None
        separators, line_feeds = chunk == separator, chunk == _LINE_FEED
        quotes = np.flatnonzero(chunk == _QUOTE)
        if quotes.size:
            if not _quotes_are_plain(data, quotes + at, separator=separator, start=start, inside=shape.inside):
                return None
            outside = ~(np.bitwise_xor.accumulate(chunk == _QUOTE) ^ shape.inside)
            separators &= outside
            line_feeds &= outside
            shape.quotes += quotes.size
            shape.inside ^= bool(quotes.size % 2)
        elif shape.inside:
            continue
        if exact and not _rows_are_full(
            separators, line_feeds, width=width, before=shape.separators + shape.line_feeds
        ):
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


def _parsed(
    source: Any,
    *,
    separator: str,
    width: int,
    position: dict[str, int],
    repeated: frozenset[str],
    shape: _Shape,
) -> pl.DataFrame | None:
    names = {place: name for name, place in position.items()}
    schema = {
        names.get(place, f"{SOURCE_ROW} {place}"): pl.Categorical if names.get(place) in repeated else pl.String
        for place in range(width)
    }
    lines = pl.scan_csv(
        source,
        has_header=False,
        skip_lines=1,
        schema=schema,
        separator=separator,
        quote_char='"' if shape.quotes else None,
    )
    try:
        return lines.select(list(position)).collect()
    except pl.exceptions.PolarsError:
        return None  # long rows and bytes that are not UTF-8 end here; the strict parser words them


def _trimmed(frame: pl.DataFrame) -> pl.DataFrame:
    """Blank is null, blanks around a value are gone; most columns need neither, and are left as they are."""
    texts = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    length = pl.col(texts).str.len_bytes()
    blanks = (pl.col(texts).str.strip_chars().str.len_bytes() != length) | (length == 0)
    verdicts = frame.select(blanks.any()).row(0, named=True) if texts else {}
    untidy = [
        name for name in frame.columns if (verdicts[name] if name in verdicts else _has_untidy_category(frame[name]))
    ]
    tidy = pl.col(untidy).cast(pl.String).str.strip_chars().replace("", None)
    trimmed = frame.select(tidy).cast({name: frame.schema[name] for name in untidy})
    return frame.with_columns(trimmed.get_columns())


def _has_untidy_category(column: pl.Series) -> bool:
    distinct = distinct_values(column)
    return bool(((distinct.str.strip_chars() != distinct) | (distinct == "")).any())
