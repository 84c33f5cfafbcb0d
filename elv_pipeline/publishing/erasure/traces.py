"""Traces of an id in files: finding them in Parquet, SQLite, CSV, JSON and plain bytes, and taking them out.

Belongs here: one file at a time. Does not belong here: which files there are, or whose they are (``forget.py``).

A short id (``12``) stands by chance in any text, so inside texts only ids are looked for that are long enough to be
nobody else's; shorter ones are looked for as whole values: a cell, a JSON string, a cell of a Markdown table.
"""

from __future__ import annotations

import bz2
import gzip
import html
import json
import lzma
import re
import sqlite3
import zipfile
import zlib
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import uuid4

import polars as pl

from elv_pipeline.home import write_atomically

LEAD_COLUMNS = ("lead_id", "enrollment_id")
"""Columns whose rows are about one lead."""
ERASED = "(erased)"
_SHORTEST_TEXT, _SHORTEST_NUMBER = 6, 9
_UNPACKED: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": gzip.decompress,
    b"BZh": bz2.decompress,
    b"\xfd7zXZ": lzma.decompress,
}
_SQLITE = b"SQLite format 3\x00"
_PARQUET = b"PAR1"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
"""Of an archive with members, and of an empty one; spreadsheets and arrays of NumPy are such archives, too."""
_ARROW_OWN = ("ARROW:schema", "pandas")


