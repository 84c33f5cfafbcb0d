"""Writes of new leads alone: sent without a stage, with the same result as through one."""

from __future__ import annotations

import subprocess
import sys
import traceback
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Engine, text

from elv_pipeline.databases.connections import open_engine
from elv_pipeline.errors import SourceError
from elv_pipeline.publishing.scores import filling, writing
from elv_pipeline.publishing.scores.parts import writes_of
from elv_pipeline.publishing.scores.rollback import rollback_run
from elv_pipeline.publishing.scores.rows import storable
from elv_pipeline.publishing.scores.writing import UpsertCounts, upsert_scores
from elv_pipeline_tests.databases.servers import PostgresDatabase
from elv_pipeline_tests.publishing.score_samples import (
    CREATED,
    ledger,
    predictions,
    rows_of,
    states,
    stored,
    told,
)

SCANS = (
    "SELECT pg_stat_get_xact_numscans('dbo.lead_scores'::regclass), "
    "pg_stat_get_xact_numscans('dbo.lead_scores_key'::regclass)"
)


@pytest.fixture
def server(postgres_database: PostgresDatabase) -> Iterator[Engine]:
    database = open_engine(postgres_database.connection(attempts=1), purpose="test")
    yield database
    database.dispose()


@pytest.fixture
def filled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Heights of the writes that went without a stage."""
    heights: list[int] = []
    apply = writing.apply_fill

    def noted(session: Any, write: Any, **given: Any) -> UpsertCounts:
        heights.append(write.height)
        return apply(session, write, **given)

    monkeypatch.setattr(writing, "apply_fill", noted)
    return heights


def everything(engine: Engine) -> tuple[Any, Any, Any]:
    without_moments = [{name: row[name] for name in row if not name.endswith("ed_at_utc")} for row in ledger(engine)]
    return stored(engine), [{**row, "written_at_utc": None} for row in states(engine)], without_moments


def some_rows(count: int = 60_000) -> pl.DataFrame:
    """More than one block, in no order, with empty values and columns that are the same throughout."""
    scores = {f"lead-{number:05d}": number / 70_000 for number in range(count)}
    return rows_of(told(predictions(scores))).sample(fraction=1, shuffle=True, seed=3)


def test_a_filled_table_is_the_one_that_a_stage_would_have_made(
    server: Engine, postgres_database: PostgresDatabase, filled: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = some_rows()
    assert upsert_scores(server, rows) == UpsertCounts(60_000, 0, 0)
    assert filled == [60_000]
    found = everything(server)
    for table in ("lead_scores", "lead_score_history", "score_runs"):
        postgres_database.run(f"TRUNCATE dbo.{table}")
    monkeypatch.setattr(writing, "can_fill", lambda *_given: False)
    assert upsert_scores(server, rows) == UpsertCounts(60_000, 0, 0)
    assert filled == [60_000]
    assert everything(server) == found
    assert upsert_scores(server, rows) == UpsertCounts(0, 0, 60_000)


def test_values_of_every_kind_that_are_the_same_throughout_arrive_exactly(server: Engine, filled: list[int]) -> None:
    odd = CREATED.replace(year=1999) + timedelta(microseconds=1)
    rows = rows_of(told(predictions({"a": 1 / 3, "b": 1 / 3}, created=odd))).with_columns(
        reason_1=pl.lit("Größe-東京-🙂"),
        elv_high=pl.lit(-0.0),
        score_change=pl.lit(2e-308),
        grade=pl.lit(None, pl.String),
    )
    assert upsert_scores(server, rows).inserted == 2
    assert filled == [2]
    kept = [{name: value for name, value in row.items() if name != "write_id"} for row in stored(server)]
    assert kept == rows.to_dicts()
    assert upsert_scores(server, rows).unchanged == 2


@pytest.mark.parametrize(
    ("leads", "without_a_stage"),
    [
        (("x", "y"), True),  # behind
        (("A", "B"), True),  # before, in the order of bytes
        (("ba", "bb"), True),  # between two
        (("a", "x"), False),  # around one
        (("b", "bb"), False),  # beginning with one
        (("ba", "c"), False),  # ending with one
    ],
)
def test_only_a_write_whose_leads_lie_apart_goes_without_a_stage(
    server: Engine, filled: list[int], leads: tuple[str, str], without_a_stage: bool
) -> None:
    upsert_scores(server, rows_of(predictions({"b": 0.1, "c": 0.2})))
    filled.clear()
    counts = upsert_scores(server, rows_of(predictions(dict.fromkeys(leads, 0.5), run_id="run-2")))
    assert filled == [2] * without_a_stage
    known = len({"b", "c"} & set(leads))
    assert counts == UpsertCounts(inserted=2 - known, updated=known, unchanged=0)


def test_another_organisation_does_not_stand_in_the_way_but_another_target_does(
    server: Engine, filled: list[int]
) -> None:
    rows = rows_of(predictions({"a": 0.1, "b": 0.2}))
    upsert_scores(server, rows)
    assert upsert_scores(server, rows.with_columns(org_id=pl.lit("other"))).inserted == 2
    assert filled == [2, 2]
    assert upsert_scores(server, rows.with_columns(label_col=pl.lit("qualified_within_30d"))).inserted == 2
    assert filled == [2, 2]


def test_two_writes_of_one_call_see_each_other(server: Engine, filled: list[int]) -> None:
    first, second = predictions({"a": 0.1, "c": 0.3}), predictions({"b": 0.2, "d": 0.4}, run_id="run-2")
    assert upsert_scores(server, pl.concat([rows_of(first), rows_of(second)])) == UpsertCounts(4, 0, 0)
    assert filled == [2]  # a lead of the first lies between those of the second
    assert [row["score"] for row in stored(server)] == [0.1, 0.2, 0.3, 0.4]


def test_a_writer_that_was_faster_is_compared_with(
    server: Engine, filled: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one commits after this one looked, and before it holds the lock."""
    rows, prepare = rows_of(predictions({"a": 0.1, "b": 0.2})), writing._stages
    other = rows_of(predictions({"a": 0.1, "b": 0.9}, run_id="run-0"))

    def late(session: Any, writes: Any) -> Any:
        stages = prepare(session, writes)
        monkeypatch.setattr(writing, "_stages", prepare)
        assert upsert_scores(server, other).inserted == 2
        return stages

    monkeypatch.setattr(writing, "_stages", late)
    assert upsert_scores(server, rows) == UpsertCounts(inserted=0, updated=1, unchanged=1)
    assert filled == [2]
    assert [row["score"] for row in stored(server)] == [0.1, 0.2]


