"""Several files of one table as one: a folder of daily exports reads like a single export.

Belongs here: which of several rows of one key stands, and the common profile. Does not belong here: finding and
parsing files (``intake``), or versions of restated metrics (``tables.restatements``).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import polars as pl

from elv_pipeline.contracts.spec import TableContract
from elv_pipeline.ingest.ingested import Ingested, TableProfile, column_profiles

REPEATED = "repeated_in_a_later_file"
_FILE = "file_position"


def combined(files: Sequence[Ingested], *, contract: TableContract, name: str) -> Ingested:
    """One table of all files; a key that appears in several keeps the row of the last file.

    Args:
        files: at least one, oldest first.
        contract: the canonical contract of the table.
        name: what the messages call the whole, such as the folder's name.
    """
    if len(files) == 1:
        return files[0]
    frames = [file.with_rows().with_columns(pl.lit(at).alias(_FILE)) for at, file in enumerate(files)]
    stacked = pl.concat(frames, how="vertical_relaxed").sort(*contract.key, _FILE)
    kept = stacked.unique(contract.key, keep="last", maintain_order=True).sort(contract.key)
    removed = pl.concat([file.dropped_keys for file in files]).unique().sort()
    if "lead_id" in kept.columns:  # a lead that one file lost to a rule may stand in another
        removed = removed.filter(~removed.is_in(kept["lead_id"].implode()))
    frame = kept.select(contract.names)
    return Ingested(
        frame=frame,
        profile=_profile(files, frame, name=name, repeated=stacked.height - kept.height),
        source_rows=kept["source_row"],
        dropped_keys=removed,
    )


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
    )


def _added(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(sorted(total.items()))
