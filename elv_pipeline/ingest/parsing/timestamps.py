"""Text to UTC moments: one shape a column, no guessing between day and month, daylight saving by rule.

Belongs here: what a written time means. Does not belong here: rules that compare times (``tables``, ``cross_checks``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from zoneinfo import ZoneInfo

import polars as pl

from elv_pipeline.contracts.messages import ABOUT_PEOPLE, shown, shown_of_a_lead, violation
from elv_pipeline.errors import ContractError
from elv_pipeline.ingest.parsing.categories import distinct_values, spread
from elv_pipeline.ingest.parsing.fixed_times import fixed_wall_clock

Shape = Literal["date", "naive", "offset", "none"]

_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = r"[ T][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]{1,9})?)?"
_OFFSET = r" ?(?:Z|z|UTC|[+-](?:0[0-9]|1[0-4])(?::?[0-5][0-9])?)"
_SHAPES: dict[str, str] = {
    "date": f"^{_DATE}$",
    "naive": f"^{_DATE}{_TIME}$",
    "offset": f"^{_DATE}{_TIME}{_OFFSET}$",
}
_SLASHED = r"^([0-9]{1,2})([/.-])([0-9]{1,2})[/.-]([0-9]{2}|[0-9]{4})(?:[ T,]+([0-9]{1,2}:[0-9]{2})(:[0-9]{2})?)?$"
_FIRST_YEAR, _LAST_YEAR = 1970, 2099
_PART_OF_DAY = re.compile(r"%[-_0]?(H|I|T|R|M|S|X|c|k|l|r)|%[.]?[0-9]?f")
_ISO_RULE = "times must be ISO 8601, such as 2025-03-31, 2025-03-31 14:05:00 or 2025-03-31T14:05:00+02:00"


@dataclass(frozen=True)
class TimeColumn:
    """How the times of one column are to be read, and what to call the column in messages."""

    place: str
    table: str
    column: str
    timezone: str
    naive_timezone: str | None = None
    timestamp_format: str | None = None
    end_of_day: bool = False
    """Whether a date means the last microsecond of that day (when something became known) or its first moment."""

    @property
    def format_key(self) -> str:
        """Configuration key of the strict format."""
        return f"contracts.{self.table}.timestamp_format"

    def shown(self, value: str) -> str:
        """A value of the column as it may appear in a message."""
        return shown_of_a_lead(value, column=self.column) if self.table in ABOUT_PEOPLE else shown(value)


@dataclass(frozen=True)
class _ByValue:
    """The distinct texts of a column of categories and what each means."""

    column: pl.Series
    texts: pl.Series
    moments: pl.Series


@dataclass(frozen=True)
class ParsedTimes:
    """Moments in UTC (null where the text was null), the shape of the column, and how many times were shifted.

    ``shifted`` counts local times that do not exist because clocks were put forward; they moved forward by the gap.
    """

    moments: pl.Series
    shape: Shape
    shifted: int
    by_value: _ByValue | None = None

    def local_days(self, zone: str) -> pl.Series:
        """The local day of each moment."""
        if self.by_value is None:
            return self.moments.dt.convert_time_zone(zone).dt.date()
        days = self.by_value.moments.dt.convert_time_zone(zone).dt.date()
        return spread(days, of=self.by_value.texts, over=self.by_value.column)


def parse_times(text: pl.Series, *, rows: pl.Series, spec: TimeColumn) -> ParsedTimes:
    """Parse a text column to ``Datetime("us", "UTC")``.

    A date means local midnight in ``spec.timezone``; a naive time is local in ``naive_timezone`` or else ``timezone``.
    A local time that occurs twice is its first occurrence; one that does not exist moves forward by the gap.

    Args:
        text: trimmed text (or categories), null where blank.
        rows: row number of each value in the file, for messages.
        spec: how to read it.

    Raises:
        ContractError: a value is no time, could be read two ways, or the column mixes shapes.
    """
    if text.null_count() == text.len():
        return ParsedTimes(
            pl.Series(text.name, [None], dtype=pl.Datetime("us", "UTC")).new_from_index(0, text.len()), "none", 0
        )
    if text.dtype == pl.Categorical:
        return _parse_by_value(text, rows=rows, spec=spec)
    frame = pl.DataFrame({"text": text, "row": rows})
    wall, shape = _strict(frame, spec) if spec.timestamp_format else _iso(frame, spec)
    _require_plausible(frame, wall, spec)
    if shape == "offset":
        return ParsedTimes(wall.dt.replace_time_zone("UTC").alias(text.name), shape, 0)
    zone = spec.timezone if shape == "date" else spec.naive_timezone or spec.timezone
    if shape == "date" and spec.end_of_day:
        moments, _ = localise(wall.dt.offset_by("1d"), zone=zone)
        last_moments = pl.select(moments - pl.duration(microseconds=1)).to_series()
        return ParsedTimes(last_moments.alias(text.name), shape, 0)
    moments, shifted = localise(wall, zone=zone)
    # The first moment of a day whose midnight does not exist is no surprise; a time of day that never was is one.
    return ParsedTimes(moments.alias(text.name), shape, 0 if shape == "date" else shifted)


def localise(wall: pl.Series, *, zone: str) -> tuple[pl.Series, int]:
    """Local wall-clock times as UTC moments, and how many of them did not exist.

    Twice-occurring times are read as the first occurrence. Times inside the gap of a clock change move forward by its
    length (the reading of PEP 495 with ``fold=0``).
    """
    moments = wall.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null").dt.convert_time_zone("UTC")
    lost = moments.is_null() & wall.is_not_null()
    if not lost.any():
        return moments, 0
    zone_info = ZoneInfo(zone)
    distinct: list[datetime] = wall.filter(lost).unique().to_list()
    found = [value.replace(tzinfo=zone_info).astimezone(UTC) for value in distinct]
    repaired = wall.replace_strict(
        pl.Series(distinct, dtype=wall.dtype),
        pl.Series(found, dtype=pl.Datetime("us", "UTC")),
        default=None,
        return_dtype=pl.Datetime("us", "UTC"),
    )
    return pl.select(pl.coalesce(moments, repaired)).to_series(), int(lost.sum())


def _parse_by_value(column: pl.Series, *, rows: pl.Series, spec: TimeColumn) -> ParsedTimes:
    """Each distinct text once: a year of daily figures has 365 of them, whatever the number of its rows."""
    texts = distinct_values(column)
    try:
        found = parse_times(texts, rows=rows.head(len(texts)), spec=spec)
    except ContractError:
        found = None
    if found is None or found.shifted:  # messages name the first row and counts are of rows: read row by row
        return parse_times(column.cast(pl.String), rows=rows, spec=spec)
    moments = spread(found.moments, of=texts, over=column)
    return ParsedTimes(moments, found.shape, 0, _ByValue(column, texts, found.moments))


def _iso(frame: pl.DataFrame, spec: TimeColumn) -> tuple[pl.Series, Shape]:
    direct = fixed_wall_clock(frame["text"])
    if direct is not None:
        return direct
    shaped = frame.with_columns(_shape_of(pl.col("text")).alias("shape"))
    unknown = shaped.filter(pl.col("text").is_not_null() & pl.col("shape").is_null())
    if not unknown.is_empty():
        raise ContractError(_unreadable(unknown, spec))
    _require_one_shape(shaped, spec)
    shape: Shape = shaped["shape"].drop_nulls()[0]
    wall = frame.select(_wall_clock(pl.col("text"), shape)).to_series()
    broken = frame.filter(wall.is_null() & frame["text"].is_not_null())
    if not broken.is_empty():
        raise ContractError(_refusal(broken, spec, "there is no such day or time of day"))
    return wall, shape


def _shape_of(text: pl.Expr) -> pl.Expr:
    names = [pl.when(text.str.contains(pattern)).then(pl.lit(shape)) for shape, pattern in _SHAPES.items()]
    return pl.coalesce(names)


def _wall_clock(text: pl.Expr, shape: Shape) -> pl.Expr:
    day = text.str.slice(0, 10).str.to_datetime("%Y-%m-%d", strict=False, time_unit="us")
    if shape == "date":
        return day
    seconds = text.str.extract(r"^.{16}:([0-9]{2})").fill_null("00")
    clock = pl.concat_str(text.str.slice(0, 10), pl.lit(" "), text.str.slice(11, 5), pl.lit(":"), seconds)
    wall = pl.when(seconds < "60").then(clock).str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False, time_unit="us")
    fraction = text.str.extract(r"[.,]([0-9]{1,9})").fill_null("0").str.pad_end(6, "0").str.slice(0, 6)
    wall = wall + pl.duration(microseconds=fraction.cast(pl.Int64))
    if shape == "naive":
        return wall
    sign = pl.when(text.str.contains(r"-[0-9]{2}(:?[0-9]{2})?$")).then(-1).otherwise(1)
    hours = text.str.extract(r":.*[+-]([0-9]{2}):?(?:[0-9]{2})?$").cast(pl.Int64).fill_null(0)
    minutes = text.str.extract(r":.*[+-][0-9]{2}:?([0-9]{2})$").cast(pl.Int64).fill_null(0)
    return wall - pl.duration(minutes=sign * (hours * 60 + minutes))


def _require_one_shape(shaped: pl.DataFrame, spec: TimeColumn) -> None:
    examples = shaped.drop_nulls("shape").unique("shape", keep="first", maintain_order=True).head(2)
    if examples.height < 2:
        return
    first, second = examples.rows(named=True)
    pair = f"{spec.column} is {spec.shown(second['text'])}, but row {first['row']} has {spec.shown(first['text'])}"
    if "date" in (first["shape"], second["shape"]):
        rule = "dates and times are mixed; a column must hold either dates only or times only"
        remedy = "Export every value in the same form."
    else:
        rule = "mixed time zones: some values carry an offset and some do not"
        remedy = f"Export all with an offset, or all without and set contracts.{spec.table}.naive_timezone."
    raise ContractError(f"{spec.place} row {second['row']}: {pair}; {rule}. {remedy}")


def _unreadable(unknown: pl.DataFrame, spec: TimeColumn) -> str:
    slashed = unknown.filter(pl.col("text").str.contains(_SLASHED))
    first = unknown["text"][0]
    match = re.match(_SLASHED, first)
    if match is None:
        remedy = f"Fix the value, or name the format of the whole column with {spec.format_key}."
        return _refusal(unknown, spec, _ISO_RULE, remedy=remedy)
    pairs = slashed.select(
        first=pl.col("text").str.extract(_SLASHED, 1).cast(pl.Int64),
        second=pl.col("text").str.extract(_SLASHED, 3).cast(pl.Int64),
    )
    separator, year = match[2], "%Y" if len(match[4]) == 4 else "%y"
    clock = (" %H:%M" + (":%S" if match[6] else "")) if match[5] else ""
    day_first = f"%d{separator}%m{separator}{year}{clock}"
    month_first = f"%m{separator}%d{separator}{year}{clock}"
    day_first_works = int(pairs["second"].max() or 0) <= 12  # type: ignore[arg-type]
    month_first_works = int(pairs["first"].max() or 0) <= 12  # type: ignore[arg-type]
    rule = f"this {_two_readings(match)}; day and month are never guessed"
    if day_first_works == month_first_works:
        remedy = f"Set {spec.format_key}: '{day_first}' (day first) or '{month_first}' (month first), or export ISO."
    else:
        remedy = f"Set {spec.format_key}: '{day_first if day_first_works else month_first}', or export ISO 8601."
    return _refusal(unknown, spec, rule, remedy=remedy)


def _two_readings(match: re.Match[str]) -> str:
    first, second = int(match[1]), int(match[3])
    if not (1 <= first <= 12 and 1 <= second <= 12):
        return "is not ISO 8601"
    as_day_first = datetime(2000, second, first, tzinfo=UTC)
    as_month_first = datetime(2000, first, second, tzinfo=UTC)
    return f"could be {first} {as_day_first:%B} or {second} {as_month_first:%B}"


def _strict(frame: pl.DataFrame, spec: TimeColumn) -> tuple[pl.Series, Shape]:
    pattern = spec.timestamp_format or ""
    shape: Shape = "offset" if "z" in pattern else "naive" if _PART_OF_DAY.search(pattern) else "date"
    try:
        if shape == "date":
            wall = frame["text"].str.to_date(pattern, strict=False).cast(pl.Datetime("us"))
        else:
            wall = frame["text"].str.to_datetime(pattern, strict=False, time_unit="us")
    except (pl.exceptions.ComputeError, pl.exceptions.InvalidOperationError) as error:
        raise ContractError(
            f"{spec.place}: {spec.format_key} is {pattern!r}, which is no usable format ({error}). "
            f"Write it as in '%d/%m/%Y %H:%M'."
        ) from None
    broken = frame.filter(wall.is_null() & frame["text"].is_not_null())
    if not broken.is_empty():
        rule = f"it must match {spec.format_key}: {pattern!r}"
        raise ContractError(_refusal(broken, spec, rule, remedy="Fix the value or the format."))
    return (wall.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if shape == "offset" else wall), shape


def _require_plausible(frame: pl.DataFrame, wall: pl.Series, spec: TimeColumn) -> None:
    # 0001-01-01 and 9999-12-31 stand for "never" in many systems; a two-digit year under %Y becomes the year 25.
    odd = frame.filter(~wall.dt.year().is_between(_FIRST_YEAR, _LAST_YEAR).fill_null(True))
    if not odd.is_empty():
        rule = f"the year must lie between {_FIRST_YEAR} and {_LAST_YEAR}"
        remedy = f"Leave it empty if it means 'never', or add it to contracts.{spec.table}.null_values."
        raise ContractError(_refusal(odd, spec, rule, remedy=remedy))


def _refusal(bad: pl.DataFrame, spec: TimeColumn, rule: str, *, remedy: str = "Fix the value in the export.") -> str:
    value, row = bad.select("text", "row").row(0)
    return violation(
        place=spec.place,
        row=row,
        column=spec.column,
        value=value,
        count=bad.height,
        rule=rule,
        remedy=remedy,
        about_people=spec.table in ABOUT_PEOPLE,
    )
