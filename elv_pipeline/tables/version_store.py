"""First figures and changes of a restated table in the lake: what an asset writes when exports arrive.

Belongs here: which load gives a day its first figures, which loads only restate it, and writing both. Does not belong
here: the arithmetic of versions (``restatements.py``), or finding and parsing exports (``ingest``).

A day that the lake holds keeps its first figures for ever; whatever later exports say about it is appended to the
change log under the moment it was recorded. So a re-export changes no past feature, and tomorrow's run reads only the
files that are new.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import polars as pl

from elv_pipeline.change_log import ChangeLog
from elv_pipeline.contracts.spec import TableContract
from elv_pipeline.errors import ContractError
from elv_pipeline.ingest.intake import Arrival
from elv_pipeline.lake import Lake, days_between
from elv_pipeline.tables.restatements import IN_LAKE, LOAD, latest, split_versions

MEASURES = ("impressions", "clicks", "spend_micros")
RECORDED = "recorded_time"


@dataclass(frozen=True, kw_only=True)
class Load:
    """Everything that was exported at one moment: rows of one or several files.

    Attributes:
        recorded_time: that moment, in UTC.
        key: names the content; the same content again is the same load.
        files: Parquet files, and whether only rows with this very ``recorded_time`` belong to the load.
        first_day: oldest day it speaks for.
        last_day: newest day it speaks for.
    """

    recorded_time: datetime
    key: str
    files: tuple[tuple[Path, bool], ...]
    first_day: date
    last_day: date

    def covers(self, day: date) -> bool:
        """Whether the load speaks for a day, if only by having no row of it."""
        return self.first_day <= day <= self.last_day

    def rows(self, days: Collection[date]) -> pl.DataFrame:
        """Its rows of some days."""
        frames = []
        for file, own_time in self.files:
            rows = pl.scan_parquet(file).drop("source_row").filter(pl.col("day").is_in(sorted(days)))
            if RECORDED in rows.collect_schema().names():
                timed = pl.col(RECORDED)
                rows = rows.filter(timed == self.recorded_time if own_time else timed.is_null())
            frames.append(rows)
        return pl.concat(frames).collect()


def loads_of(arrivals: Sequence[Arrival]) -> list[Load]:
    """Group files and rows by the moment they were exported, oldest first."""
    parts: dict[datetime, list[tuple[Arrival, bool, date, date]]] = {}
    for arrival in arrivals:
        for recorded, first, last in arrival.loads:
            # A row without a time of its own is as old as its file.
            parts.setdefault(recorded or arrival.recorded_time, []).append((arrival, recorded is not None, first, last))
    return [
        Load(
            recorded_time=moment,
            key="+".join(sorted(_content(arrival, moment if own else None) for arrival, own, *_ in found)),
            files=tuple((arrival.rows, own) for arrival, own, *_ in found),
            first_day=min(first for *_, first, _ in found),
            last_day=max(last for *_, last in found),
        )
        for moment, found in sorted(parts.items())
    ]


def _content(arrival: Arrival, moment: datetime | None) -> str:
    # When a file was first seen is no part of what it says: the same file seen again is the same load.
    return arrival.sha256[:16] + (f"@{moment.isoformat()}" if moment else "")


@dataclass(frozen=True, kw_only=True)
class VersionStore:
    """The lake's table and change log of one restated export.

    Attributes:
        lake: where the first figures are.
        log: where the changes are.
        contract: canonical contract of the table.
        ids: what identifies a row of a day, its group first.
    """

    lake: Lake
    log: ChangeLog
    contract: TableContract
    ids: tuple[str, ...]

    def store(
        self, loads: Sequence[Load], *, days: Sequence[date], known: Collection[date], applied: Mapping[str, str]
    ) -> StoredVersions:
        """Write first figures of the days that the lake does not know yet, and what loads change about the others.

        Idempotent; changes are written before first figures, so a killed run is repeated by the next one.

        Args:
            loads: every load at hand, oldest first.
            days: days to write first figures for.
            known: days whose first figures the lake holds.
            applied: loads that were applied before: key to recorded time (ISO 8601).

        Raises:
            ContractError: files exported at the same moment contradict each other.
        """
        newest = max(applied.values(), default="")
        fresh = [load for load in loads if load.key not in applied]
        late = [load for load in fresh if load.recorded_time.isoformat() <= newest]
        restating = [load for load in fresh if load not in late]
        wanted = {
            load.key: {day for day in days if load.covers(day)}
            | ({day for day in known if load.covers(day)} if load in restating else set())
            for load in loads
        }
        needed = [load for load in loads if wanted[load.key]]
        base = self._base(needed, days=days, known=known)
        rows = [
            self._of_one_load(load, wanted[load.key]).with_columns(pl.lit(at, pl.Int64).alias(LOAD))
            for at, load in enumerate(needed)
        ]
        restated = {day for load in restating for day in known if load.covers(day)}
        if restated:
            rows.append(self._in_lake(restated, before=restating[0].recorded_time))
        stacked = pl.concat(rows) if rows else self.contract.empty().with_columns(pl.lit(0, pl.Int64).alias(LOAD))
        changed = self._write_changes(stacked, base=base, loads=needed, wanted=wanted)
        first = stacked.join(base, on=["day", LOAD], how="semi").filter(pl.col(LOAD) != IN_LAKE)
        first = first.select(self.contract.names).sort(self.contract.key)
        counts = self.lake.write_days(self.contract.name, first, days=days) if days else {}
        return StoredVersions(
            rows=counts,
            changes=changed,
            applied={load.key: applied.get(load.key, load.recorded_time.isoformat()) for load in loads},
            superseded=len([load for load in late if any(load.covers(day) for day in known)]),
        )

    def newest(self, *, first: date, last: date) -> pl.LazyFrame:
        """The newest figures of some days, whatever was known when."""
        rows = self.lake.scan_days(self.contract.name, first=first, last=last, schema=self.contract.schema)
        changes = self.log.scan().filter(pl.col("day").is_between(first, last))
        return latest(rows, changes, measures=MEASURES, ids=self.ids)

    @staticmethod
    def _base(loads: Sequence[Load], *, days: Sequence[date], known: Collection[date]) -> pl.DataFrame:
        found = {day: next((at for at, load in enumerate(loads) if load.covers(day)), None) for day in days}
        pairs = {**{day: at for day, at in found.items() if at is not None}, **dict.fromkeys(known, IN_LAKE)}
        return pl.DataFrame({"day": list(pairs), LOAD: list(pairs.values())}, schema={"day": pl.Date, LOAD: pl.Int64})

    def _of_one_load(self, load: Load, days: Collection[date]) -> pl.DataFrame:
        rows = load.rows(days)
        if len(load.files) > 1:
            rows = rows.unique(["day", *self.ids, *MEASURES], keep="first", maintain_order=True)
            twice = rows.filter(~pl.struct("day", *self.ids).is_first_distinct())
            if twice.height:
                row = twice.sort("day", *self.ids).row(0, named=True)
                what = ", ".join(f"{name} {row[name]!r}" for name in self.ids)
                raise ContractError(
                    f"{self.contract.name}: {what} on {row['day']} has different figures in two files of the same "
                    f"export time {load.recorded_time.isoformat()}; which one is newer cannot be known. Put the date "
                    f"of the export into the file names (ads_2025-03-31.csv), or add a recorded_time column."
                )
        return rows

    def _in_lake(self, days: Collection[date], *, before: datetime) -> pl.DataFrame:
        """What was known of some days before a load; changes of that load, from a run that was cut short, are not."""
        first, last = min(days), max(days)
        rows = self.lake.scan_days(self.contract.name, first=first, last=last, schema=self.contract.schema)
        changes = self.log.scan(before=before).filter(pl.col("day").is_in(sorted(days)))
        state = latest(rows.filter(pl.col("day").is_in(sorted(days))), changes, measures=MEASURES, ids=self.ids)
        return state.with_columns(pl.lit(IN_LAKE, pl.Int64).alias(LOAD)).collect()

    def _write_changes(
        self,
        stacked: pl.DataFrame,
        *,
        base: pl.DataFrame,
        loads: Sequence[Load],
        wanted: Mapping[str, Collection[date]],
    ) -> int:
        several = stacked.group_by("day").agg(pl.col(LOAD).n_unique().alias("n")).filter(pl.col("n") > 1)
        again = stacked.join(several, on="day", how="semi")
        if again.is_empty():
            return 0
        changes = split_versions(again, base=base, measures=MEASURES, ids=self.ids)
        for at, load in enumerate(loads):
            mine = changes.filter(pl.col(LOAD) == at).drop(LOAD)
            self.log.write(mine, recorded_time=load.recorded_time, key=load.key, days=wanted[load.key])
        return changes.height


@dataclass(frozen=True, kw_only=True)
class StoredVersions:
    """What one write did.

    Attributes:
        rows: first figures written for each day.
        changes: rows of restatements written.
        applied: every load at hand, to be remembered.
        superseded: loads older than what was applied before; they restate nothing that is known.
    """

    rows: dict[date, int]
    changes: int
    applied: dict[str, str]
    superseded: int


def days_of(loads: Sequence[Load]) -> set[date]:
    """Every day that some load speaks for."""
    return {day for load in loads for day in days_between(load.first_day, load.last_day)}
