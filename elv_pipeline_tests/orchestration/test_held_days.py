"""A day whose inputs are incomplete: held back, kept as it was, caught up, and let go in the end."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import dagster as dg
import polars as pl
import pytest

from elv_pipeline.errors import ConfigError, ElvError
from elv_pipeline.lake import days_between
from elv_pipeline.orchestration.due_days import due_days, held_record
from elv_pipeline.orchestration.housekeeping import release_day
from elv_pipeline.orchestration.partitions import DayRange
from elv_pipeline_tests.orchestration.conftest import BETA, LAST, NAME, SCORED, Copy

pytestmark = BETA
DAY, NEXT = LAST - timedelta(days=1), LAST
DAILY = ("ads", "leads", "outcomes", "joined_leads", "matured_labels", "features", "day_completeness", "predictions")
PUBLISHED = ("campaign_leaderboard", "adset_leaderboard", "drift", "lead_scores")
USUAL = 40
"""Leads a day in the history that ``regular`` gives the account; the exports hold about a third of it."""


def after(day: date, *, days: int = 0, hours: int = 6) -> datetime:
    return datetime.combine(day + timedelta(days=1 + days), time(), tzinfo=UTC) + timedelta(hours=hours)


def run(copy: Copy, *nouns: str, days: DayRange, now: datetime) -> dg.ExecuteInProcessResult:
    config = {
        "ops": {
            f"{NAME}__{noun}": {"config": {"now": now.isoformat()}}
            for noun in ("day_completeness", "lead_scores")
            if noun in nouns
        }
    }
    return copy.run(*nouns, days=days, config=config)


@pytest.fixture
def short(copy: Copy) -> Copy:
    """A home whose exports hold a third of the usual leads on each of the last two days."""
    for day in days_between(DAY - timedelta(days=98), DAY - timedelta(days=1)):
        path = copy.deployment.lake.partition("leads", day)
        rows = pl.read_parquet(path)
        # Only counted: what is computed of a day reads joined_leads, which stays as it was.
        pl.concat([rows] * USUAL).head(USUAL - 2 + day.toordinal() % 5).write_parquet(path)
    return copy


def deliver_the_rest(copy: Copy) -> None:
    """The export of the last two days arrives whole: two more leads for each that was there."""
    leads = pl.read_csv(copy.exports / "leads.csv", infer_schema=False)
    newest = leads.filter(pl.col("created_time").str.slice(0, 10) >= str(DAY))
    more = [newest.with_columns(pl.format("{}-{}", "lead_id", pl.lit(twin))) for twin in (1, 2)]
    pl.concat([leads, *more]).write_csv(copy.exports / "leads.csv")


def check_of(result: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    (found,) = [c for c in result.get_asset_check_evaluations() if c.asset_key.path[-1] == "day_completeness"]
    return found


def scores(copy: Copy) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(copy.deployment.home.root / "scores.db")) as connection:
        return connection.execute("SELECT * FROM lead_scores ORDER BY enrollment_id").fetchall()


def scored(copy: Copy, day: date = DAY) -> pl.DataFrame:
    return copy.deployment.scan("predictions", first=day, last=day).collect()


def left(copy: Copy, day: date = DAY) -> int:
    return copy.deployment.lake.row_counts("features", [day])[day]


def forget_scores(copy: Copy, *days: date) -> None:
    """As if the newest days had not been scored yet."""
    ids = [lead for day in days for lead in scored(copy, day)["lead_id"]]
    for noun in ("predictions", "campaign_leaderboard", "adset_leaderboard", "drift"):
        for day in days:
            copy.deployment.lake.partition(noun, day).unlink()
    with closing(sqlite3.connect(copy.deployment.home.root / "scores.db")) as connection, connection:
        connection.executemany("DELETE FROM lead_scores WHERE enrollment_id = ?", [(lead,) for lead in ids])


def test_a_day_with_its_usual_rows_is_complete(copy: Copy) -> None:
    result = run(copy, "day_completeness", days=DayRange(LAST - timedelta(days=9), LAST), now=after(LAST))
    assert check_of(result).passed
    assert held_record(copy.deployment) == {}


def test_a_day_that_an_export_does_not_reach_is_held(copy: Copy) -> None:
    ads = pl.read_csv(copy.exports / "ads.csv", infer_schema=False)
    ads.filter(pl.col("date") < str(LAST)).write_csv(copy.exports / "ads.csv")
    copy.deployment.lake.partition("ads", LAST).unlink()  # what an earlier export told of the day
    result = run(copy, *DAILY, days=DayRange(LAST, LAST), now=after(LAST))
    assert f"ads was not read for {LAST}" in (check_of(result).description or "")
    assert held_record(copy.deployment)[str(LAST)]["status"] == "held"


def test_a_held_day_keeps_its_earlier_scores_byte_for_byte(short: Copy) -> None:
    before, written = short.files("predictions"), scores(short)
    result = run(short, *DAILY, "lead_scores", days=DayRange(DAY, DAY), now=after(DAY))
    check = check_of(result)
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.ERROR
    assert f"leads has {left(short)} rows on {DAY}" in (check.description or "")
    assert held_record(short.deployment)[str(DAY)]["status"] == "held"
    assert short.files("predictions") == before
    assert scores(short) == written


def test_a_held_day_is_caught_up_in_one_run_once_its_export_is_whole(short: Copy) -> None:
    forget_scores(short, DAY, NEXT)
    without = scores(short)
    result = run(short, *DAILY, *PUBLISHED, "run_report", days=DayRange(DAY, DAY), now=after(DAY))
    assert not check_of(result).passed
    assert scored(short).is_empty()
    assert scores(short) == without
    board = short.deployment.scan("campaign_leaderboard", first=DAY, last=DAY).collect()
    before = short.deployment.scan("predictions", first=SCORED.first, last=DAY).collect()
    assert board["lead_count"].sum() == before.height
    spend = short.deployment.ads_store.newest(first=SCORED.first, last=DAY - timedelta(days=1)).collect()
    assert board["spend"].sum() == pytest.approx(spend["spend_micros"].sum() / 1e6)
    alerts = (short.deployment.home.runs / result.run_id / "alerts.json").read_text(encoding="utf-8")
    assert f"{DAY} is held back" in alerts

    deliver_the_rest(short)
    days = due_days(short.deployment, NEXT)
    assert days == DayRange(DAY, NEXT)
    again = run(short, *DAILY, *PUBLISHED, days=days, now=after(NEXT))
    assert check_of(again).passed
    assert "scored_at" in held_record(short.deployment)[str(DAY)]
    assert due_days(short.deployment, NEXT) == DayRange(NEXT, NEXT)
    assert scored(short).height == left(short) > USUAL - 2
    new = {row[1] for row in scores(short)} - {row[1] for row in without}
    assert new == {*scored(short)["lead_id"], *scored(short, NEXT)["lead_id"]}


def test_after_hold_days_it_is_scored_with_a_warning(short: Copy) -> None:
    forget_scores(short, DAY)
    run(short, "leads", "day_completeness", "predictions", days=DayRange(DAY, DAY), now=after(DAY))
    assert scored(short).is_empty()
    days = DayRange(DAY, DAY)
    wanted = ("day_completeness", "predictions", "lead_scores", "run_report")
    late = run(short, *wanted, days=days, now=after(DAY, days=3))
    check = check_of(late)
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert scored(short).height == left(short)
    entry = held_record(short.deployment)[str(DAY)]
    assert entry["status"] == "overdue"
    assert "scored_at" in entry
    alerts = (short.deployment.home.runs / late.run_id / "alerts.json").read_text(encoding="utf-8")
    assert "scored_on_incomplete_inputs" in alerts
    assert due_days(short.deployment, NEXT) == DayRange(NEXT, NEXT)


def test_a_released_day_is_scored_as_it_is(short: Copy) -> None:
    forget_scores(short, DAY)
    nouns, days = ("leads", "day_completeness", "predictions"), DayRange(DAY, DAY)
    run(short, *nouns, days=days, now=after(DAY))
    with pytest.raises(ConfigError, match="a release needs a reason"):
        release_day(short.deployment, DAY, reason="  ", who="ana")
    with pytest.raises(ElvError, match=rf"is not held; .*Held days: {DAY}"):
        release_day(short.deployment, DAY - timedelta(days=1), reason="holiday", who="ana")
    release_day(short.deployment, DAY, reason="holiday", who="ana")
    run(short, *nouns, days=days, now=after(DAY))
    assert scored(short).height == left(short)
    entry = held_record(short.deployment)[str(DAY)]
    assert (entry["status"], entry["by"], entry["reason"]) == ("released", "ana", "holiday")


def test_holding_can_be_turned_off(short: Copy) -> None:
    forget_scores(short, DAY)
    trusting = short.with_changes(monitoring={"hold_incomplete_days": False})
    result = run(trusting, "leads", "day_completeness", "predictions", days=DayRange(DAY, DAY), now=after(DAY))
    check = check_of(result)
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert scored(short).height == left(short)


def test_the_same_day_twice_changes_nothing(copy: Copy) -> None:
    """Two ticks for one day: the second may only renew what names a run."""
    days, now = DayRange(LAST, LAST), after(LAST)
    run(copy, *DAILY, *PUBLISHED, days=days, now=now)
    lake, table, ledger = content(copy), scores(copy), rows_of(copy, "score_runs", "lead_score_history")
    run(copy, *DAILY, *PUBLISHED, days=days, now=now)
    assert content(copy) == lake
    assert scores(copy) == table
    assert rows_of(copy, "lead_score_history") == {"lead_score_history": ledger["lead_score_history"]}
    new = rows_of(copy, "score_runs")["score_runs"] - ledger["score_runs"]
    assert new in (0, 1)


def content(copy: Copy) -> dict[str, Any]:
    """Every daily table, without the columns that name a run."""
    lake = copy.deployment.lake
    return {
        f"{table} {day}": pl.read_parquet(lake.partition(table, day)).drop("run_id", "scored_at", strict=False).rows()
        for table in (*DAILY[:6], "predictions", "campaign_leaderboard", "adset_leaderboard", "drift")
        for day in lake.days(table)[-3:]
    }


def rows_of(copy: Copy, *tables: str) -> dict[str, int]:
    with closing(sqlite3.connect(copy.deployment.home.root / "scores.db")) as connection:
        return {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}
