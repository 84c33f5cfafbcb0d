"""Scored days, the table of scores and batches: what is refused, what stays as it was, what each asset tells."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import joblib
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from elv_pipeline.errors import ContractError, ScoringRefusedError
from elv_pipeline.ingest.review.data_checks import DATA_CHECKS
from elv_pipeline.ingest.tables import read_leads
from elv_pipeline.learning.bundle import ModelBundle
from elv_pipeline.orchestration.assets import boards as assets_boards
from elv_pipeline.orchestration.assets.report import batch_features
from elv_pipeline.orchestration.partitions import DayRange
from elv_pipeline_tests.orchestration.conftest import BETA, FIRST, HISTORY, LAST, NAME, SCORED, Copy, Finished

pytestmark = BETA
DAILY_SCORES = ("predictions", "campaign_leaderboard", "adset_leaderboard", "drift", "lead_scores")
TWO_DAYS = DayRange(LAST - timedelta(days=1), LAST)


def score_table(copy: Copy) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(copy.deployment.home.root / "scores.db")) as connection:
        return connection.execute("SELECT * FROM lead_scores ORDER BY enrollment_id").fetchall()


def metadata_of(result: dg.ExecuteInProcessResult, noun: str) -> Mapping[str, Any]:
    events = result.asset_materializations_for_node(f"{NAME}__{noun}")
    return {name: value.value for name, value in events[-1].metadata.items()}


def test_every_scored_day_has_its_partition_of_everything(finished: Finished, instance: dg.DagsterInstance) -> None:
    days = [str(day) for day in SCORED.days]
    for noun in DAILY_SCORES:
        assert instance.get_materialized_partitions(dg.AssetKey([NAME, noun])) == set(days), noun
        if noun != "lead_scores":
            assert [str(day) for day in finished.deployment.lake.days(noun)] == days, noun
    lake = finished.deployment
    leads = lake.scan("leads", first=SCORED.first, last=SCORED.last).collect()
    scored = lake.scan("predictions", first=SCORED.first, last=SCORED.last).collect()
    assert scored["lead_id"].sort().equals(leads["lead_id"].sort())
    for _, day in scored.group_by("day"):
        assert day["rank"].sort().to_list() == list(range(1, day.height + 1))
    boards = lake.scan("campaign_leaderboard", first=SCORED.first, last=SCORED.last).collect()
    counted = boards.filter(pl.col("day") == SCORED.last)["lead_count"].sum()
    assert counted == scored.height
    drift = lake.scan("drift", first=SCORED.last, last=SCORED.last).collect()
    assert drift.filter(pl.col("kind") == "score").height == 1
    assert drift.filter(pl.col("kind") == "feature").height >= 3


def test_a_day_scored_alone_ranks_as_in_the_range(finished: Finished, copy: Copy) -> None:
    assert copy.run("predictions", "campaign_leaderboard", days=DayRange(LAST, LAST)).success
    for noun, columns in (("predictions", ["run_id", "scored_at"]), ("campaign_leaderboard", [])):
        alone = copy.deployment.scan(noun, first=LAST, last=LAST).collect().drop(columns)
        assert alone.equals(finished.deployment.scan(noun, first=LAST, last=LAST).collect().drop(columns)), noun


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("feature_lag_days", 2, "feature_lag_days: model 1, configuration 2"),
        ("label_window_days", 7, "outcome_window_days: model 14, configuration 7"),
        ("timezone", "Europe/Berlin", "timezone: model 'UTC', configuration 'Europe/Berlin'"),
    ],
)
def test_a_model_that_contradicts_the_configuration_is_refused(
    copy: Copy, key: str, value: int | str, named: str
) -> None:
    before = copy.files()
    with pytest.raises(ScoringRefusedError, match=named):
        copy.with_changes(**{key: value}).run("predictions", days=TWO_DAYS)
    assert copy.files() == before


def test_a_model_file_without_its_cut_off_is_refused(finished: Finished, copy: Copy, tmp_path: Path) -> None:
    bundle = ModelBundle.load(finished.model)
    del bundle.metadata["cutoff"]
    bundle.save(tmp_path / "model.joblib")
    with pytest.raises(ScoringRefusedError, match="lack cutoff"):
        copy.run("predictions", days=TWO_DAYS, model=tmp_path / "model.joblib")


@pytest.mark.parametrize(
    ("noun", "segment"), [("campaign_leaderboard", "campaign_id"), ("adset_leaderboard", "adset_id")]
)
def test_the_models_error_at_that_level_widens_a_boards_intervals(
    finished: Finished, copy: Copy, tmp_path: Path, noun: str, segment: str
) -> None:
    def width(error: float) -> float:
        bundle = ModelBundle.load(finished.model)
        bundle.metadata["segment_error"] = dict.fromkeys(bundle.metadata["segment_error"], 0.0) | {segment: error}
        bundle.save(tmp_path / "model.joblib")
        assert copy.run(noun, days=TWO_DAYS, model=tmp_path / "model.joblib").success
        board = copy.deployment.scan(noun, first=LAST, last=LAST).collect()
        return float((board["elv_high"] - board["elv_low"]).sum())

    assert width(0.8) > 1.3 * width(0.0)


def test_a_day_whose_board_breaks_the_contract_is_not_written(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bad day comes first, so that the newest one alone would not show it."""
    right = assets_boards.leaderboard
    calls: list[int] = []

    def wrong_once(*arguments: Any, **options: Any) -> pl.DataFrame | None:
        board = right(*arguments, **options)
        calls.append(1)
        return board if len(calls) > 1 or board is None else board.with_columns(elv_high=pl.col("elv_low") - 1)

    monkeypatch.setattr(assets_boards, "leaderboard", wrong_once)
    before = copy.files("campaign_leaderboard")
    with pytest.raises(ContractError, match="predicted_elv must lie within elv_low and elv_high"):
        copy.run("campaign_leaderboard", days=TWO_DAYS)
    assert len(calls) == 2
    assert copy.files("campaign_leaderboard") == before


