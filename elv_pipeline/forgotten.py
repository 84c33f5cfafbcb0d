"""Leads that were erased and must not come back with the next reading of an old export.

Belongs here: the list of tombstones and leaving such leads out. Does not belong here: the erasing itself
(``publishing/erasure/forget.py``), or hashing of what is stored (``privacy.py``).

A tombstone is a keyed hash of the id, under a random salt that never leaves the home: the list does not tell who was
erased, but whoever has the home folder can test whether a given id is on it.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from elv_pipeline.home import Home, write_atomically
from elv_pipeline.privacy import keyed_digests, new_salt

LEAD = "lead_id"


def forgotten_file(home: Home, name: str) -> Path:
    """Where the tombstones of one configuration are kept."""
    return home.root / "forgotten" / f"{name}.json"


@dataclass(frozen=True)
class Forgotten:
    """The erased leads of one configuration.

    Attributes:
        salt: key of the hashes.
        tombstones: hashes of the ids as they are stored.
    """

    salt: bytes = field(default=b"", repr=False)
    tombstones: frozenset[str] = frozenset()

    @classmethod
    def load(cls, file: Path) -> Forgotten:
        """The list; empty where nobody was ever erased."""
        if not file.is_file():
            return cls()
        content = json.loads(file.read_text(encoding="utf-8"))
        return cls(bytes.fromhex(content["salt"]), frozenset(content["tombstones"]))

    def with_ids(self, ids: Collection[str]) -> Forgotten:
        """The list with further ids."""
        salt = self.salt or new_salt()
        return Forgotten(salt, self.tombstones | set(keyed_digests(salt, ids)))

    def save(self, file: Path) -> None:
        """Write the list. Atomic and idempotent."""
        content = {"salt": self.salt.hex(), "tombstones": sorted(self.tombstones)}
        write_atomically(file, json.dumps(content, indent=2, sort_keys=True) + "\n")

    def holds(self, ids: pl.Series) -> pl.Series:
        """Which of some stored ids were erased; null is none."""
        if not self.tombstones:
            return pl.repeat(False, len(ids), eager=True)
        known = ids.drop_nulls().unique().cast(pl.String).to_list()
        erased = [
            name
            for name, digest in zip(known, keyed_digests(self.salt, known), strict=True)
            if digest in self.tombstones
        ]
        return ids.cast(pl.String).is_in(erased).fill_null(False)

    def without(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows of all other leads; rows that are not about leads come back as they are."""
        if LEAD not in rows.columns or not self.tombstones:
            return rows
        return rows.filter(~self.holds(rows[LEAD]))
