"""Extracts from a real PostgreSQL: types, one state for all tables, lost connections, and logins that can write."""

from __future__ import annotations

import dataclasses
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from elv_pipeline.databases.audit import AccessLog
from elv_pipeline.databases.connections import open_engine
from elv_pipeline.errors import ContractError, SourceError
from elv_pipeline.ingest.extracts import extract as extract_module
from elv_pipeline.ingest.extracts.extract import Source, extract, extract_all
from elv_pipeline.ingest.extracts.snapshots import snapshots_in
from elv_pipeline.ingest.tables import read_ads, read_lead_to_ad_map, read_leads, read_outcomes
from elv_pipeline_tests.databases.servers import PostgresDatabase, postgres_database, postgres_server
from elv_pipeline_tests.ingest.crm import TABLES, example, files, query, window
from elv_pipeline_tests.ingest.exports import make_config

__all__ = ["postgres_database", "postgres_server"]

IN_WINDOW = "created_at >= :since AND created_at < :until"
_SCHEMA = """
CREATE SCHEMA crm; CREATE SCHEMA marketing;
CREATE TABLE crm.leads (id uuid, created_at timestamptz, meta_ad_id bigint, meta_adset_id char(12),
    meta_campaign_id text, platform varchar(10), email text, is_test boolean NOT NULL DEFAULT false);
CREATE TABLE crm.lead_status_history (lead_id uuid, new_status text, changed_at timestamptz,
    inserted_at timestamptz, deal_value numeric(18, 4));
CREATE TABLE crm.lead_attribution (lead_id uuid, ad_id text, adset_id text, campaign_id text);
CREATE TABLE marketing.ad_daily_stats (stat_date date, campaign_id text, campaign_name text, adset_id text,
    adset_name text, ad_id bigint, ad_name text, impressions integer, link_clicks bigint, amount_spent numeric(18, 6));
INSERT INTO crm.leads SELECT lpad(to_hex(n), 32, '0')::uuid, '2025-03-01 10:00:00.123456+01'::timestamptz
    + n * interval '1 hour', 11, 'S', 'C', NULL, 'someone@example.org' FROM generate_series(1, 50) AS n;
INSERT INTO crm.lead_status_history VALUES ('00000000-0000-0000-0000-000000000001', 'qualified',
    '2025-03-02 09:00+01', '2025-03-03 08:00+01', 1234567890.1234);
INSERT INTO crm.lead_attribution SELECT id, '11', 'S', 'C' FROM crm.leads;
INSERT INTO marketing.ad_daily_stats VALUES
    ('2025-03-01', 'C', 'He said "now, or never"', 'S', E'two\nlines; 100% Müller', 11, '', 1000, 12, 10.250001),
    ('2025-03-05', 'C', NULL, 'S', '\\.', 11, 'Video', 5, 0, 0);
"""


@dataclasses.dataclass
class Crm:
    """The database with a login that reads, and what an extract of it needs."""

    database: PostgresDatabase
    folder: Path
    log: AccessLog
    reader: str
    waits: list[float]

    def source(self, **settings: Any) -> Source:
        connection = self.database.connection(self.reader, read_only=True)
        engine = open_engine(connection, purpose="extract")
        source = Source(engine=engine, audit=self.log, sleep=self.waits.append, random=lambda: 0.0)
        return dataclasses.replace(source, **settings)


@pytest.fixture
def crm(postgres_database: PostgresDatabase, tmp_path: Path) -> Crm:
    postgres_database.run(*(part for part in _SCHEMA.split(";\n") if part.strip()))
    reader = postgres_database.role("reader")
    for schema in ("crm", "marketing"):
        postgres_database.run(
            f"GRANT USAGE ON SCHEMA {schema} TO {reader}", f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {reader}"
        )
    return Crm(postgres_database, tmp_path / "extracts", AccessLog(tmp_path / "access.jsonl"), reader, [])


def all_of(crm: Crm, **settings: Any) -> dict[str, extract_module.Snapshot]:
    statements = {table: example(table, "postgresql") for table in TABLES}
    return extract_all(statements, source=crm.source(**settings), window=window(), folder=crm.folder)


