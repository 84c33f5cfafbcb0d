"""A lead that was erased is nowhere in the home any more, others are untouched, and the search would have told."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import zipfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import select

from elv_pipeline.databases.connections import open_engine
from elv_pipeline.errors import ConfigError
from elv_pipeline.forgotten import Forgotten, forgotten_file
from elv_pipeline.home import Home
from elv_pipeline.ingest.extracts.snapshots import snapshots_in
from elv_pipeline.ingest.intake import Intake
from elv_pipeline.ingest.tables import read_leads
from elv_pipeline.privacy import IdHasher
from elv_pipeline.publishing.erasure import forget as forgetting
from elv_pipeline.publishing.erasure.forget import ForgetReport, forget
from elv_pipeline.publishing.erasure.places import owner_of
from elv_pipeline.publishing.run_registry import list_runs
from elv_pipeline.publishing.scores.tables import LEAD_SCORE_HISTORY, LEAD_SCORES
from elv_pipeline.settings import PipelineConfig
from elv_pipeline_tests.publishing.home_with_a_lead import DAY, GONE, STAYS, configuration, fill, scores, snapshot

NOW = datetime(2026, 11, 21, 6, tzinfo=UTC)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def config(tmp_path: Path, home: Home) -> PipelineConfig:
    found = configuration(tmp_path)
    fill(home, found)
    snapshot(home, found)
    return found


def erase(home: Home, config: PipelineConfig, lead: str = GONE, **keys: Any) -> ForgetReport:
    return forget(home, config, lead, **{"scores": None, "who": "Ada", "now": NOW, **keys})


def holding(home: Home, text: str) -> list[str]:
    """Files whose plain bytes hold a text; Parquet is read."""
    found = []
    for file in sorted(home.root.rglob("*")):
        if not file.is_file():
            continue
        content = file.read_bytes()
        if file.suffix == ".parquet":
            content = pl.read_parquet(file).write_csv().encode()
        if text.encode() in content:
            found.append(str(file.relative_to(home.root)))
    return found


def test_nothing_of_the_lead_is_left_and_everything_of_the_others_is(home: Home, config: PipelineConfig) -> None:
    before = set(holding(home, GONE))
    others = holding(home, STAYS)
    assert len(before) >= 10
    report = erase(home, config)
    assert report.proven
    assert report.remaining == ()
    assert {place.file for place in report.erased} == before
    assert holding(home, GONE) == []
    assert holding(home, STAYS) == others
    assert pl.read_parquet(home.lake("ads") / "features" / f"{DAY}.parquet")["lead_id"].to_list() == [STAYS]


def test_the_export_that_is_not_ours_is_named_and_left(home: Home, config: PipelineConfig) -> None:
    report = erase(home, config)
    [place] = report.not_ours
    assert place.file == config.paths.leads_path
    assert GONE in Path(config.paths.leads_path).read_text()


def test_the_lead_does_not_come_back_with_the_next_reading(home: Home, config: PipelineConfig) -> None:
    erase(home, config)
    kept_out = Forgotten.load(forgotten_file(home, config.name))
    fresh = Intake(home.root / "other-intake", config, kept_out)
    [arrival] = fresh.arrivals("leads", config.paths.leads_path, reader=read_leads)
    assert arrival.ingested().frame["lead_id"].to_list() == [STAYS]


def test_manifests_say_what_is_there_now(home: Home, config: PipelineConfig) -> None:
    erase(home, config)
    folder = home.runs / "run-ads"
    document = json.loads((folder / "metadata.json").read_text())
    for name, digest in document["checksums"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name
    assert document["content_checksums"] == {}
    [erasure] = document["erasures"]
    assert erasure["files"] == ["predictions.csv", "report.html"]
    assert list_runs(home)[0]["predictions_checksum"] is None
    [found] = snapshots_in(home.root / "extracts" / "ads" / "leads")
    assert hashlib.sha256(found.path.read_bytes()).hexdigest() == found.manifest.sha256
    assert found.manifest.rows == 1
    record = json.loads((found.path.parent.parent / str(found.manifest.together)).read_text())
    assert (record["tables"]["leads"]["sha256"], record["tables"]["leads"]["rows"]) == (found.manifest.sha256, 1)


def test_scores_and_history_of_other_organisations_stay(home: Home, config: PipelineConfig) -> None:
    engine = open_engine(scores(home), purpose="test")
    report = erase(home, config, scores=engine)
    assert report.score_rows == {"dbo.lead_scores": 1, "dbo.lead_score_history": 2}
    with engine.connect() as connection:
        for table, rows in ((LEAD_SCORES, 3), (LEAD_SCORE_HISTORY, 6)):
            left = connection.execute(select(table.c.org_id, table.c.enrollment_id)).fetchall()
            assert len(left) == rows
            assert ("acme", GONE) not in {tuple(row) for row in left}
            assert ("rival", GONE) in {tuple(row) for row in left}
    engine.dispose()


def test_scores_alone_leave_no_byte_behind(home: Home, config: PipelineConfig) -> None:
    engine = open_engine(scores(home, orgs=("acme",)), purpose="test")
    erase(home, config, scores=engine)
    engine.dispose()
    assert GONE.encode() not in b"".join(file.read_bytes() for file in home.root.glob("scores.db*"))


def test_the_neighbours_files_are_named_and_left(home: Home, config: PipelineConfig, tmp_path: Path) -> None:
    fill(home, configuration(tmp_path, name="other", org_id="rival"))
    before = {name for name in holding(home, GONE) if "other" in name}
    report = erase(home, config)
    assert report.proven
    assert before
    assert before == {place.file for place in report.not_ours if not Path(place.file).is_absolute()}
    assert set(holding(home, GONE)) == before


def test_a_second_time_finds_nothing_and_writes_nothing(home: Home, config: PipelineConfig) -> None:
    erase(home, config)
    stored = {file: file.read_bytes() for file in home.root.rglob("*") if file.is_file() and file.suffix != ".jsonl"}
    report = erase(home, config)
    assert report.erased == ()
    assert report.proven
    assert {file: file.read_bytes() for file in stored} == stored


def test_a_killed_erasure_is_finished_by_the_next_one(
    home: Home, config: PipelineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(forgetting, "_finish", killed)
    with pytest.raises(KeyboardInterrupt):
        erase(home, config)
    monkeypatch.undo()
    assert Forgotten.load(forgotten_file(home, config.name)).tombstones
    assert erase(home, config).proven
    document = json.loads((home.runs / "run-ads" / "metadata.json").read_text())
    for name, digest in document["checksums"].items():
        assert hashlib.sha256((home.runs / "run-ads" / name).read_bytes()).hexdigest() == digest
    [found] = snapshots_in(home.root / "extracts" / "ads" / "leads")
    assert hashlib.sha256(found.path.read_bytes()).hexdigest() == found.manifest.sha256
    assert not list((home.root / "forgotten").glob("*.unfinished.json"))


def test_what_cannot_be_rewritten_is_reported(home: Home, config: PipelineConfig) -> None:
    model = home.models("ads") / "2026-11-01" / "abc" / "model.joblib"
    model.write_bytes(b'\x80{"example": "' + GONE.encode() + b'"}')
    report = erase(home, config)
    assert not report.proven
    assert [place.file for place in report.remaining] == ["models/ads/2026-11-01/abc/model.joblib"]


def test_a_lead_whose_id_is_stored_hashed_is_found_by_either_id(
    tmp_path: Path, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ELV_HASH_KEY", "k" * 40)
    hasher = IdHasher(b"k" * 40, ("lead_id",))
    config = configuration(tmp_path, privacy={"hashed_columns": ["lead_id"]})
    fill(home, config, ids=(hasher.text(GONE), hasher.text(STAYS)))
    snapshot(home, config)
    report = erase(home, config)
    assert report.proven
    assert holding(home, hasher.text(GONE)) == []
    assert holding(home, GONE) == []
    assert erase(home, config, hasher.text(STAYS)).proven
    assert holding(home, hasher.text(STAYS)) == []


def test_the_report_and_its_record_name_no_id(home: Home, config: PipelineConfig) -> None:
    report = erase(home, config)
    record = (home.root / "forgotten" / "erasures.jsonl").read_text()
    assert GONE not in repr(report)
    assert GONE not in record
    assert json.loads(record)["who"] == "Ada"


def test_without_an_id_nothing_happens(home: Home, config: PipelineConfig) -> None:
    with pytest.raises(ConfigError, match="no id"):
        erase(home, config, "  ")
    assert not (home.root / "forgotten").exists()


def test_scores_of_the_home_go_too_where_scores_now_go_elsewhere(
    home: Home, config: PipelineConfig, tmp_path: Path
) -> None:
    """Before there was a database, scores went to the file of the home, which still names the lead."""
    scores(home, orgs=("acme",))
    (tmp_path / "elsewhere").mkdir()
    elsewhere = open_engine(scores(Home(tmp_path / "elsewhere"), orgs=("acme",)), purpose="test")
    report = erase(home, config, scores=elsewhere)
    elsewhere.dispose()
    assert report.score_rows == {"dbo.lead_scores": 2, "dbo.lead_score_history": 4}
    assert report.proven
    for file in (home.root / "scores.db", tmp_path / "elsewhere" / "scores.db"):
        assert GONE.encode() not in file.read_bytes()
        assert STAYS.encode() in file.read_bytes()


def test_scores_of_the_home_go_without_any_database(home: Home, config: PipelineConfig) -> None:
    scores(home, orgs=("acme",))
    assert erase(home, config).score_rows == {"dbo.lead_scores": 1, "dbo.lead_score_history": 2}


def test_a_file_that_is_no_text_and_an_archive_are_reported(home: Home, config: PipelineConfig) -> None:
    odd, packed = home.runs / "run-ads" / "core.bin", home.runs / "run-ads" / "old.zip"
    odd.write_bytes(b"\xff\xfe " + GONE.encode())
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("leads.csv", f"lead_id\n{GONE}\n")
    report = erase(home, config)
    assert {place.file: place.why.split(",")[0] for place in report.remaining} == {
        "runs/run-ads/core.bin": "not a text in UTF-8",
        "runs/run-ads/old.zip": "a model or packed file",
    }


def test_messages_of_the_outbox_belong_to_the_configuration_of_their_folder(
    home: Home, config: PipelineConfig, tmp_path: Path
) -> None:
    """``alerts/outbox`` is no configuration called outbox."""
    neighbour = configuration(tmp_path, name="other", org_id="rival")
    for name in (config.name, neighbour.name):
        waits = home.root / "alerts" / "outbox" / name / "webhook-X-1.json"
        waits.parent.mkdir(parents=True)
        waits.write_text(json.dumps({"message": {"alerts": [{"message": f"about {GONE}"}]}}))
        (home.root / "monitoring").mkdir(exist_ok=True)
        home.monitoring_page(name).write_text(f"<p>{GONE}</p>")
    report = erase(home, config)
    assert report.proven
    assert {place.file for place in report.erased} >= {"alerts/outbox/ads/webhook-X-1.json", "monitoring/ads.html"}
    inside = {place.file: place.why for place in report.not_ours if not Path(place.file).is_absolute()}
    assert set(inside) == {"alerts/outbox/other/webhook-X-1.json", "monitoring/other.html"}
    assert all(why.startswith("of configuration other;") for why in inside.values())
    assert GONE in waits.read_text()
    outbox = configuration(tmp_path, name="outbox")
    (home.root / "alerts" / "outbox.json").write_text("{}")
    assert owner_of(home, home.root / "alerts" / "outbox.json") == outbox.name


def test_a_file_that_is_called_like_the_lead_is_reported_without_its_name(home: Home, config: PipelineConfig) -> None:
    (home.runs / "run-ads" / f"{GONE}.txt").write_text("a note")
    report = erase(home, config)
    [place] = report.remaining
    assert place.why == "its path spells the id: rename or delete it"
    assert GONE not in repr(report)
    assert place.file.startswith("runs / run-ads / (erased)")


def test_two_leads_one_after_the_other(home: Home, config: PipelineConfig) -> None:
    with closing(sqlite3.connect(home.root / "tags.db")) as connection:
        connection.execute("CREATE TABLE tags (value TEXT UNIQUE)")
        connection.executemany("INSERT INTO tags VALUES (?)", [(GONE,), (STAYS,)])
        connection.commit()
    assert erase(home, config).proven
    assert erase(home, config, STAYS).proven
    assert (holding(home, GONE), holding(home, STAYS)) == ([], [])


def test_records_that_dagster_keeps_elsewhere_are_named_as_not_searched(home: Home, config: PipelineConfig) -> None:
    assert not [note for note in erase(home, config).notes if "Dagster" in note]
    home.dagster.mkdir()
    (home.dagster / "dagster.yaml").write_text("# storage:\ntelemetry:\n  enabled: false\n")
    assert not [note for note in erase(home, config).notes if "Dagster" in note]
    (home.dagster / "dagster.yaml").write_text("storage:\n  postgres:\n    postgres_db: {}\n")
    [note] = [note for note in erase(home, config).notes if "Dagster" in note]
    assert "not searched" in note
