"""ISO 8601 times of one fixed form, read by the place of their digits: as exact as the patterns, many times faster.

Belongs here: the forms that machines write. Does not belong here: other forms, or words for what is no time
(``timestamps``); any doubt leaves the column to that module.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

_Numbers = npt.NDArray[np.int64]
_FORMS: dict[int, str] = {
    10: "0000-00-00",
    19: "0000-00-00 00:00:00",
    20: "0000-00-00 00:00:00Z",
    24: "0000-00-00 00:00:00+0000",
    25: "0000-00-00 00:00:00+00:00",
}
_ALLOWED = {" ": b" T", "Z": b"Zz", "+": b"+-"}
_MICROSECONDS = 1_000_000


def fixed_wall_clock(text: pl.Series) -> tuple[pl.Series, Literal["date", "naive", "offset"]] | None:
    """The wall-clock times (in UTC where they carry an offset) and the shape, or None if any value has another form.

    Args:
        text: trimmed text; null stays null.
    """
    known = text.drop_nulls()
    widths = known.str.len_bytes()
    width = int(widths.min() or 0)  # type: ignore[arg-type]
    if width not in _FORMS or widths.max() != width:
        return None
    grid = np.frombuffer(known.str.join("").item().encode(), dtype=np.uint8).reshape(-1, width)
    if not _has_form(grid, _FORMS[width]):
        return None
    moments = _moments(grid, width)
    if moments is None:
        return None
    wall = _aligned(moments, text)
    return wall, "date" if width == 10 else "naive" if width == 19 else "offset"


def _has_form(grid: npt.NDArray[np.uint8], form: str) -> bool:
    for place, expected in enumerate(form):
        column = grid[:, place]
        if expected == "0":
            holds = (column >= ord("0")) & (column <= ord("9"))
        else:
            holds = np.isin(column, np.frombuffer(_ALLOWED.get(expected, expected.encode()), dtype=np.uint8))
        if not holds.all():
            return False
    return True


def _moments(grid: npt.NDArray[np.uint8], width: int) -> _Numbers | None:
    def number(*places: int) -> _Numbers:
        found = np.zeros(len(grid), dtype=np.int64)
        for place in places:
            found = found * 10 + (grid[:, place] - ord("0"))
        return found

    year, month, day = number(0, 1, 2, 3), number(5, 6), number(8, 9)
    if year.min() < 1 or month.min() < 1 or month.max() > 12:
        return None
    first = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    first_day, next_first_day = _days(first), _days(first + 1)
    if (day < 1).any() or (day > next_first_day - first_day).any():
        return None
    seconds = (first_day + day - 1) * 86_400
    if width > 10:
        hour, minute, second = number(11, 12), number(14, 15), number(17, 18)
        if hour.max() > 23 or minute.max() > 59 or second.max() > 59:
            return None
        seconds += hour * 3600 + minute * 60 + second
    if width > 20:
        hours, minutes = number(20, 21), number(width - 2, width - 1)
        if hours.max() > 14 or minutes.max() > 59:
            return None
        seconds -= np.where(grid[:, 19] == ord("-"), -1, 1) * (hours * 3600 + minutes * 60)
    return np.asarray(seconds * _MICROSECONDS)


def _days(months: npt.NDArray[Any]) -> _Numbers:
    return months.astype("datetime64[D]").astype(np.int64)


def _aligned(moments: _Numbers, text: pl.Series) -> pl.Series:
    if not text.null_count():
        return pl.Series("text", moments).cast(pl.Datetime("us"))
    place = (text.is_not_null().cum_sum() - 1).cast(pl.Int64)
    places = pl.select(pl.when(text.is_not_null()).then(place)).to_series()
    return pl.Series("text", moments).gather(places).cast(pl.Datetime("us"))
