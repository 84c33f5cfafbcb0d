"""Is a day's input complete? Rows far from usual, tables that were not refreshed, exports that were repeated.

Belongs here: the rules from row counts and extraction moments to findings about one day. Does not belong here: what is
usual (``usual_rows.py``), how long a day waits (``held_days.py``), or values that are missing inside rows
(``missing_values.py``).

Too few rows need both: a count that chance produces less often than three times in 10,000 days, and one that a day
with only ``min_row_share`` of its rows would plausibly show. An account's own low days are spared where two of the last
weeks were as low; accounts younger than 14 days are not judged by counts at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Literal

import numpy as np
import polars as pl

from elv_pipeline.errors import ElvError
from elv_pipeline.lake import content_checksum
from elv_pipeline.monitoring.usual_rows import Numbers, UsualRows, usual_rows
from elv_pipeline.settings_operation import Monitoring

Kind = Literal["too_few_rows", "no_rows", "not_extracted", "not_refreshed", "repeated", "too_many_rows"]

SURE_TOO_FEW = 3e-4
SURE_TOO_MANY = 1e-5
"""A day with too many rows is only told, so it has to be the more obvious."""
SHARE_CERTAINTY = 0.95
USUAL_IF_SEEN = 2
"""A day as low as two others of the last weeks is what this account does."""
WINDOW_DAYS = 98
LONGEST_OUTAGE = 7
LEAST_REPEATED = 10
"""Rows from which on equal content on two days is no coincidence."""


@dataclass(frozen=True, kw_only=True)
class DayFinding:
    """What is wrong with one table on one day.

    Attributes:
        table: the table.
        day: the local day.
        kind: what is wrong.
        holds: whether the day must not be scored; else it is only worth knowing.
        message: one sentence with the numbers.
        rows: rows of the day, None where they are not known.
        expected: rows that are usual, None where that is not known.
        share: ``rows / expected``.
        chance: probability of such a count on a usual day.
    """

    table: str
    day: date
    kind: Kind
    holds: bool
    message: str
    rows: int | None = None
    expected: float | None = None
    share: float | None = None
    chance: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """For metadata and the record of held days."""
        return {**vars(self), "day": self.day.isoformat()}


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """What is known of a table's newest extraction beside its rows.

    Attributes:
        recorded_at: moment (UTC) at which it was read from its source; None for files without one.
        content: ``day_content`` of the newest days; a day without rows worth comparing is left out or None.
    """

    recorded_at: datetime | None = None
    content: Mapping[date, str | None] = field(default_factory=dict)


def completeness(
    history: pl.DataFrame,
    day: date,
    *,
    settings: Monitoring,
    day_end: datetime,
    extractions: Mapping[str, Extraction] | None = None,
) -> list[DayFinding]:
    """Find what is wrong with a day's input.

    Args:
        history: ``table`` (String), ``day`` (Date), ``rows`` (integer): one row for each table and day that was read, a
            day without rows being 0; 98 days before ``day`` are used, later ones are ignored.
        day: the day in question.
        settings: ``min_row_share``.
        day_end: end of the local day as a UTC moment.
        extractions: what else is known, by table; its tables are judged even where ``history`` lacks them.

    Returns:
        Findings by table, in order; those that hold first.

    Raises:
        ElvError: ``history`` has two counts for one table and day.
    """
    known = extractions or {}
    tables = sorted({*history["table"].unique().to_list(), *known})
    series = _series(history, tables=tables, day=day)
    found: list[DayFinding] = []
    for table in tables:
        extraction = known.get(table, Extraction())
        stale = list(_not_refreshed(table, day, extraction=extraction, day_end=day_end))
        counted = list(_counted(table, day, series[table], settings=settings)) if table in series else []
        found += [*(stale or counted), *_repeated(table, day, extraction=extraction)]
    return sorted(found, key=lambda finding: (not finding.holds, finding.table))


def held_by(findings: Sequence[DayFinding]) -> list[DayFinding]:
    """The findings for which a day is not scored."""
    return [finding for finding in findings if finding.holds]


def day_content(rows: pl.DataFrame, *, moments: Sequence[str] = ("day",)) -> str | None:
    """Digest of a day's rows without the columns that differ between two days by themselves.

    Args:
        rows: of one table and day, in any order.
        moments: columns of days, times and of anything that counts up.

    Returns:
        The same for equal content; None where there are too few rows, or no number apart from zero, to tell a repeated
        export from a quiet day.
    """
    kept = rows.drop(moments, strict=False)
    numbers = kept.select(pl.selectors.numeric())
    if kept.height < LEAST_REPEATED or not any((column != 0).any() for column in numbers):
        return None
    return content_checksum(kept.select(sorted(kept.columns)).sort(pl.all()))


def _series(history: pl.DataFrame, *, tables: Sequence[str], day: date) -> dict[str, Numbers]:
    """Rows of each table with a history on the days up to ``day``, the last being the day itself; NaN where unread."""
    first = day - timedelta(days=WINDOW_DAYS)
    used = history.filter(pl.col("day").is_between(first, day)).with_columns(
        position=(pl.col("day") - pl.lit(first)).dt.total_days()
    )
    twice = used.filter(pl.struct("table", "day").is_duplicated()).sort("table", "day")
    if twice.height:
        raise ElvError(
            f"row counts: table {twice['table'][0]} has more than one count for {twice['day'][0]}; a table has one "
            f"count a day. Count the rows of each partition once."
        )
    found = {table: np.full(WINDOW_DAYS + 1, np.nan) for table in tables if table in set(history["table"])}
    for table, position, rows in used.select("table", "position", "rows").iter_rows():
        found[table][position] = float(rows)
    return found


def _not_refreshed(table: str, day: date, *, extraction: Extraction, day_end: datetime) -> Iterator[DayFinding]:
    recorded = extraction.recorded_at
    if recorded is not None and recorded < day_end:
        yield DayFinding(
            table=table,
            day=day,
            kind="not_refreshed",
            holds=True,
            message=f"{table} was last read on {recorded:%Y-%m-%d %H:%M} UTC, before {day} ended "
            f"({day_end:%Y-%m-%d %H:%M} UTC).",
        )


def _counted(table: str, day: date, series: Numbers, *, settings: Monitoring) -> Iterator[DayFinding]:
    if np.isnan(series[-1]):
        if np.isfinite(series).any():
            message = f"{table} was not read for {day}."
            yield DayFinding(table=table, day=day, kind="not_extracted", holds=True, message=message)
        return
    rows = int(series[-1])
    began = _since_first_rows(series)
    if rows == 0:
        yield from _silent(table, day, began)
        return
    usual = usual_rows(began[:-1])
    if usual is not None:
        yield from _too_few(table, day, rows, usual=usual, settings=settings)
        yield from _too_many(table, day, rows, usual=usual, settings=settings)


def _since_first_rows(series: Numbers) -> Numbers:
    """Leave out the days before the account began, on which a count of zero was no low day."""
    first = next((position for position, rows in enumerate(series[:-1]) if rows > 0), len(series) - 1)
    return np.where(np.arange(len(series)) < first, np.nan, series)


def _silent(table: str, day: date, series: Numbers) -> Iterator[DayFinding]:
    """No rows at all: the days without any, taken together, have to be surprising.

    They are left out of the expectation of those after them, so that a table that stopped does not become usual at
    once; after a week it is an account that pauses rather than an outage, and no longer holds a day.
    """
    quiet = len(series) - 1 - max((i for i, rows in enumerate(series) if rows > 0), default=len(series) - 1)
    known = series.copy()
    known[len(series) - quiet :] = np.nan
    chance, expected = 1.0, 0.0
    for position in range(len(series) - quiet, len(series)):
        usual = usual_rows(known[:position])
        if usual is not None and not np.isnan(series[position]):
            seen = float((usual.earlier * usual.low <= 0).mean()) if _often_as_low(usual, 0) else 0.0
            chance *= max(usual.chance_of_so_few(0), seen)
            expected += usual.low
    if chance < SURE_TOO_FEW:
        since = f"since {day - timedelta(days=quiet - 1)} " if quiet > 1 else ""
        yield DayFinding(
            table=table,
            day=day,
            kind="no_rows",
            holds=quiet <= LONGEST_OUTAGE,
            message=f"{table} has no rows {since}{'up to' if since else 'on'} {day}, where about {expected:,.0f} are "
            f"usual; {_once_in(chance)}.",
            rows=0,
            expected=round(expected, 1),
            share=0.0,
            chance=chance,
        )


def _too_few(table: str, day: date, rows: int, *, usual: UsualRows, settings: Monitoring) -> Iterator[DayFinding]:
    chance = usual.chance_of_so_few(rows)
    most = usual.most_of_share(settings.min_row_share, certainty=SHARE_CERTAINTY)
    if chance < SURE_TOO_FEW and rows <= most and not _often_as_low(usual, rows):
        yield DayFinding(
            table=table,
            day=day,
            kind="too_few_rows",
            holds=True,
            message=_compared(table, day, rows, expected=usual.low, chance=chance),
            rows=rows,
            expected=round(usual.low, 1),
            share=round(rows / usual.low, 4),
            chance=chance,
        )


def _too_many(table: str, day: date, rows: int, *, usual: UsualRows, settings: Monitoring) -> Iterator[DayFinding]:
    chance = usual.chance_of_so_many(rows)
    if chance < SURE_TOO_MANY and rows * settings.min_row_share >= usual.high:
        yield DayFinding(
            table=table,
            day=day,
            kind="too_many_rows",
            holds=False,
            message=_compared(table, day, rows, expected=usual.high, chance=chance),
            rows=rows,
            expected=round(usual.high, 1),
            share=round(rows / usual.high, 4) if usual.high > 0 else None,
            chance=chance,
        )


def _repeated(table: str, day: date, *, extraction: Extraction) -> Iterator[DayFinding]:
    before = day - timedelta(days=1)
    today = extraction.content.get(day)
    if today is not None and today == extraction.content.get(before):
        yield DayFinding(
            table=table,
            day=day,
            kind="repeated",
            holds=True,
            message=f"{table} of {day} repeats the rows of {before}: all figures are the same.",
        )


def _often_as_low(usual: UsualRows, rows: int) -> bool:
    return int((usual.earlier * usual.low <= rows).sum()) >= USUAL_IF_SEEN


def _compared(table: str, day: date, rows: int, *, expected: float, chance: float) -> str:
    share = f" ({rows / expected:.0%})" if expected > 0 else ""
    return f"{table} has {rows:,} rows on {day}, where about {expected:,.0f} are usual{share}; {_once_in(chance)}."


def _once_in(chance: float) -> str:
    return f"chance alone does this less than once in {10 ** int(min(-np.log10(max(chance, 1e-300)), 6.0)):,} days"
