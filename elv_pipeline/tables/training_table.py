"""The training table of one origin: features beside labels as they stood then.

Belongs here: joining the two and refusing stale labels. Does not belong here: splits and fitting (``learning/``).
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

from elv_pipeline.errors import TrainingRefusedError
from elv_pipeline.tables.labels import Observation, with_status, with_value

MOMENTS = (
    *("outcome_time", "outcome_recorded_time", "outcome_withdrawn_time"),
    *("outcome_observed", "labels_observed_until"),
)
"""When outcomes happened and were known: what a model that learns from young leads needs."""
VALUE = "outcome_value_micros"
"""What the outcome was worth, in millionths of the currency: what a model of values learns from, never a feature."""


def training_table(
    features: pl.LazyFrame, labels: pl.LazyFrame, *, observation: Observation, labelled: bool
) -> pl.DataFrame:
    """Every lead created before the origin, with its features, label status and ``y`` as known then.

    Args:
        features: rows of the ``features`` table.
        labels: rows of ``matured_labels`` for the same leads.
        observation: must carry an origin.
        labelled: whether an outcomes export exists.

    Returns:
        Rows in order of (created_time, lead_id): key columns, ``label_status, mature, y``, ``MOMENTS`` and ``VALUE`` as
        far as they were recorded before the origin, then the features. An outcome that came after its window, or that
        was withdrawn before the origin, keeps its value although ``y`` is 0.

    Raises:
        TrainingRefusedError: some labels were written before their leads had matured, so a late positive would be
            taken for a negative; or some leads have features and no row in ``matured_labels``.
    """
    if observation.origin is None:
        raise ValueError("a training table needs an origin")
    before = pl.col("created_time") < observation.origin
    _refuse_stale(labels.filter(before), observation)
    known = with_value(labels.filter(before), column=VALUE)
    status = with_status(known, observation=observation, labelled=labelled).select(
        "lead_id", "label_status", "mature", "y", *_moments(observation.origin)
    )
    table = features.filter(before).join(status, on="lead_id", how="left", validate="1:1")
    names = features.collect_schema().names()
    split = names.index("join_method") + 1
    collected = (
        table.select(*names[:split], "label_status", "mature", "y", *MOMENTS, VALUE, *names[split:])
        .sort("created_time", "lead_id")
        .collect(engine="streaming")
    )
    _refuse_unlabelled(collected)
    return collected


def _moments(origin: datetime) -> list[pl.Expr]:
    """The moments and values of outcomes without what was recorded at or after the origin."""
    recorded, withdrawn = pl.col("outcome_recorded_time"), pl.col("outcome_withdrawn_time")
    return [
        pl.when(recorded < origin).then("outcome_time").alias("outcome_time"),
        pl.when(recorded < origin).then(recorded).alias("outcome_recorded_time"),
        pl.when((recorded < origin) & (withdrawn < origin)).then(withdrawn).alias("outcome_withdrawn_time"),
        pl.col("outcome_observed"),
        # Refreshed later, labels are known for longer; the table as of the origin must not change with that.
        pl.min_horizontal("labels_observed_until", pl.lit(origin).cast(pl.Datetime("us", "UTC"))),
        pl.when(recorded < origin).then(VALUE).alias(VALUE),
    ]


def _refuse_unlabelled(table: pl.DataFrame) -> None:
    missing = table.filter(pl.col("label_status").is_null())
    if missing.height:
        raise TrainingRefusedError(
            f"matured_labels: {missing.height} lead(s) have features but no label row, the first is "
            f"{missing['lead_id'][0]!r} of {missing['day'][0]}; the two tables must describe the same leads. "
            f"Run 'elv build-table', or materialise matured_labels for those days, then train again."
        )


def _refuse_stale(labels: pl.LazyFrame, observation: Observation) -> None:
    window_end = pl.col("created_time") + observation.decided_after
    should_be_known = window_end <= observation.horizon
    stale = (
        labels.filter(should_be_known & (pl.col("labels_observed_until") < window_end))
        .select(pl.col("day").min().alias("first"), pl.col("day").max().alias("last"), pl.len().alias("rows"))
        .collect()
        .row(0, named=True)
    )
    if stale["rows"]:
        raise TrainingRefusedError(
            f"matured_labels: {stale['rows']} lead(s) of {stale['first']} to {stale['last']} were labelled before "
            f"their {observation.decided_after.days}-day window had passed; training on them would take late "
            f"outcomes for negatives. Run 'elv build-table', or materialise matured_labels for those days, then train "
            f"again."
        )
