"""Written numbers as exact integers: counts, and money as millionths of the currency.

Belongs here: what a written number means. Does not belong here: which numbers are allowed (``tables``).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from elv_pipeline.contracts.lead_ads import MICROS
from elv_pipeline.contracts.messages import violation
from elv_pipeline.contracts.spec import TableContract
from elv_pipeline.errors import ContractError
from elv_pipeline.ingest.source_file import SOURCE_ROW

_COUNT = r"^[-+]?0*[0-9]{1,15}(?:\.0+)?$"
# 1.000 is a thousand where points separate thousands, and one where they do not.
_MAYBE_GROUPED = r"^[-+]?[1-9][0-9]{0,2}\.000$"
_MONEY = r"^[-+]?(?:0*[0-9]{1,12}(?:\.[0-9]*)?|\.[0-9]+)$"
# Written by pandas and R for very small or large floats, e.g. 1e-05.
_SCIENTIFIC = r"^[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+$"
_PLAIN_DIGITS = 15
_LARGEST_COUNT = 10**_PLAIN_DIGITS - 1
_PLAIN_MONEY = 24
# Below 2^42 millionths a float is off by less than 2^-10 of one: what lies within 2^-9 of an integer is that integer.
_EXACT_MICROS = 1 << 42
_NEAR_INTEGER = 2.0**-9
_LARGEST_MONEY = 1_000_000_000_000
_BLOCK_ROWS = 1 << 13
"""Rows handled at a time: what is needed for a moment stays in the cache, and touches no fresh memory."""


def count_column(frame: pl.DataFrame, *, column: str, place: str) -> pl.Series:
    """A column of whole numbers as Int64; a sign and a zero fraction (``12.0``) are accepted, ``1.000`` is not.

    Args:
        frame: with ``source_row`` and the column as text, or as ``exact_counts`` leaves it.
        column: its name.
        place: what messages call the file.

    Raises:
        ContractError: a value is empty or no whole number, or its point may separate thousands.
    """
    text = frame[column]
    if text.dtype == pl.Int64:
        return text
    direct = text.cast(pl.Int64, strict=False)
    if not direct.null_count() and _longest(text) <= _PLAIN_DIGITS:
        return direct
    rule = "it must be a whole number in plain digits, 0 where nothing happened"
    _require(frame, column, pl.col(column).str.contains(_COUNT), place=place, rule=rule, remedy="Fix the export.")
    _require(
        frame,
        column,
        ~pl.col(column).str.contains(_MAYBE_GROUPED),
        place=place,
        rule="it could be a thousand or a one with decimals",
        remedy="If points separate thousands, set decimal_comma: true where this export has it, else export whole "
        "numbers.",
    )
    return text.str.extract(r"^([-+]?[0-9]+)").cast(pl.Int64)


def known_count_column(frame: pl.DataFrame, *, column: str, place: str) -> pl.Series:
    """Whole numbers of which some are not known: as ``count_column`` reads them, null where empty.

    Args:
        frame: with ``source_row`` and the column as text.
        column: its name.
        place: what messages call the file.

    Raises:
        ContractError: a value is no whole number, or its point may separate thousands.
    """
    known = frame[column].is_not_null()
    counts = pl.repeat(None, frame.height, dtype=pl.Int64, eager=True).alias(column)
    if not known.any():
        return counts
    return counts.scatter(known.arg_true(), count_column(frame.filter(known), column=column, place=place))


def micros_column(frame: pl.DataFrame, *, column: str, place: str) -> pl.Series:
    """A column of amounts as Int64 millionths, exact to the sixth decimal, further ones rounded half away from 0.

    Args:
        frame: with ``source_row`` and the column as text, or as ``exact_micros`` leaves it.
        column: its name.
        place: what messages call the file.

    Raises:
        ContractError: a value is empty, has a currency sign, thousands separators or a decimal comma.
    """
    if frame.schema[column] == pl.Int64:
        return frame[column]
    remedy = f"Export {column} as a raw number such as 1234.50, and 0 where nothing was spent."
    return _micros(frame, column=column, place=place, remedy=remedy)


def known_micros_column(frame: pl.DataFrame, *, column: str, place: str, about_people: bool = True) -> pl.Series:
    """Amounts of which some are not known: as ``micros_column`` reads them, null where empty.

    Args:
        frame: with ``source_row`` and the column as text.
        column: its name.
        place: what messages call the file.
        about_people: whether the text of a bad value may be somebody's name; then only its form is told.

    Raises:
        ContractError: a value is no plain number.
    """
    known = frame[column].is_not_null()
    amounts = pl.repeat(None, frame.height, dtype=pl.Int64, eager=True).alias(column)
    if not known.any():
        return amounts
    remedy = f"Export {column} as a raw number such as 1234.50, 0 for worth nothing, and leave it empty while unknown."
    parsed = _micros(frame.filter(known), column=column, place=place, remedy=remedy, about_people=about_people)
    return amounts.scatter(known.arg_true(), parsed)


def _micros(frame: pl.DataFrame, *, column: str, place: str, remedy: str, about_people: bool = False) -> pl.Series:
    direct = _micros_by_float(frame[column])
    if direct is not None:
        return direct
    text = pl.col(column)
    rule = "it must be plain digits with a decimal point, without currency signs or thousands separators, below 10^12"
    readable = text.str.contains(_MONEY) | text.str.contains(_SCIENTIFIC)
    _require(frame, column, readable, place=place, rule=rule, remedy=remedy, about_people=about_people)
    fraction = text.str.extract(r"\.([0-9]+)").fill_null("").str.pad_end(7, "0")
    whole = text.str.extract(r"^[-+]?([0-9]+)").fill_null("0").cast(pl.Int64)
    magnitude = whole * MICROS + (fraction.str.slice(0, 7).cast(pl.Int64) + 5) // 10
    sign = pl.when(text.str.starts_with("-")).then(-1).otherwise(1)
    scientific = (text.cast(pl.Float64, strict=False) * MICROS).round(0).cast(pl.Int64, strict=False)
    micros = pl.when(text.str.contains(_SCIENTIFIC)).then(scientific).otherwise(sign * magnitude)
    parsed = frame.select(micros.alias(column)).to_series()
    small = (parsed.abs() <= _LARGEST_MONEY * MICROS).fill_null(False)
    _require(frame, column, pl.lit(small), place=place, rule=rule, remedy=remedy, about_people=about_people)
    return parsed


def exact_counts(parsed: pl.Series) -> pl.Series | None:
    """Counts that Polars has parsed, if all are what ``count_column`` reads; None where a message may need the text."""
    if parsed.null_count() or not _lies_between(parsed, 0, _LARGEST_COUNT):
        return None
    return parsed.rechunk()


def exact_micros(parsed: pl.Series) -> pl.Series | None:
    """Amounts that Polars has parsed as millionths, if all are what ``micros_column`` reads and none is negative."""
    return _certain_micros(parsed) if _lies_between(parsed, 0, _LARGEST_MONEY) else None


def _lies_between(parsed: pl.Series, least: int, most: int) -> bool:
    """Whether all known values do; a NaN, which Polars passes over here, is none of ``_certain_micros`` either."""
    return parsed.null_count() == len(parsed) or bool(parsed.min() >= least and parsed.max() <= most)  # type: ignore[operator]


def in_one_form(frames: Sequence[pl.DataFrame], *, source: TableContract) -> list[pl.DataFrame]:
    """Frames of one table with each column of numbers either exact in all of them, or written out in all of them."""
    written: dict[str, pl.Expr] = {}
    for column in source.columns:
        if len({frame.schema[column.name] for frame in frames if column.name in frame.columns}) < 2:
            continue
        number = pl.col(column.name)
        fraction = (number % MICROS).cast(pl.String).str.zfill(6)
        amount = pl.format("{}.{}", number // MICROS, fraction).alias(column.name)
        written[column.name] = amount if column.dtype == pl.Float64 else number.cast(pl.String)
    return [
        frame.with_columns(text for name, text in written.items() if frame.schema.get(name) == pl.Int64)
        for frame in frames
    ]


def _micros_by_float(text: pl.Series) -> pl.Series | None:
    return None if _longest(text) > _PLAIN_MONEY else _certain_micros(text.cast(pl.Float64, strict=False))


def _certain_micros(amounts: pl.Series) -> pl.Series | None:
    """Millionths where floats are enough: at most six decimals that count, amounts below four millions."""
    if amounts.null_count():
        return None
    micros = np.empty(len(amounts), dtype=np.int64)
    at = 0
    for chunk in amounts.get_chunks():
        for start in range(0, len(chunk), _BLOCK_ROWS):
            scaled = chunk.slice(start, _BLOCK_ROWS).to_numpy() * MICROS
            whole = np.rint(scaled)
            with np.errstate(invalid="ignore"):  # a NaN or an infinity is near to nothing
                certain = (np.abs(scaled - whole) <= _NEAR_INTEGER) & (np.abs(whole) < _EXACT_MICROS)
            if not certain.all():
                return None
            micros[at : at + len(whole)] = whole
            at += len(whole)
    return pl.Series(amounts.name, micros)


def _longest(text: pl.Series) -> int:
    return int(text.str.len_bytes().max() or 0)  # type: ignore[arg-type]


def _require(
    frame: pl.DataFrame,
    column: str,
    holds: pl.Expr,
    *,
    place: str,
    rule: str,
    remedy: str,
    about_people: bool = False,
) -> None:
    broken = frame.filter(~holds.fill_null(False)).select(SOURCE_ROW, column)
    if broken.is_empty():
        return
    row, value = broken.sort(SOURCE_ROW).row(0)
    text = violation(
        place=place,
        row=row,
        column=column,
        value=value,
        count=broken.height,
        rule=rule,
        remedy=remedy,
        about_people=about_people,
    )
    raise ContractError(text)
