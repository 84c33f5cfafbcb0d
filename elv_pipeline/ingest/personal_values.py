"""The values' side of the door: e-mail addresses and phone numbers do not enter, in whichever column they come.

Belongs here: which columns are looked at, what becomes of what is found, and its count. Does not belong here: the form
of an address or a number (``parsing/contact_details``), which columns enter at all (``connectors``,
``extracts/columns``), or the finding about it (``review/findings_personal``).

The allow-list lets ``platform`` in; a form that writes the person's address into it would carry that into snapshots,
features and models. A value that is or contains an address or a number becomes empty; where most values of a column do,
the others are hardly better, and the whole column is left empty. Ids that a table cannot do without stay and are told
of: hashing is for them (``stored_ids``).

Of outreach, templates and names of campaigns are needed, and keep what stands beside an address (``masked``): a
template with the sender's number is still the template that was used. Ids of contacts and enrollments that are an
address or a number are refused, since every output names them, unless they are hashed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import polars as pl

from elv_pipeline.contracts import outreach
from elv_pipeline.contracts.lead_ads import SOURCES
from elv_pipeline.contracts.messages import and_more
from elv_pipeline.contracts.spec import Column, TableContract
from elv_pipeline.errors import ContractError
from elv_pipeline.ingest.parsing.categories import distinct_values
from elv_pipeline.ingest.parsing.contact_details import contact_details, contact_ids, masked
from elv_pipeline.ingest.source_file import SOURCE_ROW

Became = Literal["emptied", "left_out", "kept", "masked"]
_MARK = "elv.personal_values"
_LEAD = "lead_id"
_MOST = 0.5
"""Share of a column's values above which the whole column is left empty."""
_FIRST_ROW = 2  # of a Parquet file; its column names count as row 1
_OURS = frozenset({"reply_tokens", "reply_reading"})
"""Columns that the door itself writes: bucket numbers side by side look like a phone number."""


def _texts(contracts: Iterable[TableContract]) -> dict[str, Column]:
    return {
        column.name: column
        for contract in contracts
        for column in contract.columns
        if column.dtype == pl.String and column.name != _LEAD and column.name not in _OURS
    }


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What is done with the texts of a problem's tables.

    Attributes:
        texts: columns that are looked at.
        refused: ids that must not be an address or a number.
        masked: texts in which a mask stands for an address or a number.
        may_be_empty: whether every other text may, whatever its contract says, because a later stage judges that.
    """

    texts: Mapping[str, Column]
    refused: frozenset[str] = frozenset()
    masked: frozenset[str] = frozenset()
    may_be_empty: bool = False


_LEAD_ADS = Watched(texts=_texts(SOURCES))
_OUTREACH = Watched(
    texts=_texts(outreach.SOURCES),
    refused=frozenset({"contact_id", "enrollment_id"}),
    masked=frozenset({"template_text", "campaign_name"}),
    may_be_empty=True,
)


def watched(contract: TableContract | None) -> Watched:
    """What is done with the texts of a table; without one, as with those of lead ads."""
    known = {source.name: source.key for source in outreach.SOURCES}
    return _OUTREACH if contract is not None and known.get(contract.name) == contract.key else _LEAD_ADS


@dataclass(frozen=True, kw_only=True)
class PersonalValues:
    """How many values of a column are or contain an e-mail address or a phone number; never one of them.

    Attributes:
        column: canonical name.
        became: what was done: the values were ``emptied``, the whole column was ``left_out``, they were ``kept``,
            being ids that the table needs, or ``masked``, being texts that it needs.
        rows: how many rows.
        of: how many rows have a value.
        first_row: number of the first row, as its file counts.
        file: the file that the numbers are of.
        files: how many files hold such values; the numbers are those of the newest.
    """

    column: str
    became: Became
    rows: int
    of: int
    first_row: int
    file: str
    files: int = 1


@dataclass
class Door:
    """Lets rows of one file or query pass, batch by batch, without addresses and numbers, and counts these.

    Attributes:
        place: what messages call the file or query.
        rules: what is done with which column.
    """

    place: str
    rules: Watched = _LEAD_ADS
    _before: int = field(default=0, init=False)
    _values: dict[str, int] = field(default_factory=dict, init=False)
    _rows: dict[str, int] = field(default_factory=dict, init=False)
    _first: dict[str, int] = field(default_factory=dict, init=False)
    _kept: set[str] = field(default_factory=set, init=False)
    _masked: set[str] = field(default_factory=set, init=False)

    def through(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows, under canonical names, with such values empty. A batch knows nothing of those after it.

        Raises:
            ContractError: a text that the table needs in every row holds an address or a number, or the id of a person
                is one.
        """
        changed: list[pl.Series] = []
        for name in (name for name in self.rules.texts if name in frame.columns):
            column = frame[name]
            self._values[name] = self._values.get(name, 0) + len(column) - column.null_count()
            is_id = name.endswith("_id")
            found = _found(column, contact_ids if is_id else contact_details)
            if found is None:
                continue
            self._count(name, found, frame)
            if name in self.rules.refused:
                self._refuse_id(name)
            if name in self.rules.masked:
                self._masked.add(name)
                changed.append(masked(column.cast(pl.String)).cast(column.dtype))
                continue
            if is_id and _LEAD not in frame.columns:
                self._kept.add(name)
                continue
            if not is_id:
                self._require_optional(name)
            changed.append(column.set(found, None))
        self._before += frame.height
        return frame.with_columns(changed) if changed else frame

    def left_out(self) -> list[str]:
        """Columns that are to be empty as a whole; known when every row has passed."""
        needed = self._kept | self._masked
        return [name for name, rows in self._rows.items() if name not in needed and rows > _MOST * self._values[name]]

    def told(self) -> tuple[PersonalValues, ...]:
        """What was found, in the order of the contracts' columns."""
        gone = self.left_out()
        return tuple(
            PersonalValues(
                column=name,
                became=self._became(name, gone),
                rows=self._rows[name],
                of=self._values[name],
                first_row=self._first[name],
                file=self.place,
            )
            for name in self.rules.texts
            if name in self._rows
        )

    def _became(self, name: str, gone: list[str]) -> Became:
        if name in self._kept:
            return "kept"
        return "masked" if name in self._masked else "left_out" if name in gone else "emptied"

    def _count(self, name: str, found: pl.Series, frame: pl.DataFrame) -> None:
        self._rows[name] = self._rows.get(name, 0) + int(found.sum())
        if name not in self._first:
            at = found.arg_max() or 0
            numbered = SOURCE_ROW in frame.columns
            self._first[name] = int(frame[SOURCE_ROW][at]) if numbered else self._before + at + _FIRST_ROW

    def _require_optional(self, name: str) -> None:
        if self.rules.may_be_empty or self.rules.texts[name].nullable:
            return
        raise ContractError(
            f"{self.place} row {self._first[name]}: {name} is or contains an e-mail address or a phone number"
            f"{and_more(self._rows[name])}, which is not shown and must not enter; every row needs a {name}. Correct "
            f"the export: {self.rules.texts[name].description}"
        )

    def _refuse_id(self, name: str) -> None:
        raise ContractError(
            f"{self.place} row {self._first[name]}: {name} is an e-mail address or a phone number"
            f"{and_more(self._rows[name])}, which is not shown; ids are written to every output, so they must be "
            f"pseudonymous. Export another id, or have it hashed at the door: privacy.hashed_columns: [{name}]."
        )


