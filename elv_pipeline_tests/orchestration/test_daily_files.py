"""A folder that grows by a file a day: each run reads what is new, and restated days change no earlier feature."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from elv_pipeline.config_file import parse_config
from elv_pipeline.home import Home
from elv_pipeline.ingest import sources
from elv_pipeline.ingest.ingested import Ingested
from elv_pipeline.ingest.sources import Reader
from elv_pipeline.orchestration import exports_at_hand
from elv_pipeline.orchestration.deployments import deployment_of
from elv_pipeline.orchestration.partitions import DayRange
from elv_pipeline.settings import PipelineConfig
from elv_pipeline_tests.orchestration.conftest import BETA, Copy

pytestmark = [BETA, pytest.mark.slow]
FIRST, DAYS, TRAILING = date(2025, 3, 24), 12, 4
"""Twelve days that hold the change to daylight saving time; each export restates the days before it."""
BERLIN = "Europe/Berlin"
TABLES = ("ads", "ads_placement", "leads", "outcomes", "joined_leads", "matured_labels", "features")


EXPORTS = ("ads", "ads_placement", "leads", "outcomes")


def day(offset: int) -> date:
    return FIRST + timedelta(days=offset)


def exported(offset: int) -> datetime:
    """When the ads file of a day was made: 05:00 UTC of the next day, as its name says."""
    return datetime(2025, 3, 24, 5, tzinfo=UTC) + timedelta(days=offset + 1)


def clicks(offset: int, export: int) -> int:
    """Clicks of a day as a later export gives them: they go up for three days."""
    return 10 + offset + 100 * min(export - offset, 3)


def write_day(folder: Path, offset: int) -> None:
    """The files that appear after one day: ads of the last days, in all and by placement, leads and outcomes."""
    for table in EXPORTS:
        (folder / table).mkdir(parents=True, exist_ok=True)
    header = "date,campaign_id,adset_id,ad_id,impressions,clicks,spend\n"
    rows = [f"{day(d)},C,S,A,9999,{clicks(d, offset)},{d}.5\n" for d in range(max(0, offset - TRAILING), offset + 1)]
    (folder / f"ads/ads_{exported(offset):%Y%m%dT%H%M}Z.csv").write_text(header + "".join(rows), encoding="utf-8")
    by_placement = [row.replace(",C,S,A,", ",A,feed,") for row in rows]
    (folder / f"ads_placement/by_{exported(offset):%Y%m%dT%H%M}Z.csv").write_text(
        "date,ad_id,placement,impressions,clicks,spend\n" + "".join(by_placement), encoding="utf-8"
    )
    times = [f"{day(offset)}T{hour:02d}:30:00+0{1 if offset < 6 else 2}:00" for hour in (3, 9, 20)]
    leads = "".join(f"L{offset}.{n},{moment},A\n" for n, moment in enumerate(times))
    (folder / f"leads/leads_{day(offset)}.csv").write_text(f"lead_id,created_time,ad_id\n{leads}", encoding="utf-8")
    outcome = f"L{offset}.1,{day(offset)}T12:00:00Z\n"
    (folder / f"outcomes/{day(offset)}.csv").write_text(f"lead_id,qualified_time\n{outcome}", encoding="utf-8")


def opened(folder: Path) -> Copy:
    paths = {f"{table}_path": f"exports/{table}" for table in EXPORTS}
    document = {"name": "daily", "timezone": BERLIN, "start_date": FIRST, "end_date": day(DAYS - 1), "paths": paths}
    home = Home(folder / "home")
    config = home.register(parse_config(document, source=folder / "config.yaml"))
    return Copy(deployment_of(config, home), folder / "exports")


def by_day(folder: Path, *, upto: int = DAYS) -> Copy:
    """Every day run on its own, with no more files than there were."""
    copy = opened(folder)
    for offset in range(upto):
        write_day(copy.exports, offset)
        copy.run(*TABLES, days=DayRange(day(offset), day(offset)))
    return copy


def at_once(folder: Path) -> Copy:
    copy = opened(folder)
    for offset in range(DAYS):
        write_day(copy.exports, offset)
    copy.run(*TABLES, days=DayRange(FIRST, day(DAYS - 1)))
    return copy


@pytest.fixture(scope="module")
def daily(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    return by_day(tmp_path_factory.mktemp("daily"))


def features(copy: Copy) -> pl.DataFrame:
    return copy.deployment.scan("features", first=FIRST, last=day(DAYS)).collect()


def test_day_by_day_leaves_the_bytes_of_one_ranged_run(daily: Copy, tmp_path: Path) -> None:
    whole = at_once(tmp_path)
    for table in (*EXPORTS, "ads_changes", "ads_placement_changes", "joined_leads", "features"):
        assert daily.files(table) == whole.files(table), table


def test_a_lead_knows_the_figures_that_had_been_exported_before_it(daily: Copy) -> None:
    table = features(daily).sort("created_time")
    restated = 0
    for row in table.iter_rows(named=True):
        last = (row["day"] - FIRST).days - 1
        known = [n for n in range(DAYS) if exported(n) < row["created_time"]]
        expected = 0
        for offset in range(max(0, last - 2), last + 1):
            versions = [n for n in known if offset <= n <= offset + TRAILING]
            # A day that no export had reached yet stands at its first figure: the feature lag says it is there.
            expected += clicks(offset, max(versions, default=offset))
            restated += max(versions, default=offset) > offset
        assert row["ad_clicks_3d"] == expected, row["lead_id"]
    assert restated > 30


def test_a_breakdown_knows_what_the_export_beside_it_knows(daily: Copy) -> None:
    table = features(daily)
    for level in ("ad", "adset", "campaign"):
        whole, broken_down = table[f"{level}_clicks_7d"], table[f"{level}_placement_clicks_7d"]
        assert whole.sum() > 0
        assert broken_down.to_list() == whole.to_list()


def test_a_day_computed_again_after_restatements_is_the_same(daily: Copy, tmp_path: Path) -> None:
    copy = by_day(tmp_path, upto=8)
    before = {name: content for name, content in copy.files("features").items()}
    for offset in range(8, DAYS):
        write_day(copy.exports, offset)
        copy.run("ads", "ads_placement", "leads", days=DayRange(day(offset), day(offset)))
    assert len(copy.files("ads_changes")) == len(daily.files("ads_changes"))
    copy.run("ads", "ads_placement", "leads", "joined_leads", "features", days=DayRange(FIRST, day(7)))
    assert copy.files("features") == before


def test_the_newest_figures_are_what_spend_and_names_are_counted_from(daily: Copy) -> None:
    newest = daily.deployment.ads_store.newest(first=FIRST, last=day(DAYS)).collect().sort("day")
    assert newest["clicks"].to_list() == [clicks(n, min(n + TRAILING, DAYS - 1)) for n in range(DAYS)]


def test_each_run_parses_the_files_of_its_day_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = by_day(tmp_path, upto=6)
    parsed: list[str] = []

    def counted(reader: Reader) -> Callable[[Path | str, PipelineConfig], Ingested]:
        def read(path: Path | str, config: PipelineConfig) -> Ingested:
            parsed.append(Path(path).name)
            return reader(path, config)

        return read

    monkeypatch.setattr(exports_at_hand, "READERS", {name: counted(read) for name, read in sources.READERS.items()})
    write_day(copy.exports, 6)
    copy.run(*TABLES, days=DayRange(day(6), day(6)))
    assert sorted(parsed) == [
        *("2025-03-30.csv", "ads_20250331T0500Z.csv", "by_20250331T0500Z.csv", "leads_2025-03-30.csv")
    ]


def test_a_history_can_be_taken_anew(tmp_path: Path) -> None:
    copy = by_day(tmp_path, upto=6)
    config = {"ops": {"daily__ads": {"config": {"anew": True}}}}
    wrong = sorted((copy.exports / "ads").glob("*.csv"))
    for file in wrong:
        file.write_text(file.read_text(encoding="utf-8").replace(",C,S,A,9999,", ",C,S,A,8888,"), encoding="utf-8")
    copy.run("ads", days=DayRange(FIRST, day(5)))
    assert set(copy.deployment.scan("ads", first=FIRST, last=day(5)).collect()["impressions"]) == {9999}
    copy.run("ads", days=DayRange(FIRST, day(5)), config=config)
    rows = copy.deployment.scan("ads", first=FIRST, last=day(5)).collect()
    assert set(rows["impressions"]) == {8888}


def test_an_outcome_that_its_export_no_longer_holds_is_withdrawn(tmp_path: Path) -> None:
    copy = by_day(tmp_path, upto=6)
    path = copy.exports / f"outcomes/{day(2)}.csv"
    path.write_text(f"lead_id,qualified_time\nL2.0,{day(2)}T12:00:00Z\n", encoding="utf-8")
    copy.run("outcomes", days=DayRange(FIRST, day(5)))
    rows = copy.deployment.scan("outcomes", first=day(2), last=day(2)).collect().sort("lead_id")
    assert rows["lead_id"].to_list() == ["L2.0", "L2.1"]
    assert rows["withdrawn_time"].is_null().to_list() == [True, False]
    copy.run("outcomes", days=DayRange(FIRST, day(5)))
    again = copy.deployment.scan("outcomes", first=day(2), last=day(2)).collect().sort("lead_id")
    assert again.equals(rows)


def test_two_accounts_in_one_folder_and_a_late_file_that_is_told(tmp_path: Path) -> None:
    copy = opened(tmp_path)
    for offset in range(3):
        write_day(copy.exports, offset)
    ours = copy.exports / f"ads/ads_{exported(1):%Y%m%dT%H%M}Z.csv"
    theirs = ours.with_name(ours.name.replace("ads_", "other_"))
    theirs.write_text(ours.read_text(encoding="utf-8").replace(",C,S,A,", ",D,T,B,"), encoding="utf-8")
    late, held = ours.read_text(encoding="utf-8"), DayRange(FIRST, day(2))
    ours.unlink()
    copy.run("ads", days=held)
    rows = copy.deployment.scan("ads", first=FIRST, last=day(2)).collect()
    assert rows.group_by("ad_id").len().sort("ad_id").rows() == [("A", 3), ("B", 2)]
    before = copy.files("ads"), copy.files("ads_changes")
    ours.write_text(late, encoding="utf-8")
    [check] = copy.run("ads", days=held).get_asset_check_evaluations()
    assert not check.passed
    assert f"figures of 2 day(s) between {FIRST} and {day(1)} were left out" in (check.description or "")
    assert (copy.files("ads"), copy.files("ads_changes")) == before