@dataclass(frozen=True)
class Sought:
    """The spellings of one lead's id: as the user knows it, and as it is stored."""

    ids: tuple[str, ...]

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The id inside a text, never as part of a longer one."""
        parts = [rf"(?<=\| ){re.escape(name)}(?= \|)" for name in self.ids]
        parts += [rf"(?<=lead_id )['\"]?{re.escape(name)}['\"]?(?![\w-])" for name in self.ids]
        # Behind an escaped line break stands a letter: the n of \\n.
        start = r"(?:(?<![\w+-])(?<!\w\.)|(?<=\\[nrt]))"
        parts += [rf"{start}{text}(?![\w-])(?!\.\w)" for text in self._long]
        return re.compile("|".join(parts))

    @cached_property
    def _long(self) -> list[str]:
        """Every way in which ids that are long enough are written in files, as patterns."""
        found = set()
        for name in self.ids:
            if _is_long(name):
                found |= {name, json.dumps(name)[1:-1], html.escape(name), name.replace("|", "\\|")}
        return [re.escape(text) for text in sorted(found, key=lambda text: (-len(text), text))]

    @property
    def is_searched_in_text(self) -> bool:
        """Whether every spelling is long enough to be looked for inside texts."""
        return all(_is_long(name) for name in self.ids)

    def cell(self, column: str) -> pl.Expr:
        """Rows of which this column names the lead."""
        return pl.col(column).cast(pl.String).str.strip_chars().is_in(list(self.ids)).fill_null(False)

    def in_text(self, text: str) -> int:
        """How often a text names the lead."""
        if text in self.ids:
            return 1
        found = _json_or_none(text)
        if found is not None:
            return sum(self.in_text(value) for value in _strings(found))
        return len(self.pattern.findall(text))

    def redacted(self, text: str) -> str:
        """The text without the id; JSON stays JSON."""
        if text in self.ids:
            return ERASED
        found = _json_or_none(text)
        if found is None:
            return self.pattern.sub(ERASED, text)
        indent = 1 if text.startswith(("{\n ", "[\n ")) and not text.startswith(("{\n  ", "[\n  ")) else 2
        written = json.dumps(_mapped(found, self.redacted), indent=indent if "\n" in text.strip() else None)
        return written + ("\n" if text.endswith("\n") else "")


def _is_long(name: str) -> bool:
    return len(name) >= (_SHORTEST_NUMBER if name.isdigit() else _SHORTEST_TEXT)


def count_in(file: Path, sought: Sought) -> int:
    """How many rows, cells, values or places of a file name the lead; 0 where it does not."""
    head = _head(file)
    if head.startswith(_PARQUET):
        return _in_parquet(file, sought)
    if head.startswith(_SQLITE):
        return _in_sqlite(file, sought)
    return _in_content(file.read_bytes(), sought, suffix=file.suffix)


def _in_content(content: bytes, sought: Sought, *, suffix: str) -> int:
    if content.startswith(_ZIP):
        return _in_zip(content, sought)
    content = _unpacked(content)
    if suffix == ".csv":
        return _in_csv(content, sought)
    return sought.in_text(content.decode("utf-8", errors="replace"))


def _in_zip(content: bytes, sought: Sought) -> int:
    """Look into the members of an archive, in memory: a copy on disk would be one more trace."""
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            return sum(
                sought.in_text(member.filename) + _in_member(archive.read(member), sought, name=member.filename)
                for member in archive.infolist()
            )
    except (zipfile.BadZipFile, RuntimeError, zlib.error, EOFError):  # broken or encrypted: what can be read is bytes
        return sought.in_text(content.decode("utf-8", errors="replace"))


def _in_member(content: bytes, sought: Sought, *, name: str) -> int:
    if content.startswith(_PARQUET):
        return _in_parquet(BytesIO(content), sought)
    if content.startswith(_SQLITE):
        with closing(sqlite3.connect(":memory:")) as connection:
            # A database in memory has no write-ahead log; the two bytes say that this one needs none.
            connection.deserialize(content[:18] + b"\x01\x01" + content[20:])
            return sum(1 for _ in _cells(connection, sought))
    return _in_content(content, sought, suffix=PurePosixPath(name).suffix)


def clean_free_pages(file: Path, sought: Sought) -> bool:
    """Rewrite a SQLite file in which the bytes of rows that were deleted long ago may still spell an id.

    Returns:
        Whether it was rewritten; other files, and those whose bytes nowhere spell an id, are left alone.
    """
    if not _head(file).startswith(_SQLITE):
        return False
    with closing(sqlite3.connect(file, timeout=30, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # or what was written last stands in another file
        content = file.read_bytes()
        found = any(name.encode() in content for name in sought.ids if _is_long(name))
        if found:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return found


def is_rewritable(file: Path) -> bool:
    """Whether ``erase_from`` can take an id out of such a file; packed files, models and other bytes it cannot."""
    return why_not_rewritable(file) == ""


def why_not_rewritable(file: Path) -> str:
    """Why an id cannot be taken out of a file; empty where it can."""
    head = _head(file)
    if head.startswith((_PARQUET, _SQLITE)):
        return ""
    if file.suffix == ".joblib" or head.startswith((*_UNPACKED, *_ZIP)):
        return "a model or packed file, which cannot be rewritten: delete it"
    try:
        file.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        return "not a text in UTF-8, so it cannot be rewritten without harming the rest: delete it"
    return ""


def erase_from(file: Path, sought: Sought) -> int:
    """Take a lead out of a file: its rows go, elsewhere its id is blackened. Atomic and idempotent.

    Returns:
        Rows removed plus values blackened; 0 for a file that cannot be rewritten, which stays as it is.
    """
    if not is_rewritable(file):
        return 0
    head = _head(file)
    if head.startswith(_PARQUET):
        return _erase_from_parquet(file, sought)
    if head.startswith(_SQLITE):
        return _erase_from_sqlite(file, sought)
    if file.suffix == ".csv":
        return _erase_from_csv(file, sought)
    text = file.read_bytes().decode("utf-8")
    found = sought.in_text(text)
    if found:
        write_atomically(file, sought.redacted(text))
    return found


def _head(file: Path) -> bytes:
    with file.open("rb") as content:
        return content.read(16)


# ---------------------------------------------------------------------------------------------------------- Parquet


def _in_parquet(file: Path | BytesIO, sought: Sought) -> int:
    schema = pl.Schema(pl.read_parquet_schema(file))
    rows, texts = _lead_columns(schema), _text_columns(schema)
    if not rows and not texts:
        return 0
    lazy = pl.scan_parquet(file)
    wanted = [sought.cell(name) for name in rows] + [_names(name, schema, sought) for name in texts]
    return int(lazy.filter(pl.any_horizontal(wanted)).select(pl.len()).collect().item())


def _erase_from_parquet(file: Path, sought: Sought) -> int:
    before, kept_metadata = pl.read_parquet(file), pl.read_parquet_metadata(file)
    rows = _lead_columns(before.schema)
    frame = before.filter(~pl.any_horizontal([sought.cell(name) for name in rows])) if rows else before
    found = before.height - frame.height
    for name in _text_columns(before.schema):
        named = frame.select(_names(name, before.schema, sought)).to_series()
        if not named.any():
            continue
        found += int(named.sum())
        if before.schema[name].is_nested():  # a value inside a list or structure cannot be blackened by itself
            frame = frame.filter(~named)
            continue
        told = frame[name].cast(pl.String).map_elements(sought.redacted, return_dtype=pl.String)
        frame = frame.with_columns(told.cast(before.schema[name]).alias(name))
    if found:
        metadata = {key: value for key, value in kept_metadata.items() if key not in _ARROW_OWN}
        staged = file.with_name(f".{uuid4().hex[:12]}.staged")
        try:
            frame.write_parquet(staged, metadata=metadata)
            staged.replace(file)
        finally:
            staged.unlink(missing_ok=True)
    return found


def _lead_columns(schema: pl.Schema) -> list[str]:
    return [name for name in LEAD_COLUMNS if name in schema]


def _text_columns(schema: pl.Schema) -> list[str]:
    texts = (pl.String, pl.Categorical, pl.Enum)
    return [
        name
        for name, dtype in schema.items()
        if name not in LEAD_COLUMNS and (dtype in texts or (dtype.is_nested() and "String" in str(dtype)))
    ]


def _names(name: str, schema: pl.Schema, sought: Sought) -> pl.Expr:
    """Rows of which a column of texts, or of lists or structures of texts, names the lead."""
    column = pl.struct(name).struct.json_encode() if schema[name].is_nested() else pl.col(name).cast(pl.String)
    # Engines of Polars know no look-around: what they find is looked at again by ours.
    anywhere = column.str.contains_any(list(sought.ids)).fill_null(False)
    return (
        pl.when(anywhere)
        .then(column.map_elements(lambda text: sought.in_text(text) > 0, return_dtype=pl.Boolean))
        .otherwise(False)
    )


# -------------------------------------------------------------------------------------------------------------- CSV


def _csv(content: bytes) -> pl.DataFrame:
    return pl.read_csv(content, infer_schema=False)


def _in_csv(content: bytes, sought: Sought) -> int:
    if not any(name.encode() in content for name in sought.ids):
        return 0
    try:
        frame = _csv(content)
    except pl.exceptions.PolarsError:
        return sought.in_text(content.decode("utf-8", errors="replace"))
    named = [sought.cell(name) for name in _lead_columns(frame.schema)]
    named += [_names(name, frame.schema, sought) for name in _text_columns(frame.schema)]
    return frame.filter(pl.any_horizontal(named)).height if named else 0


def _erase_from_csv(file: Path, sought: Sought) -> int:
    content = file.read_bytes()
    found = _in_csv(content, sought)
    if not found:
        return 0
    try:
        frame = _csv(content)
    except pl.exceptions.PolarsError:  # no table, such as lines of different lengths
        write_atomically(file, sought.redacted(content.decode("utf-8")))
        return found
    rows = _lead_columns(frame.schema)
    if rows:
        frame = frame.filter(~pl.any_horizontal([sought.cell(name) for name in rows]))
    frame = frame.with_columns(
        pl.col(name).map_elements(sought.redacted, return_dtype=pl.String) for name in _text_columns(frame.schema)
    )
    write_atomically(file, frame.write_csv())
    return found


# ----------------------------------------------------------------------------------------------------------- SQLite


def _in_sqlite(file: Path, sought: Sought) -> int:
    with closing(sqlite3.connect(file, timeout=30)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # or what was written last stands in another file
        return sum(1 for _ in _cells(connection, sought))


def _erase_from_sqlite(file: Path, sought: Sought) -> int:
    """Blacken ids in one transaction, and rewrite the file so that no free page keeps what was there.

    A packed value that is no text stays; the search afterwards reports it.
    """
    with closing(sqlite3.connect(file, timeout=30, isolation_level=None)) as connection:
        connection.execute("PRAGMA secure_delete=ON")
        connection.execute("BEGIN IMMEDIATE")
        found = list(_cells(connection, sought))
        for table, column, value in dict.fromkeys(found):  # by value: a table may have no rowid
            try:
                told = _redacted_value(value, sought)
            except UnicodeDecodeError:
                continue
            connection.execute(f'UPDATE "{table}" SET "{column}" = ? WHERE "{column}" IS ?', (told, value))
        connection.execute("COMMIT")
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return len(found)


def _cells(connection: sqlite3.Connection, sought: Sought) -> Iterable[tuple[str, str, Any]]:
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for table in tables:
        for _, column, *_ in connection.execute(f'PRAGMA table_info("{table}")').fetchall():
            # Texts that do not hold the letters are never fetched; packed values have to be looked into.
            holds = " OR ".join(f'instr("{column}", ?) > 0' for _ in sought.ids)
            query = (
                f'SELECT "{column}" FROM "{table}" WHERE '  # names are those of the file itself
                f"""(typeof("{column}") = 'text' AND ({holds})) OR typeof("{column}") = 'blob'"""
            )
            for (value,) in connection.execute(query, sought.ids).fetchall():
                if sought.in_text(_as_text(value)):
                    yield table, column, value


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else _unpacked(value).decode("utf-8", errors="replace")


def _redacted_value(value: Any, sought: Sought) -> Any:
    if isinstance(value, str):
        return sought.redacted(value)
    plain = _unpacked(value)
    told = sought.redacted(plain.decode("utf-8")).encode("utf-8")
    return told if plain == value else zlib.compress(told)


# ------------------------------------------------------------------------------------------------------------- text


def _unpacked(content: bytes) -> bytes:
    for signature, unpack in _UNPACKED.items():
        if content.startswith(signature):
            return unpack(content)
    if content[:1] == b"\x78":
        try:
            return zlib.decompress(content)
        except zlib.error:
            return content
    return content


def _json_or_none(text: str) -> Any:
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return json.loads(text)
    except ValueError:
        return None


def _strings(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {change(key): _mapped(inner, change) for key, inner in value.items()}
    if isinstance(value, list):
        return [_mapped(inner, change) for inner in value]
    return value
