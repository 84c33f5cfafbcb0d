"""A real campaign panel as exports of outreach: what stands for what, by hand and on the data, which stay outside."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from elv_pipeline.config_file import load_targets
from elv_pipeline.contracts.outreach import SOURCES
from elv_pipeline.errors import ConfigError
from elv_pipeline.ingest.outreach_cleaning import CleanedOutreach, clean_outreach
from elv_pipeline.ingest.outreach_exports import read_outreach
from elv_pipeline.problems.outreach import target_of
from elv_pipeline.settings import PipelineConfig
from elv_pipeline.tables.anchored_labels import anchored_label_times, with_anchored_status
from elv_pipeline.tables.labels import Observation
from elv_pipeline.tables.moments import MomentChoice, moments, reaches
from elv_pipeline_tests.command_line import elv
from tools.complete_journey import FILES, SHOPPING, main

CONFIG = Path(__file__).parents[1] / "configs" / "complete_journey.yaml"
PANEL: Mapping[str, Sequence[str]] = {
    "campaign_descriptions": ("26,Type B,2016-12-28,2017-02-19", "27,Type A,2017-03-06,2017-04-23"),
    # 7 redeems on the first day, 8 on the seventh, 9 on the eighth and again, 10 never; 11 before the record as well.
    "campaigns": ("27,7", "27,8", "27,9", "27,10", "26,11", "26,7"),
    "redemptions": ("7,27,2017-03-06", "8,27,2017-03-12", "9,27,2017-03-14", "9,27,2017-03-13", "11,26,2017-01-02"),
    "transactions_sample": (
        "7,b1,2017-01-05 23:30:00",
        "7,b1,2017-01-05 23:30:00",
        "7,b2,2017-01-05 23:30:00",
        "7,b3,2017-03-06 04:59:59",
        "8,b4,2017-03-06 05:00:00",
        "99,b5,2017-03-06 05:00:00",
    ),
}


def written(folder: Path, panel: Mapping[str, Sequence[str]] = PANEL) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in panel.items():
        text = "\n".join((",".join(FILES[name]), *rows)) + "\n"
        with gzip.open(folder / f"cj_{name}.csv.gz", "wt", encoding="utf-8") as file:
            file.write(text)
    return folder


def configured(exports: Path, monkeypatch: pytest.MonkeyPatch) -> list[PipelineConfig]:
    monkeypatch.setenv("COMPLETE_JOURNEY_EXPORTS", str(exports))
    return load_targets(CONFIG)


def cleaned(config: PipelineConfig) -> CleanedOutreach:
    read = read_outreach(config)
    return clean_outreach(read.tables, known_until=read.known_until)


def labels(config: PipelineConfig, tables: CleanedOutreach) -> pl.DataFrame:
    """One row an enrollment, at the configured moment: when its letter went out."""
    rows = {name: table.lazy() for name, table in tables.tables.items()}
    reached = reaches(rows["enrollments"], rows["campaign_steps"], rows["engagement_logs"])
    assert config.moments.positions is not None
    choice = MomentChoice(at_enrollment=config.moments.at_enrollment, positions=frozenset(config.moments.positions))
    made = moments(reached, timezone=config.timezone, choice=choice)
    assert config.observed_from_moment is not None
    assert config.observed_until_moment is not None
    since, until = config.observed_from_moment.astimezone(UTC), config.observed_until_moment.astimezone(UTC)
    target = target_of(config)
    times = anchored_label_times(made, rows["engagement_logs"], rows["outcomes"], target=target, observed_until=until)
    observation = Observation(window_days=target.window_days, observed_from=since, observed_until=until)
    return with_anchored_status(times, target=target, observation=observation).collect()


@pytest.fixture
def exports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert main([str(written(tmp_path / "panel")), str(tmp_path / "exports")]) == 0
    assert "enrollments.csv: 11 rows" in capsys.readouterr().out
    return tmp_path / "exports"


def test_the_exports_are_those_that_the_contracts_ask_for(exports: Path) -> None:
    assert {path.stem for path in exports.iterdir()} == {source.name for source in SOURCES}
    for source in SOURCES:
        header = pl.read_csv(exports / f"{source.name}.csv", infer_schema=False).columns
        required = {column.name for column in source.columns if column.required}
        assert required <= set(header) <= {column.name for column in source.columns}


def test_the_clean_stage_finds_nothing_to_complain_of(exports: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = cleaned(configured(exports, monkeypatch)[0])
    assert found.gate.findings == ()
    assert found.gate.verdict == "ready"


def test_a_mailing_begins_with_its_day_in_local_time(exports: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = cleaned(configured(exports, monkeypatch)[0]).tables
    began = dict(tables["enrollments"].select("enrollment_id", "enrolled_time").iter_rows())
    assert began["27-7"] == datetime(2017, 3, 6, 5, tzinfo=UTC)
    own = tables["engagement_logs"].filter(pl.col("enrollment_id") == "27-7")
    assert own.select("event", "event_time").rows() == [(event, began["27-7"]) for event in ("opened", "sent")]


def test_visits_are_events_of_a_standing_programme(exports: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = cleaned(configured(exports, monkeypatch)[0]).tables
    visits = tables["engagement_logs"].filter(pl.col("event") == "replied").select("enrollment_id", "event_time")
    # Products of one visit and receipts of one second are one; of households that nothing is sent to there is nothing.
    assert visits.rows() == [
        (f"{SHOPPING}-7", datetime(2017, 1, 5, 23, 30, tzinfo=UTC)),
        (f"{SHOPPING}-7", datetime(2017, 3, 6, 4, 59, 59, tzinfo=UTC)),
        (f"{SHOPPING}-8", datetime(2017, 3, 6, 5, tzinfo=UTC)),
    ]


@pytest.mark.parametrize(("target", "expected"), [(0, {"27-7": 1, "27-8": 1, "27-9": 0, "27-10": 0}), (1, None)])
def test_a_redemption_counts_from_the_first_day_to_the_last_of_the_window(
    exports: Path, monkeypatch: pytest.MonkeyPatch, target: int, expected: Mapping[str, int] | None
) -> None:
    """Also over the night in which the clocks change, six days after the mailing."""
    config = configured(exports, monkeypatch)[target]
    found = labels(config, cleaned(config)).filter(pl.col("y").is_not_null())
    wanted = expected or {"27-7": 1, "27-8": 1, "27-9": 1, "27-10": 0}
    assert dict(found.select("enrollment_id", "y").iter_rows()) == wanted


def test_only_mailings_have_moments_and_those_before_the_record_no_label(
    exports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for config in configured(exports, monkeypatch):
        every = labels(config, cleaned(config))
        assert sorted(every["enrollment_id"]) == ["26-11", "26-7", "27-10", "27-7", "27-8", "27-9"]
        found = every.filter(pl.col("y").is_null())
        assert sorted(found["enrollment_id"]) == ["26-11", "26-7"]


def test_the_order_of_rows_does_not_show(tmp_path: Path, exports: Path) -> None:
    turned = written(tmp_path / "turned", {name: rows[::-1] for name, rows in PANEL.items()})
    assert main([str(turned), str(tmp_path / "again")]) == 0
    for path in exports.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


@pytest.mark.parametrize(
    ("table", "row", "message"),
    [
        ("redemptions", "12,27,2017-03-09", "household_id and campaign_id that no other file knows, such as 12, 27"),
        ("campaigns", "28,7", "campaign_id that no other file knows, such as 28"),
        ("redemptions", "7,27,2017-02-30", "redemption_date is '2017-02-30' in 1 row"),
        ("transactions_sample", "7,b9,2017-02-03", "transaction_timestamp is '2017-02-03' in 1 row"),
        ("campaigns", ",7", "campaign_id is empty in 1 row"),
    ],
)
def test_a_panel_that_does_not_fit_together_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], table: str, row: str, message: str
) -> None:
    panel = written(tmp_path / "panel", {**PANEL, table: (*PANEL[table], row)})
    assert main([str(panel), str(tmp_path / "exports")]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "exports").exists()


def test_a_folder_without_the_files_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), str(tmp_path / "exports")]) == 1
    assert "cj_campaign_descriptions.csv.gz: no such file" in capsys.readouterr().err
    with gzip.open(written(tmp_path) / "cj_redemptions.csv.gz", "wt", encoding="utf-8") as file:
        file.write("household_id,campaign_id\n7,27\n")
    assert main([str(tmp_path), str(tmp_path / "exports")]) == 1
    assert "column redemption_date is missing" in capsys.readouterr().err


def test_the_configuration_has_three_windows(exports: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = configured(exports, monkeypatch)
    assert [config.label_column for config in found] == [
        "booked_call_within_7d",
        "qualified_within_14d",
        "conversion_within_30d",
    ]
    assert all(Path(config.paths.of(source.name)).is_file() for config in found for source in SOURCES)
    monkeypatch.delenv("COMPLETE_JOURNEY_EXPORTS")
    with pytest.raises(ConfigError, match="export COMPLETE_JOURNEY_EXPORTS="):
        load_targets(CONFIG)


@pytest.fixture(scope="module")
def real_exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    name = os.environ.get("COMPLETE_JOURNEY_DIR")
    if not name or not (Path(name) / "cj_campaigns.csv.gz").is_file():
        pytest.skip(
            "COMPLETE_JOURNEY_DIR does not name the folder of Complete Journey; the panel as outreach is not tested"
        )
    exports = tmp_path_factory.mktemp("exports")
    assert main([name, str(exports)]) == 0
    return exports


@pytest.mark.realdata
@pytest.mark.parametrize(("target", "days", "positives"), [(0, 7, 67), (1, 14, 134), (2, 30, 212)])
def test_the_real_labels_are_those_of_the_calendar(
    real_exports: Path, monkeypatch: pytest.MonkeyPatch, target: int, days: int, positives: int
) -> None:
    config = configured(real_exports, monkeypatch)[target]
    tables = cleaned(config)
    assert tables.gate.verdict == "ready"
    found = labels(config, tables).filter(pl.col("y").is_not_null())
    assert (found.height, found["y"].sum()) == (2_319, positives)
    folder = Path(os.environ["COMPLETE_JOURNEY_DIR"])
    starts, redeemed = (
        pl.read_csv(folder / f"cj_{name}.csv.gz", infer_schema=False)
        for name in ("campaign_descriptions", "redemptions")
    )
    start = {row["campaign_id"]: date.fromisoformat(row["start_date"]) for row in starts.iter_rows(named=True)}
    expected = {
        f"{row['campaign_id']}-{row['household_id']}"
        for row in redeemed.iter_rows(named=True)
        if start[row["campaign_id"]] >= date(2017, 1, 1)
        and (date.fromisoformat(row["redemption_date"]) - start[row["campaign_id"]]).days < days
    }
    assert set(found.filter(pl.col("y") == 1)["enrollment_id"]) == expected


@pytest.mark.realdata
def test_the_real_panel_is_what_the_page_says(real_exports: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = cleaned(configured(real_exports, monkeypatch)[0]).tables
    mailed = tables["enrollments"].filter(pl.col("campaign_id") != SHOPPING)
    assert (mailed["campaign_id"].n_unique(), mailed.height, mailed["contact_id"].n_unique()) == (14, 2_466, 1_271)
    visits = tables["engagement_logs"].filter(pl.col("event") == "replied")
    hour = visits["event_time"].dt.convert_time_zone("America/New_York").dt.hour()
    assert hour.is_between(1, 4).mean() < 0.01  # times are UTC: read so, hardly anybody shops at night
    assert visits["event_time"].max() < datetime(2017, 7, 1, tzinfo=UTC)
    assert tables["outcomes"]["outcome_time"].max() > datetime(2017, 7, 29, tzinfo=UTC)


@pytest.mark.realdata
@pytest.mark.slow
def test_training_ranks_households_and_says_how_little_that_shows(
    real_exports: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COMPLETE_JOURNEY_EXPORTS", str(real_exports))
    answer = elv("train", "--config", f"{CONFIG}#qualified", home=tmp_path)
    assert answer.code == 0, answer.err
    folder = tmp_path / "runs" / answer.run_id
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert (metrics["test"]["rows"], metrics["test"]["positives"]) == (299, 20)  # the two last mailings
    models = metrics["models"]
    assert models["constant"]["roc_auc"]["value"] == 0.5
    assert models["model"]["roc_auc"]["low"] > 0.5  # what a household did in earlier mailings ranks it
    assert models["rule"]["roc_auc"]["low"] > 0.5  # as does the plain count of earlier redemptions
    assert "not ready" in answer.out
