"""Extracts of outreach from a database with the shipped schema, by the shipped queries, to the clean tables."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from elv_pipeline.config_file import parse_config
from elv_pipeline.contracts.outreach import CANONICAL
from elv_pipeline.errors import ContractError
from elv_pipeline.forgotten import Forgotten, forgotten_file
from elv_pipeline.home import Home
from elv_pipeline.ingest.extracts.snapshots import Snapshot
from elv_pipeline.ingest.extracts.window import READ_WHOLE
from elv_pipeline.ingest.outreach_cleaning import clean_outreach
from elv_pipeline.ingest.outreach_exports import OutreachSources, read_outreach
from elv_pipeline.orchestration.assets.extract import ExtractConfig, read_window, window_of
from elv_pipeline.orchestration.deployments import deployment_of
from elv_pipeline.orchestration.queries_read import note_covered
from elv_pipeline.publishing.retention import purge
from elv_pipeline.synthetic.outreach.organisation import Organisation, OutreachSpec, generate_outreach
from elv_pipeline_tests.ingest import outreach_crm as crm

MAIL = "jane.secret@example.org"


@pytest.fixture(scope="module")
def organisation() -> Organisation:
    return generate_outreach(OutreachSpec(contacts=600, days=60, dirt=0))


class Life:
    """A home that reads a database day after day."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.home = Home(folder / "home")
        self.database = folder / "crm.db"
        self.config = self.home.register(parse_config(dict(crm.settings(folder, **settings)), source=folder / "c.yaml"))

    def extract(self, since: str, until: str, *, now: str = "") -> dict[str, Snapshot]:
        deployment, config = deployment_of(self.config, self.home), ExtractConfig(now=now or f"{until}T06:00:00+00:00")
        return read_window(deployment, config, since=date.fromisoformat(since), until=date.fromisoformat(until))

    def read(self) -> OutreachSources:
        return read_outreach(self.config, home=self.home)

    def bytes(self) -> bytes:
        """Everything that the home holds, unpacked."""
        files = [file for file in self.home.root.rglob("*") if file.is_file()]
        tables = [str(pl.read_parquet(file).rows()).encode() for file in files if file.suffix == ".parquet"]
        return b"".join([*(file.read_bytes() for file in files), *tables])


@pytest.fixture
def live(tmp_path: Path, organisation: Organisation, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Life]:
    def start(**settings: object) -> Life:
        database = tmp_path / "crm.db"
        monkeypatch.setenv(crm.VARIABLE, f"sqlite:///{database}")
        crm.create(database)
        crm.fill(database, organisation)
        return Life(tmp_path, **settings)

    return start


def test_from_the_shipped_schema_to_clean_tables(live: Callable[..., Life], organisation: Organisation) -> None:
    life = live()
    found = life.extract("2025-01-06", "2025-03-10")
    assert [snapshot.manifest.rows for snapshot in found.values()][1:3] == [8, 40]
    sources = life.read()
    assert sources.known_until == datetime(2025, 3, 10, tzinfo=UTC)
    assert sources.files["outcomes"].query == found["outcomes"].manifest.query_sha256
    assert sources.files["engagement_logs"].last_day == date(2025, 3, 9)
    cleaned = clean_outreach(sources.tables, known_until=sources.known_until)
    expected = clean_outreach({name: getattr(organisation, name) for name in CANONICAL})
    assert cleaned.gate.verdict == "ready"
    for name in ("campaigns", "campaign_steps", "enrollments", "engagement_logs", "outcomes"):
        assert_frame_equal(cleaned.tables[name], expected.tables[name])


def test_no_text_of_a_reply_is_anywhere_below_the_home(live: Callable[..., Life], organisation: Organisation) -> None:
    life = live()
    crm.run(life.database, "UPDATE engagement_logs SET response_text = 'Zebrafink ' || response_text")
    life.extract("2025-01-06", "2025-03-10")
    life.read()
    assert b"Zebrafink" not in life.bytes()
    snapshot = pl.read_parquet(next((life.home.extracts("calls") / "engagement_logs").glob("*.parquet")))
    assert "response_text" not in snapshot.columns
    replies = organisation.engagement_logs.filter(pl.col("event") == "replied")
    assert snapshot["reply_words"].drop_nulls().len() == replies["response_text"].drop_nulls().len() > 50


