"""Jobs and schedules of one configuration.

Belongs here: which assets run together, when, on which partitions. Does not belong here: assets. Dagster cannot
resolve daily and weekly partitions in one job, so there is one for a range of days, one for a week, one for a day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import dagster as dg

from elv_pipeline.orchestration.asset_parts import AssetParts, asset_key
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.due_days import owed_config, run_days
from elv_pipeline.orchestration.partitions import DayRange, first_origin
from elv_pipeline.publishing.registry.model_registry import ModelRegistry

LATE_OUTCOME_DAYS = 14
"""Days beyond the outcome window for which labels are refreshed: outcomes are sometimes recorded late."""


@dataclass(frozen=True)
class JobNames:
    """Names of the jobs of one configuration."""

    name: str

    def job(self, noun: str) -> str:
        """``<configuration>_<noun>``: job names have no prefixes of their own in Dagster."""
        return f"{self.name}_{noun}"


def job_names(deployment: Deployment) -> list[str]:
    """Names of every job of the configuration."""
    return [JobNames(deployment.name).job(noun) for noun in _selections(deployment)]


def jobs(deployment: Deployment, parts: AssetParts) -> list[Any]:
    """Every job of the configuration; one process each, as the assets are short."""
    return [
        dg.define_asset_job(
            JobNames(parts.name).job(noun),
            selection=dg.AssetSelection.assets(*(parts.key(asset) for asset in assets)),
            description=description,
            executor_def=dg.in_process_executor,
            config=training_config(parts.name) if noun == "training" else None,
            tags={"configuration": parts.name},
        )
        for noun, (assets, description) in _selections(deployment).items()
    ]


def _selections(deployment: Deployment) -> dict[str, tuple[Sequence[str], str]]:
    """Assets and meaning of each job."""
    raw = deployment.raw_tables
    tables = ["joined_leads", "matured_labels", "features"]
    challenger = ["challenger_predictions", "challenger_report"]
    scoring = [
        "day_completeness",
        "predictions",
        *deployment.boards,
        "drift",
        "lead_scores",
        "run_report",
    ]
    extracts = ["extracts"] if deployment.config.extracts.queries else []
    labels = [table for table in deployment.label_sources if table in raw]
    selections: dict[str, tuple[Sequence[str], str]] = {
        "validate": ([*deployment.read_first, "data_profile"], "Read and check every export."),
        "history": ([*extracts, *raw, *tables], "Everything up to features, for a range of days in one run."),
        "build_table": ([*extracts, *raw, *tables, "modelling_table"], "The history, and the table a person can open."),
        "labels": ([*labels, "matured_labels"], "Refresh the labels of the days whose outcome windows are closing."),
        # The profile looks at all data, so it is renewed weekly: the daily job costs what is new.
        "training": (
            [
                *(*deployment.read_first, "data_profile", "training_table", "candidate_model"),
                *("model_validation", "champion", "run_report"),
            ],
            "Profile the exports, train, prove, judge the gates and promote.",
        ),
        "origin": (["training_table", "candidate_model"], "Train and prove as of one week, without promotion."),
        "backtest": (["backtest"], "Judge the models of past weeks on the weeks after them."),
        "validation": (["model_validation"], "Judge the gates of a week's candidate again."),
        "promotion": (["champion"], "Approve, promote or roll back by hand; see the configuration of champion."),
        "daily": (
            [*extracts, *raw, *tables, *scoring, *challenger],
            "A day or a range of days, from exports to the table of scores.",
        ),
        "challenger": (["challenger_report"], "Compare challenger and champion on the days that both scored."),
        "housekeeping": (["housekeeping"], "Remove what is older than the retention and needed by nothing."),
        "watch": (["monitoring", "alerts"], "Compare what was promised with what came true, and tell what is wrong."),
    }
    if deployment.config.problem == "lead_ads":
        selections["batch"] = (["batch_predictions"], "Score leads given as a file.")
    else:
        selections["recommend"] = (
            [*deployment.read_first, "recommendations"],
            "Say which elements seem weak, and propose what to test.",
        )
    if extracts:
        selections["extract"] = (extracts, "Read what the queries deliver into new snapshots.")
    return selections


def training_config(name: str) -> dict[str, Any]:
    """Run configuration of a training: its report is about the candidate."""
    return {"ops": {report_op(name): {"config": {"kind": "train"}}}}


def report_op(name: str) -> str:
    """Name of the run report's op in run configurations."""
    return f"{name}__run_report"


