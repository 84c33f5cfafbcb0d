"""Snapshots: immutable Parquet files with a manifest that says which window an extract covered, and when.

Belongs here: names, manifests, which snapshots are complete, what they speak for, and their removal. Does not belong
here: databases and queries (``extract``), or the writing of rows (``snapshot_writer``).

A snapshot is ``<table>_<YYYYMMDDTHHMMSS>Z.snapshot.parquet`` beside a ``.snapshot.json`` of the same name. The Parquet
file comes first, the manifest last, and of tables that were extracted together the record of the whole extract after
all of them: what a killed extract left behind lacks one of these, and is never read.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from elv_pipeline.errors import ContractError
from elv_pipeline.home import write_atomically

SUFFIX = ".snapshot.parquet"
_MANIFEST = ".snapshot.json"
_RECORD = re.compile(r"extract_\d{8}T\d{6}Z_[0-9a-f]{12}\.json")
_ABANDONED_AFTER_SECONDS = 24 * 3600
"""Younger leftovers may belong to an extract that is still running."""


@dataclass(frozen=True, kw_only=True)
class SnapshotManifest:
    """What a snapshot is; counts, names and digests, never a value of a row.

    Attributes:
        table: the table that it holds.
        file: name of the Parquet file.
        sha256: digest of the Parquet file's bytes.
        content: digest of columns, types and rows, whatever the order of the rows.
        rows: how many rows.
        rows_left_out: rows that were read and not written, such as those of erased leads.
        batches: in how many batches they came.
        columns: name and type of each column.
        dropped_columns: columns of the query that are no part of the table's contract and were not written.
        query: name of the query file.
        query_sha256: digest of the query.
        dialect: kind of database.
        isolation: under which isolation the query ran.
        since: start of the window, UTC.
        until: end of the window, UTC; the window does not contain it.
        recorded_at: from when on its rows count as known, UTC, to the second.
        seconds: how long the extract took.
        together: name of the record of all tables that were extracted together with it; None: it stands alone.
    """

    table: str
    file: str
    sha256: str
    content: str
    rows: int
    rows_left_out: int
    batches: int
    columns: tuple[tuple[str, str], ...]
    dropped_columns: tuple[str, ...]
    query: str
    query_sha256: str
    dialect: str
    isolation: str
    since: datetime
    until: datetime
    recorded_at: datetime
    seconds: float
    together: str | None = None

    @property
    def known_until(self) -> datetime:
        """Moment up to which the table is known: the end of the window, but nothing is known of the future."""
        return min(self.until, self.recorded_at)

    def covered_days(self, zone: ZoneInfo) -> tuple[date, date] | None:
        """First and last local day that lie wholly in what is known; a day cut by the window is not covered."""
        first, end = first_whole_day(self.since, zone), self.known_until.astimezone(zone).date()
        return (first, end - timedelta(days=1)) if first < end else None

    def to_json(self) -> str:
        """The manifest as it is written."""
        moments = {name: getattr(self, name).isoformat() for name in ("since", "until", "recorded_at")}
        columns = [{"name": name, "type": dtype} for name, dtype in self.columns]
        return json.dumps({"format": 1, **asdict(self), **moments, "columns": columns}, indent=1, sort_keys=True) + "\n"


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A snapshot on disk.

    Attributes:
        path: its Parquet file.
        manifest: what it is.
        unchanged: whether an extract found it to hold the same already, so that nothing was written.
    """

    path: Path
    manifest: SnapshotManifest
    unchanged: bool = False


def first_whole_day(moment: datetime, zone: ZoneInfo) -> date:
    """The local day that begins at a moment, else the one after."""
    local = moment.astimezone(zone)
    midnight = datetime(local.year, local.month, local.day, tzinfo=zone)
    return local.date() + timedelta(days=0 if midnight.astimezone(UTC) == moment.astimezone(UTC) else 1)


def snapshot_name(table: str, recorded_at: datetime, *, number: int = 1) -> str:
    """Name of a Parquet file whose moment ``ExportFile.recorded_time`` reads; ``number`` tells several of it apart."""
    further = "" if number == 1 else f"_{number:03d}"
    return f"{table}_{recorded_at.astimezone(UTC):%Y%m%dT%H%M%S}Z{further}{SUFFIX}"


def is_snapshot_name(name: str) -> bool:
    """Whether a file's name is that of a snapshot, complete or not."""
    return name.endswith(SUFFIX)


def manifest_path(parquet: Path) -> Path:
    """Where the manifest of a snapshot is."""
    return parquet.with_name(parquet.name.removesuffix(SUFFIX) + _MANIFEST)


