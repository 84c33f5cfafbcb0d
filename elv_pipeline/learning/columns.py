"""Feature columns as arrays: numbers with NaN for missing, categories as integer codes frozen at fit.

Belongs here: the only places where a polars frame becomes numpy, and the schema a model remembers. Does not belong
here: scaling or imputation (an estimator's own business) or how features come about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

Levels = Mapping[str, Sequence[str]]
NUMBER = "number"
TEXT = "text"


def kind_of(dtype: pl.DataType) -> str:
    """Return ``number``, ``text`` or the dtype's own name where a model can use neither.

    A model does not care whether a count is Int32 or Int64, and a column of nulls only has no type of its own; so
    frames are compared by kind.
    """
    if dtype.is_numeric() or dtype == pl.Boolean:
        return NUMBER
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return TEXT
    return str(dtype)


def schema_problems(table: pl.DataFrame, *, numeric: Sequence[str], categorical: Sequence[str]) -> list[str]:
    """Return one line per expected feature column that is missing or of the wrong kind; empty when all fit."""
    problems = []
    for expected, names in ((NUMBER, numeric), (TEXT, categorical)):
        for name in names:
            if name not in table.columns:
                problems.append(f"- {name}: missing, expected {expected}")
            elif table.schema[name] != pl.Null and kind_of(table.schema[name]) != expected:
                problems.append(f"- {name}: is {table.schema[name]}, expected {expected}")
    return problems


def numeric_matrix(table: pl.DataFrame, *, names: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return rows x columns; null, NaN and infinity are all NaN, because a ratio over zero is no information."""
    return _matrix(table, [_number(name) for name in names])


def levels_of(table: pl.DataFrame, *, names: Sequence[str]) -> dict[str, list[str]]:
    """Return the sorted values of each categorical column; the position of a value is its code."""
    return {name: sorted(table[name].cast(pl.String).drop_nulls().unique().to_list()) for name in names}


def code_matrix(table: pl.DataFrame, *, levels: Levels) -> npt.NDArray[np.float64]:
    """Return rows x columns of codes; missing and unseen values are NaN."""
    return _matrix(table, [_code(name, values) for name, values in levels.items()])


def coded_matrix(table: pl.DataFrame, *, names: Sequence[str], levels: Levels) -> npt.NDArray[np.float64]:
    """Return ``numeric_matrix`` and ``code_matrix`` side by side, made at once because a copy costs as much again."""
    numbers = [_number(name) for name in names]
    return _matrix(table, numbers + [_code(name, values) for name, values in levels.items()])


def _number(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.Float64)


def _code(name: str, values: Sequence[str]) -> pl.Expr:
    if not values:
        return pl.lit(None, dtype=pl.Float64).alias(name)
    # Enum codes are positions, and a value that is none of them becomes null: one hash look-up a row.
    return pl.col(name).cast(pl.String).cast(pl.Enum(list(values)), strict=False).to_physical().cast(pl.Float64)


def _matrix(table: pl.DataFrame, expressions: Sequence[pl.Expr]) -> npt.NDArray[np.float64]:
    """Return the columns as they lie in memory (Fortran order), NaN where null or infinite."""
    if not expressions:
        return np.empty((table.height, 0))
    # A constant expression alone would be one row long.
    selected = table.with_columns(expressions).select(expression.meta.output_name() for expression in expressions)
    matrix: npt.NDArray[np.float64] = selected.to_numpy(order="fortran")
    infinite = np.isinf(matrix)
    return np.where(infinite, np.nan, matrix) if infinite.any() else matrix


def microseconds(table: pl.DataFrame) -> npt.NDArray[np.int64]:
    """Return created_time as microseconds since the epoch."""
    return table["created_time"].dt.epoch("us").to_numpy()
