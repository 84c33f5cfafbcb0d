"""Traces of an id in texts and tables of text.

Belongs here: CSV, JSON, Markdown, HTML, logs, whatever can be read as UTF-8. Does not belong here: which files there
are (``forget.py``).
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from elv_pipeline.home import write_atomically
from elv_pipeline.publishing.erasure.sought import Sought, lead_columns, names, text_columns

TABLES = (".csv", ".tsv", ".tab")
_SEPARATORS = (",", ";", "\t", "|")


def count(content: bytes, sought: Sought, *, suffix: str) -> int:
    """Rows of a table, else places of a text, that name the lead."""
    if suffix not in TABLES:
        return sought.in_text(content.decode("utf-8", errors="replace"))
    if not any(name.encode() in content for name in sought.ids):
        return 0
    try:
        frame = _table(content)
    except pl.exceptions.PolarsError:
        return sought.in_text(content.decode("utf-8", errors="replace"))
    named = [sought.cell(name) for name in lead_columns(frame.schema)]
    named += [names(name, frame.schema, sought) for name in text_columns(frame.schema)]
    return frame.filter(pl.any_horizontal(named)).height if named else 0


def erase(file: Path, sought: Sought) -> int:
    """Take the lead's rows out of a table, and blacken its id elsewhere. Atomic.

    Returns:
        Rows or places that named it.
    """
    content = file.read_bytes()
    found = count(content, sought, suffix=file.suffix)
    if not found:
        return 0
    if file.suffix in TABLES:
        try:
            frame = _table(content)
        except pl.exceptions.PolarsError:  # no table, such as lines of different lengths
            pass
        else:
            write_atomically(file, _without(frame, sought).write_csv(separator=_separator(content)))
            return found
    write_atomically(file, sought.redacted(content.decode("utf-8")))
    return found


def _table(content: bytes) -> pl.DataFrame:
    return pl.read_csv(content, infer_schema=False, separator=_separator(content))


def _separator(content: bytes) -> str:
    """What separates the columns: what the first line has most of; a comma where it has none."""
    head = content.split(b"\n", 1)[0]
    return max(_SEPARATORS, key=lambda mark: head.count(mark.encode()))


def _without(frame: pl.DataFrame, sought: Sought) -> pl.DataFrame:
    rows = lead_columns(frame.schema)
    if rows:
        frame = frame.filter(~pl.any_horizontal([sought.cell(name) for name in rows]))
    return frame.with_columns(
        pl.col(name).map_elements(sought.redacted, return_dtype=pl.String) for name in text_columns(frame.schema)
    )
