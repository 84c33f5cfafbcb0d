"""Everything that stands for one person in a home: of outreach, a contact's enrollments and the moments of these.

Belongs here: from the id that a person gives to all ids that have to go with it. Does not belong here: what is done
with them (``forget.py``), or keeping them from coming back (``elv_pipeline.forgotten``).

A contact that is erased while its enrollments stay is not erased: events, features and scores name the enrollment.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import polars as pl

from elv_pipeline.forgotten import Forgotten
from elv_pipeline.home import Home
from elv_pipeline.publishing.erasure.parquet_traces import SIGNATURE
from elv_pipeline.publishing.erasure.places import files_of, owner_of

_CONTACT, _ENROLLMENT, _MOMENT = "contact_id", "enrollment_id", "lead_id"
_POSITION = r"@\d+(?:\+\d+)?$"
"""How the id of a moment ends: the enrollment's id stands before it (``tables/moments.py``)."""


def all_ids_of(home: Home, ids: Iterable[str], *, names: Collection[str], erased: Forgotten) -> tuple[str, ...]:
    """The ids, and those of enrollments and moments that belong to the same person.

    Args:
        home: what is looked through: tables that name both a contact and its enrollment, and both an enrollment and its
            moments.
        ids: of a contact, an enrollment or a moment, as the exports have it and as it is stored.
        names: the configurations whose files are looked at.
        erased: who was erased before. Of an erasure that was cut short, the table that tied the two together may be
            gone already.
    """
    given = list(dict.fromkeys(ids))
    enrollments = {name: None for one in given for name in (one, re.sub(_POSITION, "", one))}
    tables = list(_tables(home, names))
    for file, columns in tables:
        if _ENROLLMENT in columns:
            rows = pl.scan_parquet(file).select(columns & {_CONTACT, _ENROLLMENT})
            found = rows.unique().cast(pl.String).collect()
            known = erased.holds(found[_ENROLLMENT])
            if _CONTACT in columns:
                known |= found[_CONTACT].is_in(given).fill_null(False)
            enrollments.update(dict.fromkeys(found[_ENROLLMENT].filter(known).drop_nulls().sort().to_list()))
    moments: dict[str, None] = {}
    for file, columns in tables:
        if _MOMENT in columns:
            column = pl.scan_parquet(file).select(pl.col(_MOMENT).cast(pl.String)).unique().collect()[_MOMENT]
            own = column.str.replace(_POSITION, "").is_in(list(enrollments)).fill_null(False)
            moments.update(dict.fromkeys(column.filter(own).sort().to_list()))
    return tuple(dict.fromkeys([*given, *enrollments, *moments]))


def _tables(home: Home, names: Collection[str]) -> Iterator[tuple[Path, set[str]]]:
    """Parquet files of these configurations, and which of the three ids each has."""
    for file in files_of(home):
        if file.suffix != ".parquet" or owner_of(home, file) not in (None, *names):
            continue
        with file.open("rb") as content:
            if content.read(len(SIGNATURE)) != SIGNATURE:
                continue
        columns = {_CONTACT, _ENROLLMENT, _MOMENT} & set(pl.read_parquet_schema(file))
        if columns:
            yield file, columns
