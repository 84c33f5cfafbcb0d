"""Tables that queries deliver: the window of an extract, repetitions, gaps, and refusals, against a SQLite source."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from elv_pipeline.config_file import parse_config
from elv_pipeline.errors import ConfigError, SourceError
from elv_pipeline.home import Home
from elv_pipeline.ingest.extracts.snapshots import snapshots_in
from elv_pipeline.orchestration.deployments import deployment_of
from elv_pipeline.orchestration.partitions import DayRange
from elv_pipeline.orchestration.queries_read import covered_until, edited_queries
from elv_pipeline_tests.orchestration.conftest import BETA, Copy

pytestmark = BETA
FIRST, DAYS = date(2025, 3, 1), 40
SCHEMA = """
CREATE TABLE leads (id TEXT, created_at TEXT, ad TEXT, email TEXT);
CREATE TABLE ads (day TEXT, campaign TEXT, adset TEXT, ad TEXT, impressions INTEGER, clicks INTEGER, spend REAL);
CREATE TABLE outcomes (lead TEXT, qualified_at TEXT, written_at TEXT);
"""
QUERIES = {
    "leads": "SELECT id AS lead_id, created_at AS created_time, ad AS ad_id, email AS email FROM leads "
    "WHERE created_at >= :since AND created_at < :until",
    "ads": "SELECT day AS date, campaign AS campaign_id, adset AS adset_id, ad AS ad_id, impressions, clicks, spend "
    "FROM ads WHERE day >= date(:since) AND day < date(:until)",
    "outcomes": "SELECT lead AS lead_id, qualified_at AS qualified_time, written_at AS recorded_time FROM outcomes "
    "WHERE written_at >= :since AND written_at < :until",
}


def day(offset: int) -> date:
    return FIRST + timedelta(days=offset)


def morning(offset: int) -> datetime:
    """Six o'clock of a day, when the day before it is read."""
    return datetime.combine(day(offset), time(6), tzinfo=UTC)


