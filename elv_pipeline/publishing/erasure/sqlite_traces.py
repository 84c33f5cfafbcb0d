"""Traces of an id in SQLite files: values that name the lead, and bytes of rows that were deleted long ago.

Belongs here: one SQLite file. Does not belong here: which files there are (``forget.py``), or the tables of scores,
whose rows are deleted (``forget_scores.py``).
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from elv_pipeline.publishing.erasure.packed import unpacked
from elv_pipeline.publishing.erasure.sought import ERASED, LEAD_COLUMNS, Sought

SIGNATURE = b"SQLite format 3\x00"
_PATIENCE_SECONDS = 30
_MOST_MARKS = 10_000
_TAKEN = (sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)


def count(file: Path, sought: Sought) -> int:
    """Values that name the lead."""
    with closing(sqlite3.connect(file, timeout=_PATIENCE_SECONDS)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # or what was written last stands in another file
        return sum(1 for _ in _cells(connection, sought))


def count_in_bytes(content: bytes, sought: Sought) -> int:
    """The same of a database that lies in an archive; it is not unpacked to disk, where it would be one more trace."""
    with closing(sqlite3.connect(":memory:")) as connection:
        # A database in memory has no write-ahead log; the two bytes say that this one needs none.
        connection.deserialize(content[:18] + b"\x01\x01" + content[20:])
        return sum(1 for _ in _cells(connection, sought))


def clean_free_pages(file: Path, sought: Sought) -> bool:
    """Rewrite a file in which the bytes of rows that were deleted long ago may still spell an id.

    Free pages may hold it packed, so that no search for its letters would find it; they go in any case.

    Returns:
        Whether it was rewritten; a file that has no free page and nowhere spells an id is left alone.
    """
    with closing(sqlite3.connect(file, timeout=_PATIENCE_SECONDS, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # or what was written last stands in another file
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
        content = file.read_bytes()
        found = free > 0 or any(name.encode() in content for name in sought.ids)
        if found:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return found


def erase(file: Path, sought: Sought) -> int:
    """Blacken ids in one transaction, and rewrite the file so that no free page keeps what was there.

    A packed value that is no text stays; the search afterwards reports it.

    Returns:
        Values blackened or removed.
    """
    with closing(sqlite3.connect(file, timeout=_PATIENCE_SECONDS, isolation_level=None)) as connection:
        connection.execute("PRAGMA secure_delete=ON")
        connection.execute("BEGIN IMMEDIATE")
        found = list(_cells(connection, sought))
        for table, column, value in dict.fromkeys(found):  # by value: a table may have no rowid
            _blacken(connection, table, column, value, sought)
        connection.execute("COMMIT")
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return len(found)


def _blacken(connection: sqlite3.Connection, table: str, column: str, value: Any, sought: Sought) -> None:
    """Write what the table allows: a mark, a numbered one where values must differ, nothing, or no row at all."""
    where = f"{_quoted(column)} IS ?"
    update = f"UPDATE {_quoted(table)} SET {_quoted(column)} = ? WHERE {where}"
    for told in _marked(value, sought):
        try:
            connection.execute(update, (told, value))
        except sqlite3.IntegrityError as error:
            if error.sqlite_errorcode not in _TAKEN:
                break  # a rule about the value itself; no other mark would do
        else:
            return
    else:
        if _is_unreadable(value):
            return
    try:
        connection.execute(update, (None, value))
    except sqlite3.IntegrityError:
        connection.execute(f"DELETE FROM {_quoted(table)} WHERE {where}", (value,))


def _marked(value: Any, sought: Sought) -> Iterator[Any]:
    """What may stand instead of a value: with the plain mark, then with numbered ones; none for bytes of no text."""
    for number in range(1, _MOST_MARKS):
        mark = ERASED if number == 1 else f"(erased {number})"
        if isinstance(value, bytes):
            plain = unpacked(value)
            try:
                told = sought.redacted(plain.decode("utf-8"), mark=mark).encode("utf-8")
            except UnicodeDecodeError:
                return
            yield told if plain == value else zlib.compress(told)
        else:
            yield sought.redacted(str(value), mark=mark)


def _is_unreadable(value: Any) -> bool:
    if not isinstance(value, bytes):
        return False
    try:
        unpacked(value).decode("utf-8")
    except UnicodeDecodeError:
        return True
    return False


def _cells(connection: sqlite3.Connection, sought: Sought) -> Iterable[tuple[str, str, Any]]:
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for table in tables:
        for _, name, *_ in connection.execute(f"PRAGMA table_info({_quoted(table)})").fetchall():
            column = _quoted(name)
            # Texts that do not hold the letters are never fetched; packed values have to be looked into.
            holds = " OR ".join(f"instr({column}, ?) > 0" for _ in sought.ids)
            numbers = "'integer'" if name in LEAD_COLUMNS else "'none'"  # elsewhere a number is a figure
            query = (
                f"SELECT {column} FROM {_quoted(table)} WHERE "  # names are those of the file itself
                f"(typeof({column}) IN ('text', {numbers}) AND ({holds})) OR typeof({column}) = 'blob'"
            )
            for (value,) in connection.execute(query, sought.ids).fetchall():
                if sought.in_text(_as_text(value)):
                    yield table, name, value


def _as_text(value: Any) -> str:
    return unpacked(value).decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