def test_windows_day_by_day_give_what_one_window_gives(live: Callable[..., Life]) -> None:
    life = live()
    life.extract("2025-01-06", "2025-03-10")
    whole = life.read().tables
    other = Life(life.home.root.parent / "other")
    other.database = life.database
    for since, until in (("2025-01-06", "2025-02-01"), ("2025-01-20", "2025-02-20"), ("2025-02-19", "2025-03-10")):
        other.extract(since, until)
    parts = other.read().tables
    for name, frame in whole.items():
        assert_frame_equal(parts[name].sort(pl.all()), frame.sort(pl.all()))


def test_the_first_window_reaches_back_to_what_it_refers_to(live: Callable[..., Life]) -> None:
    """Planted: a calendar that begins amid the life of most enrollments; their sends and steps are years older."""
    life = live(start_date="2025-02-10")
    life.extract("2025-02-10", "2025-03-10")
    sources = life.read()
    assert sources.tables["enrollments"]["enrolled_time"].min() < datetime(2025, 1, 10, tzinfo=UTC)
    assert clean_outreach(sources.tables, known_until=sources.known_until).gate.verdict == "ready"


def test_tables_that_are_read_whole_know_a_correction_and_an_erasure(live: Callable[..., Life]) -> None:
    life = live()
    life.extract("2025-01-06", "2025-03-10")
    crm.run(life.database, "UPDATE campaigns SET campaign_name = 'Renamed' WHERE campaign_id = 'cmp001'")
    crm.run(life.database, "DELETE FROM contact_history WHERE contact_id = 'con0000001'")
    life.extract("2025-03-09", "2025-03-11")
    tables = life.read().tables
    assert tables["campaigns"].filter(pl.col("campaign_name") == "Renamed").height == 1
    assert "con0000001" not in tables["contacts"]["contact_id"].to_list()
    assert tables["contacts"].height == 599


def test_a_window_of_the_past_that_is_read_again_takes_nothing_away(live: Callable[..., Life]) -> None:
    life = live()
    life.extract("2025-01-06", "2025-03-10")
    before = life.read()
    life.extract("2025-01-06", "2025-02-01", now="2025-03-11T06:00:00+00:00")
    after = life.read()
    assert after.known_until == before.known_until
    for name, frame in before.tables.items():
        assert_frame_equal(after.tables[name].sort(pl.all()), frame.sort(pl.all()))


def test_daily_extracts_leave_one_snapshot_a_month_to_open_and_purging_takes_the_others(
    live: Callable[..., Life],
) -> None:
    """Planted: a window that moves on by a day each day; purged after a day, and nothing of the history is lost."""
    life = live(retention={"snapshots_days": 1}, extracts={**crm.settings(Path())["extracts"], "days_back": 20})
    deployment = deployment_of(life.config, life.home)
    for day in ("2025-01-30", "2025-02-15", "2025-02-27", "2025-03-01", "2025-03-02", "2025-03-10"):
        config = ExtractConfig(until=day, now=f"{day}T06:00:00+00:00")
        since, until = window_of(deployment, config, tags={})
        note_covered(deployment, read_window(deployment, config, since=since, until=until))
    before = life.read()
    stored = {
        folder.name: len(list(folder.glob("*.parquet")))
        for folder in life.home.extracts("calls").iterdir()
        if folder.is_dir()
    }
    assert stored["engagement_logs"] == 6
    assert before.files["engagement_logs"].files == 2
    assert before.files["contacts"].files == 1
    now = datetime(2026, 6, 1, tzinfo=UTC)
    purge(life.home, life.config, older_than=None, protected_versions=(), now=now, dry_run=False)
    left = {
        folder.name: len(list(folder.glob("*.parquet")))
        for folder in life.home.extracts("calls").iterdir()
        if folder.is_dir()
    }
    assert left == {table: 1 if table in READ_WHOLE else 2 for table in crm.TABLES}
    after = life.read()
    for name, frame in before.tables.items():
        assert_frame_equal(after.tables[name], frame)
    whole = Life(life.home.root.parent / "other")
    whole.database = life.database
    whole.extract("2025-01-06", "2025-03-10")
    for name, frame in whole.read().tables.items():
        assert_frame_equal(after.tables[name].sort(pl.all()), frame.sort(pl.all()))


