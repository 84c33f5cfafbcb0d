"""Traces of an id in Parquet files: rows about the lead, and texts and notes that name it.

Belongs here: one Parquet file. Does not belong here: which files there are (``forget.py``).
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from uuid import uuid4

import polars as pl

from elv_pipeline.publishing.erasure.sought import Sought, lead_columns, names, text_columns

SIGNATURE = b"PAR1"
_ARROW_OWN = ("ARROW:schema", "pandas")
"""Notes that whoever writes the file makes anew."""


def count(file: Path | BytesIO, sought: Sought) -> int:
    """Rows and notes that name the lead."""
    schema = pl.Schema(pl.read_parquet_schema(file))
    noted = sum(sought.in_text(text) > 0 for text in pl.read_parquet_metadata(file).values())
    wanted = [sought.cell(name) for name in lead_columns(schema)]
    wanted += [names(name, schema, sought) for name in text_columns(schema)]
    wanted += [_bytes_name(name, sought) for name in _byte_columns(schema)]
    if not wanted:
        return noted
    if isinstance(file, BytesIO):
        file.seek(0)
    rows = pl.scan_parquet(file).filter(pl.any_horizontal(wanted)).select(pl.len()).collect()
    return noted + int(rows.item())


def erase(file: Path, sought: Sought) -> int:
    """Take the rows out and blacken texts; values in lists, structures and bytes go with their row. Atomic.

    Returns:
        Rows removed plus values blackened.
    """
    before, notes = pl.read_parquet(file), pl.read_parquet_metadata(file)
    schema = before.schema
    doomed = [sought.cell(name) for name in lead_columns(schema)]
    doomed += [names(name, schema, sought) for name in text_columns(schema) if schema[name].is_nested()]
    doomed += [_bytes_name(name, sought) for name in _byte_columns(schema)]
    frame = before.filter(~pl.any_horizontal(doomed)) if doomed else before
    found = before.height - frame.height
    for name in text_columns(schema):
        named = frame.select(names(name, schema, sought)).to_series()
        if named.any():
            found += int(named.sum())
            told = frame[name].cast(pl.String).map_elements(sought.redacted, return_dtype=pl.String)
            frame = frame.with_columns(told.cast(schema[name]).alias(name))
    found += sum(sought.in_text(text) > 0 for text in notes.values())
    if found:
        _write(frame, file, {key: sought.redacted(text) for key, text in notes.items() if key not in _ARROW_OWN})
    return found


def _write(frame: pl.DataFrame, file: Path, notes: dict[str, str]) -> None:
    staged = file.with_name(f".{uuid4().hex[:12]}.staged")
    try:
        frame.write_parquet(staged, metadata=notes)
        staged.replace(file)
    finally:
        staged.unlink(missing_ok=True)


def _byte_columns(schema: pl.Schema) -> list[str]:
    return [name for name, dtype in schema.items() if dtype == pl.Binary]


def _bytes_name(name: str, sought: Sought) -> pl.Expr:
    """Rows of which a column of bytes holds the letters of an id, in whatever packing they are not."""
    anywhere = [pl.col(name).bin.contains(text.encode()).fill_null(False) for text in sought.ids]
    told = pl.col(name).map_elements(
        lambda content: sought.in_text(content.decode("utf-8", errors="replace")) > 0, return_dtype=pl.Boolean
    )
    return pl.when(pl.any_horizontal(anywhere)).then(told).otherwise(False)