def test_the_examples_deliver_what_ingestion_reads_exactly(crm: Crm, tmp_path: Path) -> None:
    found = all_of(crm, batch_rows=7)
    assert {snapshot.manifest.isolation for snapshot in found.values()} == {"repeatable read"}
    assert dict(found["leads"].manifest.columns) == {
        "lead_id": "String",
        "created_time": "Datetime(time_unit='us', time_zone='UTC')",
        "ad_id": "String",
        "adset_id": "String",
        "campaign_id": "String",
        "platform": "String",
    }
    assert (found["leads"].manifest.rows, found["leads"].manifest.batches) == (50, 8)
    config = make_config(tmp_path, timezone="Europe/Berlin")
    leads = read_leads(crm.folder / "leads", config).frame
    assert leads.row(0) == (
        "00000000-0000-0000-0000-000000000001",
        datetime(2025, 3, 1, 10, 0, 0, 123456, tzinfo=UTC),
        date(2025, 3, 1),
        "11",
        "S",
        "C",
        *[None] * 4,
    )
    outcomes = read_outcomes(crm.folder / "outcomes", config).frame
    assert outcomes.select("recorded_time", "value_micros").rows() == [
        (datetime(2025, 3, 3, 7, tzinfo=UTC), 1_234_567_890_123_400)
    ]
    ads = read_ads(crm.folder / "ads", config).frame
    assert ads.select("day", "campaign_name", "adset_name", "ad_name", "impressions", "spend_micros").rows() == [
        (date(2025, 3, 1), 'He said "now, or never"', "two\nlines; 100% Müller", None, 1000, 10_250_001),
        (date(2025, 3, 5), None, "\\.", "Video", 5, 0),
    ]
    assert read_lead_to_ad_map(crm.folder / "lead_to_ad_map", config).frame.height == 50


def test_the_same_twice_is_once_whatever_the_order_and_the_batches(crm: Crm) -> None:
    first = all_of(crm)
    # the same rows elsewhere in the table, so that a scan meets them in another order
    crm.database.run(
        "UPDATE crm.leads SET email = 'x' WHERE meta_ad_id = 11 AND id < '00000000-0000-0000-0000-000000000020'"
    )
    again = all_of(crm, batch_rows=3)
    assert all(snapshot.unchanged for snapshot in again.values())
    assert {t: s.path for t, s in again.items()} == {t: s.path for t, s in first.items()}


def test_an_empty_window_is_a_snapshot_with_the_same_types(crm: Crm) -> None:
    statement = example("leads", "postgresql")
    full = extract("leads", statement, source=crm.source(), window=window(), folder=crm.folder)
    quiet = window("2025-04-01", "2025-04-03", at="2025-04-03T06:00:00Z")
    empty = extract("leads", statement, source=crm.source(), window=quiet, folder=crm.folder)
    assert (empty.manifest.rows, empty.manifest.batches) == (0, 0)
    assert pl.read_parquet_schema(empty.path) == pl.read_parquet_schema(full.path)
    assert not empty.unchanged


def test_personal_columns_never_leave_the_database(crm: Crm, tmp_path: Path) -> None:
    statement = query(tmp_path, f"SELECT *, id AS lead_id, created_at AS created_time FROM crm.leads WHERE {IN_WINDOW}")
    snapshot = extract("leads", statement, source=crm.source(), window=window(), folder=crm.folder)
    assert pl.read_parquet(snapshot.path).columns == ["lead_id", "created_time", "platform"]
    assert "email" in snapshot.manifest.dropped_columns


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("decode('00ff', 'hex')", "type bytea"),
        ("'{}'::jsonb", "type jsonb"),
        ("ARRAY['a']", r"type text\[\]"),
    ],
)
def test_types_that_are_no_plain_values_are_refused(crm: Crm, tmp_path: Path, column: str, words: str) -> None:
    sql = f"SELECT id AS lead_id, created_at AS created_time, {column} AS platform FROM crm.leads"
    statement = query(tmp_path, f"{sql} WHERE {IN_WINDOW}")
    with pytest.raises(ContractError, match=rf"query\.sql: column 'platform' has {words}"):
        extract("leads", statement, source=crm.source(), window=window(), folder=crm.folder)


