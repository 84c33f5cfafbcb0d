"""Erased people at the door: their rows, and all rows that refer to them, do not come back.

Belongs here: which rows are left out of tables that refer to each other. Does not belong here: the list of who was
erased (``forgotten``), or the erasing (``publishing/erasure``).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from elv_pipeline.forgotten import Forgotten

_CONTACT, _ENROLLMENT = "contact_id", "enrollment_id"


@dataclass
class ErasedPeople:
    """Leaves out erased people table by table, those that others refer to first.

    An event names an enrollment only, so the enrollments of erased contacts are remembered as they pass.

    Attributes:
        forgotten: ids as they are stored, of leads, contacts or enrollments.
    """

    forgotten: Forgotten
    _enrollments: set[str] = field(default_factory=set, init=False, repr=False)

    def without(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows of all other people."""
        if not self.forgotten.tombstones:
            return rows
        kept = self.forgotten.without(rows)
        if _CONTACT in kept.columns:
            erased = self.forgotten.holds(kept[_CONTACT])
            if _ENROLLMENT in kept.columns:
                self._enrollments |= set(kept[_ENROLLMENT].filter(erased).drop_nulls().cast(pl.String).to_list())
            kept = kept.filter(~erased)
        if _ENROLLMENT in kept.columns:
            names = kept[_ENROLLMENT].cast(pl.String)
            gone = self.forgotten.holds(names) | names.is_in(sorted(self._enrollments)).fill_null(False)
            kept = kept.filter(~gone)
        return kept
