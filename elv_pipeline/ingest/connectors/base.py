"""What a connector is: a name, a table of column names, and the steps that clean its values.

Belongs here: the declaration and what a step receives. Does not belong here: any concrete connector, or the matching
of headers (``matching``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import polars as pl

from elv_pipeline.settings import PipelineConfig


@dataclass(frozen=True, kw_only=True)
class Unwanted:
    """Columns that make an export unfit for a table, such as a breakdown that repeats every ad.

    Attributes:
        spellings: header names, compared like those of ``ColumnNames``.
        reason: why such an export cannot be this table, completing "column 'Age' …".
        remedy: what to do instead.
    """

    spellings: tuple[str, ...]
    reason: str
    remedy: str


@dataclass(frozen=True, kw_only=True)
class ColumnNames:
    """How one table's columns are called in an export.

    Names are compared ignoring case, surrounding and repeated blanks, no-break spaces and the shape of apostrophes.

    Attributes:
        spellings: header names of each column, the preferred one first. A column that begins with ``_`` is read for
            the cleaning steps only.
        required: columns without which the header is not recognised; of a group of columns, one is enough.
        money: columns whose header may end in a currency, as in ``Amount spent (EUR)``.
        unwanted: columns that an export for this table must not have.
        remedy: what to do where a required column is missing.
    """

    spellings: Mapping[str, tuple[str, ...]]
    required: tuple[str | tuple[str, ...], ...]
    money: tuple[str, ...] = ()
    unwanted: tuple[Unwanted, ...] = ()
    remedy: str = "Add or rename the column in the export (upper and lower case do not matter)."


@dataclass(frozen=True, kw_only=True)
class Draft:
    """One file between header and canonical columns; steps return changed copies.

    Attributes:
        file: name of the file, for messages.
        table: name of the canonical table.
        frame: ``source_row`` and the matched columns as text, null where blank.
        headers: header of each matched column as the file spells it.
        config: the configuration.
        rows_holding: numbers of the rows of which any cell, loaded or not, holds a text.
        currency: currency of the money columns, where known.
        notes: counts for the profile of what was changed or left out.
    """

    file: str
    table: str
    frame: pl.DataFrame
    headers: Mapping[str, str]
    config: PipelineConfig
    rows_holding: Callable[[str], frozenset[int]]
    currency: str | None = None
    notes: dict[str, int] = field(default_factory=dict)

    def with_frame(self, frame: pl.DataFrame, *, note: str = "", count: int = 0) -> Draft:
        """The draft with other rows or values, and a count of what changed; a count of zero is not noted."""
        notes = {**self.notes, note: self.notes.get(note, 0) + count} if count else self.notes
        return replace(self, frame=frame, notes=notes)

    def header(self, column: str) -> str:
        """What the file calls a column."""
        return self.headers.get(column, column)


Step = Callable[[Draft], Draft]
"""One cleaning step. It raises ``ContractError`` for what it refuses."""


@dataclass(frozen=True, kw_only=True)
class ConnectorSpec:
    """One known kind of export.

    Attributes:
        name: as written in the configuration (``source: meta_ads_manager``).
        title: as people call it.
        tables: column names by canonical table.
        steps: cleaning, in order, after numbers have a decimal point.
    """

    name: str
    title: str
    tables: Mapping[str, ColumnNames]
    steps: tuple[Step, ...] = ()
