"""An append-only log of changes beside a table of the lake: one Parquet file a load, named by when it was recorded.

Belongs here: how changes are laid out, written and read. Does not belong here: what a change is (``tables``).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime
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

    def write(self, rows: pl.DataFrame, *, recorded_time: datetime, key: str, days: Collection[date]) -> None:
        """Replace what one load says about some days. Atomic and idempotent; a load without changes leaves no file."""
        path = self.folder / f"{recorded_time.strftime(_NAME)}-{sha256(key.encode()).hexdigest()[:12]}.parquet"
        others = pl.read_parquet(path) if path.is_file() else pl.DataFrame(schema=self.schema)
        stamped = rows.with_columns(pl.lit(recorded_time).dt.convert_time_zone("UTC").alias("recorded_time"))
        mine = stamped.select(*self.schema).cast(pl.Schema(self.schema))
        whole = pl.concat([others.filter(~pl.col("day").is_in(sorted(days))), mine]).sort(pl.all())
        self._replace(path, whole)

    def scan(self, *, since: datetime | None = None, before: datetime | None = None) -> pl.LazyFrame:
        """Changes recorded at or after ``since`` and before ``before``."""
        low = since.strftime(_NAME) if since else ""
        high = before.strftime(_NAME) if before else "~"
        files = [file for file in sorted(self.folder.glob("[0-9]*.parquet")) if low <= file.name < high]
        return pl.scan_parquet(files) if files else pl.LazyFrame(schema=self.schema)

    def forget(self, days: Collection[date]) -> None:
        """Remove what the log says about some days, for a history that is taken anew."""
        for file in sorted(self.folder.glob("[0-9]*.parquet")):
            self._replace(file, pl.read_parquet(file).filter(~pl.col("day").is_in(sorted(days))))

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
