"""The Parquet lake: day-partitioned tables with atomic, idempotent writes.

Belongs here: how a table is laid out, written, read and found missing. Does not belong here: what the tables mean.
One partition is one file, so replacing it is a single rename: a killed run leaves the old partition or the new one.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from elv_pipeline.errors import ElvError
from elv_pipeline.home import write_atomically


def days_between(first: date, last: date) -> list[date]:
    """Every day from ``first`` to ``last``, both included."""
    return [first + timedelta(days=offset) for offset in range((last - first).days + 1)]


@dataclass(frozen=True)
class Lake:
    """Tables of one configuration: ``<root>/<table>/<YYYY-MM-DD>.parquet``."""

    root: Path

    def partition(self, table: str, day: date) -> Path:
        """File of one day."""
        return self.root / table / f"{day.isoformat()}.parquet"

    def days(self, table: str) -> list[date]:
        """Days that are written, in order."""
        return sorted(date.fromisoformat(file.stem) for file in (self.root / table).glob("[0-9]*.parquet"))

    def row_counts(self, table: str, days: Iterable[date]) -> dict[date, int]:
        """Rows of each day that is written; days that are not are left out."""
        return {day: _row_count(file) for day in days if (file := self.partition(table, day)).is_file()}

    def digest(self, table: str, days: Iterable[date]) -> str:
        """SHA-256 over the files of some days; the same content gives the same bytes."""
        whole = hashlib.sha256()
        for day in days:
            whole.update(hashlib.sha256(self.partition(table, day).read_bytes()).digest())
        return whole.hexdigest()

    def write_days(self, table: str, frame: pl.LazyFrame | pl.DataFrame, *, days: Sequence[date]) -> dict[date, int]:
        """Replace the given days of a table; rows of other days are not allowed, days without rows become empty files.

        One partitioned sink into a staging folder, then one rename a day: atomic for each day, and idempotent.

        Args:
            table: name of the table.
            frame: rows with a ``day`` column, in the order in which they are to be stored.
            days: the partitions that this write is responsible for.

        Returns:
            Rows written for each day.

        Raises:
            ElvError: the frame holds a day that was not announced, or a row without a day; nothing was replaced.
        """
        _remove_abandoned(self.root / table)
        staging = self.root / table / f".staging-{uuid.uuid4().hex[:12]}"
        staging.mkdir(parents=True)
        try:
            lazy = frame.lazy()
            target = pl.PartitionBy(
                staging, key="day", include_key=True, approximate_bytes_per_file=None, file_path_provider=_day_file
            )
            lazy.sink_parquet(target, maintain_order=True, mkdir=True)
            written = _staged_days(staging, table=table, days=days)
            empty = pl.DataFrame(schema=lazy.collect_schema())
            counts: dict[date, int] = {}
            for day in days:
                if day not in written:
                    written[day] = staging / f"{day.isoformat()}.parquet"
                    empty.write_parquet(written[day])
                counts[day] = _row_count(written[day])
            for day in days:
                written[day].replace(self.partition(table, day))
            return counts
        except BaseException:
            _discard_after_failure(staging)
            raise
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def scan_days(
        self, table: str, *, first: date, last: date, schema: dict[str, Any] | None = None, grown: bool = False
    ) -> pl.LazyFrame:
        """Rows of the written days from ``first`` to ``last``; days that were never written contribute nothing.

        With ``grown`` the table may have gained columns since its oldest days were written: there they are null.

        Raises:
            ElvError: no day of the range is written and no ``schema`` says what an empty table looks like.
        """
        files = [self.partition(table, day) for day in self.days(table) if first <= day <= last]
        if not files:
            if schema is not None:
                return pl.LazyFrame(schema=schema)
            raise ElvError(
                f"{table}: no partition between {first} and {last} is materialised. "
                f"Run 'elv build-table' or materialise {table} for those days first."
            )
        if grown:
            newest = pl.read_parquet_schema(files[-1])
            known = {name: kind for file in files[:1] for name, kind in pl.read_parquet_schema(file).items()}
            return pl.scan_parquet(
                files, schema={**known, **newest}, missing_columns="insert", extra_columns="ignore"
            ).select(list(newest))
        _require_one_schema(files, table=table)
        return pl.scan_parquet(files)

    def require_days(self, table: str, days: Iterable[date]) -> None:
        """Fail unless every given day is written.

        Raises:
            ElvError: naming the missing days.
        """
        missing = sorted(set(days) - set(self.days(table)))
        if missing:
            raise ElvError(
                f"{table}: {len(missing)} needed day(s) are not materialised, the first is {missing[0]}, the last "
                f"{missing[-1]}. Run 'elv build-table', or backfill {table} over that range, then repeat."
            )

    def write_frame(self, name: str, frame: pl.DataFrame) -> Path:
        """Replace one unpartitioned table. Atomic and idempotent."""
        path = self.root / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        staged = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.staged")
        try:
            frame.write_parquet(staged)
            staged.replace(path)
        finally:
            staged.unlink(missing_ok=True)
        return path

    def read_frame(self, name: str) -> pl.DataFrame | None:
        """One unpartitioned table, or None where it was never written."""
        path = self.root / f"{name}.parquet"
        return pl.read_parquet(path) if path.is_file() else None

    def write_json(self, name: str, content: Any) -> Path:
        """Replace one JSON document. Atomic and idempotent."""
        return write_atomically(self.root / f"{name}.json", json.dumps(content, indent=2, sort_keys=True) + "\n")

    def read_json(self, name: str) -> Any | None:
        """One JSON document, or None where it was never written."""
        path = self.root / f"{name}.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


ABANDONED_AFTER = timedelta(days=1)
"""Age at which a staging folder can only belong to a run that was killed; no write takes that long."""


def _discard_after_failure(staging: Path) -> None:
    """Delete the staging folder of a failed write, until it stays away.

    A sink that fails returns before its other writers have stopped, and one of them may still create its file, folder
    included, behind the deletion. What outlives even this is never read, and goes with :func:`_remove_abandoned`.
    """
    quiet = 0
    for _ in range(100):
        quiet = 0 if staging.exists() else quiet + 1
        if quiet == 10:
            return
        shutil.rmtree(staging, ignore_errors=True)
        time.sleep(0.02)


def _remove_abandoned(folder: Path) -> None:
    """Delete what killed runs left behind. Readers never see it, but every repetition would add to it."""
    newest = (datetime.now(UTC) - ABANDONED_AFTER).timestamp()
    for leftover in folder.glob(".staging-*"):
        try:
            abandoned = leftover.stat().st_mtime < newest
        except FileNotFoundError:  # its own run has just finished
            continue
        if abandoned:
            shutil.rmtree(leftover, ignore_errors=True)


def _staged_days(staging: Path, *, table: str, days: Sequence[date]) -> dict[date, Path]:
    files = {file.stem: file for file in staging.glob("*.parquet")}
    stray = sorted(set(files) - {day.isoformat() for day in days})
    if stray:
        rows = "rows without a day" if stray[0] == str(None) else f"rows of {stray[0]}"
        announced = f"{min(days)} to {max(days)}" if days else "no day at all"
        raise ElvError(
            f"{table}: {rows} appear in a write of {announced}; a run may only write its own partitions. "
            f"Nothing was replaced."
        )
    return {date.fromisoformat(name): file for name, file in files.items()}


def _day_file(arguments: Any) -> str:
    return f"{arguments.partition_keys['day'][0]}.parquet"


def _require_one_schema(files: Sequence[Path], *, table: str) -> None:
    """Compare the oldest and the newest day; a table whose columns changed in between was only rebuilt in part."""
    oldest, newest = (pl.read_parquet_schema(file) for file in (files[0], files[-1]))
    if oldest != newest:
        differing = sorted(set(oldest.items()) ^ set(newest.items()), key=str)
        raise ElvError(
            f"{table}: {files[0].stem} and {files[-1].stem} have different columns, first {differing[0][0]}; the days "
            f"were computed with different features. Run 'elv build-table' to compute all of them anew."
        )


def _row_count(file: Path) -> int:
    return int(pl.scan_parquet(file).select(pl.len()).collect().item())


def content_checksum(frame: pl.DataFrame, *, exclude: Sequence[str] = ()) -> str:
    """Digest of a frame's exact content: column names, types and values in row order.

    Args:
        frame: the rows, already in their canonical order.
        exclude: columns that name the run rather than the result, such as ``run_id``.
    """
    kept = frame.drop(exclude, strict=False)
    digest = hashlib.sha256(repr(list(kept.schema.items())).encode())
    digest.update(kept.write_csv(float_precision=None).encode())
    return digest.hexdigest()
