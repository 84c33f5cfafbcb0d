"""Keyed hashing of identifiers: what is stored instead of an id, where the configuration asks for it.

Belongs here: the hash, its key and the memory of which key a home was filled with. Does not belong here: where exports
are read (``ingest``), or leads that must not come back (``forgotten.py``).

An identifier is replaced by the first 128 bits of its HMAC-SHA256 as 32 hexadecimal digits: the same id gives the same
text under one key, so that exports still join, and without the key nobody can compute the text of a guessed id. It is
pseudonymous, not anonymous: whoever has the key and an id finds its rows.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from elv_pipeline.errors import ConfigError
from elv_pipeline.home import Home, write_atomically
from elv_pipeline.settings import PipelineConfig

MIN_KEY_BYTES = 32
HEX_DIGITS = 32
"""Length of a hashed id: 128 bits, at which no two of a billion ids share a hash by chance."""
MAKE_A_KEY = "python -c 'import secrets; print(secrets.token_hex(32))'"
DIGESTS_OF_NOTHING: Mapping[str, str] = {
    "d41d8cd98f00b204e9800998ecf8427e": "MD5",
    "da39a3ee5e6b4b0d3255bfef95601890afd80709": "SHA-1",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855": "SHA-256",
}
"""Digests of an empty text: ids that are missing in disguise."""
_NOBODY = frozenset({"unknown", *DIGESTS_OF_NOTHING})
_BLOCK = 64


@dataclass(frozen=True)
class IdHasher:
    """Replaces identifiers by their keyed hash.

    Attributes:
        key: at least ``MIN_KEY_BYTES`` bytes, kept out of the representation.
        columns: canonical columns whose values are replaced.
    """

    key: bytes = field(repr=False)
    columns: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse a key that could be guessed."""
        if len(self.key) < MIN_KEY_BYTES:
            raise ConfigError(
                f"the key for hashed ids has {len(self.key)} bytes; it must have at least {MIN_KEY_BYTES}. "
                f"Make one and keep it: {MAKE_A_KEY}"
            )

    @property
    def fingerprint(self) -> str:
        """What tells one key from another without giving anything of it away."""
        return _Keyed(self.key).digest(b"\x00elv key fingerprint")[:16]

    def text(self, value: str) -> str:
        """The hash of one id; a value that stands for nobody (``unknown``, the digest of nothing) stays."""
        return value if value.casefold() in _NOBODY else _Keyed(self.key).digest(value.encode())

    def series(self, ids: pl.Series, *, keep: Collection[str] = ()) -> pl.Series:
        """The hashes of a column of text, categories or whole numbers, as text; null and blank become null.

        Args:
            ids: identifiers.
            keep: values that are no identifiers and stay, such as the configured null values of an export.
        """
        texts = _as_text(ids)
        distinct = texts.drop_nulls().unique()
        if len(distinct) == len(texts):  # as lead ids: looking each one up again would cost as much as hashing it
            return self._hashed(texts, keep=frozenset(keep))
        hashed = self._hashed(distinct, keep=frozenset(keep))
        return texts.replace_strict(distinct, hashed, default=None, return_dtype=pl.String)

    def frame(self, rows: pl.DataFrame, *, keep: Collection[str] = ()) -> pl.DataFrame:
        """The rows with every column of ``columns`` that is there hashed; arguments as in ``series``."""
        return rows.with_columns(self.series(rows[name], keep=keep) for name in self.columns if name in rows.columns)

    def _hashed(self, values: pl.Series, *, keep: frozenset[str]) -> pl.Series:
        digest = _Keyed(self.key).digest
        found = [
            value if value in keep or value.casefold() in _NOBODY else digest(value.encode())
            for value in values.to_list()
        ]
        return pl.Series(values.name, found, dtype=pl.String)


def _as_text(ids: pl.Series) -> pl.Series:
    """Ids as every reader of exports spells them, so that a number and its text are the same lead."""
    if ids.dtype.is_float():
        ids = ids.cast(pl.Int64)
    return ids.cast(pl.String).str.strip_chars().replace("", None)