def test_a_file_that_is_no_model_is_refused(copy: Copy, tmp_path: Path) -> None:
    joblib.dump({"not": "a model"}, tmp_path / "model.joblib")
    with pytest.raises(ScoringRefusedError, match="holds a dict, not a model bundle"):
        copy.run("predictions", days=TWO_DAYS, model=tmp_path / "model.joblib")


def rewrite(copy: Copy, table: str, days: DayRange, change: Any) -> None:
    for day in days.days:
        path = copy.deployment.lake.partition(table, day)
        change(pl.read_parquet(path)).write_parquet(path)


def test_other_columns_than_in_training_are_refused_with_a_readable_difference(copy: Copy) -> None:
    names = copy.deployment.scan("features", first=LAST, last=LAST).collect_schema().names()
    gone, changed = (next(n for n in names if n.startswith(start)) for start in ("campaign_clicks", "adset_clicks"))
    rewrite(copy, "features", TWO_DAYS, lambda day: day.drop(gone).with_columns(pl.col(changed).cast(pl.String)))
    before = copy.files()
    with pytest.raises(ScoringRefusedError) as refusal:
        copy.run("predictions", days=TWO_DAYS)
    assert f"- {gone}: missing, expected number" in str(refusal.value)
    assert f"- {changed}: is String, expected number" in str(refusal.value)
    after = copy.files()
    owed = json.loads(after.pop("unpublished/days.json"))
    before.pop("unpublished/days.json")
    assert after == before
    assert list(owed) == [str(day) for day in TWO_DAYS.days]  # a later run makes up for them


def test_scoring_without_a_champion_is_refused(copy: Copy) -> None:
    lake = copy.deployment.home.root / "lake"
    shutil.copytree(lake / NAME, lake / "untrained")
    with pytest.raises(ScoringRefusedError, match=r"untrained: there is no champion model yet\. Run 'elv train'"):
        copy.with_changes(name="untrained").run("predictions", days=TWO_DAYS)


def test_a_model_file_scores_without_a_champion(finished: Finished, copy: Copy) -> None:
    lake = copy.deployment.home.root / "lake"
    shutil.copytree(lake / NAME, lake / "untrained")
    other = copy.with_changes(name="untrained")
    assert other.run("predictions", days=TWO_DAYS, model=finished.model).success
    scored = other.deployment.scan("predictions", first=LAST, last=LAST).collect()
    expected = finished.deployment.scan("predictions", first=LAST, last=LAST).collect()
    assert scored["p_qualified_14d"].equals(expected["p_qualified_14d"])


