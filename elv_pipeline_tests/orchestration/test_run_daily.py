"""`elv run-daily` and the commands around it, through the command line, on files and on a database."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from elv_pipeline.home import Home
from elv_pipeline.orchestration.assets.completeness import CompletenessConfig
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.deployments import deployment_of
from elv_pipeline.orchestration.due_days import held_record
from elv_pipeline.orchestration.partitions import DayRange
from elv_pipeline.publishing.scores.targets import approvals
from elv_pipeline_tests.command_line import Answer, elv
from elv_pipeline_tests.orchestration.conftest import BETA, FIRST, LAST, LENIENT, MODEL, NAME, Copy, Finished

pytestmark = BETA
UNTIL = LAST + timedelta(days=1)
QUERIES = {
    "leads": "SELECT * FROM leads WHERE datetime(created_time) >= datetime(:since) "
    "AND datetime(created_time) < datetime(:until)",
    "ads": "SELECT * FROM ads WHERE date >= date(:since) AND date < date(:until)",
    "outcomes": "SELECT lead_id, qualified_time FROM outcomes WHERE datetime(qualified_time) >= datetime(:since) "
    "AND datetime(qualified_time) < datetime(:until)",
}


@dataclass(frozen=True)
class Machine:
    """A home with its configuration file, as a scheduler sees it."""

    home: Path
    config: Path

    def ask(self, command: str, *arguments: object) -> Answer:
        return elv(command, "--config", self.config, *arguments, home=self.home)

    def scores(self) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.home / "scores.db")) as connection:
            return connection.execute("SELECT * FROM lead_scores ORDER BY enrollment_id").fetchall()

    def bundle(self, answer: Answer) -> Path:
        return self.home / "runs" / answer.run_id

    def deployment(self) -> Deployment:
        [config] = Home(self.home).registered()
        return deployment_of(config, Home(self.home))


def written(folder: Path, **changes: Any) -> Path:
    document = {
        "name": NAME,
        "start_date": str(FIRST),
        "end_date": str(LAST),
        "value_per_qualified": 100.0,
        "paths": {f"{table}_path": f"exports/{table}.csv" for table in QUERIES},
        "model": MODEL,
        "promotion": LENIENT,
        **changes,
    }
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    return file


@pytest.fixture
def on_files(copy: Copy, tmp_path: Path) -> Machine:
    return Machine(copy.deployment.home.root, written(tmp_path))


@pytest.fixture
def on_a_database(finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """The shared tables and models under a configuration whose exports stand in a database."""
    home = tmp_path / "home"
    ignored = shutil.ignore_patterns("dagster", "runs", "mlartifacts", "configurations")
    shutil.copytree(finished.deployment.home.root, home, ignore=ignored)
    database = tmp_path / "crm.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        for table in QUERIES:
            rows = pl.read_csv(finished.deployment.home.root.parent / f"exports/{table}.csv", infer_schema=False)
            connection.execute(f"CREATE TABLE {table} ({', '.join(rows.columns)})")
            marks = ", ".join("?" for _ in rows.columns)
            connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows.rows())
    for table, query in QUERIES.items():
        (tmp_path / f"{table}.sql").write_text(query, encoding="utf-8")
    monkeypatch.setenv("ELV_SOURCE_URL", f"sqlite:///{database}")
    extracts = {"days_back": 14, "train_days_back": 30, **{table: f"{table}.sql" for table in QUERIES}}
    source = {"source": {"url_variable": "ELV_SOURCE_URL", "attempts": 1}}
    return Machine(home, written(tmp_path, paths={}, databases=source, extracts=extracts))


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    """Judges completeness at a moment of the test: the exports are older than any day waits."""

    def move(moment: datetime) -> None:
        monkeypatch.setattr(CompletenessConfig, "moment", property(lambda _self: moment))

    return move


def morning_after(day: date) -> datetime:
    return datetime.combine(day + timedelta(days=1), time(6), tzinfo=UTC)


def test_a_day_of_files_and_the_same_day_again(on_files: Machine) -> None:
    before = on_files.scores()
    for _ in range(2):
        answer = on_files.ask("run-daily", "--until", UNTIL)
        assert answer.code == 0, answer.err + answer.out
        assert f"Days {LAST}: inserted=0 updated=0 unchanged=" in answer.out
        assert on_files.scores() == before
    bundle = on_files.bundle(answer)
    assert {"model.joblib", "predictions.csv", "report.html", "alerts.json"} <= {f.name for f in bundle.iterdir()}
    assert Home(on_files.home).monitoring_page(NAME).is_file()


def test_leads_that_arrived_late_are_scored_and_told(on_files: Machine, copy: Copy) -> None:
    day = LAST - timedelta(days=1)
    file = copy.deployment.lake.partition("predictions", day)
    late = pl.read_parquet(file)["lead_id"].to_list()[:3]
    pl.read_parquet(file).filter(~pl.col("lead_id").is_in(late)).write_parquet(file)
    before = on_files.scores()
    with closing(sqlite3.connect(on_files.home / "scores.db")) as connection, connection:
        connection.executemany("DELETE FROM lead_scores WHERE enrollment_id = ?", [(lead,) for lead in late])
    answer = on_files.ask("run-daily", "--until", UNTIL)
    assert answer.code == 0, answer.err + answer.out
    assert f"3 leads that arrived late on {day} were scored." in answer.out
    assert f"Days {LAST}: inserted=3 updated=0 unchanged=" in answer.out
    told = slice(3, 16)  # but for the run, its moment and the number of the write
    assert [(row[1], *row[told]) for row in on_files.scores()] == [(row[1], *row[told]) for row in before]


@pytest.mark.slow
def test_scores_stay_in_the_bundle_where_they_are_not_to_be_persisted(on_files: Machine) -> None:
    (on_files.home / "scores.db").unlink()
    answer = on_files.ask("run-daily", "--until", UNTIL, "--no-persist-scores")
    assert answer.code == 0, answer.err
    assert f"Days {LAST}: no score was written. The run was asked not to write scores." in answer.out
    assert pl.read_csv(on_files.bundle(answer) / "predictions.csv").height > 0
    # A named earlier run scores with the model of its bundle; this one writes.
    again = on_files.ask("run-daily", "--until", UNTIL, "--artifacts-dir", answer.run_id)
    assert again.code == 0, again.err
    assert len(on_files.scores()) == pl.read_csv(on_files.bundle(again) / "predictions.csv").height
    unknown = on_files.ask("run-daily", "--until", UNTIL, "--artifacts-dir", "no-such-run")
    assert (unknown.code, "no run of that id" in unknown.err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--until", "2999-01-01"), "2998-12-31, is not over yet"),
        (("--until", str(FIRST)), "lies outside the calendar"),
        (("--until", str(UNTIL), "--outcomes-query-file", "outcomes.sql"), "reads files"),
        (("--until", str(UNTIL + timedelta(days=30))), "lies outside the calendar"),
    ],
)
def test_a_window_that_cannot_be_is_refused_before_anything_runs(
    on_files: Machine, arguments: tuple[str, ...], named: str
) -> None:
    before = on_files.scores()
    answer = on_files.ask("run-daily", *arguments)
    assert (answer.code, named in answer.err) == (2, True), answer.err
    assert on_files.scores() == before
    assert not list((on_files.home / "runs").glob("*"))


@pytest.mark.slow
def test_a_held_day_has_an_exit_code_of_its_own_and_can_be_released(
    on_files: Machine, copy: Copy, at: Callable[[datetime], None]
) -> None:
    at(morning_after(LAST))
    ads = pl.read_csv(copy.exports / "ads.csv", infer_schema=False)
    ads.filter(pl.col("date") < str(LAST)).write_csv(copy.exports / "ads.csv")
    copy.deployment.lake.partition("ads", LAST).unlink()
    before = on_files.scores()
    answer = on_files.ask("run-daily", "--until", UNTIL)
    assert answer.code == 9, answer.err + answer.out
    assert f"held    {LAST}: ads was not read for {LAST}." in answer.out
    assert "day_held" in answer.out
    assert on_files.scores() == before
    again = on_files.ask("run-daily", "--until", UNTIL)
    assert again.code == 9
    refused = on_files.ask("release-day", "--day", LAST - timedelta(days=1), "--reason", "a holiday")
    assert (refused.code, "is not held" in refused.err) == (1, True)
    released = on_files.ask("release-day", "--day", LAST, "--reason", "the account was paused", "--who", "ana")
    assert released.code == 0, released.err
    assert held_record(copy.deployment)[str(LAST)]["by"] == "ana"
    done = on_files.ask("run-daily", "--until", UNTIL)
    assert done.code == 0, done.err + done.out
    assert "scored_on_incomplete_inputs" in (on_files.bundle(done) / "alerts.json").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_day_of_a_database_and_the_same_day_again(on_a_database: Machine) -> None:
    before = on_a_database.scores()
    first = on_a_database.ask("run-daily", "--until", UNTIL)
    assert first.code == 0, first.err + first.out
    assert f"Days {LAST}: inserted=0 updated=0 unchanged=" in first.out
    assert on_a_database.scores() == before
    snapshots = {f: f.read_bytes() for f in Home(on_a_database.home).extracts(NAME).rglob("*") if f.is_file()}
    assert snapshots
    second = on_a_database.ask("run-daily", "--until", UNTIL, "--since", FIRST)
    assert second.code == 0, second.err
    assert "inserted=0 updated=0" in second.out
    assert on_a_database.scores() == before
    extracted = on_a_database.ask("extract", "--since", FIRST, "--until", UNTIL)
    assert extracted.code == 0, extracted.err
    assert "as before" in extracted.out
    text = "".join(file.read_text(encoding="utf-8") for file in [Home(on_a_database.home).access_log])
    assert "example.invalid" not in text


@pytest.mark.slow
def test_a_training_reads_its_days_anew_and_tells_its_decision(on_a_database: Machine) -> None:
    answer = on_a_database.ask("run-daily", "--mode", "train", "--until", UNTIL)
    assert answer.code == 0, answer.err + answer.out
    assert "Decision: " in answer.out
    document = on_a_database.deployment().lake.read_json("extracts")
    assert document["leads"]["until"] == str(UNTIL)
    assert (on_a_database.bundle(answer) / "model.joblib").is_file()


def test_approving_a_target_is_recorded_with_name_and_reason(
    on_files: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded = on_files.ask("approve-target", "--reason", "the first write", "--who", "ana")
    assert (embedded.code, "needs no approval" in embedded.err) == (1, True)
    monkeypatch.setenv("ELV_SCORES_URL", f"sqlite:///{tmp_path}/prod.db")
    written(tmp_path, environment="prod", databases={"scores": {"url_variable": "ELV_SCORES_URL"}})
    short = on_files.ask("approve-target", "--reason", "ok", "--who", "ana")
    assert (short.code, "shorter than" in short.err) == (2, True)
    approved = on_files.ask("approve-target", "--reason", "cutover of the first account", "--who", "ana")
    assert approved.code == 0, approved.err
    assert "Approved for prod by ana: " in approved.out
    [given] = approvals(Home(on_files.home))
    assert (given.environment, given.who, given.reason) == ("prod", "ana", "cutover of the first account")


def test_a_purge_says_what_would_go_and_keeps_what_is_needed(on_files: Machine) -> None:
    kept, gone = on_files.home / "runs" / "new-run", on_files.home / "runs" / "old-run"
    for folder, at in ((kept, datetime.now(UTC)), (gone, datetime(2020, 1, 1, tzinfo=UTC))):
        folder.mkdir(parents=True)
        manifest = {"name": NAME, "kind": "score", "utc_timestamp": at.isoformat(), "model_version": "9"}
        (folder / "metadata.json").write_text(json.dumps(manifest), encoding="utf-8")
    planned = on_files.ask("purge", "--older-than", "30", "--dry-run")
    assert planned.code == 0, planned.err
    assert "bundle: 1 would go" in planned.out
    assert gone.is_dir()
    done = on_files.ask("purge", "--older-than", "30")
    assert done.code == 0, done.err
    assert "bundle: 1 gone" in done.out
    assert (kept.is_dir(), gone.is_dir()) == (True, False)


def test_an_erased_lead_is_nowhere_and_does_not_come_back(on_files: Machine, copy: Copy) -> None:
    lead = copy.deployment.scan("predictions", first=LAST, last=LAST).collect()["lead_id"][0]
    answer = on_files.ask("forget", "--id", lead, "--who", "ana")
    assert answer.code in (0, 1), answer.err
    assert "erased" in answer.out
    assert lead not in {row[1] for row in on_files.scores()}
    # No export brings it back, neither to the raw table nor to what follows from it.
    day = DayRange(LAST, LAST)
    copy.run("leads", "joined_leads", "features", "predictions", "lead_scores", days=day)
    for table in ("leads", "joined_leads", "features", "predictions"):
        rows = copy.deployment.scan(table, first=LAST, last=LAST).collect()
        assert rows.height > 0
        assert lead not in rows["lead_id"].to_list(), table
    assert lead not in {row[1] for row in on_files.scores()}