def test_a_row_that_appears_in_spite_of_the_lock_ends_the_write_whole(
    server: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else's statement takes no lock of ours; the primary key stands."""
    lead = "-".join(("secret", "lead"))  # the traceback shows this file's lines
    upsert_scores(server, rows_of(predictions({lead: 0.1})))
    before = everything(server)
    monkeypatch.setattr(writing, "can_fill", lambda *_given: True)
    with pytest.raises(SourceError, match="a row with the same key exists already") as failed:
        upsert_scores(server, rows_of(predictions({lead: 0.5, "b": 0.6}, run_id="run-2")))
    assert lead not in "".join(traceback.format_exception(failed.value))
    assert everything(server) == before


def test_what_was_filled_is_rolled_back_like_anything_else(server: Engine) -> None:
    upsert_scores(server, rows_of(told(predictions({"a": 0.1, "b": 0.2}))))
    assert rollback_run(server, "run-1").removed == 2
    assert stored(server) == []
    assert [row["change"] for row in states(server)] == ["insert", "insert", "remove", "remove"]


def test_a_dry_run_on_a_database_without_tables_counts_and_makes_none(
    server: Engine, postgres_database: PostgresDatabase
) -> None:
    assert upsert_scores(server, rows_of(predictions({"a": 0.1})), dry_run=True) == UpsertCounts(1, 0, 0)
    assert postgres_database.run("SELECT to_regclass('dbo.lead_scores')") == [(None,)]


def test_the_first_write_of_a_process_does_not_wait_for_pandas() -> None:
    """Importing it takes a second: as long as a hundred thousand rows."""
    code = (
        "import sys, polars as pl; from elv_pipeline.publishing.scores.binary_copy import copy_blocks; "
        "list(copy_blocks(pl.DataFrame({'t': ['a', None], 'n': [1.5, None]}), first=('x', 1, None))); "
        "print('pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "False"


def test_databases_without_copy_are_staged(tmp_path: Any, filled: list[int]) -> None:
    from elv_pipeline.databases.connections import Connection

    engine = open_engine(Connection.to_file(tmp_path / "scores.db"), purpose="test")
    assert upsert_scores(engine, rows_of(predictions({"a": 0.1}))).inserted == 1
    assert filled == []
    engine.dispose()


def test_the_look_into_the_table_uses_its_key(server: Engine, postgres_database: PostgresDatabase) -> None:
    upsert_scores(server, some_rows(20_000))
    postgres_database.run("ANALYZE dbo.lead_scores")
    (write,) = writes_of(storable(rows_of(predictions({"zz": 0.5}))))
    with server.connect() as session:
        of_table, of_key = session.execute(text(SCANS)).one()
        assert filling.can_fill(session, write)
        assert session.execute(text(SCANS)).one() == (of_table, of_key + 1)


def test_a_server_that_dies_in_the_middle_of_a_copy_is_tried_again(
    server: Engine, postgres_database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    send, sent = filling.send_rows, []

    def cut_off(session: Any, table: str, rows: pl.DataFrame, **constants: Any) -> None:
        sent.append(table)
        if len(sent) == 2:
            pid = session.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
            postgres_database.run(f"SELECT pg_terminate_backend({pid}, 5000)")
        send(session, table, rows, **constants)

    monkeypatch.setattr(filling, "send_rows", cut_off)
    assert upsert_scores(server, rows_of(predictions({"a": 0.1, "b": 0.2})), attempts=2).inserted == 2
    assert sent == ["dbo.lead_score_history", "dbo.lead_scores"] * 2
    assert [row["change"] for row in states(server)] == ["insert", "insert"]