def test_targets_of_one_file_share_their_snapshots(live: Callable[..., Life]) -> None:
    """Planted: one target reads the past, another one the days after; both are made of everything."""
    life = live(name="calls_qualified", family="calls", target="qualified")
    life.extract("2025-01-06", "2025-02-20")
    other = Life(life.home.root.parent, name="calls_converted", family="calls", target="converted")
    other.extract("2025-02-01", "2025-03-10")
    assert life.read().known_until == datetime(2025, 3, 10, tzinfo=UTC)
    for name, frame in life.read().tables.items():
        assert_frame_equal(other.read().tables[name], frame)
    assert [folder.name for folder in (life.home.root / "extracts").iterdir()] == ["calls"]


def test_an_outcome_that_is_gone_from_a_window_read_again_is_gone(live: Callable[..., Life]) -> None:
    life = live()
    life.extract("2025-01-06", "2025-03-10")
    before = life.read().tables["outcomes"]
    crm.run(life.database, "DELETE FROM outcomes WHERE datetime(recorded_at) >= datetime('2025-02-20')")
    life.extract("2025-02-01", "2025-03-10", now="2025-03-10T07:00:00+00:00")
    after = life.read().tables["outcomes"]
    assert after["recorded_time"].max() < datetime(2025, 2, 20, tzinfo=UTC)
    kept = before.filter(pl.col("recorded_time") < datetime(2025, 2, 20, tzinfo=UTC))
    assert_frame_equal(after.sort(pl.all()), kept.sort(pl.all()))


def test_an_edited_query_replaces_what_the_earlier_one_delivered(live: Callable[..., Life], tmp_path: Path) -> None:
    query = tmp_path / "enrollments.sql"
    query.write_text((crm.SQL / "extract" / "outreach" / "enrollments.sqlite.sql").read_text("utf-8"), "utf-8")
    queries = {**crm.settings(tmp_path)["extracts"], "enrollments": str(query)}
    life = live(extracts=queries)
    life.extract("2025-01-06", "2025-03-10")
    query.write_text(query.read_text("utf-8").rstrip() + "\n  AND e.campaign_id = 'cmp001'\n", "utf-8")
    life.extract("2025-01-06", "2025-03-10", now="2025-03-10T07:00:00+00:00")
    assert life.read().tables["enrollments"]["campaign_id"].unique().to_list() == ["cmp001"]


def test_an_address_as_an_id_refuses_the_extract_and_nothing_is_written(live: Callable[..., Life]) -> None:
    life = live()
    crm.run(life.database, f"UPDATE enrollments SET contact_id = '{MAIL}' WHERE enrollment_id = 'enr0000005'")
    with pytest.raises(ContractError, match="contact_id is an e-mail address or a phone number"):
        life.extract("2025-01-06", "2025-03-10")
    assert not list(life.home.root.rglob("*.parquet"))
    assert MAIL.encode() not in life.bytes()


def test_hashed_ids_and_masked_templates_are_what_a_snapshot_holds(
    live: Callable[..., Life], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ELV_HASH_KEY", "k" * 40)
    life = live(privacy={"hashed_columns": ["contact_id"]})
    crm.run(life.database, f"UPDATE enrollments SET contact_id = '{MAIL}' WHERE enrollment_id = 'enr0000005'")
    crm.run(life.database, f"UPDATE contact_history SET contact_id = '{MAIL}' WHERE contact_id = 'con0000005'")
    crm.run(life.database, f"UPDATE campaign_steps SET template_text = 'Write to {MAIL} or +49 170 5550123'")
    life.extract("2025-01-06", "2025-03-10")
    assert MAIL.encode() not in life.bytes()
    found = life.read()
    assert found.tables["campaign_steps"]["template_text"].unique().to_list() == [
        "Write to {contact details} or {contact details}"
    ]
    (told,) = found.files["campaign_steps"].personal
    assert (told.column, told.became, told.rows) == ("template_text", "masked", 40)


def test_erased_people_do_not_come_back_with_an_extract(live: Callable[..., Life]) -> None:
    life = live()
    life.extract("2025-01-06", "2025-02-01")
    enrolled = life.read().tables["enrollments"]
    contact, enrollment = enrolled.select("contact_id", "enrollment_id").row(0)
    Forgotten().with_ids([contact]).save(forgotten_file(life.home, "calls"))
    for file in life.home.extracts("calls").rglob("*"):
        if file.is_file():
            file.unlink()
    life.extract("2025-01-06", "2025-03-10")
    content = life.bytes()
    assert contact.encode() not in content
    assert enrollment.encode() not in content
    assert life.read().tables["enrollments"].height > 500