class Source:
    """A CRM in a SQLite file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.run(SCHEMA)

    def run(self, script: str) -> None:
        with closing(sqlite3.connect(self.file)) as connection, connection:
            connection.executescript(script)

    def add_day(self, offset: int) -> None:
        """Three leads, an outcome of the first, delivery of one ad."""
        at = day(offset)
        rows = [
            f"INSERT INTO leads VALUES ('L{offset}.{n}', '{at}T{hour:02d}:15:00Z', 'A', 'a{n}@example.org');"
            for n, hour in enumerate((3, 11, 20))
        ]
        rows.append(f"INSERT INTO ads VALUES ('{at}', 'C', 'S', 'A', 1000, {offset}, 12.5);")
        rows.append(f"INSERT INTO outcomes VALUES ('L{offset}.0', '{at}T21:00:00Z', '{at}T22:00:00Z');")
        self.run("\n".join(rows))


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    made = Source(tmp_path / "crm.db")
    for offset in range(DAYS):
        made.add_day(offset)
    monkeypatch.setenv("ELV_SOURCE_URL", f"sqlite:///{made.file}")
    return made


@pytest.fixture
def home(tmp_path: Path, source: Source) -> Copy:
    """A configuration whose tables come from queries; nothing was read yet."""
    (tmp_path / "sql").mkdir()
    for table, query in QUERIES.items():
        (tmp_path / f"sql/{table}.sql").write_text(query, encoding="utf-8")
    document: dict[str, Any] = {
        "name": "queried",
        "start_date": FIRST,
        "databases": {"source": {"url_variable": "ELV_SOURCE_URL", "attempts": 1}},
        "extracts": {"days_back": 7, **{table: f"sql/{table}.sql" for table in QUERIES}},
    }
    place = Home(tmp_path / "home")
    config = place.register(parse_config(document, source=tmp_path / "config.yaml"))
    return Copy(deployment_of(config, place), tmp_path)


def extract(home: Copy, *, now: datetime, days: DayRange | None = None, **values: Any) -> dict[str, Any]:
    """One run of the asset; what it noted of each table."""
    config = {"ops": {"queried__extracts": {"config": {"now": now.isoformat(), **values}}}}
    tags = {} if days is None else days.tags
    result = home.run("extracts", config=config, tags=tags)
    assert result.success
    return dict(home.deployment.lake.read_json("extracts"))


def window(document: Mapping[str, Any]) -> tuple[str, str]:
    [found] = {(entry["since"], entry["until"]) for entry in document.values()}
    return found


def test_the_first_extract_begins_with_the_calendar_and_later_ones_go_back_days_back(home: Copy) -> None:
    assert covered_until(home.deployment) == FIRST
    document = extract(home, now=morning(20))
    assert window(document) == (str(FIRST), str(day(20)))
    assert {table: entry["rows"] for table, entry in document.items()} == {"leads": 60, "ads": 20, "outcomes": 20}
    assert document["leads"]["dropped_columns"] == ["email"]
    assert covered_until(home.deployment) == day(20)
    document = extract(home, now=morning(21))
    assert window(document) == (str(day(14)), str(day(21)))
    assert document["leads"]["rows"] == 21


def test_a_gap_since_the_last_extract_is_read_whatever_days_back_says(home: Copy) -> None:
    extract(home, now=morning(5))
    assert window(extract(home, now=morning(30))) == (str(day(5)), str(day(30)))
    later = extract(home, now=morning(39), since=str(day(37)), until=str(day(39)))
    assert window(later) == (str(day(30)), str(day(39)))


def test_a_window_that_is_given_exactly_is_kept_and_its_gap_read_later(home: Copy) -> None:
    extract(home, now=morning(10))
    document = extract(home, now=morning(20), since=str(day(15)), until=str(day(17)), exactly=True)
    assert window(document) == (str(day(15)), str(day(17)))
    assert window(extract(home, now=morning(20))) == (str(day(10)), str(day(20)))
    assert covered_until(home.deployment) == day(20)


def test_a_window_neither_reaches_the_future_nor_begins_before_the_calendar(home: Copy) -> None:
    extract(home, now=morning(3))
    document = extract(home, now=morning(4), until=str(day(9)), days_back=30)
    assert window(document) == (str(FIRST), str(day(4)))


def test_a_ranged_run_reads_up_to_its_last_day(home: Copy) -> None:
    extract(home, now=morning(9))
    config = {"ops": {"queried__extracts": {"config": {"now": morning(12).isoformat()}}}}
    days = DayRange(day(7), day(9))
    home.run("extracts", "leads", "ads", days=days, config=config)
    assert window(home.deployment.lake.read_json("extracts")) == (str(day(3)), str(day(10)))
    assert home.deployment.lake.row_counts("leads", days.days) == dict.fromkeys(days.days, 3)


def test_the_same_extract_again_changes_no_file(home: Copy) -> None:
    extract(home, now=morning(10))
    folder = home.deployment.home.extracts("queried")
    extract(home, now=morning(10))  # the second has another window: the first one began with the calendar
    before = {file: file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}
    document = extract(home, now=morning(10))
    assert all(entry["unchanged"] for entry in document.values())
    assert {file: file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()} == before


def test_raw_tables_are_what_the_database_holds_without_personal_data(home: Copy) -> None:
    days = DayRange(FIRST, day(19))
    config = {"ops": {"queried__extracts": {"config": {"now": morning(20).isoformat()}}}}
    result = home.run("extracts", "leads", "ads", "outcomes", days=days, config=config)
    assert all(check.passed for check in result.get_asset_check_evaluations())
    lake = home.deployment.lake
    assert lake.row_counts("leads", days.days) == dict.fromkeys(days.days, 3)
    assert lake.row_counts("ads", days.days) == dict.fromkeys(days.days, 1)
    assert lake.row_counts("outcomes", days.days) == dict.fromkeys(days.days, 1)
    assert "email" not in pl.read_parquet_schema(lake.partition("leads", FIRST))
    files = [file for file in home.deployment.home.root.rglob("*") if file.is_file()]
    assert [file for file in files if b"@example.org" in file.read_bytes()] == []


def test_a_day_in_two_extracts_counts_once_and_restatements_are_kept_beside_it(home: Copy, source: Source) -> None:
    days = DayRange(FIRST, day(9))
    tables = ("extracts", "leads", "ads", "outcomes")
    home.run(*tables, days=days, config={"ops": {"queried__extracts": {"config": {"now": morning(10).isoformat()}}}})
    source.run(f"UPDATE ads SET clicks = 500 WHERE day = '{day(8)}';")
    newer = {"ops": {"queried__extracts": {"config": {"now": morning(11).isoformat()}}}}
    home.run(*tables, days=DayRange(FIRST, day(10)), config=newer)
    lake = home.deployment.lake
    assert lake.row_counts("leads", [day(8)]) == {day(8): 3}
    assert pl.read_parquet(lake.partition("ads", day(8)))["clicks"].to_list() == [8]
    newest = home.deployment.ads_store.newest(first=day(8), last=day(8)).collect()
    assert newest["clicks"].to_list() == [500]


def test_a_query_that_fails_leaves_every_table_as_it_was(home: Copy, source: Source) -> None:
    extract(home, now=morning(10))
    before = home.deployment.lake.read_json("extracts")
    source.run("DROP TABLE outcomes;")
    with pytest.raises(SourceError, match=r"outcomes\.sql \(outcomes\)"):
        extract(home, now=morning(11))
    assert home.deployment.lake.read_json("extracts") == before
    folder = home.deployment.home.extracts("queried")
    assert [len(snapshots_in(folder / table)) for table in QUERIES] == [1, 1, 1]


BY_CHANGE = QUERIES["outcomes"].replace("written_at", "qualified_at")
"""The same outcomes, recorded when they happened: those of a night stand on the day before."""
RAW = ("extracts", "leads", "ads", "outcomes")


def edit(home: Copy, table: str, query: str) -> None:
    Path(home.deployment.config.extracts.queries[table]).write_text(query, encoding="utf-8")


def build(home: Copy, days: DayRange, *, now: datetime, **values: Any) -> None:
    config = {"ops": {"queried__extracts": {"config": {"now": now.isoformat(), **values}}}}
    assert home.run(*RAW, days=days, config=config).success


def outcomes(home: Copy) -> pl.DataFrame:
    return home.deployment.scan("outcomes", first=FIRST, last=day(DAYS)).collect()


def across_midnight(source: Source) -> None:
    """Every third outcome is written down on the next morning."""
    later = "strftime('%Y-%m-%dT%H:%M:%SZ', written_at, '+8 hours')"
    source.run(f"UPDATE outcomes SET written_at = {later} WHERE substr(lead, 2) % 3 = 0;")


def test_an_edited_query_is_read_from_the_start_and_earlier_readings_do_not_count(home: Copy) -> None:
    extract(home, now=morning(20))
    edit(home, "outcomes", BY_CHANGE)
    assert covered_until(home.deployment) == FIRST
    assert window(extract(home, now=morning(21))) == (str(FIRST), str(day(21)))
    assert covered_until(home.deployment) == day(21)
    edit(home, "outcomes", QUERIES["outcomes"])  # back again: what it had read was replaced by the other
    assert covered_until(home.deployment) == FIRST
    assert window(extract(home, now=morning(22))) == (str(FIRST), str(day(22)))


def test_homes_that_did_not_note_their_query_go_on_as_they_were(home: Copy) -> None:
    build(home, DayRange(FIRST, day(19)), now=morning(20))
    lake = home.deployment.lake
    lake.write_json("extracted_days", {table: [[str(FIRST), str(day(19))]] for table in QUERIES})
    note = lake.read_json("sources/outcomes")
    lake.write_json("sources/outcomes", {key: value for key, value in note.items() if key != "query"})
    assert covered_until(home.deployment) == day(20)
    assert edited_queries(home.deployment) == []
    build(home, DayRange(day(20), day(20)), now=morning(21))
    assert lake.read_json("extracted_days")["outcomes"]["days"] == [[str(FIRST), str(day(20))]]


def test_some_days_are_never_written_by_an_edited_query_and_all_days_are_what_it_says(
    home: Copy, source: Source
) -> None:
    across_midnight(source)
    build(home, DayRange(FIRST, day(19)), now=morning(20))
    edit(home, "outcomes", BY_CHANGE + " AND lead <> 'L7.0'")
    assert edited_queries(home.deployment) == ["outcomes"]
    before = home.files()
    with pytest.raises(ConfigError, match=r"the query of outcomes was edited.*'elv build-table' once"):
        build(home, DayRange(day(20), day(20)), now=morning(21))
    assert home.files("outcomes") == {file: content for file, content in before.items() if file.startswith("outcomes/")}
    build(home, DayRange(FIRST, day(20)), now=morning(21))
    assert edited_queries(home.deployment) == []
    rows = outcomes(home)
    assert rows.height == rows["lead_id"].n_unique() == 20
    assert "L7.0" not in rows["lead_id"].to_list()
    assert rows["withdrawn_time"].null_count() == rows.height
    assert (rows["day"] == rows["qualified_time"].dt.date()).all()
    deployment = home.deployment
    assert deployment.scan_once_a_lead("outcomes", first=FIRST, last=day(DAYS)).collect().height == 20


def test_an_edited_query_that_was_read_in_part_replaces_no_day(home: Copy, source: Source) -> None:
    across_midnight(source)
    build(home, DayRange(FIRST, day(19)), now=morning(20))
    edit(home, "outcomes", BY_CHANGE)
    with pytest.raises(ConfigError, match="was edited"):
        build(home, DayRange(FIRST, day(19)), now=morning(21), since=str(day(10)), exactly=True)
    assert outcomes(home)["lead_id"].n_unique() == 20


def test_every_access_is_noted_without_values(home: Copy) -> None:
    extract(home, now=morning(10))
    text = home.deployment.home.access_log.read_text(encoding="utf-8")
    entries = [json.loads(line) for line in text.splitlines()]
    assert {entry["purpose"] for entry in entries} >= {f"extract {table}" for table in QUERIES}
    assert "L3." not in text
    assert "example.org" not in text
