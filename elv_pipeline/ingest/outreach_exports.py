"""The door of outreach: from the paths of a configuration to the source tables that the clean stage wants.

Belongs here: the types of each table, erased people, and what is told about each source. Does not belong here: finding
and opening files (``exports``), several files as one (``outreach_files``), texts of replies (``outreach_replies``), or
rules about rows (``outreach_cleaning``).

What is no value of its column at all (a word as a number, a time that could be read two ways) is refused here, with
file, row, value, rule and remedy. What is one and cannot be right is left to the clean stage, which counts it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from elv_pipeline.contracts.messages import ABOUT_PEOPLE
from elv_pipeline.contracts.spec import UTC_TIME, Column, TableContract
from elv_pipeline.errors import ConfigError
from elv_pipeline.forgotten import Forgotten, forgotten_file
from elv_pipeline.home import Home
from elv_pipeline.ingest.delivery import SHIFTED
from elv_pipeline.ingest.erased_people import ErasedPeople
from elv_pipeline.ingest.exports import open_file
from elv_pipeline.ingest.locations import ExportFile, is_url, locate
from elv_pipeline.ingest.outreach_files import OneTable, TypedFile, as_one, covered_days, recorded_span, still_needed
from elv_pipeline.ingest.outreach_replies import STORED
from elv_pipeline.ingest.outreach_rule_kinds import FIRST_PLAUSIBLE
from elv_pipeline.ingest.parsing.numbers import known_count_column, known_micros_column
from elv_pipeline.ingest.parsing.row_rules import SiftedRows
from elv_pipeline.ingest.parsing.timestamps import ParsedTimes
from elv_pipeline.ingest.parsing.typed_columns import contract_texts, times_of
from elv_pipeline.ingest.personal_values import PersonalValues, newest_of
from elv_pipeline.ingest.source_file import SourceFile
from elv_pipeline.privacy import hasher_of, hashing_file, require_same_key
from elv_pipeline.settings import PipelineConfig
from elv_pipeline.settings_exports import EXTRACTS, OutcomesRules

OPTIONAL = frozenset({"outcomes"})
MAY_HAVE_NO_ROWS = frozenset({"engagement_logs", "outcomes"})
"""Tables of which a header alone is valid: nothing may have happened yet."""
FORGOTTEN = "forgotten"
"""Counts rows about people who were erased."""
_DAY_OF: Mapping[str, str] = {
    "contacts": "recorded_time",
    "campaigns": "started_time",
    "campaign_steps": "recorded_time",
    "enrollments": "enrolled_time",
    "engagement_logs": "event_time",
    "outcomes": "outcome_time",
}
"""The time whose local days say which days a table is about."""
_ENDS_OF_DAYS = frozenset({"recorded_time", "withdrawn_time"})
"""Times at which something became known: a date alone means the end of that day, at its start it may not have been."""
_OF_LEADS = ("on_duplicate", "on_unknown_lead", "on_before_lead")


@dataclass(frozen=True, kw_only=True)
class SourceFacts:
    """What is told about one source; counts, names and digests, never a value.

    Attributes:
        table: the table.
        file: what messages call the file or files.
        files: how many files stand.
        sha256: digest of the file, or of the digests of all.
        rows: rows behind the door.
        newest_moment: newest of its times that lies not in the future, or the moment up to which an extract knows.
        first_day: first local day of its rows; None where they have no times.
        last_day: last local day of its rows, or that an extract covered.
        read_as: format of the file.
        dropped_columns: columns that the contract does not know, as they may be shown.
        notes: counts of what was changed or left out.
        personal: e-mail addresses and phone numbers that did not enter, and ids that are such.
        query: of an extract, digest of its newest query.
    """

    table: str
    file: str
    files: int
    sha256: str
    rows: int
    newest_moment: datetime | None
    first_day: date | None
    last_day: date | None
    read_as: str
    dropped_columns: tuple[str, ...]
    notes: Mapping[str, int]
    personal: tuple[PersonalValues, ...]
    query: str | None = None

    def document(self) -> dict[str, Any]:
        """The same as JSON, in the form of ``sources/<table>`` in the lake."""
        moment, days = self.newest_moment, (self.first_day, self.last_day)
        return {
            **asdict(self),
            "newest_moment": moment.isoformat() if moment else None,
            **{name: str(day) if day else None for name, day in zip(("first_day", "last_day"), days, strict=True)},
            "dropped_columns": list(self.dropped_columns),
            "notes": dict(self.notes),
            "personal": [asdict(one) for one in self.personal],
        }


@dataclass(frozen=True, kw_only=True)
class OutreachSources:
    """The source tables of outreach behind the door, as ``clean_outreach`` takes them.

    Attributes:
        tables: by name, in the types of ``outreach_replies.STORED``: columns of the documentation, of replies their
            properties. ``outcomes`` is absent where the configuration has none.
        files: what is told about the source of each.
        known_until: the moment up to which extracts know; None where every table comes from files, which do not say.
    """

    tables: Mapping[str, pl.DataFrame]
    files: Mapping[str, SourceFacts]
    known_until: datetime | None


def read_outreach(
    config: PipelineConfig, *, forgotten: Forgotten | None = None, home: Home | None = None
) -> OutreachSources:
    """Read every table of outreach that a configuration names. Nothing is written.

    Args:
        config: names the paths, and how each table is read.
        forgotten: people who were erased, whose rows do not come back; default: those of the home.
        home: knows the folders of tables that queries deliver, and refuses another key than its data were hashed with.

    Raises:
        ConfigError: a table has no path, or a setting that outreach does not know.
        ContractError: nothing readable is there, or a file breaks its contract: file, row, column, value, rule, remedy.
    """
    _require_rules_of_outreach(config)
    if home is not None:
        config = home.placed(config)
        if forgotten is None:
            forgotten = Forgotten.load(forgotten_file(home, config.shared_name))
        _require_same_key(home, config)
    found: dict[str, list[TypedFile]] = {}
    for table, contract in STORED.items():
        if table not in OPTIONAL or getattr(config.paths, f"{table}_path") is not None:
            found[table] = _files_of(config, table=table, contract=contract)
    joined = {table: as_one(files, table=table, zone=config.zone) for table, files in found.items()}
    tables = without_forgotten({table: one.frame for table, one in joined.items()}, forgotten or Forgotten())
    facts = {table: _facts(table, one, tables[table], config=config) for table, one in joined.items()}
    known = [file.known_until for files in found.values() for file in files if file.known_until]
    return OutreachSources(tables=tables, files=facts, known_until=max(known, default=None))


def without_forgotten(tables: Mapping[str, pl.DataFrame], forgotten: Forgotten) -> dict[str, pl.DataFrame]:
    """The tables without the rows of erased contacts and enrollments, and without all that refers to them.

    Args:
        tables: of outreach, by name; any may be absent.
        forgotten: ids of contacts or enrollments, as they are stored.
    """
    erased = ErasedPeople(forgotten)
    ordered = [name for name in STORED if name in tables]  # each after those that it refers to
    return {name: erased.without(tables[name]) for name in ordered}


def _require_rules_of_outreach(config: PipelineConfig) -> None:
    """Refuse settings that would have no effect: rows of outreach are judged by the clean stage."""
    rules, usual = config.contracts.outcomes, OutcomesRules()
    unused = [name for name in _OF_LEADS if getattr(rules, name) != getattr(usual, name)]
    if unused:
        raise ConfigError(
            f"contracts.outcomes.{unused[0]} is a rule of lead ads; problem: outreach does not know it. Remove it: the "
            f"clean stage drops and counts what cannot be right."
        )


def _require_same_key(home: Home, config: PipelineConfig) -> None:
    name = config.shared_name
    has_data = next(home.lake(name).rglob("*.parquet"), None) is not None
    require_same_key(hashing_file(home, name), hasher_of(config), name=name, has_data=has_data)


# ------------------------------------------------------------------------------------------------------------ one table


def _files_of(config: PipelineConfig, *, table: str, contract: TableContract) -> list[TypedFile]:
    """The files of a table that have a say, oldest first; those without a date in their name first, by their names."""
    path = config.paths.of(table)
    if path.startswith(EXTRACTS):
        raise ConfigError(f"{table} is delivered by a query; its snapshots lie in a home folder, which is not given.")
    files = locate(path, table=table)
    dated = [(file.recorded_time(config.zone), file) for file in files]
    dated.sort(key=lambda one: (one[0] or FIRST_PLAUSIBLE, one[1].name))
    snapshots = [file.snapshot for _, file in dated if file.snapshot]
    needed = iter(still_needed(snapshots, config=config))
    return [
        _typed_file(file, exported, config=config, contract=contract)
        for exported, file in dated
        if file.snapshot is None or next(needed)
    ]


def _typed_file(
    file: ExportFile, exported: datetime | None, *, config: PipelineConfig, contract: TableContract
) -> TypedFile:
    table, snapshot = contract.name, file.snapshot
    source = open_file(file, config=config, source=contract, allow_no_rows=table in MAY_HAVE_NO_ROWS)
    frame, notes = _typed(source, contract, config)
    return TypedFile(
        source=source,
        frame=frame,
        exported=exported,
        known_until=snapshot.known_until if snapshot else None,
        covered=covered_days(snapshot, config=config) if snapshot else None,
        query=snapshot.query_sha256 if snapshot else None,
        span=recorded_span(frame, table=table, zone=config.zone),
        notes={**source.notes, **notes},
    )


def _typed(source: SourceFile, contract: TableContract, config: PipelineConfig) -> tuple[pl.DataFrame, dict[str, int]]:
    """The rows of one file in the types of their contract, absent columns empty, and counts of moved times."""
    rules = getattr(config.contracts, contract.name)
    times = tuple(column.name for column in contract.columns if column.dtype == UTC_TIME)
    here = contract_texts(source, contract_names=contract.names, rules=rules, times=times)
    rows = SiftedRows(source.name, here)

    def read(column: str, *, end_of_day: bool) -> ParsedTimes:
        return times_of(rows, table=contract.name, column=column, rules=rules, config=config, end_of_day=end_of_day)

    parsed = {column: read(column, end_of_day=column in _ENDS_OF_DAYS) for column in times}
    moments = {column: found.moments for column, found in parsed.items()}
    happened = _DAY_OF[contract.name]
    if "recorded_time" in moments and happened != "recorded_time" and parsed[happened].shape == "date":
        # Of what happened on a day it is known at its end at the latest, and no row says that it was known before.
        known = read(happened, end_of_day=True).moments
        moments["recorded_time"] = pl.select(pl.coalesce(moments["recorded_time"], known)).to_series()
    columns = [
        moments[column.name].alias(column.name) if column.name in moments else _plain(source, here, column, contract)
        for column in contract.columns
    ]
    shifted = sum(found.shifted for found in parsed.values())
    return pl.DataFrame(columns), {SHIFTED: shifted} if shifted else {}


def _plain(source: SourceFile, frame: pl.DataFrame, column: Column, contract: TableContract) -> pl.Series:
    """One column of texts or numbers; what the door itself has written is exact."""
    values = frame[column.name]
    if values.dtype == column.dtype or column.name.startswith("reply_"):
        return values.cast(column.dtype)
    if column.dtype == pl.Int64:
        return known_count_column(frame, column=column.name, place=source.name)
    about_people = contract.name in ABOUT_PEOPLE
    known_micros_column(frame, column=column.name, place=source.name, about_people=about_people)  # refuses, if at all
    return values.cast(pl.Float64)


# ------------------------------------------------------------------------------------------------------- what is told


def _facts(table: str, one: OneTable, frame: pl.DataFrame, *, config: PipelineConfig) -> SourceFacts:
    now, files = datetime.now(UTC), one.files
    sources = [file.source for file in files]
    digests = [source.sha256 for source in sources]
    times = [name for name, dtype in frame.schema.items() if dtype == UTC_TIME]
    moments = [frame[name].filter(frame[name] <= now).max() for name in times] + [file.known_until for file in files]
    days = frame[_DAY_OF[table]]
    days = days.filter((days >= FIRST_PLAUSIBLE) & (days <= now)).dt.convert_time_zone(config.timezone).dt.date()
    last_days = [_day(days.max()), *(file.covered[1] for file in files if file.covered)]
    gone = one.frame.height - frame.height
    return SourceFacts(
        table=table,
        file=sources[0].name if len(sources) == 1 else f"{_last_part(config.paths.of(table))} ({len(sources)} files)",
        files=len(sources),
        sha256=digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest(),
        rows=frame.height,
        newest_moment=max((moment for moment in moments if isinstance(moment, datetime)), default=None),
        first_day=_day(days.min()),
        last_day=max((day for day in last_days if day), default=None),
        read_as=", ".join(sorted({source.connector for source in sources})),
        dropped_columns=tuple(dict.fromkeys(name for source in sources for name in source.dropped_columns)),
        notes=_added([*(file.notes for file in files), one.notes, {FORGOTTEN: gone} if gone else {}]),
        personal=newest_of(personal for source in sources for personal in source.personal),
        query=files[-1].query,
    )


def _added(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(sorted(total.items()))


def _day(found: object) -> date | None:
    return found if isinstance(found, date) else None


def _last_part(place: str) -> str:
    return place.rstrip("/").rsplit("/", 1)[-1] if is_url(place) else Path(place).name
