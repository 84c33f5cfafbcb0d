"""Which days a daily run owes, from what the lake remembers."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest

from elv_pipeline.home import Home
from elv_pipeline.lake import days_between
from elv_pipeline.monitoring.day_completeness import DayFinding
from elv_pipeline.monitoring.held_days import decide, release, settle
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.deployments import deployment_of
from elv_pipeline.orchestration.due_days import (
    HELD,
    due_days,
    held_record,
    missed_days,
    note_published,
    note_unpublished,
    outdated,
    owed_config,
    owed_days,
    run_days,
    unpublished_days,
)
from elv_pipeline.orchestration.late_leads import UNPUBLISHED_LATE, note_late, note_late_published
from elv_pipeline.orchestration.partitions import DayRange
from elv_pipeline_tests.orchestration.conftest import BETA, FIRST, configuration

pytestmark = BETA
YESTERDAY = FIRST + timedelta(days=100)
ASKED = (
    *("day_completeness", "predictions", "campaign_leaderboard", "adset_leaderboard", "drift"),
    *("run_report", "lead_scores"),
)


def back(days: int) -> date:
    return YESTERDAY - timedelta(days=days)


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    return deployment_of(configuration(tmp_path, end_date=None), Home(tmp_path / "home"))


def score(deployment: Deployment, first: date, last: date, *, but: tuple[date, ...] = ()) -> None:
    """What scoring leaves behind: a partition a day."""
    folder = deployment.lake.root / "predictions"
    folder.mkdir(parents=True, exist_ok=True)
    for day in days_between(first, last):
        if day not in but:
            (folder / f"{day}.parquet").touch()


def hold(deployment: Deployment, day: date, *, now: datetime | None = None) -> dict[str, dict[str, Any]]:
    end = datetime.combine(day + timedelta(days=1), time(), tzinfo=UTC)
    finding = DayFinding(table="leads", day=day, kind="no_rows", holds=True, message="leads has no rows.")
    record, _ = decide(
        held_record(deployment),
        day,
        findings=[finding],
        day_end=end,
        now=now or end + timedelta(hours=6),
        settings=deployment.config.monitoring,
    )
    deployment.lake.write_json(HELD, record)
    return record


def test_a_home_that_never_scored_owes_yesterday_and_nothing_older(deployment: Deployment) -> None:
    assert due_days(deployment, YESTERDAY) == DayRange(YESTERDAY, YESTERDAY)
    assert missed_days(deployment, YESTERDAY) == []


def test_where_nothing_was_missed_only_yesterday_is_due(deployment: Deployment) -> None:
    score(deployment, back(20), back(1))
    assert due_days(deployment, YESTERDAY) == DayRange(YESTERDAY, YESTERDAY)
    score(deployment, YESTERDAY, YESTERDAY)  # a second tick on the same day owes the same day
    assert due_days(deployment, YESTERDAY) == DayRange(YESTERDAY, YESTERDAY)


def test_missed_days_are_one_range_up_to_yesterday(deployment: Deployment) -> None:
    score(deployment, back(30), back(1), but=(back(25), back(3)))
    assert missed_days(deployment, YESTERDAY) == [back(25), back(3)]
    assert due_days(deployment, YESTERDAY) == DayRange(back(25), YESTERDAY)


def test_nothing_before_the_first_scored_day_was_missed(deployment: Deployment) -> None:
    score(deployment, back(4), back(4))
    assert due_days(deployment, YESTERDAY) == DayRange(back(3), YESTERDAY)


def test_what_was_missed_long_ago_needs_a_person(deployment: Deployment) -> None:
    score(deployment, back(99), back(1), but=(back(95), back(92), back(90)))
    assert missed_days(deployment, YESTERDAY) == [back(92), back(90)]


def test_a_run_for_a_past_day_owes_what_that_day_owed(deployment: Deployment) -> None:
    score(deployment, back(20), back(1), but=(back(12), back(5)))
    assert due_days(deployment, back(10)) == DayRange(back(12), back(10))
    assert due_days(deployment, back(13)) == DayRange(back(13), back(13))


@pytest.mark.parametrize("table", ["leads", "ads"])
def test_days_that_the_exports_had_not_reached_are_due_again_for_two_weeks(deployment: Deployment, table: str) -> None:
    score(deployment, back(40), back(1))
    deployment.note_provisional(table, days=[back(15), back(14)], provisional=[back(15), back(14)])
    assert due_days(deployment, YESTERDAY) == DayRange(back(14), YESTERDAY)


def test_a_held_day_is_due_until_it_is_scored(deployment: Deployment) -> None:
    score(deployment, back(40), back(1))  # a held day has a partition without rows
    hold(deployment, back(2))
    assert due_days(deployment, YESTERDAY) == DayRange(back(2), YESTERDAY)
    released = release(held_record(deployment), back(2), by="ana", reason="holiday", now=datetime.now(UTC))
    deployment.lake.write_json(HELD, released)
    assert due_days(deployment, YESTERDAY) == DayRange(back(2), YESTERDAY)
    deployment.lake.write_json(HELD, settle(released, [back(2)], now=datetime.now(UTC)))
    assert due_days(deployment, YESTERDAY) == DayRange(YESTERDAY, YESTERDAY)


def test_a_held_day_is_not_forgotten_where_nothing_ran_for_a_month(deployment: Deployment) -> None:
    """Otherwise it would be open for ever: no later run would look at it."""
    score(deployment, back(60), back(31))
    hold(deployment, back(31))
    assert due_days(deployment, YESTERDAY) == DayRange(back(31), YESTERDAY)


def test_no_day_before_the_calendar_is_due(tmp_path: Path) -> None:
    deployment = deployment_of(configuration(tmp_path, start_date=back(2), end_date=None), Home(tmp_path / "home"))
    deployment.lake.write_json("provisional/leads", [str(back(3)), str(back(1))])
    assert due_days(deployment, YESTERDAY) == DayRange(back(1), YESTERDAY)


def test_a_hole_is_scored_and_what_was_told_after_it_stays(deployment: Deployment) -> None:
    score(deployment, back(30), back(1), but=(back(3),))
    found = owed_config(deployment, YESTERDAY)["ops"]
    wanted = {"config": {"only": [str(back(3)), str(YESTERDAY)]}}
    assert found == {f"{deployment.name}__{asset}": wanted for asset in ASKED}


def test_scored_days_before_the_oldest_owed_one_are_read_again_for_late_leads(deployment: Deployment) -> None:
    assert run_days(deployment, YESTERDAY) == DayRange(YESTERDAY, YESTERDAY)  # nothing was scored yet
    score(deployment, back(1), back(1))
    assert run_days(deployment, YESTERDAY) == DayRange(back(1), YESTERDAY)
    score(deployment, back(30), back(2))
    assert run_days(deployment, YESTERDAY) == DayRange(back(3), YESTERDAY)
    deployment.lake.partition("predictions", back(6)).unlink()
    # After days of silence a lead of the days before them is as late as it would have been without.
    assert run_days(deployment, YESTERDAY) == DayRange(back(9), YESTERDAY)


def test_late_leads_that_could_not_be_written_are_owed_until_they_are(deployment: Deployment) -> None:
    score(deployment, back(30), back(1))
    note_late(deployment, [back(8)], run_id="failed")
    note_late(deployment, [back(8)], run_id="failed")
    assert run_days(deployment, YESTERDAY) == DayRange(back(8), YESTERDAY)
    assert owed_days(deployment, YESTERDAY) == [YESTERDAY]  # the day itself is left alone
    note_late(deployment, [back(8)], run_id="shadow")
    assert deployment.lake.read_json(UNPUBLISHED_LATE) == {str(back(8)): ["failed", "shadow"]}
    note_late_published(deployment, [back(8)], kept_back_by="shadow")  # was asked not to write
    assert run_days(deployment, YESTERDAY).first == back(8)
    note_late_published(deployment, [back(8)])
    assert run_days(deployment, YESTERDAY).first == back(3)


@pytest.mark.parametrize(
    ("only", "made"),
    [([], [5, 4, 3, 2, 1]), ([1], [4, 1]), ([3], [4, 3, 2, 1]), ([9], [5, 4, 3, 2, 1])],
)
def test_summaries_are_made_anew_where_something_is_new(only: list[int], made: list[int]) -> None:
    days = [back(n) for n in range(5, 0, -1)]
    found = outdated(days, only=[str(back(n)) for n in only], holds=lambda day: day != back(4))
    assert found == [back(n) for n in made]


def test_scores_that_could_not_be_written_are_owed_until_they_are(deployment: Deployment) -> None:
    score(deployment, back(30), back(1))
    note_unpublished(deployment, [back(2), back(1)], run_id="failed")
    assert owed_days(deployment, YESTERDAY) == [back(2), back(1), YESTERDAY]
    note_unpublished(deployment, [back(2)], run_id="shadow")
    note_published(deployment, [back(2), back(1)], kept_back_by="shadow")  # was asked not to write
    assert unpublished_days(deployment) == [back(2), back(1)]
    note_published(deployment, [back(2)])
    assert owed_days(deployment, YESTERDAY) == [back(1), YESTERDAY]


def test_what_a_run_kept_back_on_purpose_is_not_owed(deployment: Deployment) -> None:
    note_unpublished(deployment, [YESTERDAY], run_id="shadow")
    note_published(deployment, [YESTERDAY], kept_back_by="shadow")
    assert unpublished_days(deployment) == []
