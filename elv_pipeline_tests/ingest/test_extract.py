"""Queries become snapshots: all of a window or nothing, the same twice is once, and nothing that no contract knows."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from sqlalchemy.exc import OperationalError

from elv_pipeline.databases.connections import Connection, open_engine
from elv_pipeline.errors import ConfigError, ContractError, SourceError
from elv_pipeline.ingest.extracts import extract as extract_module
from elv_pipeline.ingest.extracts.extract import ExtractWindow, extract, extract_all
from elv_pipeline.ingest.extracts.snapshots import (
    manifest_of,
    manifest_path,
    purge_snapshots,
    remove_abandoned,
    snapshots_in,
)
from elv_pipeline.ingest.locations import locate
from elv_pipeline.ingest.stored_ids import hashing_mark, is_hashed_already, stored_ids
from elv_pipeline.ingest.tables import read_ads, read_leads, read_outcomes
from elv_pipeline_tests.ingest.crm import BERLIN, TABLES, Crm, example, files, query, window
from elv_pipeline_tests.ingest.exports import make_config


@pytest.fixture
def crm(tmp_path: Path) -> Crm:
    return Crm(tmp_path)


def all_of(crm: Crm, **settings: object) -> dict[str, extract_module.Snapshot]:
    statements = {table: example(table) for table in TABLES}
    return extract_all(statements, source=crm.source(**settings), window=window(), folder=crm.folder)


def test_a_snapshot_is_read_like_any_export(crm: Crm, tmp_path: Path) -> None:
    found = all_of(crm)
    config = make_config(tmp_path, timezone="Europe/Berlin", paths={"leads_path": "x", "lead_to_ad_map_path": "y"})
    leads = read_leads(crm.folder / "leads", config)
    assert leads.frame["lead_id"].to_list() == ["L1", "L2", "L3"]
    assert leads.frame["created_time"].to_list()[0] == datetime(2025, 3, 1, 8, tzinfo=UTC)
    outcomes = read_outcomes(crm.folder / "outcomes", config)
    assert outcomes.frame.select("lead_id", "value_micros", "recorded_time").rows() == [
        ("L1", 120_500_000, datetime(2025, 3, 3, 7, tzinfo=UTC))
    ]
    ads = read_ads(crm.folder / "ads", config)
    assert ads.frame.select("day", "ad_id", "spend_micros").rows() == [
        (date(2025, 3, 1), "11", 10_250_000),
        (date(2025, 3, 3), "12", 100_000),
    ]
    assert found["leads"].manifest.dropped_columns == ()
    assert {snapshot.manifest.isolation for snapshot in found.values()} == {"snapshot of one transaction"}


def test_the_manifest_says_what_the_file_is(crm: Crm) -> None:
    snapshot = extract("leads", example("leads"), source=crm.source(batch_rows=2), window=window(), folder=crm.folder)
    assert snapshot.path.name == "leads_20250306T060000Z.snapshot.parquet"
    document = json.loads(manifest_path(snapshot.path).read_text(encoding="utf-8"))
    assert {key: document[key] for key in ("table", "rows", "batches", "query", "dialect", "file")} == {
        "table": "leads",
        "rows": 3,
        "batches": 2,
        "query": "leads.sqlite.sql",
        "dialect": "sqlite",
        "file": snapshot.path.name,
    }
    assert document["query_sha256"] == example("leads").sha256
    assert document["since"] == "2025-02-28T23:00:00+00:00"
    assert [column["name"] for column in document["columns"]] == pl.read_parquet(snapshot.path).columns
    [file] = locate(str(crm.folder / "leads"))
    assert file.recorded_time(BERLIN) == datetime(2025, 3, 6, 6, tzinfo=UTC)
    assert file.snapshot == snapshot.manifest == manifest_of(snapshot.path)


def test_only_columns_of_the_contract_are_written_and_the_others_named(crm: Crm, tmp_path: Path) -> None:
    statement = query(
        tmp_path,
        "SELECT id AS LEAD_ID, email, created_at AS Created_Time, meta_ad_id AS ad_id FROM leads "
        "WHERE created_at >= :since OR created_at < :until",
    )
    snapshot = extract("leads", statement, source=crm.source(), window=window(), folder=crm.folder)
    assert pl.read_parquet(snapshot.path).columns == ["lead_id", "created_time", "ad_id"]
    assert snapshot.manifest.dropped_columns == ("email",)
    everything = b"".join(file.read_bytes() for file in crm.folder.rglob("*") if file.is_file())
    assert b"example.org" not in everything


def test_a_missing_column_and_one_that_comes_twice_are_refused(crm: Crm, tmp_path: Path) -> None:
    missing = query(tmp_path, "SELECT id AS lead_id FROM leads WHERE created_at >= :since AND created_at < :until")
    with pytest.raises(ContractError, match=r"query\.sql: required column 'created_time' is missing; found lead_id\."):
        extract("leads", missing, source=crm.source(), window=window(), folder=crm.folder)
    twice = query(
        tmp_path, "SELECT id AS lead_id, id AS Lead_Id, created_at AS created_time FROM leads WHERE :since < :until"
    )
    with pytest.raises(ContractError, match="'lead_id' appears twice"):
        extract("leads", twice, source=crm.source(), window=window(), folder=crm.folder)
    assert files(crm.folder) == []


def test_binary_values_and_rounded_ids_are_refused(crm: Crm, tmp_path: Path) -> None:
    for column, words in (("x'00ff'", "holds binary values"), ("1.5", "round long ids"), ("1.2e17", "round long ids")):
        statement = query(
            tmp_path, f"SELECT {column} AS lead_id, created_at AS created_time FROM leads WHERE :since < :until"
        )
        with pytest.raises(ContractError, match=words):
            extract("leads", statement, source=crm.source(), window=window(), folder=crm.folder)
    assert files(crm.folder) == []


def test_a_second_extract_of_the_same_writes_nothing(crm: Crm) -> None:
    first = all_of(crm)
    before = {name: (crm.folder / name).stat().st_mtime_ns for name in files(crm.folder)}
    crm.run("UPDATE leads SET email = 'changed'")  # no column of the contract
    again = extract_all(
        {table: example(table) for table in TABLES},
        source=crm.source(batch_rows=1),
        window=window(at="2025-03-07T06:00:00+00:00"),
        folder=crm.folder,
    )
    assert all(snapshot.unchanged for snapshot in again.values())
    assert {table: snapshot.path for table, snapshot in again.items()} == {t: s.path for t, s in first.items()}
    assert {name: (crm.folder / name).stat().st_mtime_ns for name in files(crm.folder)} == before


def test_what_changed_is_a_new_snapshot_and_the_old_one_stays(crm: Crm) -> None:
    first = all_of(crm)
    kept = first["outcomes"].path.read_bytes()
    crm.add(
        "lead_status_history", [("L2", "qualified", "2025-03-04T09:00:00+01:00", "2025-03-04T09:00:00+01:00", None)]
    )
    again = all_of(crm)
    assert {table for table, snapshot in again.items() if not snapshot.unchanged} == {"outcomes"}
    assert again["outcomes"].path.name == "outcomes_20250306T060000Z_002.snapshot.parquet"
    assert first["outcomes"].path.read_bytes() == kept
    assert [snapshot.manifest.rows for snapshot in snapshots_in(crm.folder / "outcomes")] == [1, 2]
    [_, second] = locate(str(crm.folder / "outcomes"))
    assert second.recorded_time(BERLIN) == datetime(2025, 3, 6, 6, tzinfo=UTC)


def test_an_older_snapshot_is_not_given_back_where_another_window_spoke_after_it(crm: Crm) -> None:
    statement, folder = example("leads"), crm.folder
    extract("leads", statement, source=crm.source(), window=window(), folder=folder)
    extract(
        "leads", statement, source=crm.source(), window=window("2025-03-02", at="2025-03-06T07:00:00Z"), folder=folder
    )
    third = window(at="2025-03-06T08:00:00Z")
    assert not extract("leads", statement, source=crm.source(), window=third, folder=folder).unchanged
    assert extract("leads", statement, source=crm.source(), window=third, folder=folder).unchanged


def test_a_window_that_was_not_over_is_read_again_when_it_is(crm: Crm) -> None:
    early = window(at="2025-03-05T06:00:00+00:00")
    first = extract("leads", example("leads"), source=crm.source(), window=early, folder=crm.folder)
    assert first.manifest.known_until == datetime(2025, 3, 5, 6, tzinfo=UTC)
    assert first.manifest.covered_days(BERLIN) == (date(2025, 3, 1), date(2025, 3, 4))
    later = extract("leads", example("leads"), source=crm.source(), window=window(), folder=crm.folder)
    assert not later.unchanged
    assert later.manifest.covered_days(BERLIN) == (date(2025, 3, 1), date(2025, 3, 5))


def test_the_window_is_half_open_in_local_time_and_delivery_goes_by_local_day(crm: Crm) -> None:
    crm.run("DELETE FROM leads")
    times = ("2025-03-01T22:59:59Z", "2025-03-01T23:00:00Z", "2025-03-02T22:59:59Z", "2025-03-02T23:00:00Z")
    crm.add("leads", [(f"L{n}", moment, "11", None, None, None, None, 0) for n, moment in enumerate(times)])
    one_day = window("2025-03-02", "2025-03-03")
    leads = extract("leads", example("leads"), source=crm.source(), window=one_day, folder=crm.folder)
    assert sorted(pl.read_parquet(leads.path)["lead_id"]) == ["L1", "L2"]
    for since, until, days in (
        ("2025-03-01", "2025-03-03", ["2025-03-01"]),
        ("2025-03-01", "2025-03-04", ["2025-03-01", "2025-03-03"]),
        ("2025-03-01T09:00", "2025-03-04T09:00", ["2025-03-03"]),
    ):
        ads = extract("ads", example("ads"), source=crm.source(), window=window(since, until), folder=crm.folder)
        assert sorted(pl.read_parquet(ads.path)["date"]) == days
    western = ExtractWindow(
        since=datetime(2025, 3, 1, 5, tzinfo=UTC),
        until=datetime(2025, 3, 2, 5, tzinfo=UTC),
        recorded_at=datetime(2025, 3, 6, tzinfo=UTC),
        zone=ZoneInfo("America/New_York"),
    )
    ads = extract("ads", example("ads"), source=crm.source(), window=western, folder=crm.folder)
    assert pl.read_parquet(ads.path)["date"].to_list() == ["2025-03-01"]
    narrow = window("2025-03-01T09:00", "2025-03-01T10:00")
    with pytest.raises(ConfigError, match="holds no whole day of Europe/Berlin"):
        extract("ads", example("ads"), source=crm.source(), window=narrow, folder=crm.folder)


def test_a_query_that_compares_another_clock_than_it_delivers_is_refused(crm: Crm, tmp_path: Path) -> None:
    crm.add("leads", [("EARLY", "2025-03-01T00:20:00", "11", None, None, "fb", None, 0)])  # local time, no offset
    crm.run("UPDATE leads SET created_at = substr(created_at, 1, 19)")
    local = query(
        tmp_path,
        "SELECT id AS lead_id, created_at AS created_time, meta_ad_id AS ad_id FROM leads "
        "WHERE datetime(created_at) >= datetime(:since) AND datetime(created_at) < datetime(:until)",
    )
    # The window begins at 23:00 UTC of the day before. Compared as UTC, the first hour of local time is cut off at one
    # end, and an hour of the next day comes in at the other.
    crm.add("leads", [("LATE", "2025-03-05T22:59:00", "11", None, None, "fb", None, 0)])
    inside = extract("leads", local, source=crm.source(), window=window(), folder=crm.folder)
    assert inside.manifest.rows == 6
    crm.add("leads", [("EVE", "2025-02-28T23:30:00", "11", None, None, "fb", None, 0)])
    with pytest.raises(ContractError, match=r"1 of 7 rows lie outside the window.*in another time zone.*AT TIME ZONE"):
        extract("leads", local, source=crm.source(), window=window(), folder=crm.folder)
    in_utc = replace(window(), naive_zones={"leads": ZoneInfo("UTC")})  # as the configuration may say
    assert extract("leads", local, source=crm.source(), window=in_utc, folder=crm.folder).manifest.rows == 7


def test_days_of_delivery_outside_the_window_are_refused(crm: Crm, tmp_path: Path) -> None:
    text = example("ads").path.read_text(encoding="utf-8")
    text = text.replace("date(s.stat_date) >= date(:since)", "date(:since) > ''")
    crm.add("ad_daily_stats", [("2025-02-27", "C", "Spring", "S", "Broad", 11, "Video", 10, 1, 1.0)])
    everything = query(tmp_path, text)
    with pytest.raises(ContractError, match=r"1 of 3 rows lie outside the window.*date reaches from 2025-02-27"):
        extract("ads", everything, source=crm.source(), window=window(), folder=crm.folder)
    assert not (crm.folder / "ads").exists() or not files(crm.folder / "ads")


def test_a_window_needs_length_and_zone_and_the_moment_is_rounded_up() -> None:
    with pytest.raises(ConfigError, match="must lie before until"):
        window("2025-03-02", "2025-03-02")
    with pytest.raises(ConfigError, match="must have a time zone"):
        replace(window(), since=datetime(2025, 3, 1))  # noqa: DTZ001
    assert window(at="2025-03-06T06:00:00.000001Z").recorded_at == datetime(2025, 3, 6, 6, 0, 1, tzinfo=UTC)
    assert window(at="2025-03-06T06:00:00Z").recorded_at == datetime(2025, 3, 6, 6, tzinfo=UTC)


def test_a_login_that_can_write_is_refused_before_it_reads(crm: Crm) -> None:
    writer = open_engine(Connection.to_file(crm.file), purpose="extract")
    with pytest.raises(SourceError, match="opened for writing"):
        extract("leads", example("leads"), source=crm.source(engine=writer), window=window(), folder=crm.folder)
    assert [(line["purpose"], line["outcome"]) for line in crm.accesses] == [
        ("extract: permissions of the login", "failed: SourceError")
    ]
    assert files(crm.folder) == []


def test_an_error_names_what_the_query_itself_names_and_nothing_else(crm: Crm, tmp_path: Path) -> None:
    def message(sql: str) -> str:
        with pytest.raises(SourceError) as raised:
            extract("leads", query(tmp_path, sql), source=crm.source(), window=window(), folder=crm.folder)
        return str(raised.value)

    inside = "WHERE created_at >= :since AND created_at < :until"
    assert "(leads): l.Phone does not exist in the database" in message(f"SELECT l.Phone AS x FROM leads AS l {inside}")
    assert "(leads): nowhere does not exist" in message(f'SELECT id AS lead_id FROM "nowhere" {inside}')
    # What a view refers to, or a string, is not in the query's own code.
    crm.run("CREATE TABLE hidden_things (id TEXT, created_at TEXT)")
    crm.run("CREATE VIEW shown AS SELECT * FROM hidden_things")
    crm.run("DROP TABLE hidden_things")
    said = message(f"SELECT id AS lead_id, 'hidden_things main' AS platform FROM shown {inside} -- hidden_things main")
    assert "hidden_things" not in said
    assert "a table or column of the statement does not exist" in said


def test_every_access_is_noted_without_a_value_of_a_row(crm: Crm, tmp_path: Path) -> None:
    all_of(crm)
    wrong = query(tmp_path, "SELECT id AS lead_id FROM nowhere WHERE created_at > :since AND id < :until")
    with pytest.raises(SourceError, match=r"query\.sql \(leads\): nowhere does not exist in the database") as raised:
        extract("leads", wrong, source=crm.source(), window=window(), folder=crm.folder)
    assert "put '2025-02-28 23:00:00' for :since and '2025-03-05 23:00:00' for :until." in str(raised.value)
    noted = [(line["purpose"], line["outcome"], line["rows"]) for line in crm.accesses]
    assert noted == [
        ("extract: permissions of the login", "checked", None),
        ("extract ads", "read", 2),
        ("extract leads", "read", 3),
        ("extract outcomes", "read", 1),
        ("extract lead_to_ad_map", "read", 1),
        ("extract: permissions of the login", "checked", None),
        ("extract leads", "failed: SourceError", None),
    ]
    assert crm.accesses[2]["statement_sha256"] == example("leads").sha256
    text = crm.log.path.read_text(encoding="utf-8")
    assert not any(value in text for value in ("L1", "example.org", "SELECT"))


def test_a_passing_error_in_the_middle_starts_the_statement_anew(crm: Crm, monkeypatch: pytest.MonkeyPatch) -> None:
    crm.run("DELETE FROM leads")
    crm.add("leads", [(f"L{n}", "2025-03-02T10:00:00Z", "11", None, None, None, None, 0) for n in range(10)])
    failures = [2, 1]
    real = extract_module.answer_of

    def failing(*arguments: object, **keywords: object) -> object:
        answer = real(*arguments, **keywords)  # type: ignore[arg-type]
        if not failures:
            return answer
        limit = failures.pop()

        def frames():  # type: ignore[no-untyped-def]
            for at, frame in enumerate(answer.frames):
                if at == limit:
                    raise OperationalError("SELECT", None, sqlite3.OperationalError("database is locked"))
                yield frame

        return replace(answer, frames=frames())

    monkeypatch.setattr(extract_module, "answer_of", failing)
    snapshot = extract("leads", example("leads"), source=crm.source(batch_rows=3), window=window(), folder=crm.folder)
    assert sorted(pl.read_parquet(snapshot.path)["lead_id"]) == sorted(f"L{n}" for n in range(10))
    assert (snapshot.manifest.rows, snapshot.manifest.batches) == (10, 4)
    assert crm.waits == [0.5, 1.0]
    assert len(files(crm.folder)) == 2
    assert [line["outcome"] for line in crm.accesses if line["purpose"] == "extract leads"] == [
        "failed: OperationalError",
        "failed: OperationalError",
        "read",
    ]


def test_one_broken_query_leaves_no_table_visible(crm: Crm, tmp_path: Path) -> None:
    wrong = query(tmp_path, "SELECT lead_id FROM nowhere WHERE :since < :until")
    with pytest.raises(SourceError):
        extract_all(
            {"leads": example("leads"), "outcomes": wrong}, source=crm.source(), window=window(), folder=crm.folder
        )
    assert files(crm.folder) == []


def test_a_failure_while_publishing_leaves_what_was_there(crm: Crm, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(extract_module, "publish_together", full)
    with pytest.raises(OSError, match="No space left"):
        all_of(crm)
    assert files(crm.folder) == []


_KILLED = """
import os, signal, sys
from pathlib import Path
from elv_pipeline.databases.audit import AccessLog
from elv_pipeline.ingest.extracts import extract, snapshot_writer
from elv_pipeline_tests.ingest.crm import TABLES, Crm, example, window
crm = Crm.__new__(Crm)
folder = Path(sys.argv[1])
crm.file, crm.folder, crm.waits = folder / "crm.db", folder / "extracts", []
crm.log = AccessLog(folder / "access.jsonl")
phase, count = sys.argv[2], int(sys.argv[3])
module = extract if hasattr(extract, phase) else snapshot_writer
real, calls = getattr(module, phase), []
def killing(*arguments, **keywords):
    calls.append(1)
    if len(calls) == count:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **keywords)