def manifest_of(parquet: Path) -> SnapshotManifest | None:
    """The manifest of a snapshot; None where the file is no snapshot, or one that was never completed.

    Raises:
        ContractError: the manifest cannot be read.
    """
    file = manifest_path(parquet)
    if not is_snapshot_name(parquet.name) or not parquet.is_file() or not file.is_file():
        return None
    manifest = _read(file)
    if manifest.together is not None and not (_extracts(parquet.parent) / manifest.together).is_file():
        return None
    return manifest


def snapshots_in(folder: Path) -> list[Snapshot]:
    """Every complete snapshot of a table's folder, oldest first."""
    found = [
        Snapshot(path=path, manifest=manifest) for path in _parquet_files(folder) if (manifest := manifest_of(path))
    ]
    return sorted(found, key=lambda snapshot: (snapshot.manifest.recorded_at, snapshot.path.name))


def publish_together(folder: Path, snapshots: list[Snapshot], *, record: str) -> None:
    """Make snapshots that name this record visible, all at one moment. Atomic.

    Args:
        folder: the folder of all tables.
        snapshots: what was extracted together, unchanged ones included.
        record: the name, of ``record_name``.
    """
    tables = {
        snapshot.manifest.table: {
            "file": snapshot.manifest.file,
            "sha256": snapshot.manifest.sha256,
            "rows": snapshot.manifest.rows,
            "unchanged": snapshot.unchanged,
        }
        for snapshot in snapshots
    }
    write_atomically(folder / record, json.dumps({"format": 1, "tables": tables}, indent=1, sort_keys=True) + "\n")


def record_name(recorded_at: datetime, *, digits: str) -> str:
    """Name of the record of tables that are extracted together; ``digits`` are twelve hexadecimal ones."""
    return f"extract_{recorded_at.astimezone(UTC):%Y%m%dT%H%M%S}Z_{digits}.json"


def remove_abandoned(folder: Path, *, now: float | None = None) -> list[str]:
    """Remove from a table's folder what killed extracts left a day ago or longer; returns the names.

    Args:
        folder: folder of one table.
        now: seconds since 1970, by the clock of the file system.
    """
    if not folder.is_dir():
        return []
    limit = (time.time() if now is None else now) - _ABANDONED_AFTER_SECONDS
    complete = {name for found in snapshots_in(folder) for name in (found.path.name, manifest_path(found.path).name)}
    ours = [file for file in folder.iterdir() if file.name.endswith((SUFFIX, _MANIFEST, ".staged"))]
    old = [file for file in ours if file.name not in complete and file.stat().st_mtime < limit]
    for file in old:
        file.unlink(missing_ok=True)
    return sorted(file.name for file in old)


def purge_snapshots(
    folder: Path, *, recorded_before: datetime, dry_run: bool = False, keep: Collection[str] = ()
) -> list[Snapshot]:
    """Remove old snapshots of a table and return them; the newest one always stays, however old. Idempotent.

    Names of files in ``keep`` stay, too.
    The manifest goes first, so that a snapshot never stands without its rows.
    """
    earlier = [found for found in snapshots_in(folder)[:-1] if found.path.name not in keep]
    old = [found for found in earlier if found.manifest.recorded_at < recorded_before]
    for snapshot in old if not dry_run else ():
        manifest_path(snapshot.path).unlink(missing_ok=True)
        snapshot.path.unlink(missing_ok=True)
    if old and not dry_run:
        _remove_unneeded_records(_extracts(folder))
    return old


def _remove_unneeded_records(extracts: Path) -> None:
    needed = {
        _read(file).together
        for folder in extracts.iterdir()
        if folder.is_dir()
        for file in folder.glob(f"*{_MANIFEST}")
    }
    for file in extracts.iterdir():
        if _RECORD.fullmatch(file.name) and file.name not in needed:
            file.unlink(missing_ok=True)


def _extracts(folder: Path) -> Path:
    """The folder of all tables, of the folder of one."""
    return folder.absolute().parent


def _parquet_files(folder: Path) -> Iterator[Path]:
    return folder.glob(f"*{SUFFIX}") if folder.is_dir() else iter(())


def _read(file: Path) -> SnapshotManifest:
    try:
        document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        document.pop("format")
        for name in ("since", "until", "recorded_at"):
            document[name] = datetime.fromisoformat(document[name])
        columns = tuple((column["name"], column["type"]) for column in document.pop("columns"))
        document["dropped_columns"] = tuple(document["dropped_columns"])
        return SnapshotManifest(**document, columns=columns)
    except (ValueError, KeyError, TypeError) as error:
        raise ContractError(
            f"{file.name}: not the manifest of a snapshot ({type(error).__name__}); it is written with the snapshot "
            f"and must stay as it is. Remove it together with its Parquet file, then extract again."
        ) from None