def test_scores_written_again_are_all_unchanged(finished: Finished, copy: Copy) -> None:
    before = score_table(copy)
    assert len(before) == finished.deployment.scan("predictions", first=SCORED.first, last=LAST).collect().height
    told = metadata_of(copy.run("predictions", "lead_scores", days=SCORED), "lead_scores")
    assert (told["inserted"], told["updated"], told["unchanged"]) == (0, 0, len(before))
    assert score_table(copy) == before


def test_constant_scores_never_reach_the_table_of_scores(copy: Copy) -> None:
    """All features gone blank is how a broken join looks."""

    def blank(day: pl.DataFrame) -> pl.DataFrame:
        features = day.columns[day.columns.index("join_method") + 1 :]
        return day.with_columns(pl.lit(None, day.schema[name]).alias(name) for name in features)

    before = score_table(copy)
    rewrite(copy, "features", SCORED, blank)
    result = copy.run("predictions", "lead_scores", "run_report", days=SCORED)
    assert score_table(copy) == before
    (check,) = [found for found in result.get_asset_check_evaluations() if found.check_name == "plausible"]
    assert not check.passed
    assert "same probability" in metadata_of(result, "lead_scores")["withheld"]
    alerts = json.loads((copy.deployment.home.runs / result.run_id / "metadata.json").read_text())["alerts"]
    assert [alert["code"] for alert in alerts if alert["severity"] == "critical"] == ["constant_scores"]


def test_scores_are_withheld_where_outcomes_have_vanished(copy: Copy) -> None:
    """An outcomes export whose lead ids fit no lead any more looks like a world without outcomes."""
    first = SCORED.first - timedelta(days=50)
    without = [pl.lit(None, pl.Datetime("us", "UTC")).alias(name) for name in ("outcome_time", "outcome_recorded_time")]
    rewrite(copy, "matured_labels", DayRange(first, SCORED.last), lambda day: day.with_columns(without))
    before = score_table(copy)
    told = metadata_of(copy.run("predictions", "lead_scores", days=SCORED), "lead_scores")
    assert "lead ids must be broken" in told["withheld"]
    assert score_table(copy) == before


def batch(copy: Copy, leads: pl.DataFrame, *, model: Path) -> Path:
    """Score leads given as a file; the bundle."""
    path = copy.exports / "batch.csv"
    leads.write_csv(path)
    op = {f"{NAME}__batch_predictions": {"config": {"leads_path": str(path)}}}
    result = copy.run("batch_predictions", model=model, config={"ops": op})
    return copy.deployment.home.runs / result.run_id


def test_a_batch_scores_every_row_and_touches_no_partition(finished: Finished, copy: Copy) -> None:
    known = pl.read_csv(copy.exports / "leads.csv", infer_schema=False).select("lead_id", "created_time", "ad_id")
    today = known.tail(40).with_columns(
        ("new_" + pl.col("lead_id")).alias("lead_id"), created_time=pl.lit(f"{LAST + timedelta(days=1)}T09:00:00Z")
    )
    late = known.tail(5).with_columns(
        ("late_" + pl.col("lead_id")).alias("lead_id"), created_time=pl.lit(f"{LAST + timedelta(days=9)}T09:00:00Z")
    )
    before, table = copy.files(), score_table(copy)
    bundle = batch(copy, pl.concat([today, late]), model=finished.model)
    assert copy.files() == before
    assert score_table(copy) == table
    scored = pl.read_csv(bundle / "predictions.csv", infer_schema=False)
    assert set(scored["lead_id"]) == {*today["lead_id"], *late["lead_id"]}
    # Nobody can know yet how leads older than the origin, but younger than the window, turn out.
    assert {name[:4]: split for name, split in scored.select("lead_id", "split").iter_rows()} == {
        "new_": "young",
        "late": "score",
    }
    alerts = {alert["code"]: alert["message"] for alert in json.loads((bundle / "alerts.json").read_text())}
    assert alerts["history_ends_early"].startswith("5 of 45 leads")
    assert json.loads((bundle / "schema_check.json").read_text())["ok"] is True


