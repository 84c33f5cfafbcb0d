"""A delimited text file as text columns with row numbers, or an error that names the file, the place and the way out.

Belongs here: the header, the choice of columns, and which parser reads the rows. Does not belong here: which names
mean which column (``connectors``), types or rules about values (``tables``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from elv_pipeline.contracts.spec import PolarsType
from elv_pipeline.errors import ContractError
from elv_pipeline.ingest.parsing.delimited_fast import read_fast
from elv_pipeline.ingest.parsing.delimited_strict import read_header, read_strictly
from elv_pipeline.ingest.parsing.raw_text import RawText, recognise

# A header cell that looks like this is a value: the header is missing, and the cell may be somebody's phone number.
_VALUE_LIKE = re.compile(r".*@.*|[-+(]?\d[\d\s:.,/()T-]*Z?", re.DOTALL)


@dataclass(frozen=True)
class Layout:
    """Which cell of a row is which column, and the names of the others as they may be shown.

    ``types`` says how columns other than text are read. ``Categorical`` is for few values that recur in many rows:
    faster, a fraction of the memory, and cheap to compare, sort and count. ``Int64`` is for counts and ``Float64`` for
    amounts: a column of which every value is certain comes as integers (amounts in millionths), any other as the text
    that says what is wrong with it.
    """

    position: dict[str, int]
    dropped: tuple[str, ...]
    types: Mapping[str, PolarsType] = field(default_factory=dict)


@dataclass(frozen=True)
class TextTable:
    """One file as text.

    Attributes:
        frame: ``source_row`` (Int64; the header is row 1) and the chosen columns, trimmed, null where blank; text, or
            as ``Layout.types`` says.
        header: all cells of the header row, trimmed.
        layout: which of them were chosen.
        sha256: digest of the file as stored.
        separator: character between the cells.
    """

    frame: pl.DataFrame
    header: tuple[str, ...]
    layout: Layout
    sha256: str
    separator: str


def read_text_table(
    file: Path, *, choose: Callable[[list[str]], Layout], name: str, allow_no_rows: bool = False
) -> TextTable:
    """Read the chosen columns of a delimited text file; of the others only the name in the header is looked at.

    UTF-8 and UTF-16, plain or compressed (gzip, bz2, zstd, xz), separated by commas, semicolons, tabs or vertical bars.

    Args:
        file: the export.
        choose: given the trimmed cells of the header, which columns to load; it may raise ``ContractError``.
        name: the table that the file should hold, for messages.
        allow_no_rows: whether a header alone is a valid file.

    Raises:
        ContractError: the file is missing, empty, damaged or in another encoding, a row has too many or too few cells,
            or there are no rows.
    """
    raw = recognise(file, name=name)
    cells, separator = read_header(raw)
    header = [cell.strip() for cell in cells]
    layout = choose(header)
    # Hashing needs one core and the parser waits for memory: together they take hardly longer than either.
    with ThreadPoolExecutor(max_workers=1) as background:
        digest = background.submit(raw.digest)
        frame = _rows(raw, separator=separator, width=len(header), layout=layout)
    if frame.is_empty() and not allow_no_rows:
        raise ContractError(f"{file.name}: no rows below the header; {name} needs at least one. Export again.")
    return TextTable(frame, tuple(header), layout, digest.result(), separator)


def _rows(raw: RawText, *, separator: str, width: int, layout: Layout) -> pl.DataFrame:
    found = read_fast(raw, separator=separator, width=width, position=layout.position, types=layout.types)
    if found is not None:
        return found
    frame = read_strictly(raw, separator=separator, width=width, position=layout.position)
    return frame.cast({name: pl.Categorical for name in frame.columns if layout.types.get(name) == pl.Categorical})


def safe_header_name(name: str) -> str:
    """A header cell as it may be shown: withheld where it looks like a value, since it may be a person's."""
    return "(unnamed)" if not name else "(withheld: not a name)" if is_value_like(name) else name[:60]


def is_value_like(name: str) -> bool:
    """Whether a header cell looks like a value, as where the header row is missing."""
    return _VALUE_LIKE.fullmatch(name) is not None
