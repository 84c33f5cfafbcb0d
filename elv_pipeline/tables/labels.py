"""Label maturity: when an outcome counts, and when its absence does.

Belongs here: the times of outcomes beside their leads, and the status derived from them for a given observation
horizon. Does not belong here: features or splits.

Maturity is decided by age alone, for both classes: taking early positives while leaving early negatives out makes
every estimate too high.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

OUTCOME_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "lead_id": pl.String,
    "outcome_time": pl.Datetime("us", "UTC"),
    "outcome_recorded_time": pl.Datetime("us", "UTC"),
    "outcome_withdrawn_time": pl.Datetime("us", "UTC"),
    "outcome_value_micros": pl.Int64,
}


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What could be known of outcomes at one moment.

    Attributes:
        window_days: length of the outcome window.
        reach_days: days after a row within which its label is decided, where its window may begin later than the row;
            None: those of the window.
        observed_from: first moment at which outcomes were recorded; None where the log reaches back far enough.
        observed_until: moment up to which outcomes are known.
        origin: the training origin; outcomes recorded at or after it are not seen. None when looking from now.
    """

    window_days: int
    observed_from: datetime | None
    observed_until: datetime
    origin: datetime | None = None
    reach_days: int | None = None

    @property
    def decided_after(self) -> timedelta:
        """How long after a row its label is decided."""
        return timedelta(days=self.window_days if self.reach_days is None else self.reach_days)

    @property
    def horizon(self) -> datetime:
        """The moment up to which the absence of an outcome means something."""
        return min(self.observed_until, self.origin) if self.origin else self.observed_until


def label_times(
    joined: pl.LazyFrame,
    outcomes: pl.LazyFrame | None,
    *,
    observed_until: datetime,
    unobserved: Sequence[str] = (),
) -> pl.LazyFrame:
    """Times of each lead's outcome: facts that never go stale, unlike a verdict.

    Args:
        joined: ``lead_id`` (unique), ``created_time``, ``day``.
        outcomes: ``lead_id`` (unique), ``qualified_time``, ``recorded_time``, ``withdrawn_time``, ``value_micros``
            (absent where all days were written before outcomes had values); None without an outcomes export.
        observed_until: how far the outcome log reached when this was written; kept so that a reader can tell whether
            the rows must be refreshed.
        unobserved: leads whose outcome row was dropped as contradictory: their absence of an outcome says nothing.

    Returns:
        ``lead_id, created_time, day, outcome_time, outcome_recorded_time, outcome_withdrawn_time,
        outcome_value_micros, outcome_observed, labels_observed_until`` in order of (day, created_time, lead_id). The
        value is null where it is not known (yet).
    """
    leads = joined.select("lead_id", "created_time", "day")
    times = (
        pl.LazyFrame(schema=OUTCOME_SCHEMA)
        if outcomes is None
        else with_value(outcomes, column="value_micros").select(
            "lead_id",
            pl.col("qualified_time").alias("outcome_time"),
            pl.col("recorded_time").alias("outcome_recorded_time"),
            pl.col("withdrawn_time").alias("outcome_withdrawn_time"),
            pl.col("value_micros").alias("outcome_value_micros"),
        )
    )
    return (
        leads.join(times, on="lead_id", how="left", validate="1:1")
        .with_columns(
            (~pl.col("lead_id").is_in(list(unobserved))).alias("outcome_observed"),
            pl.lit(observed_until).cast(pl.Datetime("us", "UTC")).alias("labels_observed_until"),
        )
        .sort("day", "created_time", "lead_id")
    )


def with_value(rows: pl.LazyFrame, *, column: str) -> pl.LazyFrame:
    """Rows with a column of values; those written before outcomes had values know of none."""
    if column in rows.collect_schema():
        return rows
    return rows.with_columns(pl.lit(None, pl.Int64).alias(column))


