"""What opening one export yields: its known columns, and facts about the file.

Belongs here: the hand-over between connectors and the readers of each table. Does not belong here: parsing files
(``text_table`` and its kin) or types and rules (``tables``, ``enrichment``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from elv_pipeline.ingest.personal_values import PersonalValues

SOURCE_ROW = "source_row"
"""Row number in the file; the header is row 1, and a quoted value with line breaks is still one row."""


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """The known columns of one file under their canonical names, in file order, with ``source_row``.

    Attributes:
        path: the file, or a stand-in that carries its name where it is remote or several files were joined.
        frame: ``source_row`` (Int64) and the columns as text; blank is null. Of daily figures, days, ids and names are
            categories, and numbers that were certain when parsed are Int64: counts, and spend in millionths.
        columns: canonical names of the columns that the file has.
        dropped_columns: header names that were not loaded; a name that looks like a value is withheld.
        sha256: digest of the file's bytes.
        connector: the format the file was read as.
        currency: currency that the header names, if it does.
        headers: header of each column as the file spells it, such as ``Link clicks`` for ``clicks``.
        notes: counts of what the connector changed or left out, such as a totals row.
        recorded_time: when the figures were exported, if the file's name says so; UTC. None where several files were
            joined: then daily tables have the moment in their column ``recorded_time``.
        personal: e-mail addresses and phone numbers that did not enter, and ids that are such.
    """

    path: Path
    frame: pl.DataFrame
    columns: tuple[str, ...]
    dropped_columns: tuple[str, ...]
    sha256: str
    connector: str = "canonical"
    currency: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)
    recorded_time: datetime | None = None
    personal: tuple[PersonalValues, ...] = ()

    @property
    def name(self) -> str:
        """File name as used in messages."""
        return self.path.name
