"""The one definition of a table: columns, types, meaning, rules; checks and documentation are derived from it.

Belongs here: what a contract is and how a frame is checked against it. Does not belong here: any concrete table, or
the reading of files (``ingest``). Pandera costs seconds to import, so it is imported where a frame is checked.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from elv_pipeline.contracts.messages import and_more, shown
from elv_pipeline.errors import ContractError

PolarsType = pl.DataType | type[pl.DataType]
UTC_TIME = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class Check:
    """A rule about the values of one column; null values are left to ``Column.nullable``."""

    rule: str
    holds: Callable[[pl.Expr], pl.Expr]


@dataclass(frozen=True)
class RowCheck:
    """A rule across columns of one row; ``column`` is the one named in messages."""

    column: str
    rule: str
    holds: Callable[[], pl.Expr]


def at_least(minimum: float) -> Check:
    """Value >= minimum."""
    return Check(f"must be >= {minimum:g}", lambda column: column >= minimum)


def between(minimum: float, maximum: float) -> Check:
    """Minimum <= value <= maximum."""
    return Check(f"must lie between {minimum:g} and {maximum:g}", lambda column: column.is_between(minimum, maximum))


def one_of(*allowed: str) -> Check:
    """Value is one of the given words."""
    return Check(f"must be one of {', '.join(allowed)}", lambda column: column.is_in(list(allowed)))


# A NaN passes "is not null" and ">= 0" in Polars; it would reach the SQL table and the JSON files, which refuse it.
FINITE = Check("must be a finite number, neither NaN nor infinite", lambda column: column.is_finite())


@dataclass(frozen=True)
class Column:
    """One column: its type, its meaning for a user, its unit, and what its values must satisfy.

    ``required`` says whether a source file must have the column; canonical tables always have all of theirs.
    """

    name: str
    dtype: PolarsType
    description: str
    unit: str | None = None
    nullable: bool = False
    required: bool = True
    checks: tuple[Check, ...] = ()

    @property
    def all_checks(self) -> tuple[Check, ...]:
        """The declared checks, plus finiteness for every floating-point column."""
        return (FINITE, *self.checks) if self.dtype in (pl.Float64, pl.Float32) else self.checks

    @property
    def rule(self) -> str:
        """Rules in words, for documentation."""
        return "; ".join(check.rule for check in self.all_checks if check is not FINITE)


@dataclass(frozen=True)
class TableContract:
    """A table: its columns in order, its key, and what to do when it is broken."""

    name: str
    description: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    row_checks: tuple[RowCheck, ...] = ()
    remedy: str = field(default="Nothing was written. Correct the source of this table and run again.")

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in order."""
        return tuple(column.name for column in self.columns)

    @property
    def schema(self) -> dict[str, PolarsType]:
        """Polars types by column name, in order."""
        return {column.name: column.dtype for column in self.columns}

    def column(self, name: str) -> Column:
        """One column by name."""
        return next(column for column in self.columns if column.name == name)

    def triples(self) -> list[tuple[str, str, str]]:
        """Name, type and description (with the unit) of each column, as a Dagster table schema wants them."""
        return [
            (column.name, type_name(column.dtype), column.description + (f" [{column.unit}]" if column.unit else ""))
            for column in self.columns
        ]

    def empty(self) -> pl.DataFrame:
        """A frame without rows and with the right types."""
        return pl.DataFrame(schema=self.schema)

    def markdown(self) -> str:
        """The contract as a Markdown section with one table row a column."""
        lines = [f"### `{self.name}`", "", self.description, "", f"Key: {', '.join(self.key) or 'none'}.", ""]
        lines += ["| column | type | required | may be empty | meaning | rule |", "|---|---|---|---|---|---|"]
        for column, (name, dtype, description) in zip(self.columns, self.triples(), strict=True):
            required, nullable = _yes_no(column.required), _yes_no(column.nullable)
            lines.append(f"| `{name}` | {dtype} | {required} | {nullable} | {description} | {column.rule} |")
        lines += [f"\nAlso: {check.column} {check.rule}." for check in self.row_checks]
        return "\n".join(lines) + "\n"

    def pandera_schema(self) -> Any:
        """The contract as ``pandera.polars.DataFrameSchema``; strict, so an undeclared column is a violation."""
        import pandera.polars as pandera

        columns = {
            column.name: pandera.Column(
                column.dtype,
                [pandera.Check(_column_check(check), name=check.rule) for check in column.all_checks],
                nullable=column.nullable,
                description=column.description,
            )
            for column in self.columns
        }
        row_checks = [
            pandera.Check(_row_check(check), name=f"{check.column} {check.rule}") for check in self.row_checks
        ]
        return pandera.DataFrameSchema(
            columns, checks=row_checks, strict=True, unique=list(self.key) or None, name=self.name
        )

    def validate(self, frame: pl.DataFrame, place: str) -> pl.DataFrame:
        """Return the frame in the contract's column order, or fail listing every broken rule.

        Args:
            frame: a collected frame. A lazy one would have only its schema checked.
            place: what the messages call the table, such as a file name.

        Raises:
            ContractError: one line a broken rule: first failing value and row, count, rule; then the remedy.
        """
        if not self._holds(frame):
            self._refuse(frame, place)
        return frame.select(self.names)

    def _holds(self, frame: pl.DataFrame) -> bool:
        """Whether no rule is broken, by one pass over the columns; pandera would copy each one it looks at."""
        if dict(frame.schema) != self.schema:
            return False
        if any(frame[column.name].null_count() for column in self.columns if not column.nullable):
            return False
        rules = [check.holds(pl.col(column.name)) for column in self.columns for check in column.all_checks]
        rules += [check.holds() for check in self.row_checks]
        verdicts = [rule.fill_null(True).all().alias(str(number)) for number, rule in enumerate(rules)]
        if verdicts and not all(frame.select(verdicts).row(0)):
            return False
        return not self.key or _is_increasing(frame, self.key) or not _has_repeats(frame, self.key)

    def _refuse(self, frame: pl.DataFrame, place: str) -> None:
        from pandera.errors import SchemaErrors

        try:
            self.pandera_schema().validate(frame, lazy=True)
        except SchemaErrors as errors:
            lines = [_explain(error, frame=frame, contract=self) for error in errors.schema_errors]
            found = "\n".join(f"{place}: {line}" for line in dict.fromkeys(lines))
            raise ContractError(f"{found}\n{self.remedy}") from None  # the chained text would print whole rows


