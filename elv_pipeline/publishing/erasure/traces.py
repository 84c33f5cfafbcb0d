"""Traces of an id in files: finding them and taking them out, whatever the format.

Belongs here: which format a file has, and who knows it (``parquet_traces.py``, ``sqlite_traces.py``,
``text_traces.py``). Does not belong here: which files there are, or whose they are (``forget.py``); what is looked for
(``sought.py``).
"""

from __future__ import annotations

import zipfile
import zlib
from io import BytesIO
from pathlib import Path, PurePosixPath

from elv_pipeline.publishing.erasure import parquet_traces, sqlite_traces, text_traces
from elv_pipeline.publishing.erasure.packed import ENDINGS, SIGNATURES, unpacked
from elv_pipeline.publishing.erasure.sought import Sought

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
"""Of an archive with members, and of an empty one; spreadsheets and arrays of NumPy are such archives, too."""


def count_in(file: Path, sought: Sought) -> int:
    """How many rows, cells, values or places of a file name the lead; 0 where it does not."""
    head = _head(file)
    if head.startswith(parquet_traces.SIGNATURE):
        return parquet_traces.count(file, sought)
    if head.startswith(sqlite_traces.SIGNATURE):
        return sqlite_traces.count(file, sought)
    return _in_content(file.read_bytes(), sought, name=file.name)


def clean_free_pages(file: Path, sought: Sought) -> bool:
    """Rewrite a SQLite file in which rows that were deleted long ago may still spell an id; leave others alone."""
    return _head(file).startswith(sqlite_traces.SIGNATURE) and sqlite_traces.clean_free_pages(file, sought)


def is_rewritable(file: Path) -> bool:
    """Whether ``erase_from`` can take an id out of such a file; packed files, models and other bytes it cannot."""
    return why_not_rewritable(file) == ""


def why_not_rewritable(file: Path) -> str:
    """Why an id cannot be taken out of a file; empty where it can."""
    head = _head(file)
    if head.startswith((parquet_traces.SIGNATURE, sqlite_traces.SIGNATURE)):
        return ""
    if file.suffix == ".joblib" or head.startswith((*SIGNATURES, *_ZIP)):
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
    if head.startswith(parquet_traces.SIGNATURE):
        return parquet_traces.erase(file, sought)
    if head.startswith(sqlite_traces.SIGNATURE):
        return sqlite_traces.erase(file, sought)
    return text_traces.erase(file, sought)


def _in_content(content: bytes, sought: Sought, *, name: str) -> int:
    """Look into content, in memory: a copy on disk would be one more trace."""
    if content.startswith(parquet_traces.SIGNATURE):
        return parquet_traces.count(BytesIO(content), sought)
    if content.startswith(sqlite_traces.SIGNATURE):
        return sqlite_traces.count_in_bytes(content, sought)
    if content.startswith(_ZIP):
        return _in_zip(content, sought)
    inside = unpacked(content)
    path = PurePosixPath(name)
    if inside != content:
        return _in_content(inside, sought, name=path.stem if path.suffix in ENDINGS else name)
    return text_traces.count(content, sought, suffix=path.suffix)


def _in_zip(content: bytes, sought: Sought) -> int:
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            return sum(
                sought.in_text(member.filename) + _in_content(archive.read(member), sought, name=member.filename)
                for member in archive.infolist()
            )
    except (zipfile.BadZipFile, RuntimeError, zlib.error, EOFError):  # broken or encrypted: what can be read is bytes
        return sought.in_text(content.decode("utf-8", errors="replace"))


def _head(file: Path) -> bytes:
    with file.open("rb") as content:
        return content.read(16)
