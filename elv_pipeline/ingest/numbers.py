"""Text to exact integers: counts, and money as millionths of the currency.

Belongs here: what a written number means. Does not belong here: which numbers are allowed (``tables``).
"""

from __future__ import annotations

import polars as pl

from elv_pipeline.contracts.lead_ads import MICROS
from elv_pipeline.contracts.messages import violation
from elv_pipeline.errors import ContractError
from elv_pipeline.ingest.source_file import SOURCE_ROW

_COUNT = r"^[-+]?0*[0-9]{1,15}(?:\.0+)?$"
_MONEY = r"^[-+]?(?:0*[0-9]{1,12}(?:\.[0-9]*)?|\.[0-9]+)$"
# Written by pandas and R for very small or large floats, e.g. 1e-05.
_SCIENTIFIC = r"^[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+$"
_PLAIN_DIGITS = 15
_PLAIN_MONEY = 24
# Below 2^42 millionths a float is off by less than 2^-10 of one: what lies within 2^-9 of an integer is that integer.
_EXACT_MICROS = 1 << 42
_NEAR_INTEGER = 2.0**-9
_LARGEST_MONEY = 1_000_000_000_000


def count_column(frame: pl.DataFrame, *, column: str, place: str) -> pl.Series:
    """A text column of whole numbers as Int64; a sign and a zero fraction (``12.0``) are accepted.

    Raises:
        ContractError: a value is empty or no whole number.
    """
    text = frame[column]
    direct = text.cast(pl.Int64, strict=False)
    if not direct.null_count() and _longest(text) <= _PLAIN_DIGITS:
        return direct
    rule = "it must be a whole number in plain digits, 0 where nothing happened"
    _require(frame, column, pl.col(column).str.contains(_COUNT), place=place, rule=rule, remedy="Fix the export.")
    return text.str.extract(r"^([-+]?[0-9]+)").cast(pl.Int64)


def micros_column(frame: pl.DataFrame, *, column: str, place: str) -> pl.Series:
    """A text column of amounts as Int64 millionths, exact to the sixth decimal, further ones rounded half away from 0.

    Raises:
        ContractError: a value is empty, has a currency sign, thousands separators or a decimal comma.
    """
    direct = _exact_micros(frame[column])
    if direct is not None:
        return direct
    text = pl.col(column)
    rule = "it must be plain digits with a decimal point, without currency signs or thousands separators, below 10^12"
    readable = text.str.contains(_MONEY) | text.str.contains(_SCIENTIFIC)
    remedy = f"Export {column} as a raw number such as 1234.50, and 0 where nothing was spent."
    _require(frame, column, readable, place=place, rule=rule, remedy=remedy)
    fraction = text.str.extract(r"\.([0-9]+)").fill_null("").str.pad_end(7, "0")
    whole = text.str.extract(r"^[-+]?([0-9]+)").fill_null("0").cast(pl.Int64)
    magnitude = whole * MICROS + (fraction.str.slice(0, 7).cast(pl.Int64) + 5) // 10
    sign = pl.when(text.str.starts_with("-")).then(-1).otherwise(1)
    scientific = (text.cast(pl.Float64, strict=False) * MICROS).round(0).cast(pl.Int64, strict=False)
    micros = pl.when(text.str.contains(_SCIENTIFIC)).then(scientific).otherwise(sign * magnitude)
    parsed = frame.select(micros.alias(column)).to_series()
    small = (parsed.abs() <= _LARGEST_MONEY * MICROS).fill_null(False)
    _require(frame, column, pl.lit(small), place=place, rule=rule, remedy=remedy)
    return parsed


def _exact_micros(text: pl.Series) -> pl.Series | None:
    """The column by way of floats where that is exact: at most six decimals that count, amounts below four millions."""
    scaled = text.cast(pl.Float64, strict=False) * MICROS
    micros = scaled.round(0)
    distance = (scaled - micros).abs().max()
    if scaled.null_count() or not scaled.is_finite().all() or _longest(text) > _PLAIN_MONEY:
        return None
    if len(text) and (float(distance) > _NEAR_INTEGER or float(micros.abs().max()) >= _EXACT_MICROS):  # type: ignore[arg-type]
        return None
    return micros.cast(pl.Int64)


def _longest(text: pl.Series) -> int:
    return int(text.str.len_bytes().max() or 0)  # type: ignore[arg-type]


def _require(frame: pl.DataFrame, column: str, holds: pl.Expr, *, place: str, rule: str, remedy: str) -> None:
    broken = frame.filter(~holds.fill_null(False)).select(SOURCE_ROW, column)
    if broken.is_empty():
        return
    row, value = broken.row(0)
    raise ContractError(
        violation(place=place, row=row, column=column, value=value, count=broken.height, rule=rule, remedy=remedy)
    )
