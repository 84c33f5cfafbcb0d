"""What all invented exports share: people who cannot exist, and files that are written whole or not at all.

Belongs here: nothing that knows a problem. Does not belong here: what is invented.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import polars as pl

TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


def with_invented_people(table: pl.DataFrame) -> pl.DataFrame:
    """The table with ``full_name``, ``email`` and ``phone_number``: tests show that none of them enters."""
    number = pl.int_range(1, pl.len() + 1).cast(pl.String)
    return table.with_columns(
        full_name=pl.format("Synthetic Person {}", number),
        email=pl.format("person{}@example.invalid", number),  # .invalid can never be a real domain (RFC 2606)
        phone_number=pl.format("+1-202-555-01{}", number.str.slice(-2).str.zfill(2)),  # 555-01xx is kept for fiction
    )


def csv_writer(table: pl.DataFrame) -> Callable[[Path], None]:
    """Writes a table as the exports are written; same table, same bytes."""

    def write_csv(path: Path) -> None:
        table.write_csv(path, datetime_format=TIME_FORMAT, float_precision=2)

    return write_csv


def write_whole(path: Path, *, write: Callable[[Path], None]) -> None:
    """Replace a file by what ``write`` makes, or leave it as it was."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