def leads_of(copy: Copy, day: date) -> pl.DataFrame:
    return read_leads(copy.deployment.config.paths.leads_path, copy.deployment.config).frame.filter(
        pl.col("day") == day
    )


def test_a_batch_of_a_known_day_has_the_features_of_its_partition_whatever_came_later(copy: Copy) -> None:
    day = FIRST + timedelta(days=70)
    leads, expected = leads_of(copy, day), copy.deployment.scan("features", first=day, last=day).collect()
    assert_frame_equal(batch_features(copy.deployment, leads), expected, check_exact=True)
    end = pl.datetime(day.year, day.month, day.day, 23, 59, 59, time_unit="us", time_zone="UTC")
    following = DayRange(day + timedelta(days=1), LAST)
    for table in HISTORY:
        for gone in following.days:
            copy.deployment.lake.partition(table, gone).unlink()
    rewrite(copy, "ads", DayRange(day, day), lambda rows: rows.with_columns(pl.col("clicks", "spend_micros") * 7))

    def everybody_qualifies(rows: pl.DataFrame) -> pl.DataFrame:
        joined = copy.deployment.scan("joined_leads", first=FIRST, last=day).select("lead_id").collect()
        known = copy.deployment.scan("outcomes", first=FIRST, last=day).select("lead_id").collect()
        new = joined.join(known, on="lead_id", how="anti")
        planted = new.with_columns(end.alias("qualified_time"), end.alias("recorded_time"), pl.lit(day).alias("day"))
        planted = planted.with_columns(pl.lit(None, rows.schema["withdrawn_time"]).alias("withdrawn_time"))
        return pl.concat([rows, planted], how="diagonal").select(rows.columns)

    rewrite(copy, "outcomes", DayRange(day, day), everybody_qualifies)
    assert_frame_equal(batch_features(copy.deployment, leads), expected, check_exact=True)


def test_leads_before_the_calendar_change_no_window_of_others_and_alone_are_refused(copy: Copy) -> None:
    day = FIRST + timedelta(days=3)
    leads = leads_of(copy, day)
    early = leads.head(2).with_columns(
        ("early_" + pl.col("lead_id")).alias("lead_id"),
        (pl.col("created_time") - timedelta(days=60)).alias("created_time"),
        (pl.col("day") - timedelta(days=60)).alias("day"),
    )
    alone = batch_features(copy.deployment, leads)
    together = batch_features(copy.deployment, pl.concat([early, leads]))
    assert together.height == alone.height + 2
    found = together.filter(pl.col("day") == day)
    windows = [name for name in alone.columns if name.endswith(("_7d", "_28d"))]
    assert len(windows) > 10
    assert_frame_equal(found.select("lead_id", *windows), alone.select("lead_id", *windows), check_exact=True)
    with pytest.raises(ScoringRefusedError, match=rf"history begins on {FIRST} \(start_date\)"):
        batch_features(copy.deployment, early)


TABLE = {"dagster/row_count", "dagster/column_schema", "preview"}
TOLD = {
    "data_profile": {"profile", "ready_to_train", "ready_to_score"},
    "ads": TABLE,
    "leads": TABLE,
    "outcomes": TABLE,
    "joined_leads": TABLE | {"dagster/column_lineage", "join_statistics"},
    "matured_labels": TABLE | {"observed_until", "label_counts", "label_maturity"},
    "features": TABLE | {"dagster/column_lineage", "feature_columns", "feature_lag_days"},
    "modelling_table": {"path", "dagster/row_count", "join_statistics", "label_counts"},
    "training_table": TABLE | {"labelled_rows", "positives"},
    "candidate_model": {"model", "metrics", "split", "calibration", "lift", "importance", "log_loss"},
    "champion": {"decision", "reason", "from_version", "to_version", "evidence"},
    "predictions": TABLE | {"dagster/column_lineage", "model_version", "score_distribution"},
    "campaign_leaderboard": TABLE | {"leaderboard"},
    "adset_leaderboard": TABLE | {"leaderboard"},
    "drift": TABLE | {"drift", "drifted_columns"},
    "lead_scores": {"dagster/row_count", "dagster/table_name", "inserted", "updated", "unchanged"},
    "run_report": {"report", "bundle", "scored_leads", "score_distribution"},
}
PLOTS = {"label_maturity", "calibration", "lift", "importance", "score_distribution", "leaderboard"}


