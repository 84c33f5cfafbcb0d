"""Content that is packed: what lies in it, as bytes.

Belongs here: signatures and unpacking, in memory only: a copy on disk would be one more trace. Does not belong here:
what the content says.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable

import pyarrow as pa  # type: ignore[import-untyped]


def _zstandard(content: bytes) -> bytes:
    with pa.CompressedInputStream(pa.BufferReader(content), "zstd") as stream:
        return bytes(stream.read())


_UNPACK: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": gzip.decompress,
    b"BZh": bz2.decompress,
    b"\xfd7zXZ": lzma.decompress,
    b"\x28\xb5\x2f\xfd": _zstandard,
}
SIGNATURES = tuple(_UNPACK)
ENDINGS = (".gz", ".bz2", ".xz", ".zst")
"""How the names of packed files end; what stands before it says what is inside."""


def unpacked(content: bytes) -> bytes:
    """What is inside; the content itself where it is not packed, or broken."""
    for signature, unpack in _UNPACK.items():
        if content.startswith(signature):
            try:
                return unpack(content)
            except (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error):
                return content
    if content[:1] == b"\x78":
        try:
            return zlib.decompress(content)
        except zlib.error:
            return content
    return content
