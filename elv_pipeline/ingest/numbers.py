"""Text to exact integers: counts, and money as millionths of the currency.

Belongs here: what a written number means. Does not belong here: which numbers are allowed (``tables``).
"""

from __future__ import annotations

import polars as pl

from elv_pipeline.contracts.lead_ads import MICROS
from elv_pipeline.contracts.messages import violation
from elv_pipeline.errors import ContractError
from elv_pipeline.ingest.csv_reader import SOURCE_ROW

_COUNT = r"^-?\d{1,15}(?:\.0+)?$"
_MONEY = r"^-?(?:\d{1,12}(?:\.\d*)?|\.\d+)$"
# Written by pandas and R for very small or large floats, e.g. 1e-05.
_SCIENTIFIC = r"^-?\d(?:\.\d+)?[eE][-+]?\d{1,2}$"
_LARGEST_MONEY = 1_000_000_000_000


def count_column(frame: pl.DataFrame, *, column: str, place: str) -> pl.Series:
    """A text column of whole numbers as Int64; a sign and a zero fraction (``12.0``) are accepted.

    Raises:
        ContractError: a value is empty or no whole number.
    """
    rule = "it must be a whole number in plain digits, 0 where nothing happened"
    _require(frame, column, pl.col(column).str.contains(_COUNT), place=place, rule=rule, remedy="Fix the export.")
    return frame[column].str.extract(r"^(-?\d+)").cast(pl.Int64)


def micros_column(frame: pl.DataFrame, *, column: str, place: str) -> pl.Series:
    """A text column of amounts as Int64 millionths, exact to the sixth decimal, further ones rounded half away from 0.

    Raises:
        ContractError: a value is empty, has a currency sign, thousands separators or a decimal comma.
    """
    text = pl.col(column)
    rule = "it must be plain digits with a decimal point, without currency signs or thousands separators, below 10^12"
    readable = text.str.contains(_MONEY) | text.str.contains(_SCIENTIFIC)
    remedy = f"Export {column} as a raw number such as 1234.50, and 0 where nothing was spent."
    _require(frame, column, readable, place=place, rule=rule, remedy=remedy)
    fraction = text.str.extract(r"\.(\d+)").fill_null("").str.pad_end(7, "0")
    whole = text.str.extract(r"^-?(\d+)").fill_null("0").cast(pl.Int64)
    magnitude = whole * MICROS + (fraction.str.slice(0, 7).cast(pl.Int64) + 5) // 10
    sign = pl.when(text.str.starts_with("-")).then(-1).otherwise(1)
    scientific = (text.cast(pl.Float64, strict=False) * MICROS).round(0).cast(pl.Int64, strict=False)
    micros = pl.when(text.str.contains(_SCIENTIFIC)).then(scientific).otherwise(sign * magnitude)
    parsed = frame.select(micros.alias(column)).to_series()
    small = (parsed.abs() <= _LARGEST_MONEY * MICROS).fill_null(False)
    _require(frame, column, pl.lit(small), place=place, rule=rule, remedy=remedy)
    return parsed


def _require(frame: pl.DataFrame, column: str, holds: pl.Expr, *, place: str, rule: str, remedy: str) -> None:
    broken = frame.filter(~holds.fill_null(False)).select(SOURCE_ROW, column)
    if broken.is_empty():
        return
    row, value = broken.row(0)
    raise ContractError(
        violation(place=place, row=row, column=column, value=value, count=broken.height, rule=rule, remedy=remedy)
    )
