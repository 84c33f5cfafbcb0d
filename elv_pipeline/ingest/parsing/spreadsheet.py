"""An Excel workbook as text columns with the row numbers that Excel shows.

Belongs here: choosing the sheet, and how a cell's value is written as text. Does not belong here: which names mean
which column (``connectors``), types or rules about values (``tables``).

python-calamine reads the cells: a parser in Rust without dependencies, which keeps dates as dates and the place of
every row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from elv_pipeline.errors import ContractError
from elv_pipeline.ingest.connectors.matching import UnrecognisedHeaderError
from elv_pipeline.ingest.parsing.text_table import Layout, TextTable
from elv_pipeline.ingest.source_file import SOURCE_ROW

# Ads Manager writes the same report twice; the other sheet, "Formatted Report", merges cells and leaves gaps.
_PREFERRED_SHEET = "Raw Data Report"
# Excel keeps 15 digits of a number; from there on the written digits are not those that were entered.
_EXACT_BELOW = 10**15


@dataclass(frozen=True)
class _Sheet:
    name: str
    header: list[str]
    rows: list[tuple[int, list[Any]]]


def read_spreadsheet(
    file: Path,
    *,
    choose: Callable[[list[str]], Layout],
    name: str,
    decimal: str = ".",
    allow_no_rows: bool = False,
) -> TextTable:
    """Read the chosen columns of the sheet whose header is recognised; the first row with content is the header.

    Args:
        file: an .xlsx or .xlsm workbook.
        choose: given the trimmed cells of a header, which columns to load; it may raise ``ContractError``.
        name: the table that the file should hold, for messages.
        decimal: mark with which numbers are written, so that cells with numbers and cells with text agree.
        allow_no_rows: whether a header alone is valid.

    Raises:
        ContractError: no workbook, no sheet or several sheets with a known header, or no rows.
    """
    sheet, layout = _choose_sheet(_sheets(file), choose=choose, file=file, name=name)
    if not sheet.rows and not allow_no_rows:
        raise ContractError(f"{file.name}: no rows below the header; {name} needs at least one. Export again.")
    columns = {
        column: _texts([_cell(cells, place) for _, cells in sheet.rows], decimal=decimal)
        for column, place in layout.position.items()
    }
    frame = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))
    frame = frame.insert_column(0, pl.Series(SOURCE_ROW, [row for row, _ in sheet.rows], dtype=pl.Int64))
    with file.open("rb") as raw:
        digest = hashlib.file_digest(raw, "sha256").hexdigest()
    return TextTable(frame=frame, header=tuple(sheet.header), layout=layout, sha256=digest, separator="")


def spreadsheet_rows_holding(file: Path, marker: str) -> frozenset[int]:
    """Numbers of the rows of which a cell holds this text, on any sheet."""
    return frozenset(
        row
        for sheet in _sheets(file)
        for row, cells in sheet.rows
        if any(isinstance(cell, str) and marker in cell for cell in cells)
    )


def _sheets(file: Path) -> list[_Sheet]:
    from python_calamine import CalamineError, CalamineWorkbook, PasswordError, SheetVisibleEnum

    try:
        with CalamineWorkbook.from_path(str(file)) as workbook:
            shown = [sheet.name for sheet in workbook.sheets_metadata if sheet.visible == SheetVisibleEnum.Visible]
            pages = [(sheet, workbook.get_sheet_by_name(sheet).to_python(skip_empty_area=False)) for sheet in shown]
    except PasswordError:
        raise ContractError(
            f"{file.name}: the workbook is protected by a password. Save it without one, or export it again as CSV."
        ) from None
    except CalamineError as error:
        raise ContractError(
            f"{file.name}: not readable as an Excel workbook ({error}). Unpack it if it is a zip archive, or export "
            f"it again as CSV."
        ) from None
    found = [sheet for title, rows in pages if (sheet := _sheet(title, rows)) is not None]
    if not found:
        raise ContractError(f"{file.name}: the workbook has no cells; a header is needed. Export it again.")
    return found


def _sheet(name: str, rows: list[list[Any]]) -> _Sheet | None:
    filled = [(number, cells) for number, cells in enumerate(rows, start=1) if any(_is_filled(cell) for cell in cells)]
    if not filled:
        return None
    _, cells = filled[0]
    header = [_text(cell, decimal=".", with_time=False) or "" for cell in cells]
    while header and not header[-1]:
        header.pop()
    return _Sheet(name, header, filled[1:])


def _choose_sheet(
    sheets: list[_Sheet], *, choose: Callable[[list[str]], Layout], file: Path, name: str
) -> tuple[_Sheet, Layout]:
    recognised: list[tuple[_Sheet, Layout]] = []
    refused: list[UnrecognisedHeaderError] = []
    for sheet in sheets:
        try:
            recognised.append((sheet, choose(sheet.header)))
        except UnrecognisedHeaderError as error:
            if len(sheets) == 1:
                raise
            refused.append(error)
    preferred = [found for found in recognised if found[0].name == _PREFERRED_SHEET]
    if len(recognised) == 1 or preferred:
        return (preferred or recognised)[0]
    names = ", ".join(repr(sheet.name) for sheet in sheets)
    if recognised:
        known = " and ".join(repr(sheet.name) for sheet, _ in recognised)
        raise ContractError(
            f"{file.name}: the sheets {known} all look like {name}; one is needed. Delete the others, or save the "
            f"right one as CSV."
        )
    raise ContractError(f"{file.name}: none of the sheets {names} holds {name}. The first one: {refused[0]}")


def _is_filled(cell: Any) -> bool:
    return cell is not None and str(cell).strip() != ""


def _cell(cells: list[Any], place: int) -> Any:
    return cells[place] if place < len(cells) else None


def _texts(values: list[Any], *, decimal: str) -> list[str | None]:
    # Midnight comes as a date among moments; a column of times must have one shape.
    with_time = any(isinstance(value, datetime) for value in values)
    return [_text(value, decimal=decimal, with_time=with_time) for value in values]


def _text(value: Any, *, decimal: str, with_time: bool) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _number(value, decimal=decimal)
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, date):
        return f"{value.isoformat()} 00:00:00" if with_time else value.isoformat()
    return str(value).strip() or None


def _number(value: float, *, decimal: str) -> str:
    if value.is_integer() and abs(value) < _EXACT_BELOW:
        return str(int(value))
    if abs(value) >= _EXACT_BELOW:
        return f"{value:.14E}"
    return repr(value).replace(".", decimal)
