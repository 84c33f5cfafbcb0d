"""First figures and changes of a restated table in the lake: what an asset writes when exports arrive.

Belongs here: which load gives the first figures of a day and group, which loads only restate them, and writing both.
Does not belong here: the arithmetic of versions (``restatements.py``), or what a load is (``loads.py``).

A group is what one export holds whole or not at all: a campaign, or an ad of a breakdown. Exports of two accounts speak
of different groups, so first figures, restatements and lateness are judged for each day and group. First figures stay
for ever; whatever later exports say is appended to the change log under the moment it was recorded. So a re-export
changes no past feature, and tomorrow's run reads only the files that are new.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import polars as pl

from elv_pipeline.change_log import ChangeLog
from elv_pipeline.contracts.spec import UTC_TIME, TableContract
from elv_pipeline.errors import ContractError
from elv_pipeline.lake import Lake
from elv_pipeline.tables.loads import RECORDED, Load, applied_with
from elv_pipeline.tables.restatements import IN_LAKE, LOAD, latest, split_versions
from elv_pipeline.tables.standing import Standing, judged_against, spoken_of

Asked = tuple[Load, set[date]]
"""A load, and the days of which its rows are asked for."""
MEASURES = ("impressions", "clicks", "spend_micros")
_BEFORE_ITS_DAY = timedelta(days=1)
"""No change is recorded earlier than this before its day begins in UTC, so that readers may leave out older files."""


@dataclass(frozen=True, kw_only=True)
class StoredVersions:
    """What one write did.

    Attributes:
        rows: first figures written for each of the days that were asked for.
        changes: rows of restatements written.
        applied: every part of every load at hand, to be remembered.
        superseded: loads of which figures were left out, because newer ones of the same days and groups are known.
        superseded_days: days of those figures.
    """

    rows: dict[date, int]
    changes: int
    applied: dict[str, str]
    superseded: int
    superseded_days: tuple[date, ...]


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
        """Write first figures that the lake does not have yet, and what loads change about the others.

        A group that no load brought before gets its first figures on days that are known, too. Idempotent; changes are
        written before first figures, so a killed run is repeated by the next one.

        Args:
            loads: every load at hand, oldest first.
            days: days to write first figures for.
            known: days whose first figures the lake holds.
            applied: parts of loads that were applied before: key to recorded time (ISO 8601).

        Raises:
            ContractError: files exported at the same moment contradict each other.
        """
        fresh = [load for load in loads if not load.is_in(applied)]
        restated = sorted({day for load in fresh for day in known if load.covers(day)})
        stands = self._standing(restated, fresh=fresh, loads=loads, applied=applied)
        asked = [(load, {*days, *restated} if load in fresh else set(days)) for load in loads]
        asked = [(load, own) for load, every in asked if (own := {day for day in every if load.covers(day)})]
        rows = [self._of_one_load(load, own) for load, own in asked]
        rows = [found.with_columns(pl.lit(at, pl.Int64).alias(LOAD)) for at, found in enumerate(rows)]
        judged = self._judged(rows, stands, loads=[load for load, _ in asked])
        late = judged.filter("left_out")
        stacked = pl.concat([stands.figures, *(_without(found, late) for found in rows)])
        base = self._base(stacked)
        changes = self._changes(stacked, base)
        times = _recorded_times(changes, asked, judged=judged, stands=stands, applied=applied)
        self._write_changes(changes.with_columns(times), asked)
        counts = self._write_first(_first(stacked, base).select(self.contract.names), days=days)
        told = late.join(_unexpected(asked, applied), on=LOAD, how="semi")
        return StoredVersions(
            rows=counts,
            changes=changes.height,
            applied=applied_with(loads, applied),
            superseded=told[LOAD].n_unique(),
            superseded_days=tuple(told["day"].unique().sort()),
        )

    def newest(self, *, first: date, last: date) -> pl.LazyFrame:
        """The newest figures of some days, whatever was known when."""
        rows = self.lake.scan_days(self.contract.name, first=first, last=last, schema=self.contract.schema)
        changes = self.log.scan(since=_since(first)).filter(pl.col("day").is_between(first, last))
        return latest(rows, changes, measures=MEASURES, ids=self.ids)

    def _of_one_load(self, load: Load, days: Collection[date]) -> pl.DataFrame:
        rows = load.rows(days)
        if len(load.parts) > 1:
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

    def _standing(
        self, days: Sequence[date], *, fresh: Sequence[Load], loads: Sequence[Load], applied: Mapping[str, str]
    ) -> Standing:
        """What is known of some days; changes of fresh loads, from a run that was cut short, are not."""
        empty = self.contract.empty().with_columns(pl.lit(IN_LAKE, pl.Int64).alias(LOAD))
        place = ["day", self.ids[0]]
        if not days:
            nothing, moment = empty.select(place), pl.lit(None, UTC_TIME)
            return Standing(
                figures=empty, changed=nothing.with_columns(newest=moment), spoken=nothing.with_columns(spoke=moment)
            )
        own = pl.col("day").is_in(days)
        rows = self.lake.scan_days(self.contract.name, first=days[0], last=days[-1], schema=self.contract.schema)
        changes = self.log.scan(since=_since(days[0]), without=[load.key for load in fresh]).filter(own)
        state = latest(rows.filter(own), changes, measures=MEASURES, ids=self.ids)
        figures = state.with_columns(pl.lit(IN_LAKE, pl.Int64).alias(LOAD)).collect()
        return Standing(
            figures=figures,
            changed=changes.group_by(place).agg(newest=pl.col(RECORDED).max()).collect(),
            spoken=spoken_of(figures.select(place), days, fresh=fresh, loads=loads, applied=applied),
        )

    def _judged(self, rows: Sequence[pl.DataFrame], stands: Standing, *, loads: Sequence[Load]) -> pl.DataFrame:
        place = ["day", self.ids[0], LOAD]
        if stands.spoken.is_empty():  # the rule: every fresh load is newer than all that is known
            return stands.figures.clear().select(place).with_columns(left_out=pl.lit(False))
        brought = pl.concat([found.select(place).unique() for found in rows])
        return judged_against(stands.spoken, brought, loads=loads)

    def _base(self, stacked: pl.DataFrame) -> pl.DataFrame:
        """The first load of each group, and the last, for the days of which several loads have rows."""
        loads = [pl.col(LOAD).min(), pl.col(LOAD).max().alias("last")]
        days = stacked.lazy().group_by("day").agg(loads).filter(pl.col("last") != pl.col(LOAD)).collect()
        rows = stacked.lazy().filter(pl.col("day").is_in(days["day"].implode()))
        return rows.group_by("day", self.ids[0]).agg(loads).collect()

    def _changes(self, stacked: pl.DataFrame, base: pl.DataFrame) -> pl.DataFrame:
        again = base.filter(pl.col("last") != pl.col(LOAD)).drop("last")
        rows = stacked.join(again, on=["day", self.ids[0]], how="semi")
        return split_versions(rows, base=again, measures=MEASURES, ids=self.ids)

    def _write_changes(self, changes: pl.DataFrame, asked: Sequence[Asked]) -> None:
        keys = pl.DataFrame(
            {LOAD: range(len(asked)), "key": [load.key for load, _ in asked]}, schema={LOAD: pl.Int64, "key": pl.String}
        )
        days: dict[str, set[date]] = {}
        for load, own in asked:
            days.setdefault(load.key, set()).update(own)
        self.log.write(changes.join(keys, on=LOAD, how="inner", validate="m:1"), days=days)

    def _write_first(self, first: pl.DataFrame, *, days: Sequence[date]) -> dict[date, int]:
        """Write the days asked for, and add to known days what no load had brought before."""
        name, asked = self.contract.name, pl.Series(days, dtype=pl.Date)
        grown = sorted(first.filter(~pl.col("day").is_in(asked.implode()))["day"].unique())
        if grown:
            held = self.lake.scan_days(name, first=grown[0], last=grown[-1], schema=self.contract.schema)
            first = pl.concat([held.filter(pl.col("day").is_in(grown)).collect(), first])
        if not days and not grown:
            return {}
        counts = self.lake.write_days(name, first.sort(self.contract.key), days=[*days, *grown])
        return {day: counts[day] for day in days}


def _since(first: date) -> datetime:
    """Moment before which no change of a day from ``first`` on is recorded."""
    return datetime.combine(first, time(), tzinfo=UTC) - _BEFORE_ITS_DAY


def _without(rows: pl.DataFrame, late: pl.DataFrame) -> pl.DataFrame:
    return rows.join(late, on=[*late.columns[:2], LOAD], how="anti") if late.height else rows


def _first(stacked: pl.DataFrame, base: pl.DataFrame) -> pl.DataFrame:
    """Rows of the first load of their day and group, other than those that the lake has."""
    shared = pl.col("day").is_in(base["day"].unique().implode())
    first = stacked.filter(shared).join(base, on=base.columns[:3], how="semi")
    return pl.concat([stacked.filter(~shared), first]).filter(pl.col(LOAD) != IN_LAKE)


def _recorded_times(
    changes: pl.DataFrame,
    asked: Sequence[Asked],
    *,
    judged: pl.DataFrame,
    stands: Standing,
    applied: Collection[str],
) -> pl.Series:
    """When each change counts as known: when its load was exported, but in the order in which changes were made.

    A change is relative to what stood before it; counted earlier than that, it would be added to other figures.
    """
    place = judged.columns[:2]
    seen = [load.recorded_time if load.is_in(applied) else load.first_seen(applied) for load, _ in asked]
    moments = pl.DataFrame(
        {LOAD: range(len(asked)), "moment": [load.recorded_time for load, _ in asked], "seen": seen},
        schema={LOAD: pl.Int64, "moment": UTC_TIME, "seen": UTC_TIME},
    )
    timed = (
        changes.select(*place, LOAD)
        .join(moments, on=LOAD, how="left", validate="m:1", maintain_order="left")
        .join(judged, on=[*place, LOAD], how="left", validate="m:1", maintain_order="left")
        .join(stands.changed, on=place, how="left", validate="m:1", maintain_order="left")
    )
    # Of a moment that was applied before: nobody can have known it before it came to hand.
    exported = pl.when(pl.col("left_out").is_null()).then("moment").otherwise(pl.max_horizontal("moment", "seen"))
    day_begins = pl.col("day").cast(pl.Datetime("us")).dt.replace_time_zone("UTC") - _BEFORE_ITS_DAY
    known = pl.max_horizontal(exported, "newest", day_begins)
    # Sorted by load: the running maximum follows the order in which changes were made.
    return timed.select(known.cum_max().over(place).alias(RECORDED)).to_series()


def _unexpected(asked: Sequence[Asked], applied: Mapping[str, str]) -> pl.DataFrame:
    """Loads worth telling where they are left out; a history that grows repeats the moments that it had before."""
    moments = {datetime.fromisoformat(moment) for moment in applied.values()}
    repeated = [load.recorded_time in moments and all(part.own_time for part in load.parts) for load, _ in asked]
    return pl.DataFrame({LOAD: [at for at, again in enumerate(repeated) if not again]}, schema={LOAD: pl.Int64})
