"""What writing scores costs: the staged upsert next to a plain ``executemany`` upsert, on SQLite and PostgreSQL.

Belongs here: rows as a run writes them, both ways of writing, and the figures. Does not belong here: a verdict;
``elv_pipeline_tests`` holds what must stay true.

Run: ``python benchmarks/persist.py [--rows 1000000] [--plain-rows 200000] [--databases sqlite postgresql]
[--without-reasons]``
PostgreSQL is the server that ELV_TEST_POSTGRES_URL names, else one from a wheel with its own defaults (128 MB of shared
buffers). Every column is filled, with three sentences a lead: about 900 bytes with its history. Ours writes the table,
its history and the ledger, checks every row and skips what is unchanged; the plain upsert is SQLAlchemy's
``INSERT ... ON CONFLICT DO UPDATE`` for a list of dictionaries, into the table alone. It gets fewer rows, in the same
run, since nobody wants to wait for it; rates are compared. Both are of wall seconds from a frame to a finished commit.
The floor is what the database alone takes for the same rows in the same empty tables with their keys, up to the
commit: on PostgreSQL two COPYs of bytes that are ready, in order, into history and table; on SQLite two INSERTs from a
table in memory. Nothing is checked, sorted, hashed, built, loaded or compared in it.
Figures go to ``<home>/bench/results.jsonl``.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sqlalchemy import Column, Engine, MetaData, Table, insert, literal, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateTable

from benchmarks.results import append_result
from elv_pipeline.databases.connections import Connection, open_engine
from elv_pipeline.databases.scripts import migrate
from elv_pipeline.home import Home
from elv_pipeline.publishing.scores.binary_copy import copy_blocks
from elv_pipeline.publishing.scores.parts import Write, writes_of
from elv_pipeline.publishing.scores.rows import score_rows, storable
from elv_pipeline.publishing.scores.staging import begin_writing, make_stage, prepare_session
from elv_pipeline.publishing.scores.tables import COLUMNS, FACTS, KEY, LEAD_SCORE_HISTORY, LEAD_SCORES, VALUES, type_of
from elv_pipeline.publishing.scores.upsert import inserted_stage
from elv_pipeline.publishing.scores.writing import UpsertCounts, upsert_scores

CHUNK = 10_000
SENTENCES = (
    "raises: high click-through rate of the campaign over 7 days (2.8 %; usually 1.5 %)",
    "lowers: spend of the ad set was concentrated on few placements over 28 days (1.24; usually 1.39)",
    "raises: the campaign's leads qualified often over 90 days (12 %; usually 6 %)",
    "lowers: created at night (03:00)",
    "raises: weekday Tuesday",
    "lowers: few active days of the ad over 14 days (2; usually 11)",
)


def leads(count: int, *, seed: int = 1) -> pl.DataFrame:
    """Rows of ``dbo.lead_scores`` as a run writes them, in no order, with every column filled."""
    random = np.random.default_rng(seed)
    p = random.beta(2, 30, count)
    value = random.choice([90.0, 120.0, 180.0, 260.0], count)
    texts = pl.Series(SENTENCES)
    frame = pl.DataFrame(
        {
            "lead_id": pl.Series(random.permutation(count)).cast(pl.String).str.zfill(12),
            "created_time": pl.Series(1_740_000_000_000_000 + random.integers(0, 10**13, count)).cast(
                pl.Datetime("us", "UTC")
            ),
            "p": p,
            "value": value,
            "elv": p * value,
            "elv_low": p * value * 0.7,
            "elv_high": p * value * 1.4,
            "grade": random.choice(list("ABCD"), count),
            "percentile": np.round(random.random(count) * 100, 2),
            **{f"reason_{n}": texts.gather(random.integers(0, len(SENTENCES), count)) for n in (1, 2, 3)},
            "score_change": np.where(random.random(count) < 0.5, np.nan, random.normal(0, 2, count)),
        }
    )
    return score_rows(
        frame.with_columns(
            pl.col("score_change").fill_nan(None),
            split=pl.lit("score"),
            cutoff=pl.lit(datetime(2025, 6, 1, tzinfo=UTC)),
            calibration_method=pl.lit("beta"),
            model_version=pl.lit("12"),
            run_id=pl.lit("59736448-bd1f-4615-86dc-4bf5e8e775b3"),
        ),
        org_id="acme",
        label_column="qualified_within_14d",
        probability_column="p",
        written_at=datetime(2025, 6, 2, tzinfo=UTC),
        model_path="models/lead_ads/2025-06-02T00:00:00+00:00/model.joblib",
    )


def changed(rows: pl.DataFrame, *, every: int) -> pl.DataFrame:
    """The same rows with the score of every n-th halved."""
    chosen = pl.int_range(pl.len()) % every == 0
    return rows.with_columns(score=pl.when(chosen).then(pl.col("score") / 2).otherwise("score"))


def plain_upsert(engine: Engine, rows: pl.DataFrame, table: Table) -> None:
    """What one would write without thinking about it."""
    dialect = postgresql if engine.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(table)
    values = {name: statement.excluded[name] for name in COLUMNS if name not in KEY}
    statement = statement.on_conflict_do_update(index_elements=list(KEY), set_=values)
    with engine.begin() as session:
        for part in rows.iter_slices(CHUNK):
            session.execute(statement, part.to_dicts())


def seconds(work: Callable[[], Any]) -> float:
    """Wall seconds of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def staged_rates(engine: Engine, rows: pl.DataFrame) -> dict[str, float]:
    """Rows a second of the staged upsert, by what it finds; the counts are checked."""
    height, tenth = rows.height, len(range(0, rows.height, 10))
    rates = {}
    for name, given, expected in (
        ("into an empty table", rows, UpsertCounts(height, 0, 0)),
        ("unchanged rerun", rows, UpsertCounts(0, 0, height)),
        ("10 % changed", changed(rows, every=10), UpsertCounts(0, tenth, height - tenth)),
    ):
        started = time.perf_counter()
        counts = upsert_scores(engine, given)
        rates[name] = height / (time.perf_counter() - started)
        if counts != expected:
            raise RuntimeError(f"{name}: {counts.line()}; expected {expected.line()}")
    return rates


