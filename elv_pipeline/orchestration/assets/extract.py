"""The asset that reads databases: the configured queries become snapshots, which the raw tables read like files.

Belongs here: the asset function and the window of a run. Does not belong here: queries, batches or files (``ingest/``)
or connections (``databases/``).
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg

from elv_pipeline.databases.audit import AccessLog
from elv_pipeline.databases.connections import Connection, open_engine
from elv_pipeline.databases.statements import Statement
from elv_pipeline.errors import ConfigError
from elv_pipeline.forgotten import Forgotten, forgotten_file
from elv_pipeline.ingest.erased_people import ErasedPeople
from elv_pipeline.ingest.extracts.columns import contracts_of
from elv_pipeline.ingest.extracts.extract import Source, extract_all
from elv_pipeline.ingest.extracts.snapshots import Snapshot
from elv_pipeline.ingest.extracts.window import ExtractWindow
from elv_pipeline.ingest.stored_ids import hashing_mark, stored_ids
from elv_pipeline.orchestration.asset_parts import AssetParts, asset
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.partitions import PARTITION_TAG, RANGE_END_TAG
from elv_pipeline.orchestration.queries_read import covered_until, extracts_folder, note_covered
from elv_pipeline.orchestration.resources import narrated
from elv_pipeline.privacy import hasher_of, hashing_file, require_same_key


class ExtractConfig(dg.Config):
    """Which window is read.

    Attributes:
        since: first local day (ISO 8601); empty: ``days_back`` before ``until``. Days before it that were never read
            by the present queries are read, too.
        exactly: read from ``since`` on, whatever is missing before it.
        until: local day that is not reached any more; empty: the day after the run's last day, or today.
        days_back: length of the window; 0: ``extracts.days_back``.
        now: the present moment (ISO 8601); empty for the clock's. Only a rehearsal of past days gives one.
    """

    since: str = ""
    until: str = ""
    days_back: int = 0
    exactly: bool = False
    now: str = ""

    @property
    def moment(self) -> datetime:
        """The present moment, UTC."""
        return datetime.fromisoformat(self.now).astimezone(UTC) if self.now else datetime.now(UTC)


def extract_assets(deployment: Deployment, parts: AssetParts) -> list[dg.AssetsDefinition]:
    """The extracts of a configuration; none where every table comes from files."""
    queries = deployment.config.extracts.queries
    if not queries:
        return []

    @asset(
        **parts.common("extracts", group="raw", kinds={"sql", "parquet"}),
        description=f"What the queries deliver ({', '.join(sorted(queries))}), read in one transaction into immutable "
        "snapshots. Reads only: a login that can write is refused.",
    )
    def extracts(context: dg.AssetExecutionContext, config: ExtractConfig) -> dg.MaterializeResult:
        since, until = window_of(deployment, config, tags=context.run.tags)
        with narrated(context, f"reading {since} to {until} from {len(queries)} queries"):
            found = read_window(deployment, config, since=since, until=until)
            document = _document(found, since=since, until=until)
            note_covered(deployment, found)
            deployment.shared_lake.write_json("extracts", document)
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": sum(snapshot.manifest.rows for snapshot in found.values()),
                "since": str(since),
                "until": str(until),
                "queries": dg.MetadataValue.json(dict(sorted(queries.items()))),
                "tables": dg.MetadataValue.md(_table(document)),
            }
        )

    return [extracts]


def read_window(deployment: Deployment, config: ExtractConfig, *, since: date, until: date) -> dict[str, Snapshot]:
    """Read every query for the local days ``since <= day < until`` into snapshots; all of them appear, or none."""
    settings, name = deployment.config, deployment.config.shared_name
    if settings.databases.source is None:  # the configuration's own check makes this impossible
        raise ConfigError(f"{name}: extracts need databases.source")
    connection = Connection.of(settings.databases.source, name="databases.source", read_only=True)
    files = settings.extracts.queries
    folder = extracts_folder(deployment)
    has_data = folder.exists() or deployment.is_ingested()
    require_same_key(hashing_file(deployment.home, name), hasher_of(settings), name=name, has_data=has_data)
    engine = open_engine(connection, purpose=f"extract {name}")
    erased = ErasedPeople(Forgotten.load(forgotten_file(deployment.home, name)))
    try:
        dialect = engine.dialect.name
        statements = {table: Statement.read(Path(path), dialect=dialect) for table, path in files.items()}
        source = Source(
            engine=engine,
            contracts=contracts_of(settings.problem),
            audit=AccessLog(deployment.home.access_log),
            attempts=connection.attempts,
            batch_rows=settings.extracts.batch_rows,
            transform=lambda table, rows: erased.without(stored_ids(rows, settings, table=table)),
            marks=hashing_mark(settings),
        )
        window = ExtractWindow(
            since=deployment.midnight(since),
            until=deployment.midnight(until),
            recorded_at=config.moment,
            zone=settings.zone,
            naive_zones={
                table: ZoneInfo(zone)
                for table in files
                if (zone := getattr(settings.contracts, table).naive_timezone) is not None
            },
            begins=deployment.midnight(deployment.first_day) if settings.problem == "outreach" else None,
        )
        return extract_all(statements, source=source, window=window, folder=folder)
    finally:
        engine.dispose()


def window_of(deployment: Deployment, config: ExtractConfig, *, tags: Mapping[str, str]) -> tuple[date, date]:
    """The local days of a run: at least ``days_back``, and everything since what is known or the calendar's start."""
    last = tags.get(RANGE_END_TAG) or tags.get(PARTITION_TAG)
    today = config.moment.astimezone(deployment.config.zone).date()
    wanted = date.fromisoformat(config.until) if config.until else None
    until = wanted or (date.fromisoformat(last) + timedelta(days=1) if last else today)
    until = min(until, today)
    back = timedelta(days=config.days_back or deployment.config.extracts.days_back)
    asked = date.fromisoformat(config.since) if config.since else until - back
    since = asked if config.exactly else min(asked, covered_until(deployment))
    if deployment.config.problem == "outreach" and not config.exactly:
        # The cleaned tables are made of all snapshots that still have a say. Windows that begin together replace one
        # another: one a month remains, and not one a day, of which every run would have to open all.
        since = since.replace(day=1)
    return max(since, deployment.first_day), until


def _document(found: Mapping[str, Snapshot], *, since: date, until: date) -> dict[str, Any]:
    return {
        table: {
            "file": snapshot.manifest.file,
            "rows": snapshot.manifest.rows,
            "since": str(since),
            "until": str(until),
            "unchanged": snapshot.unchanged,
            "dropped_columns": list(snapshot.manifest.dropped_columns),
            "recorded_at": snapshot.manifest.recorded_at.isoformat(),
            "seconds": round(snapshot.manifest.seconds, 2),
        }
        for table, snapshot in sorted(found.items())
    }


def _table(document: Mapping[str, Mapping[str, Any]]) -> str:
    lines = ["| table | rows | columns left out | seconds | |", "|---|---|---|---|---|"]
    return "\n".join(
        [
            *lines,
            *(
                f"| {table} | {entry['rows']:,} | {', '.join(entry['dropped_columns']) or 'none'} | {entry['seconds']} "
                f"| {'as before' if entry['unchanged'] else 'new'} |"
                for table, entry in document.items()
            ),
        ]
    )