def test_a_time_outside_the_calendar_is_refused(crm: Crm, tmp_path: Path) -> None:
    sql = (
        "SELECT id AS lead_id, CASE WHEN id IS NULL THEN created_at ELSE 'infinity' END AS created_time FROM crm.leads"
    )
    statement = query(tmp_path, f"{sql} WHERE {IN_WINDOW}")
    with pytest.raises(ContractError, match="'created_time' holds a time that is none of the calendar"):
        extract("leads", statement, source=crm.source(), window=window(), folder=crm.folder)
    assert files(crm.folder) == []


def test_all_tables_show_one_state_of_the_database(crm: Crm, monkeypatch: pytest.MonkeyPatch) -> None:
    real = extract_module.answer_of

    def meanwhile(*arguments: Any, **keywords: Any) -> Any:
        answer = real(*arguments, **keywords)
        if keywords["contract"].name == "leads":  # a lead arrives and qualifies after the leads were read
            crm.database.run(
                "WITH late AS (INSERT INTO crm.leads (id, created_at) "
                "VALUES (gen_random_uuid(), '2025-03-02 08:00+01') RETURNING id) "
                "INSERT INTO crm.lead_status_history "
                "SELECT id, 'qualified', '2025-03-02 09:00+01', '2025-03-03 08:00+01', 1 FROM late"
            )
        return answer

    monkeypatch.setattr(extract_module, "answer_of", meanwhile)
    assert all_of(crm)["outcomes"].manifest.rows == 1
    monkeypatch.setattr(extract_module, "answer_of", real)
    assert all_of(crm)["outcomes"].manifest.rows == 2


def test_a_session_that_is_ended_in_the_middle_is_replaced(crm: Crm, monkeypatch: pytest.MonkeyPatch) -> None:
    # More than the buffers of both ends hold, so that the server is still sending when its session ends.
    crm.database.run(
        "INSERT INTO crm.leads SELECT lpad(to_hex(n), 32, '0')::uuid, '2025-03-02 10:00+01', 11, 'S', "
        "repeat('c', 200), 'fb' FROM generate_series(1000, 60999) AS n"
    )
    real, ended = extract_module.answer_of, []

    def ending(*arguments: Any, **keywords: Any) -> Any:
        answer = real(*arguments, **keywords)

        def frames() -> Any:
            for frame in answer.frames:
                yield frame
                if not ended:
                    ended.append(
                        crm.database.run(
                            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{crm.reader}'"
                        )
                    )

        return dataclasses.replace(answer, frames=frames())

    monkeypatch.setattr(extract_module, "answer_of", ending)
    source = crm.source(batch_rows=100)
    snapshot = extract("leads", example("leads", "postgresql"), source=source, window=window(), folder=crm.folder)
    assert ended == [[(True,)]]
    assert snapshot.manifest.rows == 60_050
    assert pl.read_parquet(snapshot.path)["lead_id"].n_unique() == 60_050
    assert len(crm.waits) == 1
    assert len(files(crm.folder)) == 2


def test_a_login_that_can_write_is_refused_and_a_failing_query_named(crm: Crm, tmp_path: Path) -> None:
    crm.database.run(f"GRANT INSERT ON crm.leads TO {crm.reader}")
    with pytest.raises(SourceError, match="INSERT"):
        all_of(crm)
    crm.database.run(f"REVOKE INSERT ON crm.leads FROM {crm.reader}")
    sql = (
        "SELECT id AS lead_id, nothing AS created_time FROM crm.leads WHERE created_at >= :since AND id::text < :until"
    )
    with pytest.raises(SourceError, match=r"query\.sql \(leads\): ") as refused:
        extract("leads", query(tmp_path, sql), source=crm.source(), window=window(), folder=crm.folder)
    assert "secret" not in str(refused.value)
    # Its fiftieth row divides by zero, when many were sent.
    late = "SELECT id AS lead_id, created_at AS created_time, (1 / (50 - row_number() OVER (ORDER BY id)))::text"
    late = f"{late} AS platform FROM crm.leads WHERE {IN_WINDOW}"
    with pytest.raises(SourceError, match=r"query\.sql \(leads\): "):
        extract("leads", query(tmp_path, late), source=crm.source(batch_rows=5), window=window(), folder=crm.folder)
    assert files(crm.folder) == []
    assert snapshots_in(crm.folder / "leads") == []
