"""The door of an extract: which columns of a query enter, and in which form their values are written.

Belongs here: the allow-list of a table's contract, and values of database drivers as plain, exact text. Does not belong
here: databases (``row_streams``), or rules about values, which are those of every export (``tables``, ``enrichment``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import polars as pl

from elv_pipeline.contracts import lead_ads, outreach
from elv_pipeline.contracts.spec import TableContract
from elv_pipeline.errors import ContractError
from elv_pipeline.ingest.parsing.text_table import safe_header_name

_EXACT_BELOW = 2**53
SOURCE_CONTRACTS: Mapping[str, TableContract] = {contract.name: contract for contract in lead_ads.SOURCES}
"""Tables of lead ads that a query may deliver, by name."""
_OUTREACH = {contract.name: contract for contract in outreach.SOURCES}


def contracts_of(problem: str) -> Mapping[str, TableContract]:
    """Tables of a problem that a query may deliver, by name; those of two problems may share one."""
    return _OUTREACH if problem == "outreach" else SOURCE_CONTRACTS


@dataclass(frozen=True, kw_only=True)
class Admission:
    """Which columns of a query's answer enter the snapshot.

    Attributes:
        place: what messages call the query.
        names: canonical names of the columns that enter, in the order of the contract.
        positions: place of each in the answer.
        headers: name of each in the answer.
        dropped: names of the others, as they may be shown.
    """

    place: str
    names: tuple[str, ...]
    positions: tuple[int, ...]
    headers: tuple[str, ...]
    dropped: tuple[str, ...]


def admitted(header: Sequence[str], *, contract: TableContract, place: str) -> Admission:
    """The columns of a query that its table's contract knows; upper and lower case are one.

    Raises:
        ContractError: a required column is missing, or one appears twice.
    """
    plain = [name.strip().lower() for name in header]
    twice = [name for name in contract.names if plain.count(name) > 1]
    if twice:
        raise ContractError(
            f"{place}: column {twice[0]!r} appears twice; every column of {contract.name} may appear once. Remove one "
            f"from the SELECT list, or give it another name."
        )
    missing = [column.name for column in contract.columns if column.required and column.name not in plain]
    if missing:
        found = ", ".join(safe_header_name(name) for name in header) or "none"
        raise ContractError(
            f"{place}: required column {', '.join(map(repr, missing))} is missing; found {found}. Name the columns as "
            f"{contract.name} needs them, e.g. SELECT its_name_there AS {missing[0]}."
        )
    names = tuple(name for name in contract.names if name in plain)
    positions = tuple(plain.index(name) for name in names)
    return Admission(
        place=place,
        names=names,
        positions=positions,
        headers=tuple(header[position] for position in positions),
        dropped=tuple(safe_header_name(name) for at, name in enumerate(header) if at not in positions),
    )


def text_column(values: Sequence[Any], *, name: str, place: str) -> pl.Series:
    """Values of one column as a driver gives them, as the text that ingestion reads exactly.

    Numbers keep every digit; a moment with an offset becomes UTC, one without stays as it is and is read in the
    configured ``naive_timezone``. Types may change from row to row, as they do in SQLite.

    Raises:
        ContractError: the column holds binary or nested values, or an id that a floating-point number has rounded.
    """
    kinds = set(map(type, values))
    kinds.discard(type(None))
    if kinds <= {str}:
        return pl.Series(name, values, dtype=pl.String)
    if kinds == {int}:
        try:
            return pl.Series(name, values, dtype=pl.Int64).cast(pl.String)
        except (OverflowError, TypeError):  # a number has more than 64 bits
            return pl.Series(name, [None if value is None else str(value) for value in values], dtype=pl.String)
    writers = {kind: _writer(kind, name=name, place=place) for kind in kinds}
    return pl.Series(
        name, [None if value is None else writers[type(value)](value) for value in values], dtype=pl.String
    )


def _writer(kind: type, *, name: str, place: str) -> Callable[[Any], str]:
    for known, write in _WRITERS:  # bool before int and datetime before date, of which they are kinds
        if issubclass(kind, known):
            return write
    if issubclass(kind, float):
        return _id_of_float(name, place) if name.endswith("_id") else repr
    what = "binary values" if issubclass(kind, bytes | bytearray | memoryview) else f"values of type {kind.__name__}"
    raise ContractError(
        f"{place}: column {name!r} holds {what}; text, numbers and times are needed. Convert it in the query, e.g. "
        f"CAST({name} AS varchar(100)) AS {name}."
    )


def _id_of_float(name: str, place: str) -> Callable[[float], str]:
    def write(value: float) -> str:
        if not value.is_integer() or abs(value) >= _EXACT_BELOW:
            raise ContractError(
                f"{place}: column {name!r} holds floating-point numbers, which round long ids; ids are text or whole "
                f"numbers. Convert it in the query where its digits are still exact."
            )
        return str(int(value))

    return write


def _decimal(value: Decimal) -> str:
    return format(value, "f") if value.is_finite() else str(value)


def _moment(value: datetime) -> str:
    if value.tzinfo is None:
        return value.isoformat(sep=" ")
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(sep="T") + "Z"


_WRITERS: tuple[tuple[type, Callable[[Any], str]], ...] = (
    (str, str),
    (bool, json.dumps),
    (int, str),
    (Decimal, _decimal),
    (datetime, _moment),
    (date, date.isoformat),
    (UUID, str),
)