class _Keyed:
    """HMAC-SHA256 with the two key blocks absorbed once: half the time of ``hmac.digest`` for short texts."""

    def __init__(self, key: bytes) -> None:
        block = (hashlib.sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\x00")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def digest(self, value: bytes) -> str:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(value)
        outer.update(inner.digest())
        return outer.hexdigest()[:HEX_DIGITS]


def keyed_digests(key: bytes, values: Iterable[str]) -> list[str]:
    """Hash of each value under a key, as ``IdHasher`` makes it, without any exception for special values."""
    digest = _Keyed(key).digest
    return [digest(value.encode()) for value in values]


def new_salt() -> bytes:
    """Random bytes for a key that never leaves a home."""
    return secrets.token_bytes(MIN_KEY_BYTES)


def hasher_of(config: PipelineConfig, *, environment: Mapping[str, str] | None = None) -> IdHasher | None:
    """The hasher that a configuration asks for; None where no column is hashed.

    Args:
        config: names the columns and the variable with the key.
        environment: variables; default: those of this process.

    Raises:
        ConfigError: the key is not set or too short; the message has the command that makes one, never the key.
    """
    columns, variable = config.privacy.hashed_columns, config.privacy.key_variable
    if not columns:
        return None
    value = (os.environ if environment is None else environment).get(variable, "")
    if len(value.encode()) < MIN_KEY_BYTES:
        state = f"has {len(value.encode())} bytes" if value else "is not set or empty"
        raise ConfigError(
            f"privacy.hashed_columns names {', '.join(columns)}, but the environment variable {variable} {state}; it "
            f"must hold a key of at least {MIN_KEY_BYTES} bytes. Make one once, and keep it as long as the data: "
            f"export {variable}=$({MAKE_A_KEY})"
        )
    return IdHasher(value.encode(), tuple(columns))


def shown_id(value: object, *, column: str, hasher: IdHasher | None) -> object:
    """An id as a message may show it before the door has hashed it: its hash, where its column is hashed."""
    if hasher is None or column not in hasher.columns or not isinstance(value, str):
        return value
    return hasher.text(value)


def hashing_file(home: Home, name: str) -> Path:
    """Where a home remembers with which columns and key a configuration's data were stored."""
    return home.lake(name) / "hashing.json"


def require_same_key(memory: Path, hasher: IdHasher | None, *, name: str, has_data: bool) -> None:
    """Remember with which columns and key a configuration's data were stored, and refuse others. Atomic, idempotent.

    Under another key the same lead would be another one: outcomes would not find their leads, and history would double.

    Args:
        memory: JSON file of the configuration.
        hasher: of the configuration, or None.
        name: of the configuration, for messages.
        has_data: whether anything is stored already, else this call decides; without a memory it was stored unhashed.

    Raises:
        ConfigError: columns or key differ from those of the stored data.
    """
    now_columns = sorted(hasher.columns) if hasher else []
    now = {"columns": now_columns, "key": hasher.fingerprint if hasher else None}
    known = json.loads(memory.read_text(encoding="utf-8")) if memory.is_file() else {"columns": [], "key": None}
    if known == now and memory.is_file():
        return
    if known == now or not has_data:
        write_atomically(memory, json.dumps(now, indent=2, sort_keys=True) + "\n")
        return
    if known["columns"] != now_columns:
        was, wanted = ", ".join(known["columns"]) or "no column", ", ".join(now_columns) or "no column"
        what = f"with {was} hashed, and privacy.hashed_columns now asks for {wanted}"
    else:
        what = f"under another key (fingerprint {known['key']}, now {now['key']})"
    raise ConfigError(
        f"{name}: the data of this home were stored {what}; the same id would be another one. Restore the setting or "
        f"the key, or give this configuration another 'name:' or another home, and read the exports anew."
    )
