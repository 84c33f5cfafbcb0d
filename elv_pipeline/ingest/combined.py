"""Several files of one table as one: a folder of daily exports reads like a single export.

Belongs here: which of several rows of one key stands, from when properties of later files are known, and the common
profile. Does not belong here: finding and
parsing files (``intake``), or versions of restated metrics (``tables.restatements``).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import polars as pl

from elv_pipeline.contracts.spec import UTC_TIME, TableContract
from elv_pipeline.ingest.ingested import Ingested, TableProfile, column_profiles
from elv_pipeline.ingest.personal_values import newest_of

REPEATED = "repeated_in_a_later_file"
_FILE = "file_position"
_RECORDED_AT = "recorded_at"


def combined(
    files: Sequence[Ingested], *, contract: TableContract, name: str, exported: Sequence[datetime]
) -> Ingested:
    """One table of all files; a key that appears in several keeps the row of the last file.

    Args:
        files: at least one, oldest first.
        contract: the canonical contract of the table.
        name: what the messages call the whole, such as the folder's name.
        exported: when the rows of each file were exported; properties count from then on.
    """
    if len(files) == 1:
        return files[0]
    frames = [file.with_rows().with_columns(pl.lit(at).alias(_FILE)) for at, file in enumerate(files)]
    stacked = pl.concat(frames, how="vertical_relaxed")
    if _RECORDED_AT in contract.key:
        stacked = _with_versions(stacked, contract=contract, exported=exported)
    stacked = stacked.sort(*contract.key, _FILE)
    kept = stacked.unique(contract.key, keep="last", maintain_order=True).sort(contract.key)
    repeated = sum(file.frame.height for file in files) - kept.height
    removed = pl.concat([file.dropped_keys for file in files]).unique().sort()
    if "lead_id" in kept.columns:  # a lead that one file lost to a rule may stand in another
        removed = removed.filter(~removed.is_in(kept["lead_id"].implode()))
    frame = kept.select(contract.names)
    return Ingested(
        frame=frame,
        profile=_profile(files, frame, name=name, repeated=repeated),
        source_rows=kept["source_row"],
        dropped_keys=removed,
    )


def _with_versions(rows: pl.DataFrame, *, contract: TableContract, exported: Sequence[datetime]) -> pl.DataFrame:
    """Properties with the moment from which each is known, where its file does not say.

    What the first file with an ad (or ad set) says of it holds always, as in a single file; what later files say is
    known from their export on, or a lead would see properties that nobody knew yet. A file that repeats what was known
    adds no row.
    """
    owner, value = contract.key[0], contract.names[1]
    moments = pl.DataFrame({_FILE: range(len(exported)), "exported": exported}, schema_overrides={"exported": UTC_TIME})
    silent = pl.col(_RECORDED_AT).is_null() & (pl.col(_FILE) > pl.col(_FILE).min().over(owner))
    known = pl.when(silent).then("exported").otherwise(_RECORDED_AT).alias(_RECORDED_AT)
    rows = (
        rows.join(moments.with_columns(pl.col(_FILE).cast(rows.schema[_FILE])), on=_FILE, how="left", validate="m:1")
        .with_columns(known, silent.alias("silent"))
        .sort(*contract.key, _FILE)
        .unique(contract.key, keep="last", maintain_order=True)
    )
    before = pl.col(value).shift(1).over(owner, "valid_from")
    first = pl.int_range(pl.len()).over(owner, "valid_from") == 0
    repeated = pl.col("silent") & ~first & pl.col(value).eq_missing(before)
    return rows.filter(~repeated).drop("exported", "silent")


def _profile(files: Sequence[Ingested], frame: pl.DataFrame, *, name: str, repeated: int) -> TableProfile:
    profiles = [file.profile for file in files]
    digest = hashlib.sha256("".join(profile.sha256 for profile in profiles).encode()).hexdigest()
    first = [profile.first_day for profile in profiles if profile.first_day]
    last = [profile.last_day for profile in profiles if profile.last_day]
    shapes: dict[str, str] = {}
    for profile in profiles:
        shapes.update({column: shape for column, shape in profile.time_shapes.items() if shape != "none"})
    return replace(
        profiles[-1],
        file=f"{name} ({len(files)} files)",
        sha256=digest,
        rows_read=sum(profile.rows_read for profile in profiles),
        rows=frame.height,
        columns=column_profiles(frame),
        first_day=min(first, default=None),
        last_day=max(last, default=None),
        dropped_columns=tuple(dict.fromkeys(column for p in profiles for column in p.dropped_columns)),
        dropped_rows=_added([profile.dropped_rows for profile in profiles]),
        notes=_added([*(profile.notes for profile in profiles), {REPEATED: repeated} if repeated else {}]),
        time_shapes={**profiles[-1].time_shapes, **shapes},
        columns_in_file=tuple(dict.fromkeys(column for p in profiles for column in p.columns_in_file)),
        left_out=next((p.left_out for p in profiles if p.left_out), ()),
        personal=newest_of(one for file in files if file.frame.height for one in file.profile.personal),
    )


def _added(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(sorted(total.items()))
