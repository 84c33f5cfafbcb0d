"""What reading one export yields: the canonical frame and a profile that holds counts, never people's values.

Belongs here: the result types of ``tables`` and how a profile is measured. Does not belong here: rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any

import polars as pl

from elv_pipeline.contracts.messages import ABOUT_PEOPLE, shown, shown_of_a_lead
from elv_pipeline.contracts.spec import TableContract, type_name
from elv_pipeline.ingest.extracts.snapshots import is_snapshot_name
from elv_pipeline.ingest.parsing.categories import as_texts, distinct_count
from elv_pipeline.ingest.parsing.key_order import key_order
from elv_pipeline.ingest.parsing.row_rules import SiftedRows
from elv_pipeline.ingest.personal_values import PersonalValues
from elv_pipeline.ingest.source_file import SOURCE_ROW, SourceFile

DUPLICATE = "duplicate"
LEFT_OUT_ROWS = 5
NEVER_SO_FAR = "never_so_far"


@dataclass(frozen=True)
class ColumnProfile:
    """Type, share of nulls (0 to 1) and number of distinct values of one canonical column."""

    name: str
    dtype: str
    null_share: float
    distinct: int


@dataclass(frozen=True)
class LeftOutRow:
    """A row that a rule dropped, by its number in the file and its ids; nothing else of it is kept."""

    row: int
    ids: str


@dataclass(frozen=True)
class TableProfile:
    """Facts about one export as read.

    ``time_shapes`` says for each time column whether it held dates, naive times or times with offset; ``notes`` counts
    what was changed without dropping a row (for example local times that do not exist and moved forward).
    ``connector`` is the format that the file was read as, ``currency`` the one that its header names, and ``left_out``
    the first rows that rules dropped. ``known_until`` is the moment up to which an extract covered the table; None
    where only its rows say how far it reaches. ``personal`` counts addresses and phone numbers that did not enter.
    """

    table: str
    file: str
    sha256: str
    rows_read: int
    rows: int
    columns: tuple[ColumnProfile, ...]
    first_day: date | None
    last_day: date | None
    dropped_columns: tuple[str, ...]
    dropped_rows: dict[str, int]
    time_shapes: dict[str, str] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)
    connector: str = "canonical"
    currency: str | None = None
    columns_in_file: tuple[str, ...] = ()
    left_out: tuple[LeftOutRow, ...] = ()
    known_until: datetime | None = None
    personal: tuple[PersonalValues, ...] = ()

    @property
    def called(self) -> str:
        """What sentences call the export: its file, or its table where a query delivered it: nobody knows that file."""
        return self.table if is_snapshot_name(self.file) else self.file

    @property
    def duplicates_dropped(self) -> int:
        """Rows dropped because their key appeared before."""
        return self.dropped_rows.get(DUPLICATE, 0)


@dataclass(frozen=True)
class Ingested:
    """One export: canonical frame sorted by key, its profile, and where each row came from.

    ``source_rows`` is aligned with ``frame``; ``dropped_keys`` are the lead ids that rules removed, so
    that other tables can tell "unknown" from "removed by a rule". They serve messages and checks only.
    """

    frame: pl.DataFrame
    profile: TableProfile
    source_rows: pl.Series
    dropped_keys: pl.Series

    def with_rows(self) -> pl.DataFrame:
        """The frame with the row number of each row in its file."""
        return self.frame.with_columns(self.source_rows.alias(SOURCE_ROW))

    def replaced(self, sifted: SiftedRows, *, contract: TableContract, notes: dict[str, int]) -> Ingested:
        """The same export (of leads or outcomes) after further rules; the profile is measured again."""
        frame, rows = in_key_order(sifted, contract=contract)
        dropped = {**self.profile.dropped_rows, **sifted.dropped}
        profile = replace(
            self.profile,
            rows=frame.height,
            columns=column_profiles(frame),
            first_day=_extreme_day(frame, last=False),
            last_day=_extreme_day(frame, last=True),
            dropped_rows=dropped,
            notes={**self.profile.notes, **{name: count for name, count in notes.items() if count}},
            left_out=_earliest((*self.profile.left_out, *_left_out(self.with_rows(), rows, contract=contract))),
        )
        removed = self.frame["lead_id"].filter(~self.frame["lead_id"].is_in(frame["lead_id"].implode()))
        return Ingested(
            frame=contract.validate(frame, self.profile.file),
            profile=profile,
            source_rows=rows,
            dropped_keys=pl.concat([self.dropped_keys, removed]).unique().sort(),
        )


def finish(
    sifted: SiftedRows,
    *,
    contract: TableContract,
    source: SourceFile,
    time_shapes: Mapping[str, str],
    notes: Mapping[str, int],
) -> Ingested:
    """Order, validate and profile the rows that passed every rule.

    Raises:
        ContractError: the canonical contract is broken.
    """
    frame, rows = in_key_order(sifted, contract=contract)
    with ThreadPoolExecutor(max_workers=1) as background:
        measured = background.submit(column_profiles, frame)
        valid = contract.validate(as_texts(frame), source.name)
    profile = TableProfile(
        table=contract.name,
        file=source.name,
        sha256=source.sha256,
        rows_read=source.frame.height,
        rows=frame.height,
        columns=measured.result(),
        first_day=_extreme_day(frame, last=False),
        last_day=_extreme_day(frame, last=True),
        dropped_columns=source.dropped_columns,
        dropped_rows=dict(sifted.dropped),
        time_shapes=dict(time_shapes),
        notes={name: count for name, count in {**source.notes, **notes}.items() if count},
        connector=source.connector,
        currency=source.currency,
        columns_in_file=source.columns,
        left_out=_left_out(source.frame, rows, contract=contract) if set(sifted.dropped) - {NEVER_SO_FAR} else (),
        personal=source.personal,
    )
    return Ingested(valid, profile, rows, _dropped_leads(sifted, frame, source=source))


def _dropped_leads(sifted: SiftedRows, frame: pl.DataFrame, *, source: SourceFile) -> pl.Series:
    # A dropped duplicate leaves its lead in the table, and "never so far" says nothing against the lead.
    if "lead_id" not in frame.columns or not set(sifted.dropped) - {DUPLICATE, NEVER_SO_FAR}:
        return pl.Series("lead_id", [], dtype=pl.String)
    leads = source.frame["lead_id"].drop_nulls()
    return leads.filter(~leads.is_in(frame["lead_id"].implode())).unique().sort()


def _left_out(before: pl.DataFrame, kept: pl.Series, *, contract: TableContract) -> tuple[LeftOutRow, ...]:
    """The first rows of a file that are not kept; an empty outcome is no bad row, it says "never so far"."""
    if before.height == len(kept):
        return ()
    gone = before.filter(~pl.col(SOURCE_ROW).is_in(kept.implode()))
    if "qualified_time" in gone.columns:
        gone = gone.filter(pl.col("qualified_time").is_not_null())
    ids = [name for name in contract.key if name.endswith("_id") and name in gone.columns]
    first = gone.select(SOURCE_ROW, *ids).sort(SOURCE_ROW).head(LEFT_OUT_ROWS)

    def told(name: str, value: Any) -> str:
        return f"{name} {shown_of_a_lead(value, column=name) if contract.name in ABOUT_PEOPLE else shown(value)}"

    return tuple(LeftOutRow(row, ", ".join(map(told, ids, values))) for row, *values in first.iter_rows())


def _earliest(rows: tuple[LeftOutRow, ...]) -> tuple[LeftOutRow, ...]:
    return tuple(sorted(rows, key=lambda left: left.row))[:LEFT_OUT_ROWS]


def in_key_order(sifted: SiftedRows, *, contract: TableContract) -> tuple[pl.DataFrame, pl.Series]:
    """The contract's columns sorted by key, so that the file's row order cannot matter, and the aligned row numbers."""
    ordered = sifted.frame.select(*contract.names, SOURCE_ROW)
    if sifted.ordered_by != contract.key:
        ordered = key_order(ordered, contract.key).applied_to(ordered)
    return ordered.drop(SOURCE_ROW), ordered[SOURCE_ROW]


def column_profiles(frame: pl.DataFrame) -> tuple[ColumnProfile, ...]:
    """Type, null share and distinct count of every column."""
    rows = max(frame.height, 1)
    with ThreadPoolExecutor() as pool:  # the counting releases the interpreter, so that columns take turns on all cores
        distinct = list(pool.map(distinct_count, frame.iter_columns()))
    return tuple(
        ColumnProfile(column.name, type_name(column.dtype), round(column.null_count() / rows, 6), count)
        for column, count in zip(frame.iter_columns(), distinct, strict=True)
    )


def _extreme_day(frame: pl.DataFrame, *, last: bool) -> date | None:
    if "day" not in frame.columns or frame.is_empty():
        return None
    found = frame["day"].max() if last else frame["day"].min()
    return found if isinstance(found, date) else None
