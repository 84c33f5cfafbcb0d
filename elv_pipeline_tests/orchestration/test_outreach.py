"""Outreach from its exports to scores and recommendations: what is shared, what is published, and no look ahead."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
import yaml

from elv_pipeline.config_file import load_targets
from elv_pipeline.errors import ConfigError, ContractError, ScoringRefusedError
from elv_pipeline.home import Home
from elv_pipeline.orchestration.commands import Session, opened
from elv_pipeline.orchestration.daily_life import DailyRequest, run_daily
from elv_pipeline.orchestration.outreach_deployment import CLEAN, MOMENT_FEATURES, MOMENTS
from elv_pipeline.orchestration.partitions import DayRange
from elv_pipeline.orchestration.publication import write_bundle
from elv_pipeline.settings import PipelineConfig
from elv_pipeline.synthetic.outreach.organisation import EXPORTS, Organisation, generate_outreach, write_outreach
from elv_pipeline.synthetic.outreach.spec import OutreachSpec
from elv_pipeline_tests.orchestration.conftest import BETA, isolate

pytestmark = [BETA, pytest.mark.slow]
SPEC = OutreachSpec(contacts=1_500, days=170, seed=3, second_enrollment_share=0.1)
LAST = SPEC.start_date + timedelta(days=SPEC.days - 1)


@dataclass(frozen=True)
class Made:
    """A home in which one target was trained and scored, and the other has its own rows."""

    folder: Path
    home: Home
    organisation: Organisation

    @property
    def configs(self) -> list[PipelineConfig]:
        return load_targets(self.folder / "crm.yaml")

    @contextmanager
    def opened(self, target: str, *, home: Home | None = None) -> Iterator[Session]:
        (config,) = load_targets(f"{self.folder / 'crm.yaml'}#{target}")
        with opened(config, home or self.home) as session:
            yield session


def write_config(folder: Path) -> None:
    document = {
        "name": "crm",
        "problem": "outreach",
        "targets": ["qualified", "booked_call"],
        "values": {"qualified": 150},
        "org_id": SPEC.org_id,
        "timezone": "Europe/Berlin",
        "start_date": SPEC.start_date.isoformat(),
        "end_date": LAST.isoformat(),
        "moments": {"rescore_days": 3},
        "model": {"search_candidates": 0, "bootstrap_samples": 100, "threads": 1},
        "recommend": {"randomised_campaigns": ["cmp005", "cmp006"]},
        "paths": {f"{table}_path": f"exports/{table}.csv" for table in EXPORTS},
    }
    (folder / "crm.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    folder = tmp_path_factory.mktemp("outreach")
    organisation = generate_outreach(SPEC)
    write_outreach(organisation, folder / "exports")
    write_config(folder)
    found = Made(folder, Home(folder / "home"), organisation)
    with pytest.MonkeyPatch.context() as patch:
        isolate(patch, found.home.root)
        with found.opened("qualified") as session:
            session.build_history()
            training = session.train_only(session.default_origin())
            session.score(last=session.last_day(), model=str(training.bundle / "model.joblib"))
        with found.opened("booked_call") as session:
            session.build_history()
        yield found


def scanned(made: Made, name: str, table: str) -> pl.DataFrame:
    return pl.concat(pl.read_parquet(file) for file in sorted((made.home.lake(name) / table).glob("2*.parquet")))


def test_targets_share_moments_and_features_and_score_those_that_are_open(made: Made) -> None:
    moments, features = scanned(made, "crm", MOMENTS), scanned(made, "crm", MOMENT_FEATURES)
    assert moments["moment_id"].sort().equals(features["lead_id"].sort().alias("moment_id"))
    open_ones = {target: scanned(made, f"crm_{target}", "features") for target in ("qualified", "booked_call")}
    for rows in open_ones.values():
        assert rows.height < moments.height
        same = rows.select("lead_id").join(features, on="lead_id", how="left", maintain_order="left")
        assert same.select(rows.columns).equals(rows)
    # A booked call ends the moments of one target and not of the other.
    assert open_ones["qualified"].height != open_ones["booked_call"].height
    assert not list(made.home.lake("crm_qualified").glob(MOMENT_FEATURES))


def test_the_model_finds_what_was_put_in(made: Made) -> None:
    with made.opened("qualified") as session:
        lake = session.deployment.lake
        scored = lake.scan_days("predictions", first=date.min, last=date.max).collect()
    assert scored["lead_id"].n_unique() == scored.height
    outcomes = made.organisation.outcomes.filter(pl.col("outcome") == "qualified")["enrollment_id"]
    # Who did qualify in the end had the higher scores before; the model never saw these rows' outcomes.
    later = scored.filter(pl.col("split").is_in(["young", "score"]))
    came = later["enrollment_id"].is_in(outcomes.implode())
    assert later.filter(came)["p_qualified_14d"].mean() > 1.3 * later.filter(~came)["p_qualified_14d"].mean()
    assert later["reason_1"].null_count() < later.height
    said = set(later["reason_1"].drop_nulls())
    assert not [reason for reason in said if any(word in reason for word in ("rate_90d", "_count", "hours_", " lead "))]


def test_the_table_of_scores_holds_the_newest_moment_of_each_enrollment(made: Made) -> None:
    with made.opened("qualified") as session:
        scored = session.deployment.lake.scan_days("predictions", first=date.min, last=date.max).collect()
    with sqlite3.connect(made.home.root / "scores.db") as connection:
        stored = pl.read_database("select * from lead_scores", connection)
    assert stored["label_col"].unique().to_list() == ["qualified_within_14d"]
    assert stored["enrollment_id"].n_unique() == stored.height
    newest = scored.sort("created_time", "lead_id").unique("enrollment_id", keep="last", maintain_order=True)
    both = stored.join(newest, on="enrollment_id", how="full", suffix="_scored")
    assert both.height == stored.height == newest.height
    assert both["score"].to_list() == pytest.approx(both["p_qualified_14d"].to_list())
    assert set(stored["org_id"]) == {SPEC.org_id}


def test_an_older_day_that_is_written_again_does_not_put_back_an_older_score(made: Made, tmp_path: Path) -> None:
    home = copy_of(made, tmp_path)
    with sqlite3.connect(home.root / "scores.db") as connection:
        before = dict(connection.execute("select enrollment_id, prediction_time from lead_scores").fetchall())
    day = LAST - timedelta(days=5)
    with made.opened("qualified", home=home) as session:
        model = next(session.deployment.home.models("crm_qualified").glob("*/*/model.joblib"))
        session.score(first=day, last=day, model=str(model))
    with sqlite3.connect(home.root / "scores.db") as connection:
        after = dict(connection.execute("select enrollment_id, prediction_time from lead_scores").fetchall())
    assert after == before


def test_an_older_bundle_that_is_written_does_not_put_back_an_older_score(made: Made, tmp_path: Path) -> None:
    home, day = copy_of(made, tmp_path), LAST - timedelta(days=5)
    with made.opened("qualified", home=home) as session:
        model = next(home.models("crm_qualified").glob("*/*/model.joblib"))
        older = session.score(first=day, last=day, model=str(model), persist=False).bundle
    with sqlite3.connect(home.root / "scores.db") as connection:
        before = dict(connection.execute("select enrollment_id, prediction_time from lead_scores").fetchall())
    counts = write_bundle(
        home,
        predictions_csv=older / "predictions.csv",
        metrics_json=older / "metrics.json",
        split="all",
        config_path=made.folder / "crm.yaml",
        dry_run=False,
        who="",
    )
    with sqlite3.connect(home.root / "scores.db") as connection:
        after = dict(connection.execute("select enrollment_id, prediction_time from lead_scores").fetchall())
    assert counts.inserted == 0
    assert after == before


def test_an_enrollment_is_explained_by_its_newest_moment(made: Made) -> None:
    with made.opened("qualified") as session:
        rows = session.deployment.lake.scan_days("features", first=date.min, last=date.max).collect()
        newest = rows.sort("created_time", "lead_id").row(-1, named=True)
        model = str(next(session.deployment.home.models("crm_qualified").glob("*/*/model.joblib")))
        found = session.explain(newest["enrollment_id"], model=model)
        assert found.prediction["lead_id"] == newest["lead_id"]
        again = session.explain(newest["lead_id"], model=model)
        assert {**again.prediction, "scored_at": found.prediction["scored_at"]} == dict(found.prediction)
        with pytest.raises(ScoringRefusedError, match=r"enrollment or moment 'nobody' is not .* such as <id>@0"):
            session.explain("nobody", model=model)


def test_recommendations_are_asked_within_the_calendar(made: Made) -> None:
    with made.opened("booked_call") as session, pytest.raises(ConfigError, match="lies outside the calendar"):
        session.recommend(as_of=SPEC.start_date - timedelta(days=1))


def test_a_day_alone_has_the_features_that_it_has_in_the_whole_calendar(made: Made, tmp_path: Path) -> None:
    home, day = copy_of(made, tmp_path), LAST - timedelta(days=20)
    files = [home.lake("crm") / MOMENTS, home.lake("crm") / MOMENT_FEATURES, home.lake("crm_qualified") / "features"]
    before = [(folder / f"{day}.parquet").read_bytes() for folder in files]
    for folder in files:
        (folder / f"{day}.parquet").unlink()
    with made.opened("qualified", home=home) as session:
        session.run("history", days=DayRange(day, day))
    assert [(folder / f"{day}.parquet").read_bytes() for folder in files] == before


def test_what_targets_share_is_made_once(made: Made, tmp_path: Path) -> None:
    home = copy_of(made, tmp_path)
    files = [file for table in (MOMENTS, MOMENT_FEATURES) for file in (home.lake("crm") / table).glob("2*.parquet")]
    before = {file: file.stat().st_mtime_ns for file in files}
    with made.opened("booked_call", home=home) as session:
        session.run("history", days=DayRange(LAST - timedelta(days=9), LAST))
    assert {file: file.stat().st_mtime_ns for file in files} == before


def test_events_of_the_future_change_no_moment_no_feature_and_no_row(made: Made, tmp_path: Path) -> None:
    home = copy_of(made, tmp_path)
    cut = LAST - timedelta(days=6)
    planted = Made(tmp_path, home, made.organisation)
    exports = tmp_path / "exports"
    shutil.copytree(made.folder / "exports", exports)
    write_config(tmp_path)
    times = {"engagement_logs": "event_time", "outcomes": "outcome_time", "enrollments": "enrolled_time"}
    for table, time in times.items():  # contacts of later enrollments stay: they are nobody's business before
        rows = pl.read_csv(exports / f"{table}.csv", infer_schema=False)
        recorded = "recorded_time" if "recorded_time" in rows.columns else time
        rows.filter(pl.col(recorded).str.slice(0, 10) < str(cut)).write_csv(exports / f"{table}.csv")
    fresh = Home(tmp_path / "fresh")
    days = DayRange(cut - timedelta(days=6), cut - timedelta(days=1))
    with planted.opened("qualified", home=fresh) as session:
        session.build_history()
        for table in ("joined_leads", "features"):
            known = session.deployment.lake.scan_days(table, first=days.first, last=days.last).collect()
            with made.opened("qualified") as other:
                whole = other.deployment.lake.scan_days(table, first=days.first, last=days.last).collect()
            assert known.height > 100
            # The exports are cut at midnight UTC, and the calendar is that of Berlin: its last hour is still open.
            shared = whole.filter(pl.col("created_time") < pl.lit(str(cut)).str.to_datetime(time_zone="UTC"))
            ends = pl.col("lead_id").str.contains(r"\+") & (pl.col("day") == days.last)
            assert known.filter(~ends).equals(shared.filter(~ends))


def test_tables_that_break_their_gate_leave_everything_as_it_was(made: Made, tmp_path: Path) -> None:
    home = copy_of(made, tmp_path)
    shutil.copytree(made.folder / "exports", tmp_path / "exports")
    write_config(tmp_path)
    logs = tmp_path / "exports" / "engagement_logs.csv"
    rows = pl.read_csv(logs, infer_schema=False)
    rows.with_columns(pl.lit("enr-nobody").alias("enrollment_id")).write_csv(logs)
    before = {str(file): file.read_bytes() for file in home.lake("crm").rglob("*") if file.is_file()}
    changed = Made(tmp_path, home, made.organisation)
    (config,) = load_targets(f"{made.folder / 'crm.yaml'}#qualified")
    paths = config.paths.model_copy(update={"engagement_logs_path": str(logs)})
    broken = config.model_copy(update={"paths": paths})
    with pytest.raises(ConfigError, match="already stands for other data"), opened(broken, home):
        pass
    (made.folder / "exports" / "engagement_logs.csv").rename(made.folder / "kept.csv")
    try:
        shutil.copy(logs, made.folder / "exports" / "engagement_logs.csv")
        with changed_session(made, home) as session, pytest.raises(ContractError, match="not clean enough"):
            session.validate()
    finally:
        (made.folder / "kept.csv").replace(made.folder / "exports" / "engagement_logs.csv")
    assert {str(file): file.read_bytes() for file in home.lake("crm").rglob("*") if file.is_file()} == before
    assert changed.configs


@contextmanager
def changed_session(made: Made, home: Home) -> Iterator[Session]:
    with made.opened("qualified", home=home) as session:
        yield session


def test_no_name_address_or_text_of_a_reply_is_anywhere_in_the_home(made: Made) -> None:
    texts = made.organisation.engagement_logs["response_text"].drop_nulls().unique().to_list()
    words = {text.encode() for text in texts if len(text) > 25}
    people = {str(value).encode() for value in made.organisation.contacts["full_name"].head(50)}
    assert words
    for file in made.home.root.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert not [word for word in (*words, *people, b"example.invalid", b"+1-202-555") if word in content], file


def test_recommendations_are_a_page_tables_and_drafts(made: Made) -> None:
    with made.opened("booked_call") as session:
        result = session.recommend()
    document = result.document("recommendations.json")
    assert document["outcome"]["label_column"] == "booked_call_within_7d"
    assert (result.bundle / "recommendations.html").read_text(encoding="utf-8").startswith("<!")
    assert {entry["state"] for entry in document["proposals"]} <= {"draft"}
    randomised = [found for found in document["campaigns"] if found["randomised"]]
    assert {found["campaign_id"] for found in randomised} == {"cmp005", "cmp006"}


def test_a_day_of_life_scores_yesterday_and_tells_of_it(made: Made, tmp_path: Path) -> None:
    home = copy_of(made, tmp_path)
    with made.opened("qualified", home=home) as session:
        model = next(home.models("crm_qualified").glob("*/*/model.joblib"))
        done = run_daily(session, DailyRequest(until=LAST + timedelta(days=1), model=str(model)))
    assert not done.held
    assert done.written is not None
    assert done.written["withheld"] == ""


def test_a_file_of_leads_is_refused_in_words(made: Made, tmp_path: Path) -> None:
    with made.opened("qualified") as session, pytest.raises(ConfigError, match="problem lead_ads only"):
        session.batch_score(tmp_path / "leads.csv")


def copy_of(made: Made, folder: Path) -> Home:
    """A home of its own with the same tables and models."""
    home = Home(folder / "home")
    shutil.copytree(made.home.root, home.root, ignore=shutil.ignore_patterns("dagster"))
    assert (home.lake("crm") / f"{CLEAN}.json").is_file()
    return home
