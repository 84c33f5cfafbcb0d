"""What an extract costs, from the query to the finished snapshot, next to ``pandas.read_sql`` and ``to_parquet``.

Belongs here: the source tables, the two ways of reading, and the figures. Does not belong here: how processes are
measured (``results``).

Run: ``python benchmarks/extract.py [--rows 1000000] [--repetitions 3]``
Each reading is a fresh process, and the two take turns, so that a busy moment of the machine hits both alike. Pandas
reads in chunks of the same size and appends them to one Parquet file; it holds no contract, no digest and no manifest.
Memory is compared at a quarter of the rows, too: it must not grow with them. Figures go to
``<home>/bench/results.jsonl``. PostgreSQL is the one of ``ELV_TEST_POSTGRES_URL``, else one from the wheel.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.results import append_result, measured
from elv_pipeline.home import Home

COLUMNS = (
    "date",
    "campaign_id",
    "campaign_name",
    "adset_id",
    "adset_name",
    "ad_id",
    "ad_name",
    "impressions",
    "clicks",
    "spend",
)
BATCH_ROWS = 100_000
_URL = "ELV_BENCH_EXTRACT_URL"
_TABLE = "ad_daily_stats"
_QUERY = f"""SELECT {", ".join(COLUMNS)} FROM {_TABLE}
    WHERE date >= date(:since) AND date < date(:until) AND ad_number <= {{limit}}"""
_GENERATED = {
    "sqlite": f"""CREATE TABLE {_TABLE} AS
        WITH RECURSIVE n(g) AS (SELECT 1 UNION ALL SELECT g + 1 FROM n WHERE g < {{rows}})
        SELECT g AS ad_number, date('2023-01-01', (g % 730) || ' days') AS date,
        '12021200000000' || (g % 40) AS campaign_id,
        'Prospecting ' || (g % 40) || ' broad' AS campaign_name, '12021100000000' || (g % 300) AS adset_id,
        'Interest ' || (g % 300) || ' 25-44' AS adset_name, '1202100000' || (g / 365) AS ad_id,
        'Video ' || (g / 365) || ' v2' AS ad_name, g % 60000 AS impressions, g % 700 AS clicks,
        round((g % 9973) / 7.0, 2) AS spend FROM n""",
    "postgresql": f"""CREATE TABLE {_TABLE} AS SELECT g AS ad_number, date '2023-01-01' + g % 730 AS date,
        '12021200000000' || g % 40 AS campaign_id, 'Prospecting ' || g % 40 || ' broad' AS campaign_name,
        '12021100000000' || g % 300 AS adset_id, 'Interest ' || g % 300 || ' 25-44' AS adset_name,
        '1202100000' || g / 365 AS ad_id, 'Video ' || g / 365 || ' v2' AS ad_name, g % 60000 AS impressions,
        g % 700 AS clicks, round((g % 9973) / 7.0, 2) AS spend FROM generate_series(1, {{rows}}) AS g""",
}


def read_with_ours(url: str, *, rows: int, folder: Path) -> float:
    """``extract``, checks, digests and manifest included; seconds."""
    from elv_pipeline.databases.audit import AccessLog
    from elv_pipeline.databases.connections import Connection, open_engine
    from elv_pipeline.databases.statements import Statement
    from elv_pipeline.ingest.extracts.extract import ExtractWindow, Source, extract

    file = folder / "ads.sql"
    file.write_text(_QUERY.format(limit=rows), encoding="utf-8")
    engine = open_engine(Connection(url=url, read_only=True), purpose="benchmark")
    source = Source(engine=engine, audit=AccessLog(folder / "access.jsonl"), batch_rows=BATCH_ROWS)
    since, until = datetime(2023, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)
    window = ExtractWindow(since=since, until=until, recorded_at=until, zone=ZoneInfo("UTC"))
    started = time.perf_counter()
    snapshot = extract("ads", Statement.read(file), source=source, window=window, folder=folder / "extracts")
    seconds = time.perf_counter() - started
    if snapshot.manifest.rows != rows:
        raise RuntimeError(f"{snapshot.manifest.rows:,} rows were extracted, not {rows:,}")
    return seconds


def read_with_pandas(url: str, *, rows: int, folder: Path) -> float:
    """``pandas.read_sql`` in chunks, each appended to one Parquet file; seconds."""
    import pandas as pd
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]
    from sqlalchemy import create_engine, text

    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    window: dict[str, Any] = {"since": "2023-01-01", "until": "2025-01-01"}
    if engine.dialect.name == "postgresql":
        window = {name: datetime.fromisoformat(day).replace(tzinfo=UTC) for name, day in window.items()}
    started, found, writer = time.perf_counter(), 0, None
    with engine.connect().execution_options(stream_results=True) as connection:
        query = text(_QUERY.format(limit=rows))
        for chunk in pd.read_sql(query, connection, params=window, chunksize=BATCH_ROWS):
            table = pa.Table.from_pandas(chunk, preserve_index=False)
            writer = writer or pq.ParquetWriter(folder / "pandas.parquet", table.schema, compression="zstd")
            writer.write_table(table.cast(writer.schema))
            found += len(chunk)
    if writer is None or found != rows:
        raise RuntimeError(f"{found:,} rows were read, not {rows:,}")
    writer.close()
    return time.perf_counter() - started


READERS = {"elv_pipeline": read_with_ours, "pandas": read_with_pandas}


def read_once(reader: str, rows: int) -> dict[str, float]:
    """One reading in this process, from the database that the environment names; imports are not counted."""
    import pandas  # noqa: F401
    import pyarrow.parquet  # noqa: F401

    import elv_pipeline.ingest.extracts.extract  # noqa: F401

    with tempfile.TemporaryDirectory(prefix="elv-bench-") as folder:
        before = time.process_time()
        seconds = READERS[reader](os.environ[_URL], rows=rows, folder=Path(folder))
        return {"seconds": seconds, "cpu": time.process_time() - before}


@contextmanager
def sqlite_source(folder: Path, *, rows: int) -> Iterator[str]:
    """A file with the table; its address."""
    with sqlite3.connect(folder / "crm.db") as session:
        session.execute(_GENERATED["sqlite"].format(rows=rows))
    session.close()
    yield f"sqlite:///{folder / 'crm.db'}"


@contextmanager
def postgresql_source(folder: Path, *, rows: int) -> Iterator[str]:
    """A server with the table, and a login that can only read it; its address."""
    from elv_pipeline_tests.databases.servers import PostgresDatabase, running_postgres

    with running_postgres() as server:
        database = PostgresDatabase(server, f"elv_bench_{os.getpid()}")
        server.run(f"CREATE DATABASE {database.name}")
        try:
            database.run(_GENERATED["postgresql"].format(rows=rows), f"ANALYZE {_TABLE}")
            reader = database.role("reader")
            database.run(f"GRANT SELECT ON {_TABLE} TO {reader}")
            yield database.url_of(reader).set(drivername="postgresql").render_as_string(hide_password=False)
        finally:
            database.drop()


SOURCES = {"sqlite": sqlite_source, "postgresql": postgresql_source}


def compare(source: str, url: str, *, rows: int, repetitions: int, home: Path) -> None:
    """Let the two take turns and write down the medians."""
    os.environ[_URL] = url  # not an argument: it holds a password, and every user may read the arguments of a process
    found: dict[str, list[dict[str, Any]]] = {reader: [] for reader in READERS}
    for _ in range(repetitions):
        for reader, runs in found.items():
            cost = measured([sys.executable, __file__, "--read", reader, str(rows)])
            runs.append({**json.loads(cost.output), "peak": cost.peak_gb})
    small = measured([sys.executable, __file__, "--read", "elv_pipeline", str(rows // 4)]).peak_gb
    medians = {
        reader: {key: statistics.median(run[key] for run in runs) for key in runs[0]} for reader, runs in found.items()
    }
    print(f"\n{source}, {rows:,} rows x {len(COLUMNS)} columns; medians of {repetitions}")
    print(f"{'reader':<16}{'wall s':>9}{'CPU s':>9}{'peak GB':>9}")
    for reader, median in medians.items():
        print(f"{reader:<16}{median['seconds']:>9.2f}{median['cpu']:>9.2f}{median['peak']:>9.2f}")
    ours, pandas = medians["elv_pipeline"], medians["pandas"]
    figures = {
        f"extract_{source}_rows_per_second": (rows / ours["seconds"], "rows/s"),
        f"extract_{source}_rows_per_cpu_second": (rows / ours["cpu"], "rows/s"),
        f"extract_{source}_vs_pandas": (pandas["seconds"] / ours["seconds"], "x faster"),
        f"extract_{source}_peak_memory": (ours["peak"], "GB"),
        f"extract_{source}_memory_of_four_times_the_rows": (ours["peak"] / small, "x"),
    }
    for figure, (value, unit) in figures.items():
        print(f"{figure:<52}{value:>14,.2f} {unit}")
        append_result(home, figure=figure, value=value, unit=unit, size=f"{rows:,} rows")


def main() -> None:
    """Make the source tables, then measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--source", choices=tuple(SOURCES), action="append", help="default: all")
    parser.add_argument("--read", nargs=2, metavar=("READER", "ROWS"), help="read once in this process, print JSON")
    options = parser.parse_args()
    if options.read:
        print(json.dumps(read_once(options.read[0], int(options.read[1]))))
        return
    home = Home.from_environment().root
    for source in options.source or SOURCES:
        folder = Path(tempfile.mkdtemp(prefix="elv-bench-"))
        try:
            with SOURCES[source](folder, rows=options.rows) as url:
                compare(source, url, rows=options.rows, repetitions=options.repetitions, home=home)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