setattr(module, phase, killing)
statements = {table: example(table) for table in TABLES}
extract.extract_all(statements, source=crm.source(batch_rows=1), window=window(), folder=crm.folder)
"""


@pytest.mark.parametrize(
    ("phase", "count"), [("answer_of", 2), ("_write", 3), ("placed", 2), ("published", 3), ("publish_together", 1)]
)
def test_a_killed_extract_leaves_nothing_that_is_read(crm: Crm, tmp_path: Path, phase: str, count: int) -> None:
    command = [sys.executable, "-c", _KILLED, str(tmp_path), phase, str(count)]
    killed = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-500:]
    assert not any(snapshots_in(crm.folder / table) for table in TABLES)
    for table in TABLES:
        if (crm.folder / table).is_dir():
            with pytest.raises(ContractError, match="no "):
                locate(str(crm.folder / table), table=table)
    found = all_of(crm)
    assert {table: snapshot.manifest.rows for table, snapshot in found.items()} == {
        "ads": 2,
        "leads": 3,
        "outcomes": 1,
        "lead_to_ad_map": 1,
    }
    assert all(len(locate(str(crm.folder / table))) == 1 for table in TABLES)


def test_leftovers_go_after_a_day_and_what_is_complete_stays(crm: Crm) -> None:
    snapshot = all_of(crm)["leads"]
    folder = crm.folder / "leads"
    (folder / ".0123456789ab.staged").write_bytes(b"half")
    (folder / "leads_20250101T000000Z.snapshot.parquet").write_bytes(b"half")
    (folder / "mine.parquet").write_bytes(b"not ours")
    assert remove_abandoned(folder) == []
    for file in folder.iterdir():
        os.utime(file, (1_700_000_000, 1_700_000_000))
    assert remove_abandoned(folder) == [".0123456789ab.staged", "leads_20250101T000000Z.snapshot.parquet"]
    assert snapshots_in(folder) == [replace(snapshot)]
    assert (folder / "mine.parquet").exists()


def test_a_purge_keeps_the_newest_and_removes_records_that_nothing_needs(crm: Crm) -> None:
    all_of(crm)
    crm.run("UPDATE leads SET meta_ad_id = '12'")
    crm.run("UPDATE ad_daily_stats SET link_clicks = link_clicks + 1")
    extract_all(
        {table: example(table) for table in ("leads", "ads")},
        source=crm.source(),
        window=window(at="2025-03-08T06:00:00Z"),
        folder=crm.folder,
    )
    assert len([name for name in files(crm.folder) if name.startswith("extract_")]) == 2
    day = datetime(2025, 3, 7, tzinfo=UTC)
    assert [s.path.name for s in purge_snapshots(crm.folder / "leads", recorded_before=day, dry_run=True)] == [
        "leads_20250306T060000Z.snapshot.parquet"
    ]
    for table in TABLES:
        purge_snapshots(crm.folder / table, recorded_before=day)
    assert {table: len(snapshots_in(crm.folder / table)) for table in TABLES} == dict.fromkeys(TABLES, 1)
    for table in TABLES:
        assert purge_snapshots(crm.folder / table, recorded_before=datetime(2026, 1, 1, tzinfo=UTC)) == []


def test_a_snapshot_that_was_changed_is_refused(crm: Crm, tmp_path: Path) -> None:
    snapshot = all_of(crm)["leads"]
    pl.read_parquet(snapshot.path).head(1).write_parquet(snapshot.path)
    config = make_config(tmp_path)
    with pytest.raises(ContractError, match="not the one that its manifest describes"):
        read_leads(crm.folder / "leads", config)
    manifest_path(snapshot.path).write_text("{}", encoding="utf-8")
    with pytest.raises(ContractError, match="not the manifest of a snapshot"):
        read_leads(crm.folder / "leads", config)


def test_identifiers_are_hashed_before_anything_is_written(
    crm: Crm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ELV_HASH_KEY", "0123456789abcdef" * 2)
    config = make_config(tmp_path, privacy={"hashed_columns": ["lead_id", "ad_id"]})
    crm.run("UPDATE leads SET id = id || '  '")  # as a CHAR column would be filled
    statements = {table: example(table) for table in ("leads", "outcomes")}
    source = crm.source(transform=lambda table, rows: stored_ids(rows, config, table=table), marks=hashing_mark(config))
    found = extract_all(statements, source=source, window=window(), folder=crm.folder)
    leads, outcomes = (pl.read_parquet(found[table].path) for table in ("leads", "outcomes"))
    assert leads["lead_id"].str.contains("^[0-9a-f]{32}$").all()
    assert outcomes["lead_id"].is_in(leads["lead_id"].implode()).all()
    assert is_hashed_already(found["leads"].path, config)
    read = read_leads(crm.folder / "leads", config).frame
    assert sorted(read["lead_id"]) == sorted(leads["lead_id"])


def test_a_transform_may_leave_out_rows_and_is_counted_but_adds_none(crm: Crm) -> None:
    source = crm.source(transform=lambda _, rows: rows.filter(pl.col("lead_id") != "L1"))
    found = extract("leads", example("leads"), source=source, window=window(), folder=crm.folder)
    assert (found.manifest.rows, found.manifest.rows_left_out) == (2, 1)
    for wrong in (lambda _, rows: pl.concat([rows, rows]), lambda _, rows: rows.drop("ad_id")):
        with pytest.raises(ContractError, match="may change values and leave out rows only"):
            extract("leads", example("leads"), source=crm.source(transform=wrong), window=window(), folder=crm.folder)


def test_a_table_that_no_contract_knows_is_refused(crm: Crm) -> None:
    with pytest.raises(ConfigError, match="'customers' cannot be extracted; tables are ads, leads"):
        extract("customers", example("leads"), source=crm.source(), window=window(), folder=crm.folder)
    with pytest.raises(ConfigError, match="no table cannot be extracted"):
        extract_all({}, source=crm.source(), window=window(), folder=crm.folder)


def test_numbers_with_a_decimal_point_are_not_read_with_a_comma(crm: Crm, tmp_path: Path) -> None:
    all_of(crm)
    config = make_config(tmp_path, contracts={"ads": {"decimal_comma": True}})
    with pytest.raises(ContractError, match=r"contracts\.ads\.decimal_comma is true"):
        read_ads(crm.folder / "ads", config)
