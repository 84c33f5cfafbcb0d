"""Leaderboards: where the expected value comes from, and what it costs where the problem knows.

Belongs here: sums of expected value and spend by segment, and their intervals. Does not belong here: value
of a single lead (``value.py``), the order of segments (``segment_ranking.py``) or drawing (``publishing/``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from elv_pipeline.contracts.leaderboards import SPEND_COLUMNS, leaderboard_contract
from elv_pipeline.contracts.spec import TableContract
from elv_pipeline.learning.value_intervals import ValueIntervals
from elv_pipeline.learning.value_sums import GroupSums, sum_interval
from elv_pipeline.problems.words import Words
from elv_pipeline.tables.windows import in_units

CONFIDENCE = 0.95
CONFORMAL_LEADS = 100
"""Below, chance is so large that both errors give the same interval."""
MEASURES = (
    *("lead_count", "spend", "predicted_elv", "elv_per_lead", "elv_low", "elv_high"),
    *("elv_per_spend", "elv_per_spend_low", "elv_per_spend_high", "mean_p", "low_volume"),
    *("own_rows", "own_positives", "evidence", "shrunk_elv_per_lead"),
    *("shrunk_elv_per_spend", "shrunk_elv_per_spend_low", "shrunk_elv_per_spend_high", "rank"),
)


@dataclass(frozen=True, kw_only=True)
class LeaderboardSpec:
    """One board: which id columns identify a segment, what they are called, and what it costs.

    Attributes:
        level: name of the level in names of tables and files, such as ``adset``.
        id_columns: columns of the predictions that identify a segment; the last one is the segment itself.
        name_columns: id column -> the column with its name, for ids that have one.
        with_spend: whether the problem knows what a segment costs; without it the board has no column of spend.
        once_by: column of the predictions of which each value counts once a segment, with its first row; None where
            every row stands for itself. The moments of one enrollment tell of the same outcome: summed over all, a
            campaign of eight steps would be worth eight times its calls. The first and not the newest, because an
            outcome ends the moments of its enrollment, and whether a moment is the last would give it away.
    """

    level: str
    id_columns: tuple[str, ...]
    name_columns: Mapping[str, str] = field(default_factory=dict)
    with_spend: bool = True
    once_by: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The name columns in the order of their ids."""
        return tuple(self.name_columns[column] for column in self.id_columns if column in self.name_columns)

    @property
    def measures(self) -> tuple[str, ...]:
        """What is told of each segment."""
        return MEASURES if self.with_spend else tuple(name for name in MEASURES if name not in SPEND_COLUMNS)

    @property
    def columns(self) -> list[str]:
        """The published columns in their order."""
        ids = [
            name for column in self.id_columns for name in (column, self.name_columns.get(column)) if name is not None
        ]
        return [*ids, *self.measures]

    @property
    def segment(self) -> str:
        """Id column of the segment."""
        return self.id_columns[-1]

    def contract(self, words: Words) -> TableContract:
        """Contract of the board as it is published, before the column of its day."""
        return leaderboard_contract(
            self.level,
            id_columns=self.id_columns,
            name_columns=self.name_columns,
            with_spend=self.with_spend,
            words=words,
        )

    def counted(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows that count: all, or the first of each ``once_by`` in each segment.

        Args:
            rows: ``lead_id``, ``created_time``, the id columns and ``once_by``.
        """
        if self.once_by is None:
            return rows
        return rows.sort("created_time", "lead_id").unique(
            [*self.id_columns, self.once_by], keep="first", maintain_order=True
        )


CAMPAIGN_BOARD = LeaderboardSpec(
    level="campaign", id_columns=("campaign_id",), name_columns={"campaign_id": "campaign_name"}
)
ADSET_BOARD = LeaderboardSpec(
    level="adset",
    id_columns=("campaign_id", "adset_id"),
    name_columns={"campaign_id": "campaign_name", "adset_id": "adset_name"},
)
LEAD_BOARDS = (CAMPAIGN_BOARD, ADSET_BOARD)
OUTREACH_BOARDS = (
    LeaderboardSpec(
        level="campaign",
        id_columns=("campaign_id",),
        name_columns={"campaign_id": "campaign_name"},
        with_spend=False,
        once_by="enrollment_id",
    ),
    # Steps of several campaigns may share a template, so it has no parent but the account.
    LeaderboardSpec(level="template", id_columns=("template_id",), with_spend=False, once_by="enrollment_id"),
    LeaderboardSpec(
        level="step",
        id_columns=("campaign_id", "step_id"),
        name_columns={"campaign_id": "campaign_name", "step_id": "step_name"},
        with_spend=False,
        once_by="enrollment_id",
    ),
)
BOARDS = {"lead_ads": LEAD_BOARDS, "outreach": OUTREACH_BOARDS}
"""The boards of each problem, the widest level first."""


def leaderboard(
    predictions: pl.DataFrame,
    ads: pl.DataFrame | None,
    *,
    spec: LeaderboardSpec,
    names: pl.DataFrame | None = None,
    probability_column: str,
    value_spread: float,
    min_segment_leads: int,
    segment_error: float,
    size_errors: ValueIntervals | None = None,
) -> pl.DataFrame | None:
    """Sum expected value and spend by segment; ``segment_ranking.rank_segments`` orders what this returns.

    Args:
        predictions: ``lead_id``, the id columns, the probability and ``elv``; with ``once_by``, that column and
            ``created_time``, too.
        ads: daily ads rows of the same days with the id columns, the name columns and ``spend_micros``; None without
            an ads export, and for a problem without spend.
        spec: which board.
        names: the id columns that have names and those names, unique by these ids, such as the result of
            ``latest_names`` over more days, for segments that did not run on these; default: of ``ads``.
        probability_column: name of the probability.
        value_spread: standard deviation of the realised value of an outcome relative to its prediction; 0 where every
            outcome is worth the same.
        min_segment_leads: below this a segment is ``low_volume``.
        segment_error: relative error of the model's sums over such segments (``learning/segment_error.py``).
        size_errors: conformal errors by number of leads; the larger of the two counts from ``CONFORMAL_LEADS`` on,
            where there are groups enough to measure it.

    Returns:
        One row a segment: ids, names, ``lead_count, spend, predicted_elv, elv_low, elv_high`` (95 % interval of the
        value that will be realised: chance and the model's own error), ``elv_per_lead, mean_p, elv_per_spend`` with its
        interval, ``low_volume``, sorted by the ids; no column of spend where the board has none. Segments that spent
        without a lead are listed too; leads without an id form one row with a null id. None when no lead has the
        segment's id.
    """
    if predictions[spec.segment].null_count() == predictions.height:
        return None
    segments = _with_interval(
        _sums(spec.counted(predictions), by=spec.id_columns, probability_column=probability_column),
        spread=value_spread,
        segment_error=segment_error,
        size_errors=size_errors,
    )
    board = _with_spend(segments, ads, spec=spec, names=names) if spec.with_spend else _named(segments, names, spec)
    return _with_ratios(board, spec=spec, min_segment_leads=min_segment_leads)


def _sums(predictions: pl.DataFrame, *, by: tuple[str, ...], probability_column: str) -> pl.DataFrame:
    """Sum what a segment's leads bring, an outcome of a lead being worth elv / p.

    ``second`` and ``squares`` are the sums of p v^2 and (p v)^2, which make the variance by chance; ``everything`` is
    what the segment brings if every lead that can has its outcome.
    """
    p, elv = pl.col(probability_column), pl.col("elv")
    return predictions.group_by(list(by)).agg(
        pl.len().cast(pl.Int64).alias("lead_count"),
        # Sorted, because sums of floats depend on the order.
        expected=p.sort().sum(),
        predicted_elv=elv.sort().sum(),
        second=_per(elv**2, p).sort().sum(),
        squares=(elv**2).sort().sum(),
        everything=_per(elv, p).sort().sum(),
    )


def _with_interval(
    segments: pl.DataFrame, *, spread: float, segment_error: float, size_errors: ValueIntervals | None
) -> pl.DataFrame:
    low, high = sum_interval(
        _group_sums(segments, spread=spread),
        errors=_sum_errors(segments, segment_error, size_errors),
        confidence=CONFIDENCE,
    )
    # Where values are certain, no segment can bring more than all of its leads together. Rounded as the unit is.
    most = pl.col("everything").round_sig_figs(12) if spread == 0 else pl.lit(float("inf"))
    return segments.with_columns(
        elv_low=pl.Series(low, dtype=pl.Float64), elv_high=pl.min_horizontal(pl.Series(high, dtype=pl.Float64), most)
    ).drop("second", "squares", "everything")


def _per(value: pl.Expr, p: pl.Expr) -> pl.Expr:
    return pl.when(p > 0).then(value / p).otherwise(0.0)


def _group_sums(segments: pl.DataFrame, *, spread: float) -> GroupSums:
    expected, second, squares = (segments[name].to_numpy() for name in ("predicted_elv", "second", "squares"))
    second = second * (1 + spread**2)
    # Rounded, or a count at the very end of an interval would lie outside it by the last bits of a quotient.
    unit = (segments["second"] * (1 + spread**2) / segments["predicted_elv"]).round_sig_figs(12).fill_nan(1.0)
    return GroupSums(
        expected=expected, variance=second - squares, unit=unit.to_numpy(), observed=np.zeros(len(expected))
    )


def _sum_errors(
    segments: pl.DataFrame, segment_error: float, size_errors: ValueIntervals | None
) -> NDArray[np.float64]:
    """Relative error of each segment's sum."""
    errors = [
        max(segment_error, size_errors.error_for(leads)) if size_errors and leads >= CONFORMAL_LEADS else segment_error
        for leads in segments["lead_count"].to_list()
    ]
    return np.asarray(errors, dtype=np.float64)


def latest_names(ads: pl.DataFrame, *, spec: LeaderboardSpec) -> pl.DataFrame:
    """The newest name of each segment: id columns and name columns, unique by the ids."""
    return (
        ads.sort("day", *spec.names)  # names too: which of two names on one day wins must not depend on order
        .group_by(list(spec.id_columns))
        .agg(pl.col(name).last() for name in spec.names)
    )


def _named(segments: pl.DataFrame, names: pl.DataFrame | None, spec: LeaderboardSpec) -> pl.DataFrame:
    """Add the names; each name column by its own id, so that a level without a name does not keep its parent's away."""
    for column, name in spec.name_columns.items():
        known = None if names is None or name not in names.columns else names.select(column, name).unique()
        segments = (
            segments.with_columns(pl.lit(None, pl.String).alias(name))
            if known is None
            else segments.join(known.drop_nulls(), on=column, how="left", validate="m:1")
        )
    return segments


def _with_spend(
    segments: pl.DataFrame, ads: pl.DataFrame | None, *, spec: LeaderboardSpec, names: pl.DataFrame | None
) -> pl.DataFrame:
    keys = list(spec.id_columns)
    if ads is None:
        return segments.with_columns(
            *(pl.lit(None, pl.String).alias(name) for name in spec.names),
            pl.lit(None, pl.Float64).alias("spend"),
        )
    spent = (
        ads.group_by(keys)
        .agg(pl.col("spend_micros").sum())
        .with_columns(in_units(pl.col("spend_micros")).alias("spend"))
        .drop("spend_micros")
    )
    named = latest_names(ads, spec=spec) if names is None else names
    joined = segments.join(spent, on=keys, how="full", coalesce=True, nulls_equal=True, validate="1:1").join(
        named, on=keys, how="left", nulls_equal=True, validate="1:1"
    )
    return joined.with_columns(
        pl.col("lead_count").fill_null(0), *(pl.col(c).fill_null(0.0) for c in ("predicted_elv", "elv_low", "elv_high"))
    )


def _with_ratios(board: pl.DataFrame, *, spec: LeaderboardSpec, min_segment_leads: int) -> pl.DataFrame:
    def per(column: str, divisor: str) -> pl.Expr:
        return pl.when(pl.col(divisor) > 0).then(pl.col(column) / pl.col(divisor))

    known = spec.columns[: spec.columns.index("low_volume") + 1]
    of_spend = (
        ("elv_per_spend", "predicted_elv"),
        ("elv_per_spend_low", "elv_low"),
        ("elv_per_spend_high", "elv_high"),
    )
    return (
        board.with_columns(
            per("predicted_elv", "lead_count").alias("elv_per_lead"),
            per("expected", "lead_count").alias("mean_p"),
            *(per(column, "spend").alias(name) for name, column in of_spend if spec.with_spend),
            (pl.col("lead_count") < min_segment_leads).alias("low_volume"),
        )
        .select(known)
        .sort(spec.id_columns, nulls_last=True)
    )