def floor_rate(engine: Engine, rows: pl.DataFrame) -> float:
    """Rows a second of the database's own work, on a database of its own; see the top of this file."""
    (write,) = writes_of(storable(rows))
    work = _floor_of_postgresql if engine.dialect.name == "postgresql" else _floor_of_sqlite
    with engine.connect() as session:
        migrate(session)
        return rows.height / work(session, write)


def _floor_of_postgresql(session: Any, write: Write) -> float:
    common = write.constants
    state = {name: common[name] for name in (*KEY, *VALUES) if name in common}
    scores = {**state, **{name: common[name] for name in FACTS}, "write_id": 1}
    blocks = []
    for table, same in ((LEAD_SCORE_HISTORY, {"write_id": 1, "change": "insert", **state}), (LEAD_SCORES, scores)):
        columns = ", ".join((*same, *write.rows.columns))
        stream = [bytes(block) for block in copy_blocks(write.rows, first=tuple(same.values()))]
        blocks.append((f"COPY {table.fullname} ({columns}) FROM STDIN (FORMAT BINARY)", stream))
    started = time.perf_counter()
    for statement, stream in blocks:
        with session.connection.driver_connection.cursor() as cursor, cursor.copy(statement) as sent:
            for block in stream:
                sent.write(block)
    session.commit()
    return time.perf_counter() - started


def _floor_of_sqlite(session: Any, write: Write) -> float:
    prepare_session(session)
    stage = make_stage(session, write)
    begin_writing(session)
    names = [*KEY, *VALUES]
    history = select(literal(1), literal("insert"), *(stage.of(name) for name in names)).select_from(stage.table)
    statements = (
        insert(LEAD_SCORE_HISTORY).from_select(["write_id", "change", *names], history, include_defaults=False),
        inserted_stage(stage, write_id=1),
    )
    started = time.perf_counter()
    for statement in statements:
        session.execute(statement)
    session.commit()
    return time.perf_counter() - started


