"""Shared days are made once, of what decides them; a target's rows are of one query."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from elv_pipeline.config_file import load_targets
from elv_pipeline.errors import ConfigError
from elv_pipeline.home import Home
from elv_pipeline.orchestration.made_days import days_to_make, note_made
from elv_pipeline.orchestration.outreach_deployment import CLEAN, MOMENTS, OutreachDeployment
from elv_pipeline.orchestration.queries_read import (
    edited_queries,
    note_rows_of_query,
    require_rows_of_one_query,
)

FIRST = date(2025, 3, 3)
DAYS = [FIRST + timedelta(days=offset) for offset in range(3)]
TABLES = ("contacts", "campaigns", "campaign_steps", "enrollments", "engagement_logs", "outcomes")


def deployment(folder: Path, **keys: Any) -> OutreachDeployment:
    document = {
        "name": "crm",
        "problem": "outreach",
        "targets": ["qualified"],
        "timezone": "Europe/Berlin",
        "start_date": str(FIRST),
        "paths": {f"{table}_path": f"{table}.csv" for table in TABLES},
        **keys,
    }
    (folder / "crm.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    (config,) = load_targets(folder / "crm.yaml")
    return OutreachDeployment(config, Home(folder / "home"))


def note_tables(place: OutreachDeployment, *, version: str = "v1", newest: str = "2025-03-05T21:40:00+00:00") -> None:
    table = {"newest_moment": newest, "rows": 1, "query": version}
    place.shared_lake.write_json(CLEAN, {"version": version, "tables": {"enrollments": table}})


def write(place: OutreachDeployment, days: list[date]) -> None:
    rows = pl.DataFrame({"moment_id": ["m"] * len(days), "day": days})
    place.shared_lake.write_days(MOMENTS, rows, days=days)
    note_made(place, MOMENTS, days)


def test_a_day_is_made_again_where_anything_that_decides_it_has_changed(tmp_path: Path) -> None:
    place = deployment(tmp_path)
    note_tables(place)
    assert days_to_make(place, MOMENTS, DAYS) == DAYS
    write(place, DAYS)
    assert days_to_make(place, MOMENTS, DAYS) == []
    place.shared_lake.partition(MOMENTS, DAYS[1]).unlink()
    assert days_to_make(place, MOMENTS, DAYS) == [DAYS[1]]
    write(place, [DAYS[1]])
    assert days_to_make(deployment(tmp_path, moments={"rescore_days": 2}), MOMENTS, DAYS) == DAYS
    note_tables(place, version="v2")
    assert days_to_make(place, MOMENTS, DAYS) == DAYS
    write(place, DAYS[:1])
    assert days_to_make(place, MOMENTS, DAYS) == DAYS[1:]


def test_the_evening_after_the_newest_event_is_over_once_its_day_is(tmp_path: Path) -> None:
    place = deployment(tmp_path)
    note_tables(place)
    assert place.observed_until() == datetime(2025, 3, 5, 21, 40, tzinfo=UTC)
    assert place.moments_until() == datetime(2025, 3, 5, 23, 0, tzinfo=UTC)  # midnight in Berlin
    now = datetime.now(UTC)
    note_tables(place, newest=now.isoformat())
    assert place.moments_until() <= datetime.now(UTC)
    told = deployment(tmp_path, observed_until="2025-03-04T12:00:00+01:00")
    note_tables(told)
    assert told.moments_until() == datetime(2025, 3, 4, 11, 0, tzinfo=UTC)


def test_rows_of_two_queries_do_not_stand_side_by_side(tmp_path: Path) -> None:
    query = tmp_path / "enrollments.sql"
    query.write_text("select 1", encoding="utf-8")
    place = deployment(
        tmp_path,
        paths={f"{table}_path": f"{table}.csv" for table in TABLES if table != "enrollments"},
        extracts={"enrollments": str(query)},
        databases={"source": {"url_variable": "ELV_SOURCE_URL"}},
    )
    note_tables(place, version="an earlier query")
    assert edited_queries(place) == []  # no row was made yet
    rows = pl.DataFrame({"lead_id": ["m"] * 3, "day": DAYS})
    place.lake.write_days("joined_leads", rows, days=DAYS)
    note_rows_of_query(place)
    assert edited_queries(place) == ["enrollments"]
    # Another target has read the tables by the present query since: these rows are still of the earlier one.
    note_tables(place, version="the present query")
    assert edited_queries(place) == ["enrollments"]
    with pytest.raises(ConfigError, match=r"edited since 2 other days were written.*Run 'elv build-table' once"):
        require_rows_of_one_query(place, days=DAYS[:1])
    require_rows_of_one_query(place, days=DAYS)
