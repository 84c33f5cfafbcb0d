"""Writing a snapshot: batches into one staged Parquet file, then its place and its manifest.

Belongs here: staging, digests, and the steps by which a snapshot appears. Does not belong here: where the rows come
from (``extract``), or what a manifest means (``snapshots``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import count
from pathlib import Path
from uuid import uuid4

import numpy as np
import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from elv_pipeline.contracts.spec import TableContract
from elv_pipeline.home import write_atomically
from elv_pipeline.ingest.extracts.snapshots import (
    Snapshot,
    SnapshotManifest,
    manifest_path,
    snapshot_name,
    snapshots_in,
)
from elv_pipeline.ingest.personal_values import Door, Watched, emptied, personal_mark, watched

_SEEDS = (20_250_331, 7_919)
"""Of two independent 64-bit hashes of a row; their sums do not depend on the order of rows."""


@dataclass(frozen=True, kw_only=True)
class StagedRows:
    """Rows written under a hidden name, which nothing reads.

    Attributes:
        path: the hidden file.
        sha256: digest of its bytes.
        content: digest of columns, types and rows, whatever the order of the rows.
        rows: how many rows.
        batches: in how many batches they came; one without rows is none.
        columns: name and type of each column.
    """

    path: Path
    sha256: str
    content: str
    rows: int
    batches: int
    columns: tuple[tuple[str, str], ...]


@contextmanager
def staged(
    frames: Iterable[pl.DataFrame],
    *,
    folder: Path,
    marks: Mapping[str, str] | None = None,
    contract: TableContract | None = None,
) -> Iterator[StagedRows]:
    """Write frames of one schema, at least one, as they come, and remove what was not taken from the hidden place.

    E-mail addresses and phone numbers are emptied on the way, by the rules of the table's ``contract``, and what was
    found is noted in the file (``personal_values``): the door of an extract has no way around it.
    Memory is that of three batches, whatever their number: one that is fetched, one that is written, and the writer's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f".{uuid4().hex[:12]}.staged"
    try:
        yield _admitted(frames, path=path, marks=marks or {}, rules=watched(contract))
    finally:
        path.unlink(missing_ok=True)


def placed(rows: StagedRows, *, folder: Path, table: str, recorded_at: datetime) -> Path:
    """Give staged rows their name, which no snapshot had before; without a manifest they are still not visible."""
    for number in count(1):
        path = folder / snapshot_name(table, recorded_at, number=number)
        try:
            path.open("xb").close()  # two extracts of one second never take the same name
        except FileExistsError:
            continue
        rows.path.replace(path)
        return path
    raise AssertionError("count() ends")


def published(path: Path, manifest: SnapshotManifest) -> Snapshot:
    """Write the manifest beside a placed file, after which the snapshot is complete. Atomic."""
    manifest = replace(manifest, file=path.name)
    write_atomically(manifest_path(path), manifest.to_json())
    return Snapshot(path=path, manifest=manifest)


def same_as_before(folder: Path, manifest: SnapshotManifest) -> Snapshot | None:
    """The newest snapshot that speaks of any moment of the window, if its query says the very same of the same window.

    One that was followed by a snapshot of another window is not taken, though its content be the same: the later one
    has had the last word on the days that both hold.
    """
    speaking = [
        found
        for found in snapshots_in(folder)
        if found.manifest.since < manifest.until and manifest.since < found.manifest.until
    ]
    if not speaking:
        return None
    newest = speaking[-1].manifest
    same = all(
        getattr(newest, name) == getattr(manifest, name)
        for name in ("since", "until", "known_until", "content", "query_sha256")
    )
    return replace(speaking[-1], unchanged=True) if same else None


@dataclass
class _Content:
    """Digest of a multiset of rows."""

    rows: int = 0
    sums: list[int] = field(default_factory=lambda: [0] * len(_SEEDS))

    def add(self, frame: pl.DataFrame) -> None:
        self.rows += frame.height
        for at, seed in enumerate(_SEEDS):
            hashes = frame.hash_rows(seed).to_numpy()
            self.sums[at] = (self.sums[at] + int(np.add.reduce(hashes, dtype=np.uint64))) % 2**64

    def digest(self, columns: tuple[tuple[str, str], ...]) -> str:
        return hashlib.sha256(repr((columns, self.rows, self.sums)).encode()).hexdigest()


def _admitted(frames: Iterable[pl.DataFrame], *, path: Path, marks: Mapping[str, str], rules: Watched) -> StagedRows:
    door = Door(path.parent.name, rules)

    def found() -> Mapping[str, str]:
        return personal_mark(door.told())

    rows = _written(frames, path=path, marks=marks, passing=door.through, closing=found)
    gone = door.left_out()
    if not gone:
        return rows
    # Only the last row told that most of a column are addresses; what stands beside them must not stay either.
    again = path.with_name(f"{path.stem}_again{path.suffix}")
    try:
        rewritten = _written(
            _read_back(path), path=again, marks=marks, passing=lambda frame: emptied(frame, gone), closing=found
        )
        again.replace(path)
    finally:
        again.unlink(missing_ok=True)
    return replace(rewritten, path=path, batches=rows.batches)


def _read_back(path: Path) -> Iterator[pl.DataFrame]:
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            frame = pl.from_arrow(file.read_row_group(group))
            assert isinstance(frame, pl.DataFrame)
            yield frame


def _written(
    frames: Iterable[pl.DataFrame],
    *,
    path: Path,
    marks: Mapping[str, str],
    passing: Callable[[pl.DataFrame], pl.DataFrame],
    closing: Callable[[], Mapping[str, str]],
) -> StagedRows:
    """Write what ``passing`` makes of each frame; ``closing`` gives metadata that are known when all have passed."""
    content, batches = _Content(), 0
    columns: tuple[tuple[str, str], ...] = ()
    writer: pq.ParquetWriter | None = None
    pending: Future[None] | None = None
    with ThreadPoolExecutor(max_workers=1) as background:  # the database fills the next batch while one is written
        try:
            for frame in frames:
                if writer is None:
                    columns = tuple((name, str(dtype)) for name, dtype in frame.schema.items())
                    schema = _arrow(frame.clear()).schema
                    schema = schema.with_metadata(marks) if marks else schema
                    writer = pq.ParquetWriter(path, schema, compression="zstd", compression_level=1)
                batches += 1 if frame.height else 0
                if pending is not None:
                    pending.result()
                pending = background.submit(_write, writer, frame, passing, content)
            if pending is not None:
                pending.result()
        finally:
            background.shutdown(wait=True)
            if writer is not None:
                if last := closing():
                    writer.add_key_value_metadata(last)
                writer.close()
    if writer is None:
        raise ValueError("no frame was given; one without rows says which columns there are")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return StagedRows(
        path=path, sha256=digest, content=content.digest(columns), rows=content.rows, batches=batches, columns=columns
    )


def _write(
    writer: pq.ParquetWriter,
    frame: pl.DataFrame,
    passing: Callable[[pl.DataFrame], pl.DataFrame],
    content: _Content,
) -> None:
    if frame.height:
        passed = passing(frame)
        writer.write_table(_arrow(passed))
        content.add(passed)


def _arrow(frame: pl.DataFrame) -> pa.Table:
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())
