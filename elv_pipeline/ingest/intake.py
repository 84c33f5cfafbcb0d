"""Parsed exports, kept by content: no file is parsed twice, so a day costs what is new and not what is old.

Belongs here: which files an export path stands for, which of them were parsed before, and their parsed rows. Does not
belong here: parsing and rules (``tables``, ``enrichment``), or which rows enter the lake (the raw assets).

The kept files are a cache: deleting them costs time, and the memory of when files without a date in their name came to
hand. They hold canonical columns, never the columns that the contracts leave out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import polars as pl
from pydantic import TypeAdapter

from elv_pipeline.contracts.spec import UTC_TIME, TableContract
from elv_pipeline.forgotten import LEAD, Forgotten
from elv_pipeline.home import write_atomically
from elv_pipeline.ingest.combined import combined
from elv_pipeline.ingest.coverage import Span
from elv_pipeline.ingest.extracts.standing import standing_of
from elv_pipeline.ingest.ingested import Ingested, TableProfile
from elv_pipeline.ingest.locations import ExportFile, locate
from elv_pipeline.ingest.source_file import SOURCE_ROW
from elv_pipeline.privacy import hasher_of
from elv_pipeline.settings import PipelineConfig

Reader = Callable[[Path | str, PipelineConfig], Ingested]
_PROFILE = TypeAdapter(TableProfile)
FORGOTTEN = "forgotten"
"""Counts rows of leads that were erased."""


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """One parsed file of an export.

    Attributes:
        file: name used in messages.
        sha256: digest of the file's bytes.
        recorded_time: when its figures were exported: from the file's name, else when it was first seen here.
        first_seen: when this content came to hand.
        profile: facts about the file.
        rows: Parquet file of the canonical columns and ``source_row``.
        dropped: ids that rules removed.
        newest_moment: newest creation or recording of its rows; of a snapshot the moment up to which it knows, if that
            is later.
        loads: of delivery, for each ``recorded_time`` that rows carry (None: they carry none) their first and last
            day. Kept, so that nobody has to look into old files for it.
        covered: of a snapshot, first and last of the days that lie wholly in its window, with rows or without.
        query: of a snapshot, digest of its query.
    """

    file: str
    sha256: str
    recorded_time: datetime
    first_seen: datetime
    profile: TableProfile
    rows: Path
    dropped: tuple[str, ...]
    newest_moment: datetime | None
    loads: tuple[tuple[datetime | None, date, date], ...]
    covered: Span | None = None
    query: str | None = None

    @property
    def span(self) -> Span | None:
        """First and last day of the rows; None where there is no dated row."""
        first, last = self.profile.first_day, self.profile.last_day
        return (first, last) if first and last else None

    @property
    def spoken_for(self) -> Span | None:
        """First and last day that the file speaks for, if only by having no row of them; None: for none.

        Of a snapshot these are the days of its window, and the day that the window ends in, where it has rows of it.
        The day that a window cuts at its start is not among them: a part must not replace the whole.
        """
        if self.covered is None or self.span is None:
            return self.covered or self.span
        return self.covered[0], max(self.covered[1], self.span[1])

    def overlaps(self, first: date, last: date) -> bool:
        """Whether the file holds rows of days between ``first`` and ``last``, or speaks for any of them."""
        spans = [span for span in (self.span, self.covered) if span]
        return any(own_first <= last and first <= own_last for own_first, own_last in spans)

    def scan(self, *, span: Span | None = None, without: Sequence[Span] = ()) -> pl.LazyFrame:
        """Its rows, or those of the days of ``span``; those of the days ``without`` are left out."""
        rows = pl.scan_parquet(self.rows)
        if span is not None:
            rows = rows.filter(pl.col("day").is_between(*span))
        for days in without:
            rows = rows.filter(~pl.col("day").is_between(*days))
        return rows

    def ingested(self, span: Span | None = None, *, without: Sequence[Span] = ()) -> Ingested:
        """The file as its reader returned it, or the rows that ``scan`` gives."""
        frame = self.scan(span=span, without=without).collect()
        return Ingested(
            frame=frame.drop(SOURCE_ROW),
            profile=self.profile,
            source_rows=frame[SOURCE_ROW],
            dropped_keys=pl.Series("lead_id", self.dropped, dtype=pl.String),
        )


def combined_of(
    arrivals: Sequence[Arrival], *, contract: TableContract, name: str, span: Span | None = None
) -> Ingested:
    """Some files of an export, oldest first, as one table; of the days of ``span`` only, where it is given."""
    standing = standing_of(arrivals, span=span)
    files = [arrival.ingested(span, without=without) for arrival, without in standing]
    return combined(files, contract=contract, name=name, exported=[arrival.recorded_time for arrival, _ in standing])


@dataclass(frozen=True)
class Intake:
    """The parsed exports of one configuration under ``<root>/<table>/``; leads that were erased do not come back."""

    root: Path
    config: PipelineConfig
    forgotten: Forgotten = field(default_factory=Forgotten)

    def arrivals(self, table: str, path: str, *, reader: Reader) -> list[Arrival]:
        """Every file of an export, parsed now or before, oldest first; files that are gone are forgotten.

        Raises:
            ContractError: nothing is there, or a file breaks its contract; files parsed before it are kept.
        """
        folder, recipe = self.root / table, _recipe(self.config, table)
        known = _read_index(folder)
        current: dict[str, dict[str, Any]] = {}
        files = locate(path, table=table)
        complete = False
        try:
            for file in files:
                entry = known.get(file.location)
                unchanged = entry is not None and entry["seen"] == file.version and entry["recipe"] == recipe
                if entry is None or not unchanged or not (folder / entry["rows"]).is_file():
                    entry = self._parse(file, folder=folder, recipe=recipe, reader=reader)
                    entry["first_seen"] = _first_seen(file, entry, known=known, files=files)
                current[file.location] = entry
            complete = True
        finally:  # a broken file must not cost the parsing of those before it
            if known or current:
                kept = current if complete else {**known, **current}
                write_atomically(folder / "index.json", json.dumps(kept, indent=1, sort_keys=True))
        _forget(folder, known, current)
        zone = self.config.zone
        found = [_arrival(folder, file, current[file.location], zone=zone) for file in files]
        return sorted(found, key=lambda arrival: (arrival.recorded_time, arrival.file))

    def table(self, table: str, path: str, *, reader: Reader, contract: TableContract) -> Ingested:
        """All files of an export as one table."""
        found = self.arrivals(table, path, reader=reader)
        whole = combined_of(found, contract=contract, name=Path(path).name or path)
        extracted = [arrival for arrival in found if arrival.query is not None]
        if not extracted:
            return whole
        days = [arrival.spoken_for[1] for arrival in found if arrival.spoken_for]
        known = max(arrival.newest_moment for arrival in extracted if arrival.newest_moment)
        return replace(whole, profile=replace(whole.profile, last_day=max(days, default=None), known_until=known))

    def readers(self, readers: Mapping[str, Reader], contracts: Mapping[str, TableContract]) -> dict[str, Reader]:
        """The same readers, answering from what is kept."""

        def reading(table: str) -> Reader:
            return lambda path, _: self.table(table, str(path), reader=readers[table], contract=contracts[table])

        return {table: reading(table) for table in readers}

    def _parse(self, file: ExportFile, *, folder: Path, recipe: str, reader: Reader) -> dict[str, Any]:
        with file.local() as path:
            ingested = _without(self.forgotten, reader(path, self.config))
        name = f"{ingested.profile.sha256[:24]}-{recipe[:8]}"
        rows = folder / f"{name}.parquet"
        folder.mkdir(parents=True, exist_ok=True)
        if not rows.is_file():
            # A name of its own: a scheduled run and a command may parse the same new file at the same time.
            staged = folder / f".{uuid4().hex[:12]}.staged"
            try:
                ingested.with_rows().write_parquet(staged)
                staged.replace(rows)
            finally:
                staged.unlink(missing_ok=True)
        return {
            "file": file.name,
            "seen": file.version,
            "recipe": recipe,
            "rows": rows.name,
            "profile": _PROFILE.dump_python(ingested.profile, mode="json"),
            "dropped": ingested.dropped_keys.to_list(),
            "newest_moment": _newest_moment(ingested.frame),
            "loads": _loads(ingested.frame),
        }


def _without(forgotten: Forgotten, ingested: Ingested) -> Ingested:
    """An export without erased leads, of which nothing is told either: no row, no id among those left out."""
    if not forgotten.tombstones or LEAD not in ingested.frame.columns:
        return ingested
    kept = ~forgotten.holds(ingested.frame[LEAD])
    frame = ingested.frame.filter(kept)
    profile = ingested.profile
    told = [left.ids.removeprefix(f"{LEAD} ").strip("'") for left in profile.left_out]
    erased = forgotten.holds(pl.Series(LEAD, told, dtype=pl.String)).to_list()
    left_out = tuple(left for left, gone in zip(profile.left_out, erased, strict=True) if not gone)
    count = ingested.frame.height - frame.height
    dropped = {**profile.dropped_rows, **({FORGOTTEN: count} if count else {})}
    return Ingested(
        frame=frame,
        profile=replace(profile, rows=frame.height, dropped_rows=dropped, left_out=left_out),
        source_rows=ingested.source_rows.filter(kept),
        dropped_keys=ingested.dropped_keys.filter(~forgotten.holds(ingested.dropped_keys)),
    )


def _arrival(folder: Path, file: ExportFile, entry: Mapping[str, Any], *, zone: ZoneInfo) -> Arrival:
    profile = _PROFILE.validate_python(entry["profile"])
    first_seen = datetime.fromisoformat(entry["first_seen"])
    newest = datetime.fromisoformat(entry["newest_moment"]) if entry["newest_moment"] else None
    snapshot = file.snapshot
    known = [moment for moment in (newest, snapshot.known_until if snapshot else None) if moment]
    return Arrival(
        file=file.name,
        sha256=profile.sha256,
        recorded_time=file.recorded_time(zone) or first_seen,
        first_seen=first_seen,
        profile=profile,
        rows=folder / entry["rows"],
        dropped=tuple(entry["dropped"]),
        newest_moment=max(known, default=None),
        loads=tuple(
            (datetime.fromisoformat(at) if at else None, date.fromisoformat(first), date.fromisoformat(last))
            for at, first, last in entry["loads"]
        ),
        covered=snapshot.covered_days(zone) if snapshot else None,
        query=snapshot.query_sha256 if snapshot else None,
    )


def _loads(frame: pl.DataFrame) -> list[tuple[str | None, str, str]]:
    if "spend_micros" not in frame.columns:
        return []
    recorded = pl.col("recorded_time") if "recorded_time" in frame.columns else pl.lit(None, UTC_TIME)
    spans = frame.group_by(recorded.alias("at")).agg(first=pl.col("day").min(), last=pl.col("day").max()).sort("at")
    return [(at.isoformat() if at else None, str(first), str(last)) for at, first, last in spans.iter_rows()]


def _newest_moment(frame: pl.DataFrame) -> str | None:
    for column in ("created_time", "recorded_time"):
        if column in frame.columns and isinstance(found := frame[column].max(), datetime):
            return found.isoformat()
    return None


def _read_index(folder: Path) -> dict[str, dict[str, Any]]:
    index = folder / "index.json"
    return dict(json.loads(index.read_text(encoding="utf-8"))) if index.is_file() else {}


def _first_seen(
    file: ExportFile, entry: Mapping[str, Any], *, known: Mapping[str, Mapping[str, Any]], files: Sequence[ExportFile]
) -> str:
    """When this content came to hand: now, unless it was parsed before, here or at a place where it no longer is.

    Files without a date in their name are ordered by it. Were it the moment of parsing, a file that was copied anew, a
    changed rule or another version of this program would let old rows override their correction.
    """

    def content(of: Mapping[str, Any]) -> str:
        return str(of["profile"]["sha256"])

    there = {each.location for each in files}
    before = [known[file.location]] if file.location in known else []
    moved = [each for location, each in known.items() if location not in there]
    found = [str(each["first_seen"]) for each in (*before, *moved) if content(each) == content(entry)]
    return min(found, default=datetime.now(UTC).isoformat())


def _forget(folder: Path, known: Mapping[str, Mapping[str, Any]], current: Mapping[str, Mapping[str, Any]]) -> None:
    """Remove rows that the index no longer names; what another run parses at this moment was never in it."""
    for name in {entry["rows"] for entry in known.values()} - {entry["rows"] for entry in current.values()}:
        (folder / name).unlink(missing_ok=True)


def _recipe(config: PipelineConfig, table: str) -> str:
    """Digest of everything besides the file that decides what its parsed rows are."""
    hasher = hasher_of(config)
    parts = {
        "hashed": [hasher.fingerprint, *sorted(hasher.columns)] if hasher else [],
        "rules": getattr(config.contracts, table).model_dump(mode="json"),
        "connector": config.connector_of(table),
        "timezone": config.timezone,
        "currency": config.currency,
        "start_date": str(config.start_date),
        "mapped": config.paths.lead_to_ad_map_path is not None,
        "code": _code(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@cache
def _code() -> str:
    """Digest of the parsing code itself: rows parsed by an earlier version are parsed again."""
    package = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for part in ("contracts", "ingest"):
        for file in sorted((package / part).rglob("*.py")):
            digest.update(file.read_bytes())
    digest.update((package / "privacy.py").read_bytes())
    return digest.hexdigest()
