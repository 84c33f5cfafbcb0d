"""The shape of the graph: it loads for every mix of exports, tells its story, and its calendars agree."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._utils.schedules import cron_string_iterator

from elv_pipeline.databases.scripts import sql_folder
from elv_pipeline.home import Home
from elv_pipeline.orchestration.code_location import build_defs
from elv_pipeline.orchestration.deployments import deployment_of
from elv_pipeline.orchestration.partitions import DayRange, daily_partitions, weekly_partitions
from elv_pipeline.publishing.registry.model_registry import ModelRegistry
from elv_pipeline.settings import PipelineConfig
from elv_pipeline_tests.orchestration.conftest import BETA, Ticker, configuration

pytestmark = BETA
Build = Callable[[Sequence[PipelineConfig]], dg.Definitions]

STAGES = ("raw", "tables", "learning", "registry", "scoring", "batch", "proof", "watching")
"""Order in which data flow; what scores a file comes beside the scoring of days."""
DAY, WEEK, NONE = "day", "week", "none"
NOUNS = {
    "data_profile": ("raw", NONE),
    "ads": ("raw", DAY),
    "leads": ("raw", DAY),
    "outcomes": ("raw", DAY),
    "joined_leads": ("tables", DAY),
    "matured_labels": ("tables", DAY),
    "features": ("tables", DAY),
    "modelling_table": ("tables", NONE),
    "training_table": ("learning", WEEK),
    "candidate_model": ("learning", WEEK),
    "model_validation": ("registry", WEEK),
    "champion": ("registry", NONE),
    "day_completeness": ("scoring", DAY),
    "predictions": ("scoring", DAY),
    "campaign_leaderboard": ("scoring", DAY),
    "adset_leaderboard": ("scoring", DAY),
    "drift": ("scoring", DAY),
    "lead_scores": ("scoring", DAY),
    "challenger_predictions": ("scoring", DAY),
    "batch_predictions": ("batch", NONE),
    "run_report": ("proof", NONE),
    "backtest": ("proof", NONE),
    "challenger_report": ("proof", NONE),
    "monitoring": ("watching", NONE),
    "alerts": ("watching", NONE),
    "housekeeping": ("watching", NONE),
}
MAP = {"lead_to_ad_map": ("raw", NONE)}
EXTRACTS = {"extracts": ("raw", NONE)}
PATHS = {name: f"exports/{name}.csv" for name in ("ads", "leads", "outcomes", "lead_to_ad_map")}
VARIANTS: dict[str, dict[str, tuple[str, str]]] = {
    "full": NOUNS,
    "no_ads": {noun: place for noun, place in NOUNS.items() if noun != "ads"},
    "no_outcomes": {noun: place for noun, place in NOUNS.items() if noun != "outcomes"},
    "mapped": {**NOUNS, **MAP},
    "queried": {**NOUNS, **EXTRACTS},
}
QUERIED = {
    "databases": {"source": {"url_variable": "ELV_SOURCE_URL"}},
    "extracts": {
        table: str(sql_folder() / "extract" / f"{table}.sqlite.sql") for table in ("leads", "ads", "outcomes")
    },
}


def variant(folder: Path, name: str) -> PipelineConfig:
    if name == "queried":
        return configuration(folder, name=name, paths={}, **QUERIED)
    tables = (set(VARIANTS[name]) & set(PATHS)) | {"leads"}
    return configuration(folder, name=name, paths={f"{table}_path": PATHS[table] for table in sorted(tables)})


def nodes(defs: dg.Definitions) -> dict[str, Any]:
    graph = defs.resolve_asset_graph()
    return {key.to_user_string(): graph.get(key) for key in graph.get_all_asset_keys()}


def partition_kind(definition: dg.PartitionsDefinition | None) -> str:
    if definition is None:
        return NONE
    return {dg.DailyPartitionsDefinition: DAY, dg.WeeklyPartitionsDefinition: WEEK}[type(definition)]


@pytest.mark.parametrize("name", VARIANTS)
def test_every_mix_of_exports_yields_its_nouns_stages_and_calendars(
    name: str, tmp_path: Path, definitions_of: Build
) -> None:
    found = nodes(definitions_of([variant(tmp_path, name)]))
    assert {key: (node.group_name, partition_kind(node.partitions_def)) for key, node in found.items()} == {
        f"{name}/{noun}": place for noun, place in VARIANTS[name].items()
    }


@pytest.mark.parametrize("name", VARIANTS)
def test_every_asset_has_an_owner_a_description_a_group_and_kinds(
    name: str, tmp_path: Path, definitions_of: Build
) -> None:
    for key, node in nodes(definitions_of([variant(tmp_path, name)])).items():
        assert node.owners, key
        assert node.description, key
        assert len(node.description) > 30, key
        assert node.group_name in STAGES, key
        assert node.kinds, key
        assert node.code_version, key


@pytest.mark.parametrize("name", VARIANTS)
def test_every_arrow_goes_down_the_stages(name: str, tmp_path: Path, definitions_of: Build) -> None:
    found = nodes(definitions_of([variant(tmp_path, name)]))
    arrows = [(parent.to_user_string(), key) for key, node in found.items() for parent in node.parent_keys]
    assert len(arrows) >= 20
    for parent, child in arrows:
        assert parent in found, f"{child} depends on {parent}, which no asset makes"
        up, down = (STAGES.index(found[end].group_name) for end in (parent, child))
        assert up <= down, f"{parent} -> {child}"


def test_one_backfill_policy_for_the_daily_chain_and_one_run_an_origin(tmp_path: Path, definitions_of: Build) -> None:
    found = nodes(definitions_of([variant(tmp_path, "full")])).values()
    daily = {node.backfill_policy for node in found if partition_kind(node.partitions_def) == DAY}
    weekly = {node.backfill_policy for node in found if partition_kind(node.partitions_def) == WEEK}
    assert daily == {dg.BackfillPolicy.single_run()}
    assert weekly == {dg.BackfillPolicy.multi_run(max_partitions_per_run=1)}


def test_every_calendar_has_the_configured_time_zone(tmp_path: Path, definitions_of: Build) -> None:
    config = configuration(tmp_path, timezone="Europe/Berlin")
    calendars = [node.partitions_def for node in nodes(definitions_of([config])).values() if node.partitions_def]
    assert {calendar.timezone for calendar in calendars} == {"Europe/Berlin"}


def test_a_blocking_check_guards_what_others_read(tmp_path: Path, definitions_of: Build) -> None:
    graph = definitions_of([variant(tmp_path, "full")]).resolve_asset_graph()
    blocking = {key.name for key in graph.asset_check_keys if graph.get_check_spec(key).blocking}
    assert blocking == {"complete"}


@contextmanager
def at(moment: datetime) -> Iterator[None]:
    with partition_loading_context(moment):
        yield


def test_the_newest_day_is_yesterday_and_the_newest_origin_the_monday_just_past(tmp_path: Path) -> None:
    deployment = deployment_of(configuration(tmp_path, end_date=None, timezone="Europe/Berlin"), Home(tmp_path))
    daily, weekly = daily_partitions(deployment), weekly_partitions(deployment)
    with at(datetime(2025, 6, 12, 4, tzinfo=UTC)):  # Thursday, 06:00 in Berlin
        assert daily.get_last_partition_key() == "2025-06-11"
        assert weekly.get_last_partition_key() == "2025-06-09"
    with at(datetime(2025, 6, 15, 21, 59, tzinfo=UTC)):  # the last minute of Sunday there
        assert weekly.get_last_partition_key() == "2025-06-09"
    with at(datetime(2025, 6, 15, 22, tzinfo=UTC)):  # Monday there, still Sunday in UTC
        assert daily.get_last_partition_key() == "2025-06-15"
        assert weekly.get_last_partition_key() == "2025-06-16"


@pytest.mark.parametrize(
    ("weekday", "end", "newest"),
    [
        ("monday", date(2025, 4, 13), "2025-04-14"),  # a Sunday: the next day
        ("monday", date(2025, 4, 14), "2025-04-21"),  # a Monday is not after itself
        ("monday", date(2025, 4, 16), "2025-04-21"),
        ("thursday", date(2025, 4, 16), "2025-04-17"),
    ],
)
def test_the_last_origin_is_the_first_one_that_sees_the_whole_calendar(
    tmp_path: Path, weekday: str, end: date, newest: str
) -> None:
    config = configuration(tmp_path, end_date=end, schedules={"origin_weekday": weekday})
    deployment = deployment_of(config, Home(tmp_path))
    with at(datetime(2026, 1, 1, tzinfo=UTC)):
        assert daily_partitions(deployment).get_last_partition_key() == end.isoformat()
        assert weekly_partitions(deployment).get_last_partition_key() == newest


def test_the_first_origin_is_not_before_the_calendar(tmp_path: Path) -> None:
    deployment = deployment_of(configuration(tmp_path, start_date=date(2025, 1, 8)), Home(tmp_path))
    with at(datetime(2025, 2, 1, tzinfo=UTC)):
        assert daily_partitions(deployment).get_first_partition_key() == "2025-01-08"
        assert weekly_partitions(deployment).get_first_partition_key() == "2025-01-13"


def test_two_configurations_stand_side_by_side(tmp_path: Path, definitions_of: Build) -> None:
    configs = [variant(tmp_path, "full"), variant(tmp_path, "no_ads")]
    defs = definitions_of(configs)
    assert set(nodes(defs)) == {f"{name}/{noun}" for name in ("full", "no_ads") for noun in VARIANTS[name]}
    names = {job.name for job in defs.resolve_all_job_defs() if not job.name.startswith("__")}
    assert names == {f"{name}_{job}" for name in ("full", "no_ads") for job in JOBS}
    foreign = [
        (parent, key)
        for key, node in nodes(defs).items()
        for parent in node.parent_keys
        if parent.path[0] != key.split("/")[0]
    ]
    assert not foreign


JOBS = {
    "validate": {"data_profile"},
    "history": {"ads", "leads", "outcomes", "joined_leads", "matured_labels", "features"},
    "build_table": {"ads", "leads", "outcomes", "joined_leads", "matured_labels", "features", "modelling_table"},
    "labels": {"outcomes", "matured_labels"},
    "training": {
        *("data_profile", "training_table", "candidate_model", "model_validation"),
        *("champion", "run_report"),
    },
    "origin": {"training_table", "candidate_model"},
    "backtest": {"backtest"},
    "validation": {"model_validation"},
    "promotion": {"champion"},
    "daily": {noun for noun, (_, kind) in NOUNS.items() if kind == DAY} | {"run_report", "challenger_report"},
    "challenger": {"challenger_report"},
    "batch": {"batch_predictions"},
    "watch": {"monitoring", "alerts"},
    "housekeeping": {"housekeeping"},
}


def test_jobs_resolve_to_their_assets_and_calendars(tmp_path: Path, definitions_of: Build) -> None:
    defs = definitions_of([variant(tmp_path, "full")])
    for noun, assets in JOBS.items():
        job = defs.resolve_job_def(f"full_{noun}")
        assert {key.path[-1] for key in job.asset_layer.selected_asset_keys} == assets, noun
        assert job.tags["configuration"] == "full"
    assert partition_kind(defs.resolve_job_def("full_history").partitions_def) == DAY
    assert partition_kind(defs.resolve_job_def("full_daily").partitions_def) == DAY
    assert partition_kind(defs.resolve_job_def("full_training").partitions_def) == WEEK


def test_an_empty_home_loads(tmp_path: Path) -> None:
    defs = build_defs(home=Home(tmp_path / "nothing"))
    dg.Definitions.validate_loadable(defs)
    assert not nodes(defs)
    assert not (tmp_path / "nothing").exists()


def test_the_code_location_serves_the_home_of_the_environment(tmp_path: Path) -> None:
    from elv_pipeline import definitions

    Home.from_environment().register(variant(tmp_path, "no_ads"))
    assert set(nodes(definitions.defs())) == {f"no_ads/{noun}" for noun in VARIANTS["no_ads"]}


def test_schedules_are_off_until_somebody_turns_them_on(tmp_path: Path, definitions_of: Build) -> None:
    repository = definitions_of([variant(tmp_path, "full")]).get_repository_def()
    assert {schedule.name for schedule in repository.schedule_defs} == {
        f"full_{noun}_schedule" for noun in ("daily", "labels", "watch", "refresh", "weekly", "housekeeping")
    }
    assert all(s.default_status == dg.DefaultScheduleStatus.STOPPED for s in repository.schedule_defs)


@pytest.mark.parametrize("change", [date(2025, 3, 9), date(2025, 11, 2)], ids=["23_hours", "25_hours"])
def test_ticks_across_a_change_of_clocks_are_at_six_and_target_each_day_once(
    ticker: Callable[..., Ticker], change: date
) -> None:
    schedules = ticker()
    schedule = schedules.schedule("daily")
    start = datetime.combine(change - timedelta(days=1), time(), tzinfo=UTC).timestamp()
    cron = cron_string_iterator(start, str(schedule.cron_schedule), schedule.execution_timezone)
    moments = list(islice(cron, 4))
    assert [moment.hour for moment in moments] == [6, 6, 6, 6]
    targets = [schedules.request("daily", moment).partition_key for moment in moments]
    assert targets == [str(change + timedelta(days=days)) for days in (-2, -1, 0, 1)]


@pytest.mark.parametrize(
    ("moment", "yesterday"),
    [
        (datetime(2025, 3, 8, 11, tzinfo=UTC), "2025-03-07"),  # 06:00 EST
        (datetime(2025, 3, 9, 10, tzinfo=UTC), "2025-03-08"),  # 06:00 EDT, the day with 23 hours
        (datetime(2025, 3, 10, 10, tzinfo=UTC), "2025-03-09"),
        (datetime(2025, 11, 3, 11, tzinfo=UTC), "2025-11-02"),  # after the day with 25 hours
        (datetime(2025, 6, 2, 1, tzinfo=UTC), "2025-05-31"),  # run late on Sunday evening there, Monday in UTC
    ],
)
def test_the_daily_tick_targets_yesterday_of_the_configured_zone(
    ticker: Callable[..., Ticker], moment: datetime, yesterday: str
) -> None:
    request = ticker().request("daily", moment)
    assert request.partition_key == yesterday
    assert request.tags["dagster/partition"] == yesterday
    assert request.run_key == f"tiny-{yesterday}"


def test_the_weekly_tick_targets_that_monday(ticker: Callable[..., Ticker]) -> None:
    schedules = ticker()
    assert schedules.request("weekly", datetime(2025, 6, 9, 11, tzinfo=UTC)).partition_key == "2025-06-09"
    # A tick that the daemon catches up with later in the week still trains as of the origin just past.
    assert schedules.request("weekly", datetime(2025, 6, 12, 11, tzinfo=UTC)).partition_key == "2025-06-09"


def test_the_weekly_tick_follows_another_origin_weekday(ticker: Callable[..., Ticker]) -> None:
    schedules = ticker(schedules={"origin_weekday": "thursday"})
    assert str(schedules.schedule("weekly").cron_schedule).split()[-1] == "4"
    assert schedules.request("weekly", datetime(2025, 6, 12, 11, tzinfo=UTC)).partition_key == "2025-06-12"


def test_after_the_end_of_the_calendar_ticks_are_skipped_and_say_why(ticker: Callable[..., Ticker]) -> None:
    schedules = ticker(end_date=date(2025, 5, 5))  # a Monday
    assert schedules.request("daily", datetime(2025, 5, 6, 10, tzinfo=UTC)).partition_key == "2025-05-05"
    assert schedules.request("weekly", datetime(2025, 5, 12, 11, tzinfo=UTC)).partition_key == "2025-05-12"
    assert schedules.request("weekly", datetime(2025, 5, 14, 11, tzinfo=UTC)).partition_key == "2025-05-12"
    for noun, moment in (("daily", 7), ("labels", 7), ("refresh", 7), ("weekly", 19)):
        assert "calendar ended on 2025-05-05 (end_date)" in schedules.skipped(
            noun, datetime(2025, 5, moment, 11, tzinfo=UTC)
        )


def test_before_the_first_day_is_over_ticks_are_skipped_and_say_why(ticker: Callable[..., Ticker]) -> None:
    schedules = ticker(start_date=date(2025, 5, 7))
    for noun in ("daily", "labels", "refresh", "weekly"):
        assert "calendar starts on 2025-05-07" in schedules.skipped(noun, datetime(2025, 5, 7, 10, tzinfo=UTC)), noun
    assert schedules.request("daily", datetime(2025, 5, 8, 10, tzinfo=UTC)).partition_key == "2025-05-07"
    assert "calendar starts on 2025-05-07" in schedules.skipped("weekly", datetime(2025, 5, 8, 10, tzinfo=UTC))


def write_joined(home: Home, days: DayRange) -> None:
    folder = home.lake("tiny") / "joined_leads"
    folder.mkdir(parents=True, exist_ok=True)
    for day in days.days:
        (folder / f"{day}.parquet").touch()


def test_the_labels_tick_refreshes_the_days_whose_windows_are_closing(
    tmp_path: Path, ticker: Callable[..., Ticker]
) -> None:
    schedules, now = ticker(), datetime(2025, 4, 1, 8, tzinfo=UTC)
    assert "joined_leads is missing" in schedules.skipped("labels", now)
    write_joined(Home(tmp_path / "home"), DayRange(date(2025, 2, 1), date(2025, 3, 30)))
    request = schedules.request("labels", now)
    # 14 days of window and 14 for late records, before yesterday, whose labels the daily run writes.
    assert request.partition_key is None
    assert request.tags["dagster/asset_partition_range_start"] == "2025-03-03"
    assert request.tags["dagster/asset_partition_range_end"] == "2025-03-30"


def test_the_labels_tick_says_which_days_it_lacks(tmp_path: Path, ticker: Callable[..., Ticker]) -> None:
    write_joined(Home(tmp_path / "home"), DayRange(date(2025, 3, 10), date(2025, 3, 31)))
    message = ticker().skipped("labels", datetime(2025, 4, 1, 8, tzinfo=UTC))
    assert message.startswith("joined_leads is missing 7 day(s), the first 2025-03-03")


def test_labels_of_a_young_calendar_begin_with_it(tmp_path: Path, ticker: Callable[..., Ticker]) -> None:
    schedules = ticker(start_date=date(2025, 3, 28))
    write_joined(Home(tmp_path / "home"), DayRange(date(2025, 3, 28), date(2025, 3, 30)))
    tags = schedules.request("labels", datetime(2025, 4, 1, 8, tzinfo=UTC)).tags
    assert tags["dagster/asset_partition_range_start"] == "2025-03-28"


def test_by_default_a_week_goes_daily_run_labels_training(tmp_path: Path) -> None:
    schedules = configuration(tmp_path).schedules
    minutes = {
        noun: int(cron.split()[1]) * 60 + int(cron.split()[0])
        for noun, cron in (
            ("daily", schedules.daily_cron),
            ("labels", schedules.labels_cron),
            ("weekly", schedules.weekly_cron),
        )
    }
    # Training as of Monday needs Sunday's features, which the daily run makes, and labels that know of Sunday.
    assert minutes["daily"] < minutes["labels"] < minutes["weekly"]


def write_predictions(home: Home, days: DayRange, *, but: tuple[date, ...] = ()) -> None:
    folder = home.lake("tiny") / "predictions"
    folder.mkdir(parents=True, exist_ok=True)
    for day in days.days:
        if day not in but:
            (folder / f"{day}.parquet").touch()


def test_the_daily_tick_catches_up_with_missed_days_in_one_range(tmp_path: Path, ticker: Callable[..., Ticker]) -> None:
    schedules, now = ticker(), datetime(2025, 4, 1, 10, tzinfo=UTC)
    home = Home(tmp_path / "home")
    write_predictions(home, DayRange(date(2025, 3, 1), date(2025, 3, 30)), but=(date(2025, 3, 27), date(2025, 3, 29)))
    request = schedules.request("daily", now)
    assert request.partition_key is None
    # Three scored days before the oldest that is owed are read again, for leads that arrived late.
    assert request.tags["dagster/asset_partition_range_start"] == "2025-03-24"
    only = {"config": {"only": ["2025-03-27", "2025-03-29", "2025-03-31"]}}
    assert request.run_config["ops"]["tiny__predictions"] == only
    assert request.tags["dagster/asset_partition_range_end"] == "2025-03-31"
    assert request.run_key == "tiny-2025-03-31"  # a second tick on the day starts no second run
    write_predictions(home, DayRange(date(2025, 3, 1), date(2025, 3, 31)))
    later = schedules.request("daily", now)
    assert (later.tags["dagster/asset_partition_range_start"], later.run_key) == ("2025-03-28", "tiny-2025-03-31")
    assert later.run_config["ops"]["tiny__lead_scores"] == {"config": {"only": ["2025-03-31"]}}


def test_the_watch_tick_looks_at_yesterday_once_the_champion_has_scored(
    tmp_path: Path, ticker: Callable[..., Ticker], monkeypatch: pytest.MonkeyPatch
) -> None:
    schedules, now = ticker(), datetime(2025, 4, 1, 11, tzinfo=UTC)
    assert schedules.skipped("watch", now) == "nothing was scored yet"
    write_predictions(Home(tmp_path / "home"), DayRange(date(2025, 3, 30), date(2025, 3, 30)))
    assert schedules.skipped("watch", now) == "there is no champion to watch yet"  # a named model file scored
    monkeypatch.setattr(ModelRegistry, "champion", lambda _self, name: name)
    request = schedules.request("watch", now)
    assert request.run_config["ops"]["tiny__monitoring"]["config"]["as_of"] == "2025-03-31"
    assert request.run_key == "tiny-watch-2025-03-31"


def test_the_refresh_tick_reads_the_days_of_the_training_anew(ticker: Callable[..., Ticker]) -> None:
    schedules, now = ticker(extracts={"train_days_back": 30}), datetime(2025, 6, 2, 11, tzinfo=UTC)
    request = schedules.request("refresh", now)
    assert request.tags["dagster/asset_partition_range_start"] == "2025-05-03"
    assert request.tags["dagster/asset_partition_range_end"] == "2025-06-01"
    assert request.run_config == {}  # files are read as they are
    young = ticker(name="young", start_date=date(2025, 5, 20)).request("refresh", now)
    assert young.tags["dagster/asset_partition_range_start"] == "2025-05-20"


def test_the_refresh_tick_reads_databases_as_far_back(ticker: Callable[..., Ticker]) -> None:
    schedules = ticker(paths={}, **{**QUERIED, "extracts": {**QUERIED["extracts"], "train_days_back": 45}})
    request = schedules.request("refresh", datetime(2025, 6, 2, 11, tzinfo=UTC))
    assert request.run_config["ops"]["tiny__extracts"]["config"] == {"days_back": 45}


def test_the_refresh_comes_between_the_day_and_the_training(tmp_path: Path) -> None:
    crons = configuration(tmp_path).schedules
    minutes = [
        int(cron.split()[1]) * 60 + int(cron.split()[0])
        for cron in (crons.daily_cron, crons.labels_cron, crons.watch_cron, crons.refresh_cron, crons.weekly_cron)
    ]
    assert minutes == sorted(minutes)
