"""Killed writers, writers at once, and a server that goes away: nothing is lost, nothing is half written."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from elv_pipeline.databases.connections import Connection, open_engine
from elv_pipeline.errors import SourceError
from elv_pipeline.publishing.scores import staging as score_staging
from elv_pipeline.publishing.scores.writing import UpsertCounts, upsert_scores
from elv_pipeline_tests.databases.servers import PostgresDatabase, PostgresServer, restart, running_postgres
from elv_pipeline_tests.publishing.score_samples import (
    connection_to,
    ledger,
    predictions,
    rows_of,
    states,
    stored,
    told,
)
from elv_pipeline_tests.publishing.score_victim import FILLED, PHASES, URL_VARIABLE

BEFORE = {"a": 0.1, "b": 0.2, "c": 0.3}
AFTER = {"a": 0.9, "b": 0.2, "d": 0.4, "e": 0.5}
NEW = {"x": 0.6, "y": 0.7}


def write(engine: Engine, scores: dict[str, float], run_id: str) -> UpsertCounts:
    return upsert_scores(engine, rows_of(told(predictions(scores, run_id=run_id))))


def everything(engine: Engine) -> tuple[Any, Any, Any]:
    return stored(engine), states(engine), ledger(engine)


def victim(address: str, phase: str, scores: dict[str, float] = AFTER) -> subprocess.CompletedProcess[str]:
    """A writer in a process of its own, killed at the phase."""
    command = [sys.executable, "-m", "elv_pipeline_tests.publishing.score_victim", phase, json.dumps(scores), "run-2"]
    return subprocess.run(
        command,
        env={**os.environ, URL_VARIABLE: address},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


QUICK = {("sqlite", "after the update"), ("postgresql", "before the commit")}


@pytest.mark.parametrize(
    ("database", "phase"),
    [
        pytest.param(database, phase, marks=() if (database, phase) in QUICK else pytest.mark.slow)
        for database in ("sqlite", "postgresql", "mssql")
        for phase in PHASES
    ],
)
def test_a_killed_writer_leaves_everything_as_it_was(
    database: str, phase: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    connection = connection_to(database, request, tmp_path)
    engine = open_engine(connection, purpose="test")
    write(engine, BEFORE, "run-1")
    before = everything(engine)
    killed = victim(connection.address().render_as_string(False), phase)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert everything(engine) == before
    assert write(engine, AFTER, "run-2") == UpsertCounts(inserted=2, updated=1, unchanged=1)
    engine.dispose()


@pytest.mark.parametrize("phase", [*FILLED, "before the commit"])
def test_a_writer_that_is_killed_while_it_fills_leaves_everything_as_it_was(
    phase: str, postgres_database: PostgresDatabase
) -> None:
    """The leads a, b and c lie outside the new ones, so nothing is compared and no stage is made."""
    connection = postgres_database.connection(attempts=3)
    engine = open_engine(connection, purpose="test")
    write(engine, BEFORE, "run-1")
    before = everything(engine)
    killed = victim(connection.address().render_as_string(False), phase, NEW)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert everything(engine) == before
    assert write(engine, NEW, "run-2") == UpsertCounts(inserted=2, updated=0, unchanged=0)
    engine.dispose()


def write_from_another_process(address: str, writer: int, start: Any) -> None:
    engine = open_engine(Connection(url=address, attempts=4), purpose="test")
    start.wait(120)
    for turn in range(5):
        own = {f"w{writer}-{turn}-{lead}": 0.5 for lead in range(20)}
        shared = {f"shared-{lead}": 0.001 * (10 * writer + turn) for lead in range(20)}
        write(engine, {**own, **shared}, f"run-{writer}-{turn}")
    engine.dispose()


@pytest.mark.slow
@pytest.mark.parametrize("database", ["sqlite", "postgresql", "mssql"])
def test_four_processes_writing_the_same_leads_at_once_lose_nothing(
    database: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """They begin on a database without tables, the worst moment: migrations and journal mode are set up then."""
    connection = connection_to(database, request, tmp_path)
    context = multiprocessing.get_context("spawn")  # a forked child could inherit locks of polars' threads
    start = context.Barrier(4)
    address = connection.address().render_as_string(False)
    writers = [context.Process(target=write_from_another_process, args=(address, n, start)) for n in range(4)]
    for process in writers:
        process.start()
    for process in writers:
        process.join(240)
    assert [process.exitcode for process in writers] == [0] * 4
    engine = open_engine(connection, purpose="test")
    found = {row["enrollment_id"]: row for row in stored(engine)}
    own = {f"w{n}-{turn}-{lead}" for n in range(4) for turn in range(5) for lead in range(20)}
    assert set(found) == own | {f"shared-{lead}" for lead in range(20)}
    # Whole writes stand one after the other: the shared leads are all of the run that came last.
    last = max(row["write_id"] for row in ledger(engine))
    newest = {row["enrollment_id"]: row for row in states(engine)}
    assert last == 20
    for lead, row in found.items():
        assert (row["write_id"], row["score"]) == (newest[lead]["write_id"], newest[lead]["score"])
    assert {found[f"shared-{lead}"]["write_id"] for lead in range(20)} == {last}
    engine.dispose()


@pytest.fixture(scope="module")
def own_server() -> Any:
    """A server that only these tests use, since they stop it."""
    with running_postgres() as server:
        if not server.restartable:
            pytest.skip("the server that ELV_TEST_POSTGRES_URL names is not the tests' to restart")
        yield server


@pytest.fixture
def own_database(own_server: PostgresServer) -> Any:
    database = PostgresDatabase(own_server, "elv_restart")
    own_server.run(f"CREATE DATABASE {database.name} TEMPLATE template0 ENCODING 'UTF8'")
    yield database
    database.drop()


def test_a_server_that_was_restarted_between_two_writes_is_written_to(own_database: PostgresDatabase) -> None:
    engine = open_engine(own_database.connection(attempts=3), purpose="test")
    write(engine, BEFORE, "run-1")
    restart(own_database.server)
    assert write(engine, AFTER, "run-2") == UpsertCounts(inserted=2, updated=1, unchanged=1)
    engine.dispose()


def test_a_server_that_restarts_in_the_middle_of_a_write_gets_it_whole(
    own_database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_engine(own_database.connection(), purpose="test")
    write(engine, BEFORE, "run-1")
    load, loads = score_staging._LOADERS["postgresql"], []

    def load_and_restart(session: Any, table: Any, rows: Any) -> None:
        load(session, table, rows)
        loads.append(rows.height)
        if len(loads) == 1:
            restart(own_database.server)

    monkeypatch.setitem(score_staging._LOADERS, "postgresql", load_and_restart)
    counts = upsert_scores(engine, rows_of(told(predictions(AFTER, run_id="run-2"))), attempts=3)
    assert (counts, len(loads)) == (UpsertCounts(inserted=2, updated=1, unchanged=1), 2)
    assert [row["run_id"] for row in ledger(engine)] == ["run-1", "run-2"]
    engine.dispose()


def test_a_server_that_stays_away_is_named_without_a_secret(own_database: PostgresDatabase) -> None:
    engine = open_engine(own_database.connection(), purpose="test")
    write(engine, BEFORE, "run-1")
    own_database.server.stop()
    try:
        with pytest.raises(SourceError, match=r"elv_restart as .*gave up after 1 attempt") as failed:
            upsert_scores(engine, rows_of(predictions({"secret-lead": 0.5})), attempts=1)
    finally:
        own_database.server.start()
    assert "secret-lead" not in str(failed.value)
    assert [row["enrollment_id"] for row in stored(engine)] == ["a", "b", "c"]
    engine.dispose()