def extract_config(deployment: Deployment, **values: Any) -> dict[str, Any]:
    """Run configuration of the extracts."""
    return {"ops": {"__".join(asset_key(deployment, "extracts").path): {"config": values}}}


def schedules(deployment: Deployment, parts: AssetParts) -> list[dg.ScheduleDefinition]:
    """Daily scoring, labels and watch; weekly refresh, training and housekeeping; off until somebody turns them on."""
    return [
        _daily_schedule(deployment, parts),
        _labels_schedule(deployment, parts),
        _watch_schedule(deployment, parts),
        _refresh_schedule(deployment, parts),
        _weekly_schedule(deployment, parts),
        _housekeeping_schedule(deployment, parts),
        *([] if deployment.config.problem == "lead_ads" else [_recommend_schedule(deployment, parts)]),
    ]


def _daily_schedule(deployment: Deployment, parts: AssetParts) -> dg.ScheduleDefinition:
    name = JobNames(parts.name)

    @dg.schedule(
        name=name.job("daily_schedule"),
        job_name=name.job("daily"),
        cron_schedule=deployment.config.schedules.daily_cron,
        execution_timezone=deployment.config.timezone,
        description="Scores yesterday's leads with the champion, days before it that were missed, held back or not "
        "reached by the exports, and leads that arrived late on scored days.",
    )
    def daily(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        yesterday = _local_day(context, deployment) - timedelta(days=1)
        if reason := _outside_calendar(deployment, yesterday):
            return dg.SkipReason(reason)
        days, key = run_days(deployment, yesterday), f"{parts.name}-{yesterday}"
        if days.first < yesterday:
            return dg.RunRequest(run_key=key, tags=days.tags, run_config=owed_config(deployment, yesterday))
        return dg.RunRequest(run_key=key, partition_key=yesterday.isoformat())

    return daily


def _labels_schedule(deployment: Deployment, parts: AssetParts) -> dg.ScheduleDefinition:
    name, config = JobNames(parts.name), deployment.config

    @dg.schedule(
        name=name.job("labels_schedule"),
        job_name=name.job("labels"),
        cron_schedule=config.schedules.labels_cron,
        execution_timezone=config.timezone,
        description="Refreshes labels whose outcome windows are closing, before the weekly training needs them.",
    )
    def labels(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        yesterday = _local_day(context, deployment) - timedelta(days=1)
        days = closing_days(deployment, yesterday)
        if reason := _outside_calendar(deployment, yesterday) or _outside_calendar(deployment, days.last):
            return dg.SkipReason(reason)
        missing = set(days.days) - set(deployment.lake.days("joined_leads"))
        if missing:
            return dg.SkipReason(
                f"joined_leads is missing {len(missing)} day(s), the first {min(missing)}: backfill it"
            )
        return dg.RunRequest(run_key=f"{parts.name}-labels-{yesterday}", tags=days.tags)

    return labels


def closing_days(deployment: Deployment, yesterday: date) -> DayRange:
    """The days whose outcome windows are closing or have just closed; yesterday's labels come with its daily run."""
    reach = timedelta(days=deployment.label_reach_days + LATE_OUTCOME_DAYS)
    last = yesterday - timedelta(days=1)
    return DayRange(min(max(yesterday - reach, deployment.first_day), last), last)


def _watch_schedule(deployment: Deployment, parts: AssetParts) -> dg.ScheduleDefinition:
    name = JobNames(parts.name)

    @dg.schedule(
        name=name.job("watch_schedule"),
        job_name=name.job("watch"),
        cron_schedule=deployment.config.schedules.watch_cron,
        execution_timezone=deployment.config.timezone,
        description="Compares what was promised with what came true, and sends what is new and wrong.",
    )
    def watch(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        yesterday = _local_day(context, deployment) - timedelta(days=1)
        if not deployment.lake.days("predictions"):
            return dg.SkipReason("nothing was scored yet")
        if ModelRegistry(deployment.home).champion(parts.name) is None:
            return dg.SkipReason("there is no champion to watch yet")
        config = {"ops": {f"{parts.name}__monitoring": {"config": {"as_of": str(yesterday)}}}}
        return dg.RunRequest(run_key=f"{parts.name}-watch-{yesterday}", run_config=config)

    return watch


def _refresh_schedule(deployment: Deployment, parts: AssetParts) -> dg.ScheduleDefinition:
    name, config = JobNames(parts.name), deployment.config

    @dg.schedule(
        name=name.job("refresh_schedule"),
        job_name=name.job("history"),
        cron_schedule=config.schedules.refresh_cron.format(weekday=config.origin_day_offset),
        execution_timezone=config.timezone,
        description="Reads the days that a training looks at anew, before it.",
    )
    def refresh(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        yesterday = _local_day(context, deployment) - timedelta(days=1)
        if reason := _outside_calendar(deployment, yesterday):
            return dg.SkipReason(reason)
        back = timedelta(days=config.extracts.train_days_back - 1)
        days = DayRange(max(yesterday - back, deployment.first_day), yesterday)
        values = {"days_back": config.extracts.train_days_back}
        run_config = extract_config(deployment, **values) if config.extracts.queries else {}
        return dg.RunRequest(run_key=f"{parts.name}-refresh-{yesterday}", tags=days.tags, run_config=run_config)

    return refresh


def _weekly_schedule(deployment: Deployment, parts: AssetParts) -> dg.ScheduleDefinition:
    name, config = JobNames(parts.name), deployment.config

    @dg.schedule(
        name=name.job("weekly_schedule"),
        job_name=name.job("training"),
        cron_schedule=config.schedules.weekly_cron.format(weekday=config.origin_day_offset),
        execution_timezone=config.timezone,
        description="Trains as of the origin just past, proves the candidate, promotes the better one.",
    )
    def weekly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        today = _local_day(context, deployment)
        origin = first_origin(deployment, today + timedelta(days=1)) - timedelta(days=7)
        # An origin adds the week before it; the one just after the calendar's end is the one that sees all of it.
        if reason := _outside_calendar(deployment, origin - timedelta(days=7), origin - timedelta(days=1)):
            return dg.SkipReason(reason)
        return dg.RunRequest(run_key=f"{parts.name}-{origin}", partition_key=origin.isoformat())

    return weekly


def _recommend_schedule(deployment: Deployment, parts: AssetParts) -> dg.ScheduleDefinition:
    return _weekly_job(
        deployment,
        parts,
        "recommend",
        cron=deployment.config.schedules.recommend_cron,
        description="Weighs the elements of outreach after the weekly training, and renews the drafts of proposals.",
    )


def _housekeeping_schedule(deployment: Deployment, parts: AssetParts) -> dg.ScheduleDefinition:
    return _weekly_job(
        deployment,
        parts,
        "housekeeping",
        cron=deployment.config.schedules.housekeeping_cron,
        description="Removes what is older than the retention and needed by nothing.",
    )


def _weekly_job(
    deployment: Deployment, parts: AssetParts, noun: str, *, cron: str, description: str
) -> dg.ScheduleDefinition:
    """A schedule of a job without partitions on the weekday of the origins."""
    name = JobNames(parts.name)

    @dg.schedule(
        name=name.job(f"{noun}_schedule"),
        job_name=name.job(noun),
        cron_schedule=cron.format(weekday=deployment.config.origin_day_offset),
        execution_timezone=deployment.config.timezone,
        description=description,
    )
    def weekly_job(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        return dg.RunRequest(run_key=f"{parts.name}-{noun}-{_local_day(context, deployment)}")

    return weekly_job


def _outside_calendar(deployment: Deployment, first: date, last: date | None = None) -> str | None:
    """Why none of the days from ``first`` to ``last`` (default: the same) has a partition, or None where one has."""
    end = deployment.config.end_date
    if end is not None and first > end:
        return f"the calendar ended on {end} (end_date)"
    if (last or first) < deployment.first_day:
        return f"the calendar starts on {deployment.first_day} (start_date)"
    return None


def _local_day(context: dg.ScheduleEvaluationContext, deployment: Deployment) -> date:
    return context.scheduled_execution_time.astimezone(deployment.config.zone).date()
