"""Runs with queries of their own, and runs after a query was edited, end in the state that the configured ones make."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from elv_pipeline.config_file import parse_config
from elv_pipeline.errors import ConfigError
from elv_pipeline.home import Home
from elv_pipeline.orchestration.beside import FOLDER, remove_abandoned_copies, session_beside
from elv_pipeline.orchestration.commands import Session, opened
from elv_pipeline.orchestration.daily_life import DailyRequest, DailyResult, run_daily
from elv_pipeline.orchestration.due_days import unpublished_days
from elv_pipeline.orchestration.partitions import DayRange
from elv_pipeline.orchestration.queries_read import edited_queries
from elv_pipeline.publishing.file_lock import alone
from elv_pipeline_tests.orchestration.conftest import BETA, FIRST, LAST, LENIENT, MODEL, NAME, Finished, isolate
from elv_pipeline_tests.simulated_life import without_pictures

pytestmark = [BETA, pytest.mark.slow]
UNTIL = LAST + timedelta(days=1)
QUERIES = {
    "leads": "SELECT * FROM leads WHERE datetime(created_time) >= datetime(:since) "
    "AND datetime(created_time) < datetime(:until)",
    "ads": "SELECT * FROM ads WHERE date >= date(:since) AND date < date(:until)",
    "outcomes": "SELECT lead_id, qualified_time, qualified_time AS recorded_time FROM outcomes "
    "WHERE datetime(qualified_time) >= datetime(:since) AND datetime(qualified_time) < datetime(:until)",
}
LATER = (
    "SELECT lead_id, qualified_time, strftime('%Y-%m-%dT%H:%M:%SZ', qualified_time, '+1 day') AS recorded_time "
    "FROM outcomes WHERE datetime(qualified_time, '+1 day') >= datetime(:since) "
    "AND datetime(qualified_time, '+1 day') < datetime(:until) AND lead_id NOT LIKE '%7'"
)
"""Outcomes recorded a day later, without some of them."""
FEWER = QUERIES["leads"] + " AND lead_id NOT LIKE '%7'"
TABLES = ("ads", "leads", "outcomes", "joined_leads", "matured_labels", "features")


@dataclass(frozen=True)
class Installation:
    """A home whose tables come from a SQLite file."""

    folder: Path

    @property
    def home(self) -> Home:
        return Home(self.folder / "home")

    @contextmanager
    def session(self) -> Iterator[Session]:
        document: dict[str, Any] = {
            "name": NAME,
            "start_date": str(FIRST),
            "end_date": str(LAST),
            "value_per_qualified": 100.0,
            "model": MODEL,
            "promotion": LENIENT,
            "databases": {"source": {"url_variable": "ELV_SOURCE_URL", "attempts": 1}},
            "extracts": {"days_back": 14, "train_days_back": 30, **{table: f"{table}.sql" for table in QUERIES}},
        }
        config = parse_config(document, source=self.folder / "config.yaml")
        with opened(config, self.home) as session:
            yield session

    def day(self, until: date = UNTIL, **values: Any) -> DailyResult:
        with self.session() as session:
            return run_daily(session, DailyRequest(until=until, **values))

    def write(self, name: str, query: str) -> Path:
        (self.folder / name).write_text(query, encoding="utf-8")
        return self.folder / name

    def tables(self) -> dict[str, bytes]:
        root = self.home.lake(NAME)
        return {
            str(file.relative_to(root)): file.read_bytes()
            for table in TABLES
            for file in sorted((root / table).glob("*.parquet"))
        }

    def snapshots(self) -> list[str]:
        return sorted(file.parent.name for file in self.home.extracts(NAME).rglob("*.snapshot.json"))

    def scores(self) -> dict[str, float]:
        with closing(sqlite3.connect(self.home.root / "scores.db")) as connection:
            return dict(connection.execute("SELECT enrollment_id, score FROM lead_scores"))


@pytest.fixture(scope="module")
def settled(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shared models over a database; a normal day was run, so that all tables come from the configured queries."""
    folder, home = tmp_path_factory.mktemp("settled"), finished.deployment.home.root
    ignored = shutil.ignore_patterns("dagster", "runs", "mlartifacts", "configurations")
    shutil.copytree(home, folder / "home", ignore=ignored)
    database = folder / "crm.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        for table in QUERIES:
            rows = pl.read_csv(home.parent / f"exports/{table}.csv", infer_schema=False)
            connection.execute(f"CREATE TABLE {table} ({', '.join(rows.columns)})")
            marks = ", ".join("?" for _ in rows.columns)
            connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows.rows())
    made = Installation(folder)
    for table, query in QUERIES.items():
        made.write(f"{table}.sql", query)
    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        isolate(patch, made.home.root)
        patch.setenv("ELV_SOURCE_URL", f"sqlite:///{database}")
        with made.session() as session:
            session.run("history", days=DayRange(FIRST, LAST))
            session.run("validate")
        made.day()
    return folder


