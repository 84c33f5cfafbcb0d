"""The access log: who read or wrote what in which database, when, and with what outcome.

Belongs here: appending to the log. Does not belong here: anything that was read. A line never holds a value of a row, a
password or the text of a statement; the statement is named by its SHA-256.

The log is only ever appended to. Each line is one write to a file opened for appending, so that lines of processes
that run at the same time do not mix; only the owner of the file may read it.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

FILE_MODE = 0o600
_APPENDING = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
_WORDS = re.compile(r"[A-Za-z0-9_ .:/-]{1,120}")
_PASSWORD = re.compile(r"://[^/]*@|pwd=|password=", re.IGNORECASE)
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Access:
    """One use of a database.

    ``where`` is ``connections.describe(engine)``, which holds the login. ``statement`` is a SHA-256 or None, and
    ``outcome`` a word such as ``read``, ``written``, ``refused``, or ``failed: SourceError``. ``since`` and ``until``
    are the only parameters that are kept.
    """

    at: datetime
    where: str
    purpose: str
    outcome: str
    statement: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    rows: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        for title, words in (("purpose", self.purpose), ("outcome", self.outcome)):
            # Free text is where a name or an address would slip in, out of an exception's message for example.
            if not _WORDS.fullmatch(words):
                raise ValueError(f"access log: {title} must be a few plain words of at most 120 characters")
        if self.statement is not None and not _DIGEST.fullmatch(self.statement):
            raise ValueError("access log: statement must be the SHA-256 of a statement, never its text")
        if _PASSWORD.search(self.where):
            raise ValueError("access log: where must come from describe(), which leaves the password out")
        if any(moment is not None and moment.tzinfo is None for moment in (self.at, self.since, self.until)):
            raise ValueError("access log: moments must have a time zone")


@dataclass(frozen=True)
class AccessLog:
    """An append-only file of JSON lines, readable by its owner alone."""

    path: Path

    def record(self, access: Access) -> None:
        """Append one line, on disk when this returns. Safe in several processes at once.

        Raises:
            OSError: the log cannot be written; whoever reads data must not go on without it.
        """
        line = (json.dumps(_line(access), ensure_ascii=True) + "\n").encode()
        descriptor = os.open(self.path, _APPENDING, FILE_MODE)
        try:
            if hasattr(os, "fchmod") and os.fstat(descriptor).st_mode & 0o077:
                os.fchmod(descriptor, FILE_MODE)
            if _ends_in_a_torn_line(descriptor):
                line = b"\n" + line
            if os.write(descriptor, line) != len(line):
                raise OSError(f"{self.path}: the disk is full; free some room, the access was not recorded whole")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _line(access: Access) -> dict[str, object]:
    return {
        "at": _utc(access.at),
        "user": f"{_user()}@{socket.gethostname()}",
        "where": access.where,
        "purpose": access.purpose,
        "statement_sha256": access.statement,
        "since": _utc(access.since),
        "until": _utc(access.until),
        "rows": access.rows,
        "seconds": None if access.seconds is None else round(access.seconds, 3),
        "outcome": access.outcome,
    }


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid-{os.getuid()}"  # a container may run as a user that has no name


def _utc(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="milliseconds")


def _ends_in_a_torn_line(descriptor: int) -> bool:
    """Whether a full disk or a power cut left a line without its end, which would swallow the next one."""
    size = os.fstat(descriptor).st_size
    if not size:
        return False
    os.lseek(descriptor, size - 1, os.SEEK_SET)
    return os.read(descriptor, 1) != b"\n"
