"""Several files of one table of outreach as one: daily exports, and the snapshots of extracts.

Belongs here: which rows of which file stand, and from when a changed row of a later file is known. Does not belong
here: reading a file (``outreach_exports``), or rows that one file holds twice (the clean stage counts those).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import polars as pl

from elv_pipeline.contracts.outreach import CANONICAL
from elv_pipeline.contracts.spec import UTC_TIME
from elv_pipeline.ingest.combined import REPEATED
from elv_pipeline.ingest.coverage import Span
from elv_pipeline.ingest.extracts.snapshots import SnapshotManifest
from elv_pipeline.ingest.extracts.standing import joined, standing_of
from elv_pipeline.ingest.extracts.window import FIRST_RECORD, READ_WHOLE
from elv_pipeline.ingest.source_file import SourceFile
from elv_pipeline.settings import PipelineConfig

KNOWN_FROM_EXPORT = "versions_known_from_their_export"
_VERSIONS = {"contacts": "contact_id", "campaign_steps": "step_id"}
"""Tables of which a later file may say something new about the same thing."""
_HAPPENED = {"engagement_logs": "event_time", "outcomes": "outcome_time"}
_FILE, _EXPORTED = "_file", "_exported"


@dataclass(frozen=True, kw_only=True)
class TypedFile:
    """One file of a table with the types of its contract.

    Attributes:
        source: what opening it told.
        frame: its rows.
        exported: when it was exported, if its name says so.
        known_until: of a snapshot, the moment up to which it knows.
        covered: of a snapshot, first and last of the local days that lie wholly in its window.
        query: of a snapshot, digest of its query.
        span: first and last local day on which its rows were recorded; None of tables whose rows have no such day.
        notes: counts of what was changed when it was read.
    """

    source: SourceFile
    frame: pl.DataFrame
    exported: datetime | None
    known_until: datetime | None
    covered: Span | None
    query: str | None
    span: Span | None
    notes: Mapping[str, int]

    @property
    def loads(self) -> tuple[object, ...]:
        """None: outreach has no delivery that is restated day by day."""
        return ()


def covered_days(snapshot: SnapshotManifest, *, config: PipelineConfig) -> Span | None:
    """First and last local day that lie wholly in what a snapshot knows; from the calendar's start on, all before it.

    A window from there reaches back to the first record (``ExtractWindow.begins``).
    """
    covered = snapshot.covered_days(config.zone)
    start = config.start_date
    if covered is None or start is None or snapshot.since > datetime.combine(start, time(), tzinfo=config.zone):
        return covered
    return FIRST_RECORD.date(), covered[1]


def still_needed(snapshots: Sequence[SnapshotManifest], *, config: PipelineConfig) -> list[bool]:
    """Which snapshots of one table still have a say, by their manifests alone.

    Of tables that are read whole, the one that knows most has it alone. Of others, one is done with when every day that
    it may have rows of lies in what later ones cover. Nothing else may be removed or left unread: the cleaned tables
    are made of the snapshots anew each time.

    Args:
        snapshots: of one table, oldest first.
        config: names the time zone, and the first day of the calendar.
    """
    if snapshots and snapshots[0].table in READ_WHOLE:
        _, newest = max((snapshot.known_until, at) for at, snapshot in enumerate(snapshots))
        return [at == newest for at in range(len(snapshots))]  # not the last: the past may have been read again since
    needed: list[bool] = []
    later: list[Span] = []
    for snapshot in reversed(snapshots):
        covered = covered_days(snapshot, config=config)
        last = (snapshot.known_until - timedelta(microseconds=1)).astimezone(config.zone).date()
        first = FIRST_RECORD.date() if covered and covered[0] == FIRST_RECORD.date() else None
        own = (first or snapshot.since.astimezone(config.zone).date(), last)
        needed.append(not any(low <= own[0] and own[1] <= high for low, high in joined(later)))
        later += [covered] if covered else []
    return needed[::-1]


def recorded_day(table: str, zone: ZoneInfo) -> pl.Expr | None:
    """The local day on which a row of a table was recorded, which windows of extracts go by; None: it has none."""
    happened = _HAPPENED.get(table)
    if happened is None:
        return None
    return pl.coalesce("recorded_time", happened).dt.convert_time_zone(zone.key).dt.date()


def recorded_span(frame: pl.DataFrame, *, table: str, zone: ZoneInfo) -> Span | None:
    """First and last day of ``recorded_day``."""
    day = recorded_day(table, zone)
    if day is None or frame.is_empty():
        return None
    first, last = frame.select(first=day.min(), last=day.max()).row(0)
    return (first, last) if isinstance(first, date) and isinstance(last, date) else None


@dataclass(frozen=True, kw_only=True)
class OneTable:
    """Several files as one table.

    Attributes:
        frame: the rows that stand.
        files: the files that have a say in them, oldest first.
        notes: counts of what was left out or dated.
    """

    frame: pl.DataFrame
    files: tuple[TypedFile, ...]
    notes: Mapping[str, int]


def as_one(files: Sequence[TypedFile], *, table: str, zone: ZoneInfo) -> OneTable:
    """The rows of all files that stand.

    Of rows with one key the last file's stand; what one file repeats by itself stays for the clean stage to count. Of
    snapshots, a later one replaces all rows that were recorded on the days that it covers.

    Args:
        files: at least one, oldest first; of snapshots those that are ``still_needed``.
        table: the table.
        zone: the configured time zone.
    """
    day = recorded_day(table, zone)
    standing = standing_of(files)
    frames = []
    for at, (file, without) in enumerate(standing):
        exported = pl.lit(file.exported, UTC_TIME).alias(_EXPORTED)
        rows = file.frame.with_columns(pl.lit(at, pl.Int32).alias(_FILE), exported)
        replaced = [] if day is None else [day.is_between(*span).fill_null(False) for span in without]
        frames.append(rows.filter(~pl.any_horizontal(replaced)) if replaced else rows)
    stacked = pl.concat(frames)
    several = len(frames) > 1
    dated = _with_versions(stacked, table=table) if several and table in _VERSIONS else stacked
    newest = pl.col(_FILE) == pl.col(_FILE).max().over(CANONICAL[table].key)
    kept = dated.filter(newest) if several else dated
    notes = {REPEATED: dated.height - kept.height, KNOWN_FROM_EXPORT: _newly_dated(stacked, dated)}
    return OneTable(
        frame=kept.drop(_FILE, _EXPORTED),
        files=tuple(file for file, _ in standing),
        notes={note: count for note, count in notes.items() if count},
    )


def _newly_dated(before: pl.DataFrame, after: pl.DataFrame) -> int:
    if "recorded_time" not in before.columns:
        return 0
    return len(after["recorded_time"].drop_nulls()) - len(before["recorded_time"].drop_nulls())


def _with_versions(rows: pl.DataFrame, *, table: str) -> pl.DataFrame:
    """Rows without recorded_time of later files: known from their export on, and only where they say something new.

    What the first file says of a contact or a step is known always, as in a single file; else an enrollment of last
    year would know where its contact works today. A later file whose name has no date replaces what was said.
    """
    owner, time = _VERSIONS[table], "recorded_time"
    said = [name for name in rows.columns if name not in (owner, time, _FILE, _EXPORTED)]
    silent = pl.col(time).is_null() & pl.col(_EXPORTED).is_not_null()
    later = silent & (pl.col(_FILE) > pl.col(_FILE).min().over(owner))
    ordered = rows.with_columns(_later=later).sort(owner, _FILE, time, *said, nulls_last=False)
    untimed = pl.col(time).is_null()
    same = [pl.col(name).eq_missing(pl.col(name).shift(1).over(owner, untimed)) for name in said]
    repeats = pl.col("_later") & pl.all_horizontal(same)
    changed = ordered.with_columns(_repeats=repeats).filter(~pl.col("_repeats"))
    return changed.with_columns(pl.when("_later").then(_EXPORTED).otherwise(time).alias(time)).select(rows.columns)
