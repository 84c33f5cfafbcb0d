"""A CSV file as text columns with row numbers, or an error that names the file, the place and the way out.

Belongs here: encodings, separators, headers, ragged rows. Does not belong here: types or rules about values.

One parser (the standard library's) does everything. A second, faster one for the values would disagree with it on
quoting sooner or later, and fill short rows with nulls without saying so; at 1M rows the difference is a second.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from elv_pipeline.contracts.spec import TableContract
from elv_pipeline.errors import ContractError

SOURCE_ROW = "source_row"
"""Row number in the file; the header is row 1, and a quoted value with line breaks is still one row."""

_BLOCK_ROWS = 50_000
_HEAD_BYTES = 65_536
_ZIP_SIGNATURES = {b"PK\x03\x04": "an Excel workbook or zip archive", b"\x1f\x8b": "a gzip archive"}
_SEPARATORS = {";": "semicolons (;)", "\t": "tabs", "|": "vertical bars (|)"}
# A header cell that looks like this is a value: the header is missing, and the cell may be somebody's phone number.
_VALUE_LIKE = re.compile(r".*@.*|[-+(]?\d[\d\s:.,/()T-]*Z?", re.DOTALL)


@dataclass(frozen=True)
class SourceFile:
    """The known columns of one file as text (blank is null), in file order, with ``source_row``."""

    path: Path
    frame: pl.DataFrame
    columns: tuple[str, ...]
    dropped_columns: tuple[str, ...]
    sha256: str

    @property
    def name(self) -> str:
        """File name as used in messages."""
        return self.path.name


@dataclass(frozen=True)
class _Layout:
    width: int
    position: dict[str, int]
    dropped: tuple[str, ...]


def read_csv(path: Path | str, *, source: TableContract, allow_no_rows: bool = False) -> SourceFile:
    """Read the known columns of a CSV file; of unknown columns only the name in the header is looked at.

    Args:
        path: a comma-separated UTF-8 file with a header (a byte-order mark is accepted).
        source: the contract of the file; its columns are matched ignoring case and surrounding blanks.
        allow_no_rows: whether a header alone is a valid file.

    Raises:
        ContractError: the file is missing, empty, in another encoding or with another separator, its header lacks a
            required column or repeats one, a row has too many or too few cells, or there are no rows.
    """
    file = Path(path)
    _require_readable(file, source)
    try:
        with file.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.reader(handle, strict=True)
            layout = _match_header(next(reader, []), file=file, source=source)
            blocks = list(_blocks(reader, layout, file=file))
    except UnicodeDecodeError:
        raise ContractError(_bad_byte(file)) from None
    except csv.Error as error:
        raise ContractError(
            f"{file.name} line {reader.line_num}: not readable as CSV ({error}); a quote is opened or closed in the "
            f"wrong place. Export again with every quote inside a quoted value doubled."
        ) from None
    if not blocks and not allow_no_rows:
        raise ContractError(f"{file.name}: no rows below the header; {source.name} needs at least one. Export again.")
    schema = {SOURCE_ROW: pl.Int64, **dict.fromkeys(layout.position, pl.String)}
    frame = pl.concat(blocks, rechunk=True) if blocks else pl.DataFrame(schema=schema)
    with file.open("rb") as raw:
        sha256 = hashlib.file_digest(raw, "sha256").hexdigest()
    return SourceFile(file, frame, tuple(layout.position), layout.dropped, sha256)


def _require_readable(file: Path, source: TableContract) -> None:
    if not file.is_file():
        raise ContractError(
            f"{file}: no such file; it should hold {source.name}. Correct paths.{source.name}_path or export the file."
        )
    with file.open("rb") as handle:
        head = handle.read(_HEAD_BYTES)
    if not head.strip(b"\xef\xbb\xbf \t\r\n"):
        raise ContractError(
            f"{file.name}: the file is empty ({file.stat().st_size} bytes); a header is needed even where there are no "
            f"rows. Export it again, or set paths.{source.name}_path to null if the export does not exist."
        )
    for signature, kind in _ZIP_SIGNATURES.items():
        if head.startswith(signature):
            raise ContractError(f"{file.name}: this is {kind}; a plain file is needed. Unpack or save it as UTF-8 CSV.")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\x00" in head:
        raise ContractError(f"{file.name}: the encoding is UTF-16; UTF-8 is needed. Save the file as UTF-8 CSV.")


def _match_header(header: list[str], *, file: Path, source: TableContract) -> _Layout:
    _require_comma(header, file)
    found = [cell.strip() for cell in header]
    lowered = [cell.casefold() for cell in found]
    for name in source.names:
        if lowered.count(name) > 1:
            places = " and ".join(str(place + 1) for place, cell in enumerate(lowered) if cell == name)
            raise ContractError(
                f"{file.name} row 1: column {name!r} appears {lowered.count(name)} times (columns {places}); header "
                f"names must be unique. Remove or rename all but one."
            )
    missing = [column.name for column in source.columns if column.required and column.name not in lowered]
    if missing:
        raise ContractError(
            f"{file.name}: required column {', '.join(map(repr, missing))} is missing; found: {_found(found)}. "
            f"Add or rename the column in the export (upper and lower case do not matter)."
        )
    position = {name: lowered.index(name) for name in source.names if name in lowered}
    dropped = tuple(cell for cell, low in zip(found, lowered, strict=True) if low not in position)
    return _Layout(len(header), position, tuple(_safe_name(cell) for cell in dropped))


def _require_comma(header: list[str], file: Path) -> None:
    text = ",".join(header)
    for separator, words in _SEPARATORS.items():
        if text.count(separator) > len(header) - 1:
            raise ContractError(
                f"{file.name}: the columns are separated by {words}; commas are needed. Save the file as "
                f"comma-separated UTF-8 CSV, with a decimal point in numbers."
            )


def _found(names: list[str]) -> str:
    if any(_VALUE_LIKE.fullmatch(name) for name in names):
        return f"{len(names)} cells that look like values, so the header row seems to be missing"
    return ", ".join(repr(_safe_name(name)) for name in names)


def _safe_name(name: str) -> str:
    return "(unnamed)" if not name else "(withheld: not a name)" if _VALUE_LIKE.fullmatch(name) else name[:60]


def _blocks(reader: Any, layout: _Layout, *, file: Path) -> Iterator[pl.DataFrame]:
    row = 1
    while block := list(islice(reader, _BLOCK_ROWS)):
        numbers = list(range(row + 1, row + 1 + len(block)))
        row += len(block)
        if set(map(len, block)) != {layout.width}:
            pairs = [(number, cells) for number, cells in zip(numbers, block, strict=True) if cells]
            _refuse_ragged(pairs, layout, file=file)
            if not pairs:
                continue  # blank lines only, as at the end of many exports
            numbers, block = [number for number, _ in pairs], [cells for _, cells in pairs]
        columns = {name: [cells[place] for cells in block] for name, place in layout.position.items()}
        trimmed = pl.all().str.strip_chars()
        texts = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String)).select(trimmed.replace("", None))
        yield texts.insert_column(0, pl.Series(SOURCE_ROW, numbers, dtype=pl.Int64))


def _refuse_ragged(pairs: list[tuple[int, list[str]]], layout: _Layout, *, file: Path) -> None:
    ragged = [(number, len(cells)) for number, cells in pairs if len(cells) != layout.width]
    if ragged:
        number, width = ragged[0]
        more = f" (and {len(ragged) - 1:,} more rows nearby)" if len(ragged) > 1 else ""
        raise ContractError(
            f"{file.name} row {number}: {width} cells{more}, but the header has {layout.width}; every row must have as "
            f"many. Put values that contain a comma or a line break in double quotes."
        )


def _bad_byte(file: Path) -> str:
    with file.open("rb") as handle:
        for number, line in enumerate(handle, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return (
                    f"{file.name} line {number}: byte 0x{line[error.start]:02X} at position {error.start + 1} is not "
                    f"UTF-8 (the file is probably Latin-1 or Windows-1252). Save the file as UTF-8 CSV."
                )
    return f"{file.name}: the file ends in the middle of a UTF-8 character. Export it again."