def plain_rates(engine: Engine, rows: pl.DataFrame) -> dict[str, float]:
    """Rows a second of the plain upsert, by what it finds."""
    schema = None if engine.dialect.name == "sqlite" else "dbo"
    columns = (Column(name, type_of(name), primary_key=name in KEY) for name in COLUMNS)
    table = Table("plain_scores", MetaData(), *columns, schema=schema)
    with engine.begin() as session:
        session.exec_driver_sql(str(CreateTable(table).compile(dialect=engine.dialect)))
    return {
        name: rows.height / seconds(lambda given=given: plain_upsert(engine, given, table))  # type: ignore[misc]
        for name, given in (
            ("into an empty table", rows),
            ("unchanged rerun", rows),
            ("10 % changed", changed(rows, every=10)),
        )
    }


@contextmanager
def database(name: str) -> Iterator[Engine]:
    """An engine on an empty database."""
    if name == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            engine = open_engine(Connection.to_file(Path(folder) / "scores.db"), purpose="bench")
            yield engine
            engine.dispose()
        return
    from elv_pipeline_tests.databases.servers import PostgresDatabase, running_postgres

    with running_postgres() as server:
        given = PostgresDatabase(server, f"elv_bench_{os.getpid()}")
        server.run(f"CREATE DATABASE {given.name} TEMPLATE template0 ENCODING 'UTF8'")
        engine = open_engine(given.connection(), purpose="bench")
        try:
            yield engine
        finally:
            engine.dispose()
            given.drop()


def measure(name: str, *, rows: pl.DataFrame, plain_rows: int) -> dict[str, float]:
    """Figures of one database, by name."""
    with database(name) as engine:
        staged = staged_rates(engine, rows)
        plain = plain_rates(engine, rows.head(plain_rows))
    with database(name) as engine:
        floor = floor_rate(engine, rows)
    figures = {}
    for case, rate in staged.items():
        figures[f"{name} staged upsert, {case}, rows a second"] = rate
        figures[f"{name} plain executemany, {case}, rows a second"] = plain[case]
        figures[f"{name} {case}, staged over plain"] = rate / plain[case]
    figures[f"{name} floor, into an empty table, rows a second"] = floor
    figures[f"{name} into an empty table, staged over floor"] = staged["into an empty table"] / floor
    figures[f"{name} unchanged rerun over first write"] = staged["unchanged rerun"] / staged["into an empty table"]
    return figures


def main() -> None:
    """Measure each database once and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--plain-rows", type=int, default=200_000)
    parser.add_argument("--databases", nargs="+", choices=("sqlite", "postgresql"), default=["sqlite", "postgresql"])
    parser.add_argument("--without-reasons", action="store_true", help="rows of models that explain nothing")
    options = parser.parse_args()
    rows = leads(options.rows)
    if options.without_reasons:
        rows = rows.with_columns(pl.lit(None, pl.String).alias(f"reason_{n}") for n in (1, 2, 3))
    upsert_once_small(rows.head(1_000))
    print(f"{options.rows} rows of {rows.width} columns (plain: {options.plain_rows})")
    for name in options.databases:
        for figure, value in measure(name, rows=rows, plain_rows=options.plain_rows).items():
            unit = "rows/s" if figure.endswith("rows a second") else "times"
            print(f"  {figure:<62}{value:12,.1f} {unit}", flush=True)
            size = f"{options.rows} rows, plain {options.plain_rows}" + (", no reasons" * options.without_reasons)
            append_result(Home.from_environment().root, figure=figure, value=value, unit=unit, size=size)


def upsert_once_small(rows: pl.DataFrame) -> None:
    """Load what is imported late before anything is timed."""
    with database("sqlite") as engine:
        upsert_scores(engine, rows)


if __name__ == "__main__":
    main()