def with_status(labels: pl.LazyFrame, *, observation: Observation, labelled: bool = True) -> pl.LazyFrame:
    """Add ``label_status``, ``mature`` and ``y`` as they stood for the given observation.

    Args:
        labels: ``created_time``, ``outcome_time``, ``outcome_recorded_time``, ``outcome_withdrawn_time``,
            ``outcome_observed`` and ``labels_observed_until``: rows written before their window had passed stay
            unknown. With ``anchor_time`` and ``anchor_recorded_time`` (``anchored_labels``) the window begins at the
            anchor once that is known, and rows made at or after their outcome or their window are unknown.
        observation: what was known.
        labelled: False where no outcomes export exists; then nothing is labelled, never a fabricated negative.

    Returns:
        The rows with ``label_status`` (``positive | negative | unknown``), ``mature`` (Boolean) and ``y`` (Int8: 1 or
        0 only for mature leads created since ``observed_from``, else null). A young lead that has already qualified
        is shown as positive and still has no ``y``.
    """
    if not labelled:
        return labels.with_columns(
            pl.lit("unknown").alias("label_status"),
            pl.lit(False).alias("mature"),
            pl.lit(None, pl.Int8).alias("y"),
        )
    anchored, begin = "anchor_time" in labels.collect_schema(), pl.col("created_time")
    if anchored:
        begin = pl.when(_seen("anchor_recorded_time", observation)).then("anchor_time")
    window_end = begin + timedelta(days=observation.window_days)
    seen = _seen("outcome_recorded_time", observation) & ~_seen("outcome_withdrawn_time", observation)
    positive = (seen & (pl.col("outcome_time") <= window_end)).fill_null(False)
    # By age alone: were rows decided as soon as their own window is over, the newest would be those that engaged first.
    decided = window_end
    if anchored and observation.reach_days is not None:
        decided = pl.max_horizontal(window_end, pl.col("created_time") + observation.decided_after)
        decided = pl.when(window_end.is_not_null()).then(decided)
    mature = (decided <= observation.observed_until) & (decided <= pl.col("labels_observed_until"))
    if observation.origin is not None:
        # Strictly: an outcome at the window's very end counts, and one recorded at the origin is not seen. With dates
        # for times, "<=" would turn every outcome of the last day of a window that ends at the origin into a negative.
        mature = mature & (decided < observation.origin)
    mature = mature.fill_null(False)
    recordable = pl.col("outcome_observed")
    if observation.observed_from is not None:
        recordable = recordable & (begin >= pl.lit(observation.observed_from))
    if anchored:
        # Made at or after its outcome, or after its window: with nothing left to predict it would flatter a model.
        over = (seen & (pl.col("outcome_time") <= pl.col("created_time"))) | (window_end < pl.col("created_time"))
        over = over.fill_null(False)
        positive, recordable = positive & ~over, recordable & ~over
    return labels.with_columns(
        pl.when(positive)
        .then(pl.lit("positive"))
        .when(mature & recordable)
        .then(pl.lit("negative"))
        .otherwise(pl.lit("unknown"))
        .alias("label_status"),
        mature.alias("mature"),
        pl.when(mature & recordable).then(positive.cast(pl.Int8)).alias("y"),
    )


def _seen(moment: str, observation: Observation) -> pl.Expr:
    """Whether what was recorded then is known to the observer; recorded at the origin is not seen."""
    seen = pl.col(moment) <= observation.observed_until
    if observation.origin is not None:
        seen = seen & (pl.col(moment) < observation.origin)
    return seen.fill_null(False)


def label_counts_by_week(status: pl.DataFrame) -> pl.DataFrame:
    """Leads by status and week: ``week`` (Monday), ``leads, positive, negative, unknown``."""
    return (
        status.group_by(pl.col("day").dt.truncate("1w").alias("week"))
        .agg(
            pl.len().cast(pl.Int64).alias("leads"),
            *(
                (pl.col("label_status") == name).sum().cast(pl.Int64).alias(name)
                for name in ("positive", "negative", "unknown")
            ),
        )
        .sort("week")
    )
