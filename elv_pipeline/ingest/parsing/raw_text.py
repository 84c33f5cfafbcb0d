"""The bytes of a text export: compression, encoding, and what can be wrong before the first cell is looked at.

Belongs here: recognising compression and encoding, and wording damaged bytes. Does not belong here: separators,
headers, rows (``text_table``).
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa  # type: ignore[import-untyped]

from elv_pipeline.errors import ContractError

_HEAD_BYTES = 65_536
_COMPRESSIONS = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ\x00": "xz"}
_REFUSED = {
    b"PK\x03\x04": "an Excel workbook or zip archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook (.xls)",
    b"PAR1": "a Parquet file",
}
_DAMAGE = (EOFError, OSError, lzma.LZMAError, zlib.error, pa.ArrowException)


@dataclass(frozen=True)
class RawText:
    """One text file and how its bytes are to be read.

    ``compression`` is None or one of gzip, bz2, zstd, xz; ``encoding`` is a codec that removes the byte-order mark.
    """

    file: Path
    compression: str | None
    encoding: str

    @property
    def is_utf8(self) -> bool:
        """Whether the (decompressed) bytes are UTF-8."""
        return self.encoding == "utf-8-sig"

    def open_bytes(self) -> IO[bytes]:
        """The decompressed bytes."""
        return _decompressed(self.file, self.compression)

    @contextmanager
    def open_text(self) -> Iterator[IO[str]]:
        """The decoded text, line ends as they are.

        Raises:
            ContractError: bytes that are not in the encoding, or a damaged archive.
        """
        try:
            with (
                self._damage_worded(),
                io.TextIOWrapper(cast(Any, self.open_bytes()), encoding=self.encoding, newline="") as text,
            ):
                yield text
        except UnicodeDecodeError:
            raise ContractError(self._bad_byte()) from None

    def as_utf8(self) -> bytes:
        """The whole content as UTF-8; bytes that are UTF-8 by name are not checked.

        Raises:
            ContractError: as for ``open_text``.
        """
        if not self.is_utf8:
            with self.open_text() as text:
                return text.read().encode("utf-8")
        with self._damage_worded(), self.open_bytes() as stream:
            return stream.read()

    def digest(self) -> str:
        """SHA-256 of the file as it is stored."""
        with self.file.open("rb") as raw:
            return hashlib.file_digest(raw, "sha256").hexdigest()

    @contextmanager
    def _damage_worded(self) -> Iterator[None]:
        try:
            yield
        except _DAMAGE as error:
            if self.compression is None:
                raise
            raise ContractError(_damaged(self.file, self.compression, error)) from None

    def _bad_byte(self) -> str:
        if not self.is_utf8:
            return f"{self.file.name}: the file begins as UTF-16 but does not go on so. Save the file as UTF-8 CSV."
        with self.open_bytes() as handle:
            for number, line in enumerate(handle, start=1):
                try:
                    line.decode("utf-8")
                except UnicodeDecodeError as error:
                    return (
                        f"{self.file.name} line {number}: byte 0x{line[error.start]:02X} at position "
                        f"{error.start + 1} is not UTF-8 (the file is probably Latin-1 or Windows-1252). "
                        f"Save the file as UTF-8 CSV."
                    )
        return f"{self.file.name}: the file ends in the middle of a UTF-8 character. Export it again."


def recognise(file: Path, *, name: str) -> RawText:
    """Look at the first bytes of a file.

    Args:
        file: the export.
        name: the table it should hold, for messages.

    Raises:
        ContractError: the file is missing, empty, a damaged archive or no text.
    """
    if not file.is_file():
        raise ContractError(f"{file}: no such file; it should hold {name}. Correct paths.{name}_path or export it.")
    with file.open("rb") as raw:
        start = raw.read(8)
    for signature, kind in _REFUSED.items():
        if start.startswith(signature):
            raise ContractError(f"{file.name}: this is {kind}; a text file is needed. Unpack or save it as UTF-8 CSV.")
    compression = next((found for signature, found in _COMPRESSIONS.items() if start.startswith(signature)), None)
    found = RawText(file, compression, "utf-8-sig")
    with found._damage_worded(), found.open_bytes() as stream:
        head = stream.read(_HEAD_BYTES)
    if not head.strip(b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n"):
        raise ContractError(
            f"{file.name}: the file is empty ({file.stat().st_size} bytes); a header is needed even where there are no "
            f"rows. Export it again, or set paths.{name}_path to null if the export does not exist."
        )
    return replace(found, encoding=_encoding_of(head))


def _encoding_of(head: bytes) -> str:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    # A header is nearly all ASCII: in UTF-16 every second byte of it is zero. A few zeros elsewhere are damage.
    start = head[:200]
    if start[1::2].count(0) > len(start) // 4 > start[::2].count(0):
        return "utf-16-le"
    if start[::2].count(0) > len(start) // 4 > start[1::2].count(0):
        return "utf-16-be"
    return "utf-8-sig"


def _decompressed(file: Path, compression: str | None) -> IO[bytes]:
    if compression == "gzip":
        return cast("IO[bytes]", gzip.open(file, "rb"))
    if compression == "bz2":
        return bz2.open(file, "rb")
    if compression == "xz":
        return lzma.open(file, "rb")
    if compression == "zstd":
        return cast("IO[bytes]", io.BufferedReader(cast(Any, pa.input_stream(str(file), compression="zstd"))))
    return file.open("rb")


def _damaged(file: Path, compression: str, error: BaseException) -> str:
    return f"{file.name}: the {compression} archive is damaged or incomplete ({error}). Copy or export it again."
