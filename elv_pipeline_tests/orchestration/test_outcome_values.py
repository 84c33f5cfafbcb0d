"""Realised values from export to training table: known with their outcome, and homes without them go on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from elv_pipeline.config_file import parse_config
from elv_pipeline.home import Home
from elv_pipeline.orchestration.deployments import deployment_of
from elv_pipeline.orchestration.partitions import DayRange
from elv_pipeline_tests.orchestration.conftest import BETA, Copy

pytestmark = [BETA, pytest.mark.slow]
FIRST, DAYS = date(2025, 1, 6), 42
LAST = FIRST + timedelta(days=DAYS - 1)
WHOLE, NEWEST = DayRange(FIRST, LAST), DayRange(LAST - timedelta(days=2), LAST)
ORIGIN = FIRST + timedelta(days=28)
TABLES = ("leads", "outcomes", "joined_leads", "matured_labels", "features")
LABELS = ("outcomes", "matured_labels")
Value = Callable[[int], str]
"""What stands in the export for the outcome of a day's lead."""


def recorded(at: int) -> datetime:
    return datetime(2025, 1, 6, 12, tzinfo=UTC) + timedelta(days=at + 3)


def write_exports(folder: Path, *, value: Value | None, since: int = 0) -> None:
    """Three leads a day, one of which qualifies after two days, which is recorded after three."""
    leads, outcomes = ["lead_id,created_time,ad_id"], ["lead_id,qualified_time,recorded_time"]
    if value is not None:
        outcomes[0] += ",value"
    for at in range(DAYS):
        day = FIRST + timedelta(days=at)
        leads += [f"L{at}.{number},{day}T0{number}:30:00Z,A{number}" for number in range(3)]
        if recorded(at).date() <= LAST and at >= since:
            row = f"L{at}.1,{day + timedelta(days=2)}T12:00:00Z,{recorded(at):%Y-%m-%dT%H:%M:%SZ}"
            outcomes.append(row if value is None else f"{row},{value(at)}")
    folder.mkdir(exist_ok=True)
    for name, lines in (("leads", leads), ("outcomes", outcomes)):
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def built(folder: Path, *, value: Value | None) -> Copy:
    write_exports(folder / "exports", value=value)
    paths = {f"{table}_path": f"exports/{table}.csv" for table in ("leads", "outcomes")}
    document = {"name": "valued", "start_date": FIRST, "end_date": LAST, "label_window_days": 7, "paths": paths}
    home = Home(folder / "home")
    copy = Copy(
        deployment_of(home.register(parse_config(document, source=folder / "config.yaml")), home), folder / "exports"
    )
    copy.run(*TABLES, days=WHOLE)
    return copy


def micros(copy: Copy, table: str, column: str) -> dict[str, int | None]:
    rows = copy.deployment.scan(table, first=FIRST, last=LAST).collect()
    return dict(rows.drop_nulls(column.replace("value_micros", "recorded_time")).select("lead_id", column).rows())


def as_an_older_version_left_it(copy: Copy) -> None:
    for table, column in (("outcomes", "value_micros"), ("matured_labels", "outcome_value_micros")):
        for day in WHOLE.days:
            file = copy.deployment.lake.partition(table, day)
            pl.read_parquet(file).drop(column).write_parquet(file)


def training_table(copy: Copy) -> pl.DataFrame:
    copy.run("training_table", origin=ORIGIN)
    return pl.read_parquet(copy.deployment.lake.root / f"training_table/{ORIGIN}.parquet")


def test_values_reach_the_training_table_as_known_at_its_origin(tmp_path: Path) -> None:
    copy = built(tmp_path, value=lambda at: "" if at % 5 == 0 else f"{at}.25")
    expected = {
        f"L{at}.1": None if at % 5 == 0 else at * 1_000_000 + 250_000
        for at in range(DAYS)
        if recorded(at).date() <= LAST
    }
    assert micros(copy, "outcomes", "value_micros") == expected
    assert micros(copy, "matured_labels", "outcome_value_micros") == expected
    table = training_table(copy)
    start = datetime(ORIGIN.year, ORIGIN.month, ORIGIN.day, tzinfo=UTC)
    known = {f"L{at}.1": expected[f"L{at}.1"] for at in range(28) if recorded(at) < start}
    found = table.filter(pl.col("outcome_recorded_time").is_not_null())
    assert dict(found.select("lead_id", "outcome_value_micros").rows()) == known
    assert table.filter(pl.col("outcome_recorded_time").is_null())["outcome_value_micros"].drop_nulls().is_empty()


def test_planted_future_values_change_nothing_of_the_past(tmp_path: Path) -> None:
    start = datetime(ORIGIN.year, ORIGIN.month, ORIGIN.day, tzinfo=UTC)
    copy = built(tmp_path, value=lambda at: str(at))
    before, table = copy.files("features", "joined_leads"), training_table(copy)
    write_exports(copy.exports, value=lambda at: str(at) if recorded(at) < start else "999999999")
    copy.run(*TABLES, days=WHOLE)
    assert copy.files("features", "joined_leads") == before  # no feature knows a value at all
    assert max(filter(None, micros(copy, "matured_labels", "outcome_value_micros").values())) == 999_999_999_000_000
    assert training_table(copy).equals(table)


@pytest.mark.parametrize("rolling", [True, False])
def test_a_home_of_an_older_version_goes_on_with_its_daily_runs(tmp_path: Path, rolling: bool) -> None:
    copy = built(tmp_path, value=None)
    as_an_older_version_left_it(copy)
    assert training_table(copy)["outcome_value_micros"].null_count() == 84  # nothing was written since
    write_exports(copy.exports, value=lambda at: str(at), since=DAYS - 6 if rolling else 0)
    copy.run(*TABLES, days=NEWEST)
    copy.run("features", days=WHOLE)
    found = micros(copy, "outcomes", "value_micros")
    assert found.pop("L38.1") == 38_000_000
    assert sum(value is not None for value in found.values()) == 2  # the run's other days; earlier ones keep their rows
    assert len(found) == DAYS - 4
    assert training_table(copy).height == 84


def test_an_outcome_that_the_export_took_back_keeps_its_value(tmp_path: Path) -> None:
    copy = built(tmp_path, value=lambda at: str(at))
    text = (copy.exports / "outcomes.csv").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("L10.1,")]
    (copy.exports / "outcomes.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    copy.run(*LABELS, days=WHOLE)
    [row] = copy.deployment.scan("outcomes", first=FIRST, last=LAST).filter(lead_id="L10.1").collect().to_dicts()
    assert row["withdrawn_time"] is not None
    assert row["value_micros"] == 10_000_000
