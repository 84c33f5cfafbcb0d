"""The leads that outcomes belong to: the newest file has the last word, and old files stay closed."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from elv_pipeline.config_file import parse_config
from elv_pipeline.contracts.lead_ads import LEADS, OUTCOMES
from elv_pipeline.home import Home
from elv_pipeline.ingest.cross_checks import check_outcomes
from elv_pipeline.ingest.ingested import Ingested
from elv_pipeline.ingest.tables import read_outcomes
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.deployments import deployment_of
from elv_pipeline.orchestration.exports_at_hand import ExportAtHand, export_at_hand
from elv_pipeline.orchestration.outcome_rows import complete_columns, known_leads

FIRST = date(2024, 1, 1)


def deployment(folder: Path) -> Deployment:
    paths = {"leads_path": "leads", "outcomes_path": "outcomes.csv"}
    (folder / "leads").mkdir(exist_ok=True)
    return deployment_of(
        parse_config({"name": "few", "paths": paths}, source=folder / "config.yaml"), Home(folder / "home")
    )


def export(folder: Path, files: dict[str, str]) -> tuple[Deployment, ExportAtHand]:
    """Lead files by the date in their name, each with lead L1 created at some time."""
    found = deployment(folder)
    for day, created in files.items():
        (folder / f"leads/leads_{day}.csv").write_text(
            f"lead_id,created_time,ad_id\nL1,{created},A\n", encoding="utf-8"
        )
    return found, export_at_hand(found, "leads")


def outcomes(folder: Path, found: Deployment, text: str) -> Ingested:
    (folder / "outcomes.csv").write_text(f"lead_id,qualified_time\n{text}", encoding="utf-8")
    return read_outcomes(folder / "outcomes.csv", found.config)


def test_a_lead_is_judged_by_the_file_that_corrected_it(tmp_path: Path) -> None:
    """As in the lake and in the profile; by its old moment the outcome would precede it."""
    found, leads = export(tmp_path, {"2025-03-11": "2025-03-10T00:00:00Z", "2025-03-12": "2025-03-01T00:00:00Z"})
    out = outcomes(tmp_path, found, "L1,2025-03-05T00:00:00Z\n")
    known = known_leads(found, leads, of=out)
    assert known.frame["created_time"].to_list() == leads.whole().frame["created_time"].to_list()
    assert check_outcomes(out, known, found.config).frame.height == 1


def test_a_lead_that_the_exports_forgot_is_found_in_the_lake(tmp_path: Path) -> None:
    found, leads = export(tmp_path, {"2025-03-11": "2025-03-10T00:00:00Z"})
    found.lake.write_days("leads", rows(0, "L0"), days=[FIRST])
    out = outcomes(tmp_path, found, "L0,2025-03-05T00:00:00Z\nL1,2025-03-15T00:00:00Z\nL9,2025-03-15T00:00:00Z\n")
    assert sorted(known_leads(found, leads, of=out).frame["lead_id"]) == ["L0", "L1"]


def rows(offset: int, lead: str) -> pl.DataFrame:
    moment = datetime(2024, 1, 1, 5, tzinfo=UTC) + timedelta(days=offset)
    texts = {name: [None] for name in LEADS.names}
    return pl.DataFrame(
        {**texts, "lead_id": [lead], "created_time": [moment], "day": [moment.date()]}, schema=LEADS.schema
    )


def test_recent_leads_are_found_without_opening_old_days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, leads = export(tmp_path, {"2025-03-11": "2025-03-10T00:00:00Z"})
    days = [FIRST + timedelta(days=offset) for offset in range(200)]
    found.lake.write_days("leads", pl.concat([rows(at, f"D{at}") for at in range(200)]), days=days)
    opened: list[Path] = []
    scan = pl.scan_parquet

    def counted(files: Any, **more: Any) -> pl.LazyFrame:
        opened.extend(files)
        return scan(files, **more)

    monkeypatch.setattr(pl, "scan_parquet", counted)
    out = outcomes(tmp_path, found, "D190,2025-03-05T00:00:00Z\nD170,2025-03-05T00:00:00Z\n")
    assert sorted(known_leads(found, leads, of=out).frame["lead_id"]) == ["D170", "D190"]
    assert min(file.stem for file in opened if "home/lake" in str(file)) > str(days[140])


def outcome(offset: int) -> pl.DataFrame:
    moment = datetime(2024, 1, 1, 5, tzinfo=UTC) + timedelta(days=offset)
    row = {"lead_id": f"L{offset}", "qualified_time": moment, "recorded_time": moment, "withdrawn_time": None}
    return pl.DataFrame([{**row, "value_micros": None, "day": moment.date()}], schema=OUTCOMES.schema)


def test_days_of_an_older_version_get_the_new_column_and_keep_their_rows(tmp_path: Path) -> None:
    lake, schema = deployment(tmp_path).lake, OUTCOMES.schema
    days = [FIRST + timedelta(days=offset) for offset in range(4)]
    expected = pl.concat([outcome(at) for at in range(3)])
    lake.write_days("outcomes", expected.drop("value_micros"), days=days)
    complete_columns(lake, "outcomes", schema)
    assert lake.scan_days("outcomes", first=days[0], last=days[-1]).collect().equals(expected)
    assert pl.read_parquet_schema(lake.partition("outcomes", days[3])) == schema
    written = [lake.partition("outcomes", day).stat().st_ino for day in days]
    complete_columns(lake, "outcomes", schema)
    assert [lake.partition("outcomes", day).stat().st_ino for day in days] == written


def test_days_that_a_killed_run_left_are_completed_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = deployment(tmp_path).lake
    days = [FIRST + timedelta(days=offset) for offset in range(4)]
    lake.write_days("outcomes", pl.concat([outcome(at) for at in range(4)]).drop("value_micros"), days=days)
    write, written = type(lake).write_days, []

    def killed(self: Any, table: str, frame: Any, *, days: Any) -> Any:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.extend(days)
        return write(self, table, frame, days=days)

    monkeypatch.setattr(type(lake), "write_days", killed)
    with pytest.raises(KeyboardInterrupt):
        complete_columns(lake, "outcomes", OUTCOMES.schema)
    monkeypatch.setattr(type(lake), "write_days", write)
    complete_columns(lake, "outcomes", OUTCOMES.schema)
    assert lake.scan_days("outcomes", first=days[0], last=days[-1]).collect()["lead_id"].len() == 4
    assert {len(pl.read_parquet_schema(lake.partition("outcomes", day))) for day in days} == {len(OUTCOMES.schema)}


def test_a_table_without_any_day_needs_no_column(tmp_path: Path) -> None:
    lake = deployment(tmp_path).lake
    complete_columns(lake, "outcomes", OUTCOMES.schema)
    assert lake.days("outcomes") == []
