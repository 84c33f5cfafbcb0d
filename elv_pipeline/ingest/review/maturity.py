"""What is known of each lead's outcome, and since and until when outcomes are known at all.

Belongs here: counting leads by what their outcome is known to be. Does not belong here: labels for training
(``tables.labels``), judging the counts (``readiness``) or wording (``findings_outcomes``).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from elv_pipeline.ingest.sources import Sources
from elv_pipeline.settings import PipelineConfig

STATUSES: tuple[str, ...] = ("unrecorded", "young", "unclear", "positive", "negative")
"""Before the outcome log begins, window still open, outcome dropped as contradictory, qualified, not qualified."""


def lead_statuses(sources: Sources, config: PipelineConfig) -> pl.DataFrame:
    """``day`` and ``status`` of every lead of the calendar, one of ``STATUSES``; young and unrecorded come first.

    Mature: the whole outcome window passed by observed_until, and the lead created at or after observed_from. Positive:
    qualified within the window, known by observed_until and not withdrawn by then. Without an outcomes export a mature
    lead is unclear.
    """
    key = ("lead_statuses", config.observed_from, config.label_window_days, config.end_date)
    if key not in sources.measured:
        sources.measured[key] = _lead_statuses(sources, config)
    found: pl.DataFrame = sources.measured[key]
    return found


def _lead_statuses(sources: Sources, config: PipelineConfig) -> pl.DataFrame:
    leads = sources.leads.frame.select("lead_id", "created_time", "day")
    if config.end_date is not None:
        leads = leads.filter(pl.col("day") <= config.end_date)
    window_end = pl.col("created_time") + timedelta(days=config.label_window_days)
    observed_from = config.observed_from_moment
    # Polars refuses to compare moments of different zones.
    unrecorded = pl.lit(False) if observed_from is None else pl.col("created_time") < observed_from.astimezone(UTC)
    if sources.outcomes is None:
        return leads.select("day", status=_chosen(unrecorded, window_end > sources.observed_until, pl.lit("unclear")))
    known = sources.outcomes.frame.filter(
        (pl.col("recorded_time") <= sources.observed_until)
        & ~(pl.col("withdrawn_time") <= sources.observed_until).fill_null(False)
    )
    joined = leads.join(known.select("lead_id", "qualified_time"), on="lead_id", how="left", validate="1:1")
    positive = (pl.col("qualified_time") <= window_end).fill_null(False)
    contradictory = pl.col("lead_id").is_in(sources.contradictory_leads.implode())
    verdict = pl.when(contradictory).then(pl.lit("unclear")).when(positive).then(pl.lit("positive"))
    return joined.select(
        "day",
        status=_chosen(unrecorded, window_end > sources.observed_until, verdict.otherwise(pl.lit("negative"))),
    )


def _chosen(unrecorded: pl.Expr, young: pl.Expr, otherwise: pl.Expr) -> pl.Expr:
    return pl.when(young).then(pl.lit("young")).when(unrecorded).then(pl.lit("unrecorded")).otherwise(otherwise)


def label_counts(sources: Sources, config: PipelineConfig) -> dict[str, int]:
    """Leads, mature leads, labelled rows among them (their outcome is clear) and positives among those."""
    counts = _by_status(lead_statuses(sources, config))
    labelled = counts["positive"] + counts["negative"]
    return {
        "leads": sum(counts.values()),
        "mature": labelled + counts["unclear"],
        "labelled": labelled,
        "positives": counts["positive"],
    }


def maturity(sources: Sources, config: PipelineConfig) -> dict[str, Any]:
    """Numbers about both ends of the time for which outcomes are known, and the statuses by week of creation.

    ``last_matures_on`` is the local day on which the outcome window of the newest lead has passed.
    """
    statuses = lead_statuses(sources, config)
    newest = sources.leads.frame["created_time"].max()
    assert isinstance(newest, datetime)  # reading refuses an export without leads
    matures = newest + timedelta(days=config.label_window_days)
    observed_from = config.observed_from_moment
    # The end of a day is the midnight after it; people call it by the day that ended.
    known_until = (sources.observed_until - timedelta(microseconds=1)).astimezone(config.zone)
    weeks = (
        statuses.group_by(pl.col("day").dt.truncate("1w").alias("week"))
        .agg(*((pl.col("status") == status).sum().alias(status) for status in STATUSES))
        .sort("week")
    )
    return {
        "window_days": config.label_window_days,
        "observed_from": observed_from.astimezone(config.zone).date().isoformat() if observed_from else None,
        "observed_until": known_until.date().isoformat(),
        "mature_until": (known_until - timedelta(days=config.label_window_days)).date().isoformat(),
        "last_matures_on": matures.astimezone(config.zone).date().isoformat(),
        "leads": statuses.height,
        **_by_status(statuses),
        "weeks": [{**row, "week": row["week"].isoformat()} for row in weeks.iter_rows(named=True)],
    }


def _by_status(statuses: pl.DataFrame) -> dict[str, int]:
    counted: dict[str, int] = dict(statuses["status"].value_counts().iter_rows())
    return {status: counted.get(status, 0) for status in STATUSES}