@pytest.fixture
def installation(settled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """A copy of its own for each test."""
    shutil.copytree(settled, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("ELV_SOURCE_URL", f"sqlite:///{tmp_path / 'crm.db'}")
    return Installation(tmp_path)


def predicted(result: DailyResult) -> pl.DataFrame:
    return pl.read_csv(result.result.bundle / "predictions.csv").sort("lead_id").select("lead_id", "p_qualified_14d")


def test_a_scoring_with_outcomes_of_its_own_leaves_nothing_behind(installation: Installation) -> None:
    tables, scores, snapshots = installation.tables(), installation.scores(), installation.snapshots()
    given = installation.write("later.sql", LATER)
    own = installation.day(queries={"outcomes": given})
    assert installation.tables() == tables
    assert installation.snapshots() == snapshots
    assert list((installation.home.root / FOLDER).rglob("*.parquet")) == []
    told = dict(predicted(own).iter_rows())
    assert {lead: installation.scores()[lead] for lead in told} == pytest.approx(told, abs=1e-6)
    assert installation.scores() != scores  # they are the scores of other outcomes, until the next run
    with installation.session() as session:
        assert unpublished_days(session.deployment) == [LAST]
    normal = installation.day()
    assert normal.written is not None
    assert normal.written["updated"] > 0
    assert installation.scores() == scores
    assert installation.tables() == tables
    with installation.session() as session:
        assert unpublished_days(session.deployment) == []
        assert session.deployment.scan_once_a_lead("outcomes", first=FIRST, last=LAST).collect().height > 0


def test_a_training_on_leads_of_its_own_learns_from_these_and_leaves_the_tables(installation: Installation) -> None:
    tables, snapshots = installation.tables(), installation.snapshots()
    trainings = installation.home.lake(NAME) / "training_table"
    before = {file: file.read_bytes() for file in trainings.glob("*.parquet")}
    given = installation.write("fewer.sql", FEWER)
    own = installation.day(mode="train", queries={"leads": given})
    with installation.session() as session:
        champion = session.deployment.lake.read_json("champion")
        [newest] = [file for file in trainings.glob("*.parquet") if file.read_bytes() != before.get(file)]
        assert (session.deployment.lake.root / "model_validation" / f"{newest.stem}.json").is_file()
    learned = pl.read_parquet(newest)["lead_id"]
    assert learned.len() > 500
    assert not learned.str.ends_with("7").any()
    assert champion is not None
    assert (own.result.bundle / "model.joblib").is_file()
    assert installation.tables() == tables
    assert installation.snapshots() == snapshots
    installation.day(mode="train")
    assert installation.tables() == tables
    assert pl.read_parquet(newest)["lead_id"].str.ends_with("7").any()
    installation.day()
    assert installation.tables() == tables


def test_a_day_after_an_edited_query_ends_as_if_it_had_always_been_so(
    installation: Installation, tmp_path: Path, finished: Finished
) -> None:
    installation.write("outcomes.sql", LATER)
    with installation.session() as session:
        assert edited_queries(session.deployment) == ["outcomes"]
    installation.day()
    after = installation.tables()
    with installation.session() as session:
        assert edited_queries(session.deployment) == []
        session.deployment.scan_once_a_lead("outcomes", first=FIRST, last=LAST).collect()
    fresh = Installation(tmp_path / "fresh")
    fresh.folder.mkdir()
    for table, query in {**QUERIES, "outcomes": LATER}.items():
        fresh.write(f"{table}.sql", query)
    with fresh.session() as session:
        session.build_history()
    assert after.keys() == fresh.tables().keys()
    assert [name for name, content in fresh.tables().items() if after[name] != content] == []
    installation.day()
    assert installation.tables() == after


def test_queries_of_a_run_are_refused_where_they_mean_nothing(installation: Installation) -> None:
    given = installation.write("fewer.sql", FEWER)
    with pytest.raises(ConfigError, match="give --mode train with it"):
        installation.day(queries={"leads": given})
    with pytest.raises(ConfigError, match="there is no such file"):
        installation.day(queries={"outcomes": installation.folder / "none.sql"})
    assert not list((installation.home.root / FOLDER).glob("*/*"))


def test_the_copy_of_a_killed_run_goes_and_that_of_a_run_that_goes_on_stays(installation: Installation) -> None:
    given = installation.write("later.sql", LATER)
    lake, folder = installation.home.lake(NAME), installation.home.root / FOLDER / NAME
    with installation.session() as session:
        before = {file: file.read_bytes() for file in lake.rglob("*") if file.is_file()}
        with session_beside(session, {"outcomes": given}, keeps_training=False) as beside:
            copied = beside.deployment.lake
            assert copied.root != lake
            assert copied.partition("leads", LAST).samefile(lake / "leads" / f"{LAST}.parquet")
            copied.write_json("data_profile", {})
            copied.write_days("leads", pl.DataFrame(schema={"day": pl.Date}), days=[LAST])
            remove_abandoned_copies(installation.home, NAME)
            assert copied.root.is_dir()
        assert {file: file.read_bytes() for file in lake.rglob("*") if file.is_file()} == before
    killed = folder / "0123456789ab"
    with alone(killed / ".lock", patience_seconds=0):
        (killed / "lake").mkdir()
    remove_abandoned_copies(installation.home, NAME)
    assert not list(folder.glob("*"))
