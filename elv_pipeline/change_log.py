"""An append-only log of changes beside a table of the lake: one Parquet file a load, named by when it was recorded.

Belongs here: how changes are laid out, written and read. Does not belong here: what a change is (``tables``).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import polars as pl

_NAME = "%Y%m%dT%H%M%S.%fZ"


@dataclass(frozen=True)
class ChangeLog:
    """Changes of one table: ``<folder>/<recorded time>-<load>.parquet``.

    Attributes:
        folder: where the files are.
        schema: columns of a change, among them ``day`` and ``recorded_time``.
    """

    folder: Path
    schema: Mapping[str, Any]

    def write(self, changes: pl.DataFrame, *, days: Mapping[str, Collection[date]]) -> None:
        """Replace what some loads say about some days. Each file atomically; a load without changes leaves no file.

        Idempotent, and a load that is written again under another moment leaves nothing under the one before.

        Args:
            changes: rows with ``recorded_time`` and the ``key`` of their load.
            days: keys of the loads, and for each the days that are replaced.
        """
        replaced: dict[Path, tuple[pl.DataFrame, Collection[date]]] = {}
        digests = {_digest(key): key for key in days}
        for path in self._files():
            if (key := digests.get(_digest_in(path))) is not None:
                replaced[path] = (changes.clear(), days[key])
        for (key, moment), rows in changes.partition_by("key", "recorded_time", as_dict=True).items():
            path = self.folder / f"{moment.astimezone(UTC).strftime(_NAME)}-{_digest(key)}.parquet"
            replaced[path] = (rows, days[key])
        for path, (rows, own) in sorted(replaced.items()):
            others = pl.read_parquet(path) if path.is_file() else pl.DataFrame(schema=self.schema)
            mine = rows.select(*self.schema).cast(pl.Schema(self.schema))
            self._replace(path, pl.concat([others.filter(~pl.col("day").is_in(sorted(own))), mine]).sort(pl.all()))

    def scan(
        self, *, since: datetime | None = None, before: datetime | None = None, without: Collection[str] = ()
    ) -> pl.LazyFrame:
        """Changes recorded at or after ``since`` and before ``before``, other than those of the loads ``without``."""
        low = since.strftime(_NAME) if since else ""
        high = before.strftime(_NAME) if before else "~"
        left_out = {_digest(key) for key in without}
        files = [file for file in self._files() if low <= file.name < high and _digest_in(file) not in left_out]
        return pl.scan_parquet(files) if files else pl.LazyFrame(schema=self.schema)

    def forget(self, days: Collection[date]) -> None:
        """Remove what the log says about some days, for a history that is taken anew."""
        for file in self._files():
            self._replace(file, pl.read_parquet(file).filter(~pl.col("day").is_in(sorted(days))))

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*.parquet"))

    def _replace(self, path: Path, rows: pl.DataFrame) -> None:
        if rows.is_empty():
            path.unlink(missing_ok=True)
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        staged = path.with_name(f".{uuid4().hex[:12]}.staged")
        try:
            rows.write_parquet(staged)
            staged.replace(path)
        finally:
            staged.unlink(missing_ok=True)


def _digest(key: str) -> str:
    return sha256(key.encode()).hexdigest()[:12]


def _digest_in(path: Path) -> str:
    return path.stem.rpartition("-")[2]