def type_name(dtype: PolarsType) -> str:
    """A type in a user's words."""
    if isinstance(dtype, pl.Datetime):
        return "timestamp (UTC)"
    words = {
        "String": "text",
        "Categorical": "text",
        "Int64": "integer",
        "Float64": "number",
        "Date": "date",
        "Boolean": "true/false",
    }
    return words.get(str(dtype), str(dtype))


def _is_increasing(frame: pl.DataFrame, key: tuple[str, ...]) -> bool:
    """Whether every row's key is above the one before, which proves that none occurs twice; nulls prove nothing."""
    pairs = max(frame.height - 1, 0)
    tied, above = pl.repeat(True, pairs, eager=True), pl.repeat(False, pairs, eager=True)
    for name in key:
        column, before = frame[name].slice(1), frame[name].head(pairs)
        above |= tied & (column > before).fill_null(False)
        if above.all():
            return True
        tied &= (column == before).fill_null(False)
    return False


def _has_repeats(frame: pl.DataFrame, key: tuple[str, ...]) -> bool:
    return bool(frame.select(pl.struct(key).is_duplicated().any()).item())


def _yes_no(value: bool) -> str:
    return "yes" if value else "no"


def _column_check(check: Check) -> Callable[[Any], pl.LazyFrame]:
    return lambda data: data.lazyframe.select(check.holds(pl.col(data.key)).fill_null(True))


def _row_check(check: RowCheck) -> Callable[[Any], pl.LazyFrame]:
    return lambda data: data.lazyframe.select(check.holds().fill_null(True))


def _explain(error: Any, *, frame: pl.DataFrame, contract: TableContract) -> str:
    reason = error.reason_code.name
    column = str(error.column_name or "")
    if reason == "COLUMN_NOT_IN_SCHEMA":
        return f"column {error.failure_cases!r} is not part of the contract; its columns are {_listed(contract.names)}"
    if reason == "COLUMN_NOT_IN_DATAFRAME":
        return f"column {error.failure_cases!r} is missing; found {_listed(frame.columns)}"
    if reason == "WRONG_DATATYPE":
        return f"{column} has type {frame.schema[column]}; it must be {contract.schema[column]}"
    if reason == "SERIES_CONTAINS_NULLS":
        return _first_failure(frame, column, frame[column].is_null(), rule="must not be empty")
    if reason == "DUPLICATES":
        return _duplicate(frame, contract.key)
    if reason == "DATAFRAME_CHECK" and error.check_output is not None:
        failed = ~error.check_output.lazy().collect().get_column("check_output").fill_null(True)
        if column and column in frame.columns:
            return _first_failure(frame, column, failed, rule=error.check.name)
        culprit, rule = str(error.check.name).split(" ", 1)
        return _first_failure(frame, culprit, failed, rule=rule)
    if reason == "CHECK_ERROR":
        return f"{column}: the rule {error.check.name!r} cannot be evaluated on type {frame.schema.get(column)}"
    return f"{column or 'table'}: {reason.lower().replace('_', ' ')}"


def _first_failure(frame: pl.DataFrame, column: str, failed: pl.Series, *, rule: str) -> str:
    first = failed.arg_max() or 0
    return f"row {first + 1}: {column} is {shown(frame[column][first])}{and_more(int(failed.sum()))}; {column} {rule}"


def _duplicate(frame: pl.DataFrame, key: tuple[str, ...]) -> str:
    repeated = ~frame.select(key).select(pl.struct(key).is_first_distinct()).to_series()
    first = repeated.arg_max() or 0
    value = json.dumps({name: shown(frame[name][first]) for name in key})
    more = and_more(int(repeated.sum()))
    return f"row {first + 1}: {value} appeared before{more}; {' and '.join(key)} must be unique"


def _listed(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(names)
