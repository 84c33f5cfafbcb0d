"""Leads whose rows reach the exports after their day was scored: each is scored once, no other score changes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import dagster as dg
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from elv_pipeline.orchestration.assets.publishing import WRITTEN
from elv_pipeline.orchestration.due_days import HELD, owed_config, run_days, unpublished_days
from elv_pipeline.orchestration.late_leads import UNPUBLISHED_LATE, days_with_late_leads, note_late
from elv_pipeline.orchestration.partitions import DayRange
from elv_pipeline.orchestration.watching import day_table
from elv_pipeline.orchestration.workspace import merged
from elv_pipeline_tests.orchestration.conftest import BETA, LAST, NAME, Copy, Finished

pytestmark = BETA
DAY = LAST - timedelta(days=1)
NOW = datetime.combine(LAST + timedelta(days=1), time(6), tzinfo=UTC)
TABLES = ("ads", "leads", "outcomes", "joined_leads", "matured_labels", "features")
SCORING = ("day_completeness", "predictions", "campaign_leaderboard", "adset_leaderboard", "drift")
SUMMARIES = ("predictions", "campaign_leaderboard", "adset_leaderboard", "drift")
OF_THE_RUN = ("run_id", "scored_at")


def morning(copy: Copy, *, without: tuple[str, ...] = (), persist: bool = True) -> dg.ExecuteInProcessResult:
    """What the daily run does, or did before it was killed."""
    nouns = [noun for noun in (*TABLES, *SCORING, "lead_scores", "run_report") if noun not in without]
    clock = {f"{NAME}__{noun}": {"config": {"now": NOW.isoformat()}} for noun in (*SCORING[:2], "lead_scores")}
    wanted = merged(owed_config(copy.deployment, LAST), {"ops": clock})
    wanted = merged(wanted, {"ops": {f"{NAME}__lead_scores": {"config": {"persist": persist}}}})
    config = {"ops": {op: found for op, found in wanted["ops"].items() if op.removeprefix(f"{NAME}__") in nouns}}
    return copy.run(*nouns, days=run_days(copy.deployment, LAST), config=config)


def predictions(copy: Copy, first: Any = DAY, last: Any = DAY) -> pl.DataFrame:
    return copy.deployment.scan("predictions", first=first, last=last).collect()


def rows_of(copy: Copy, table: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(copy.deployment.home.root / "scores.db")) as connection:
        return connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3, 4, 5").fetchall()


def history(copy: Copy, *, after: int = 0) -> list[tuple[str, str]]:
    """Each state since a write: the lead and the kind of change."""
    with closing(sqlite3.connect(copy.deployment.home.root / "scores.db")) as connection:
        wanted = "SELECT enrollment_id, change FROM lead_score_history WHERE write_id > ? ORDER BY enrollment_id"
        return connection.execute(wanted, (after,)).fetchall()


def write_id(copy: Copy) -> int:
    with closing(sqlite3.connect(copy.deployment.home.root / "scores.db")) as connection:
        return int(connection.execute("SELECT max(write_id) FROM score_runs").fetchone()[0])


def unknown(copy: Copy, late: list[str], *, tables: tuple[str, ...], day: date = DAY) -> None:
    """As if these leads had never been heard of: neither in these tables nor in the database of scores."""
    for table in tables:
        file = copy.deployment.lake.partition(table, day)
        kept = pl.read_parquet(file).filter(~pl.col("lead_id").is_in(late))
        ranked = {"rank": pl.int_range(1, pl.len() + 1)} if table == "predictions" else {}
        kept.with_columns(**ranked).write_parquet(file)
    with closing(sqlite3.connect(copy.deployment.home.root / "scores.db")) as connection, connection:
        for table in ("lead_scores", "lead_score_history"):
            connection.executemany(f"DELETE FROM {table} WHERE enrollment_id = ?", [(lead,) for lead in late])


@pytest.fixture
def late(copy: Copy) -> list[str]:
    """Some leads of the day before the last, which was scored without them; the last one was not scored yet."""
    found = predictions(copy)["lead_id"].sort().to_list()[::3]
    assert len(found) >= 3
    newest = predictions(copy, LAST, LAST)["lead_id"].to_list()
    unknown(copy, found, tables=("leads", "joined_leads", "matured_labels", "features", "predictions"))
    unknown(copy, newest, tables=())
    for noun in SUMMARIES:
        copy.deployment.lake.partition(noun, LAST).unlink()
    copy.run(*SUMMARIES[1:], days=DayRange(DAY, DAY))
    return found


def test_a_late_lead_is_scored_as_if_it_had_come_in_time(copy: Copy, late: list[str], finished: Finished) -> None:
    before, scores, last_write = predictions(copy), rows_of(copy, "lead_scores"), write_id(copy)
    others = copy.files(*SUMMARIES)
    result = morning(copy)
    every = [pl.col("day").is_between(DAY, LAST)]
    intime = finished.deployment.scan("predictions", first=DAY, last=LAST).collect().drop(OF_THE_RUN)
    found = predictions(copy, DAY, LAST)
    assert_frame_equal(found.drop(OF_THE_RUN), intime.filter(*every), check_exact=True)
    new = found.filter(pl.col("lead_id").is_in(late))
    assert set(new["run_id"]) == {result.run_id}
    # What the others of the day were told stays; only their place among all of them may be another one.
    place = ("rank", "decile")
    told = found.filter((pl.col("day") == DAY) & ~pl.col("lead_id").is_in(late))
    assert_frame_equal(told.drop(place), before.drop(place), check_exact=True)
    assert [row for row in rows_of(copy, "lead_scores") if row in set(scores)] == scores
    new_ones = sorted([*late, *found.filter(pl.col("day") == LAST)["lead_id"]])
    assert history(copy, after=last_write) == [(lead, "insert") for lead in new_ones]
    document = copy.deployment.lake.read_json(WRITTEN)
    assert document["late"] == {str(DAY): len(late)}
    assert (document["inserted"], document["updated"]) == (len(new_ones), 0)
    assert write_id(copy) == last_write + 1
    untouched = {name: content for name, content in copy.files(*SUMMARIES).items() if name in others}
    changed = {name for name, content in untouched.items() if content != others[name]}
    assert changed == {f"{table}/{DAY}.parquet" for table in SUMMARIES}
    reported = pl.read_csv(copy.deployment.home.runs / result.run_id / "predictions.csv", infer_schema=False)
    assert set(reported["lead_id"]) == {*late, *found.filter(pl.col("day") == LAST)["lead_id"]}
    for board in ("campaign_leaderboard", "adset_leaderboard"):
        wanted = finished.deployment.scan(board, first=DAY, last=LAST).collect()
        assert_frame_equal(copy.deployment.scan(board, first=DAY, last=LAST).collect(), wanted, check_exact=True)


def test_a_second_run_scores_no_lead_again(copy: Copy, late: list[str]) -> None:
    morning(copy)
    lake, scores, states = copy.files(*SUMMARIES), rows_of(copy, "lead_scores"), history(copy)
    morning(copy)
    again = copy.files(*SUMMARIES)
    assert {name for name in lake if again[name] != lake[name]} <= {f"predictions/{LAST}.parquet"}
    assert (rows_of(copy, "lead_scores"), history(copy)) == (scores, states)
    assert copy.deployment.lake.read_json(WRITTEN)["late"] == {}


@pytest.mark.parametrize("place", ["after the note", "after the predictions"])
def test_a_kill_loses_no_late_lead_and_writes_none_twice(copy: Copy, late: list[str], place: str) -> None:
    if place == "after the note":
        note_late(copy.deployment, [DAY], run_id="killed")
    else:
        morning(copy, without=("lead_scores", "run_report"))
        assert set(late) <= set(predictions(copy)["lead_id"])
    before = rows_of(copy, "lead_scores")
    assert copy.deployment.lake.read_json(UNPUBLISHED_LATE)
    result = morning(copy)
    assert copy.deployment.lake.read_json(UNPUBLISHED_LATE) == {}
    written = rows_of(copy, "lead_scores")
    assert [row for row in written if row in set(before)] == before
    assert set(late) <= {row[1] for row in written}
    assert [found for found in history(copy) if found[0] in late] == [(lead, "insert") for lead in sorted(late)]
    # What nobody was told is told by the run that writes it, with its model.
    assert set(predictions(copy).filter(pl.col("lead_id").is_in(late))["run_id"]) == {result.run_id}


def test_late_scores_that_a_run_kept_back_on_purpose_are_not_owed(copy: Copy, late: list[str]) -> None:
    before = rows_of(copy, "lead_scores")
    morning(copy, persist=False)
    assert set(late) <= set(predictions(copy)["lead_id"])
    assert rows_of(copy, "lead_scores") == before
    assert copy.deployment.lake.read_json(UNPUBLISHED_LATE) == {}
    assert unpublished_days(copy.deployment) == []
    assert days_with_late_leads(copy.deployment, first=DAY, before=LAST) == []


def test_a_run_that_may_not_write_does_not_settle_what_an_earlier_one_owes(copy: Copy, late: list[str]) -> None:
    morning(copy, without=("lead_scores", "run_report"))
    morning(copy, persist=False)
    assert days_with_late_leads(copy.deployment, first=DAY, before=LAST) == [DAY]
    morning(copy)
    assert set(late) <= {row[1] for row in rows_of(copy, "lead_scores")}


def test_late_leads_are_scored_while_the_newest_day_is_held(copy: Copy, late: list[str]) -> None:
    ads = pl.read_csv(copy.exports / "ads.csv", infer_schema=False)
    ads.filter(pl.col("date") < str(LAST)).write_csv(copy.exports / "ads.csv")
    copy.deployment.lake.partition("ads", LAST).unlink()
    morning(copy)
    assert predictions(copy, LAST, LAST).is_empty()
    record = copy.deployment.lake.read_json(HELD)
    assert {day: entry["status"] for day, entry in record.items()} == {str(LAST): "held"}
    known = {row[1] for row in rows_of(copy, "lead_scores")}
    assert set(late) <= known
    assert copy.deployment.lake.read_json(UNPUBLISHED_LATE) == {}


def test_a_late_lead_knows_nothing_that_came_after_it(copy: Copy, late: list[str], finished: Finished) -> None:
    """By the time it is scored, figures before it are restated, leads before it have qualified, others have come."""
    leads, ads, outcomes = (
        pl.read_csv(copy.exports / f"{t}.csv", infer_schema=False) for t in ("leads", "ads", "outcomes")
    )
    recent = pl.col("date") >= str(DAY - timedelta(days=9))
    clicks = pl.when(recent).then(pl.col("clicks").cast(pl.Int64) * 7).otherwise(pl.col("clicks").cast(pl.Int64))
    ads.with_columns(clicks=clicks, spend=pl.col("spend").cast(pl.Float64) * 3).write_csv(copy.exports / "ads.csv")
    newest = leads.filter(pl.col("created_time").str.slice(0, 10) == str(LAST))
    more = [newest.with_columns(pl.format("{}-{}", "lead_id", pl.lit(twin))) for twin in (1, 2, 3)]
    pl.concat([leads, *more]).write_csv(copy.exports / "leads.csv")
    before = leads.filter(pl.col("created_time").str.slice(0, 10) < str(DAY)).tail(200)
    planted = before.join(outcomes, on="lead_id", how="anti").select(
        "lead_id", qualified_time=pl.lit(f"{LAST}T00:00:01Z")
    )
    assert planted.height > 50
    pl.concat([outcomes, planted], how="diagonal").write_csv(copy.exports / "outcomes.csv")
    morning(copy)
    assert copy.deployment.ads_store.log.scan().collect().height > 0  # the figures count as restated
    known = copy.deployment.scan("outcomes", first=LAST, last=LAST).collect()
    assert set(planted["lead_id"]) <= set(known["lead_id"])
    for table in ("features", "predictions"):
        wanted, found = (
            deployment.scan(table, first=DAY, last=DAY).filter(pl.col("lead_id").is_in(late)).collect().sort("lead_id")
            for deployment in (finished.deployment, copy.deployment)
        )
        assert found.height == len(late)
        of_run = [*OF_THE_RUN, "rank", "decile"]
        assert_frame_equal(found.drop(of_run, strict=False), wanted.drop(of_run, strict=False), check_exact=True)


def test_a_run_reads_three_scored_days_again_and_later_where_the_lake_knows_of_late_leads(copy: Copy) -> None:
    assert run_days(copy.deployment, LAST) == DayRange(LAST - timedelta(days=3), LAST)
    old = LAST - timedelta(days=8)
    gone = predictions(copy, old, old)["lead_id"].head(1).to_list()
    unknown(copy, gone, tables=("predictions",), day=old)  # the weekly reading has brought it
    assert days_with_late_leads(copy.deployment, first=old, before=LAST) == [old]
    assert run_days(copy.deployment, LAST) == DayRange(old, LAST)
    morning(copy)
    assert gone[0] in set(predictions(copy, old, old)["lead_id"])
    assert run_days(copy.deployment, LAST) == DayRange(LAST - timedelta(days=3), LAST)


def test_a_lead_that_the_export_moved_to_another_day_is_not_late(copy: Copy) -> None:
    old, new = LAST - timedelta(days=8), LAST - timedelta(days=7)
    lead = predictions(copy, old, old)["lead_id"][0]
    files = [copy.deployment.lake.partition("leads", day) for day in (old, new)]
    rows = [pl.read_parquet(file) for file in files]
    moved = rows[0].filter(pl.col("lead_id") == lead).with_columns(day=pl.lit(new))
    rows[0].filter(pl.col("lead_id") != lead).write_parquet(files[0])
    pl.concat([rows[1], moved]).write_parquet(files[1])
    assert days_with_late_leads(copy.deployment, first=old, before=LAST) == []


def test_days_that_are_left_alone_are_not_judged_again(copy: Copy) -> None:
    """A day that was scored cannot be held because rows of it have come or gone since."""
    for day in [DAY - timedelta(days=n) for n in range(1, 99)]:
        file = copy.deployment.lake.partition("leads", day)
        rows = pl.read_parquet(file)
        pl.concat([rows] * 40).head(38 + day.toordinal() % 5).write_parquet(file)
    both = DayRange(DAY, LAST)
    op = f"{NAME}__day_completeness"
    config = {"now": NOW.isoformat(), "only": [str(LAST)]}
    copy.run("day_completeness", days=both, config={"ops": {op: {"config": config}}})
    assert str(DAY) not in copy.deployment.lake.read_json(HELD)
    copy.run("day_completeness", days=both, config={"ops": {op: {"config": {"now": NOW.isoformat()}}}})
    assert copy.deployment.lake.read_json(HELD)[str(DAY)]["status"] == "held"  # asked for, it would wait


def test_the_model_of_a_day_is_the_one_that_scored_it(copy: Copy) -> None:
    file = copy.deployment.lake.partition("predictions", DAY)
    rows = pl.read_parquet(file)
    [version] = rows["model_version"].unique()
    later = pl.col("lead_id") == rows["lead_id"][0]
    rows.with_columns(
        model_version=pl.when(later).then(pl.lit("99")).otherwise("model_version"),
        scored_at=pl.when(later).then(pl.col("scored_at") + timedelta(days=2)).otherwise("scored_at"),
    ).write_parquet(file)
    [day] = day_table(copy.deployment, as_of=LAST).filter(pl.col("day") == DAY).to_dicts()
    assert (day["model_version"], day["leads"]) == (version, rows.height)


def test_a_rehearsal_does_not_ask_the_clock(copy: Copy, late: list[str]) -> None:
    entry = {"since": NOW.isoformat(), "status": "complete", "findings": []}
    copy.deployment.lake.write_json(HELD, {str(LAST): entry})
    morning(copy)
    new = predictions(copy, DAY, LAST).filter(pl.col("lead_id").is_in(late) | (pl.col("day") == LAST))
    assert new["scored_at"].unique().to_list() == [NOW]
    assert copy.deployment.lake.read_json(HELD)[str(LAST)]["scored_at"] == NOW.isoformat()