@pytest.mark.parametrize("noun", TOLD)
def test_an_asset_tells_what_a_person_would_want_to_see(
    noun: str, finished: Finished, instance: dg.DagsterInstance
) -> None:
    event = instance.get_latest_materialization_event(dg.AssetKey([NAME, noun]))
    assert event is not None
    assert event.asset_materialization is not None
    told = event.asset_materialization.metadata
    assert set(told) >= TOLD[noun]
    for plot in PLOTS & set(told) | ({"drift"} if noun == "drift" else set()):
        assert "](data:image/" in str(told[plot].value), plot
    if "preview" in told:
        assert str(told["preview"].value).startswith("| ")
    if isinstance(schema := told.get("dagster/column_schema"), dg.TableSchemaMetadataValue):
        assert len(schema.value.columns) >= 4
    if isinstance(lineage := told.get("dagster/column_lineage"), dg.TableColumnLineageMetadataValue):
        sources = {dep.asset_key.path[0] for deps in lineage.value.deps_by_column.values() for dep in deps}
        assert sources == {NAME}


@pytest.mark.parametrize("noun", ["features", "predictions", "adset_leaderboard", "drift"])
def test_what_a_day_shows_is_recorded_once_and_its_figures_with_every_day(
    noun: str, instance: dg.DagsterInstance
) -> None:
    """Pictures, schema and lineage of a range are 250 kB; on each of a year's days they would be 90 MB."""
    found = {}
    for day in (SCORED.first, SCORED.last):
        wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey([NAME, noun]), asset_partitions=[str(day)])
        [record] = instance.fetch_materializations(wanted, limit=1).records
        assert record.asset_materialization is not None
        found[day] = record.asset_materialization.metadata
    assert "dagster/column_schema" in found[SCORED.last]
    assert "dagster/column_schema" not in found[SCORED.first]
    assert {"dagster/row_count", "dagster/partition_row_count"} <= set(found[SCORED.first]) & set(found[SCORED.last])


def test_every_feature_column_has_a_definition_and_its_sources(
    finished: Finished, instance: dg.DagsterInstance
) -> None:
    event = instance.get_latest_materialization_event(dg.AssetKey([NAME, "features"]))
    assert event is not None
    assert event.asset_materialization is not None
    told = event.asset_materialization.metadata
    lineage = told["dagster/column_lineage"].value.deps_by_column  # type: ignore[union-attr]
    defined = {
        column.name: column.description
        for column in told["dagster/column_schema"].value.columns  # type: ignore[union-attr]
    }
    model = ModelBundle.load(finished.model)
    assert len(model.schema.names) > 50
    assert all(defined[name] and lineage[name] for name in model.schema.names)


def test_checks_are_recorded_with_their_verdicts(finished: Finished, instance: dg.DagsterInstance) -> None:
    wanted = {
        *(("data_profile", spec.name) for spec in DATA_CHECKS),
        ("joined_leads", "joined"),
        ("features", "complete"),
        ("candidate_model", "beats_constant"),
        ("predictions", "plausible"),
        ("drift", "score_stable"),
    }
    for noun, check in wanted:
        key = dg.AssetCheckKey(dg.AssetKey([NAME, noun]), check)
        history = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
        assert history, check
        assert history[0].status.value in ("SUCCEEDED", "FAILED"), check


def test_a_model_trained_with_outcomes_scores_where_there_are_none(copy: Copy, finished: Finished) -> None:
    paths = {**copy.deployment.config.paths.model_dump(), "outcomes_path": None}
    without = copy.with_changes(paths=paths)
    day = DayRange(LAST, LAST)
    without.run("features", "predictions", days=day, model=finished.model)
    features = without.deployment.scan("features", first=LAST, last=LAST).collect()
    assert features.height > 0
    assert features["campaign_qualified_rate_90d"].null_count() == features.height
    scored = without.deployment.scan("predictions", first=LAST, last=LAST).collect()
    assert scored["lead_id"].sort().equals(features["lead_id"].sort())