def without_personal_values(
    frame: pl.DataFrame, *, place: str, contract: TableContract | None = None
) -> tuple[pl.DataFrame, tuple[PersonalValues, ...]]:
    """A whole file's rows without addresses and numbers, and what was found.

    Args:
        frame: rows under canonical names.
        place: what messages call the file.
        contract: of the table, if it is none of lead ads.

    Raises:
        ContractError: as ``Door.through``.
    """
    door = Door(place, watched(contract))
    passed = door.through(frame)
    return emptied(passed, door.left_out()), door.told()


def emptied(frame: pl.DataFrame, columns: Iterable[str]) -> pl.DataFrame:
    """The rows with whole columns empty."""
    return frame.with_columns(pl.lit(None, frame.schema[name]).alias(name) for name in columns)


def newest_of(found: Iterable[PersonalValues]) -> tuple[PersonalValues, ...]:
    """Of several files, oldest first: for each column the newest file with such values, and how many there are.

    Counts of files are not added up: extracts overlap, and the same row would be counted again every day.
    """
    newest: dict[tuple[str, Became], PersonalValues] = {}
    for one in found:
        key = (one.column, one.became)
        before = newest.get(key)
        newest[key] = replace(one, files=one.files + (before.files if before else 0))
    return tuple(newest[key] for key in sorted(newest))


def personal_mark(found: Iterable[PersonalValues]) -> dict[str, str]:
    """Metadata for a Parquet file: what its rows held before they were written; empty where that was nothing."""
    told = [asdict(one) for one in found]
    return {_MARK: json.dumps(told, sort_keys=True)} if told else {}


def noted_in(file: Path, *, name: str) -> Iterator[PersonalValues]:
    """What a snapshot's metadata say of values that were emptied before it was written.

    Args:
        file: the Parquet file.
        name: what messages call it.
    """
    metadata: Mapping[str, str] = pl.read_parquet_metadata(file)
    for one in json.loads(metadata.get(_MARK, "[]")):
        yield PersonalValues(**{**one, "file": name})


def _found(column: pl.Series, judge: Callable[[pl.Series], pl.Series]) -> pl.Series | None:
    """Which rows hold such a value; None for no row. Each value is looked at once, however often it recurs."""
    if column.dtype not in (pl.String, pl.Categorical) or column.null_count() == len(column):
        return None
    distinct = distinct_values(column) if column.dtype == pl.Categorical else column.unique().drop_nulls()
    personal = distinct.filter(judge(distinct))
    if personal.is_empty():
        return None
    return column.cast(pl.String).is_in(personal.implode()).fill_null(False)
