"""Compiler of ``ElementHistory``: what campaigns, steps and templates had come to, known before each moment.

Belongs here: which earlier enrollments reached an element, and what of it counts as a success. Does not belong here:
maturity and counting (``outcome_history.py`` does both, of whatever it is given).

Every row given to the count is a fact whose time is known: the row counts from when it matured, its success from when
that was recorded as well. What is recorded later can therefore not change what an earlier moment sees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from elv_pipeline.problems.event_specs import EVENTS, ElementHistory, Success
from elv_pipeline.problems.feature_specs import Level, OutcomeHistory
from elv_pipeline.tables.day_blocks import Columns
from elv_pipeline.tables.moments import SENT_TIME, known_time
from elv_pipeline.tables.outcome_history import OutcomeHistories, OutcomeLog
from elv_pipeline.tables.prefix_sums import Codes, code_of

CAMPAIGN_KEY = "campaign_id"
_NEVER = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class ObservedSpan:
    """From when until when events and outcomes were recorded; None: without such an end."""

    observed_from: datetime | None = None
    observed_until: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class ElementHistories:
    """The rates of every level and success, for moments of any time that the reaches cover."""

    spec: ElementHistory
    codes: Mapping[str, Codes]
    counted: Mapping[tuple[str, str], OutcomeHistories]

    @classmethod
    def of(
        cls,
        reached: pl.LazyFrame,
        events: pl.LazyFrame,
        outcomes: pl.LazyFrame | None,
        *,
        spec: ElementHistory,
        moments: pl.LazyFrame,
        span: ObservedSpan,
    ) -> ElementHistories:
        """Count the reaches and what they came to.

        Args:
            reached: see ``moments.reaches``; those of the lookback and the longest window before any moment.
            events: ``enrollment_id, step_id, event, event_time, recorded_time``.
            outcomes: ``enrollment_id, outcome, outcome_time, recorded_time, withdrawn_time``; None where none are
                configured, which leaves their rates null.
            spec: the declaration.
            moments: the moments that will ask; ``prediction_time`` and the level keys.
            span: how far the records reach.
        """
        facts = reached.collect(engine="streaming").lazy()
        codes = {level.key: Codes.of([facts, moments], level.key) for level in spec.levels}
        base = _earliest(facts, moments)
        counted = {}
        for level in spec.levels:
            first = _first_reaches(facts, level)
            for success in spec.successes:
                rows = _with_success(first, facts, events, outcomes, level=level, success=success)
                known = success.table == EVENTS or outcomes is not None
                counted[level.name, success.name] = OutcomeHistories.of(
                    rows,
                    spec=OutcomeHistory(
                        levels=(level,), lookback_days=spec.lookback_days, prior_leads=spec.prior_enrollments
                    ),
                    levels=(level,),
                    codes=codes,
                    log=_log(success, span) if known else None,
                    base=base,
                )
        return cls(spec=spec, codes=codes, counted=counted)

    def for_leads(self, leads: pl.DataFrame) -> Columns:
        """The same for all moments: what the history holds does not depend on them."""
        return self.columns

    def columns(self, moments: pl.DataFrame) -> pl.DataFrame:
        """One column a feature, row by row for the moments: ``prediction_time`` and the keys of the levels."""
        asked = moments.select(
            pl.col("prediction_time").alias("created_time"),
            *(known.code(key).alias(code_of(key)) for key, known in self.codes.items()),
        )
        days, found = self.spec.lookback_days, list[pl.DataFrame]()
        for level in self.spec.levels:
            for place, success in enumerate(self.spec.successes):
                counts = self.counted[level.name, success.name].columns(asked)
                volume = pl.col(f"{level.name}_leads_{days}d").alias(f"{level.name}_reached_{days}d")
                rate = pl.col(f"{level.name}_qualified_rate_{days}d").alias(f"{level.name}_{success.name}_rate_{days}d")
                found.append(counts.select(rate) if place else counts.select(volume, rate))
        return pl.concat(found, how="horizontal")


def _log(success: Success, span: ObservedSpan) -> OutcomeLog:
    return OutcomeLog(
        window_days=success.window_days, observed_from=span.observed_from, observed_until=span.observed_until
    )


def _earliest(*tables: pl.LazyFrame) -> datetime:
    """A moment not later than any of the tables'."""
    firsts = pl.concat([table.select(pl.col("prediction_time").min()) for table in tables]).collect()
    found: datetime | None = firsts["prediction_time"].min()  # type: ignore[assignment]
    return found or _NEVER


def _first_reaches(reached: pl.LazyFrame, level: Level) -> pl.LazyFrame:
    """The first known reach of each element: ``enrollment_id``, the level's key, ``created_time`` and ``sent_time``."""
    rows = reached.filter((pl.col("position") == 0) if level.key == CAMPAIGN_KEY else pl.col(level.key).is_not_null())
    return (
        rows.select("enrollment_id", level.key, pl.col("prediction_time").alias("created_time"), SENT_TIME)
        .sort("enrollment_id", level.key, "created_time", SENT_TIME)
        .unique(["enrollment_id", level.key], keep="first", maintain_order=True)
    )


def _with_success(
    first: pl.LazyFrame,
    reached: pl.LazyFrame,
    events: pl.LazyFrame,
    outcomes: pl.LazyFrame | None,
    *,
    level: Level,
    success: Success,
) -> pl.LazyFrame:
    """First reaches with the columns that ``OutcomeHistories`` reads; of several successes the one recorded first."""
    own = ["enrollment_id", level.key]
    if success.table == EVENTS:
        found = _responses(events, reached, success=success, level=level)
        keys = own if level.key != CAMPAIGN_KEY else own[:1]
    elif outcomes is None:
        return _without_success(first)
    else:
        found, keys = _results(outcomes, success=success), own[:1]
    end = pl.col("created_time") + timedelta(days=success.window_days)
    pairs = first.join(found, on=keys)  # m:n: an enrollment reaches many elements and may come to much
    times = ["outcome_recorded_time", "outcome_time", "outcome_withdrawn_time"]
    inside = (
        pairs.filter(pl.col("outcome_time").is_between(SENT_TIME, end))
        .sort(*own, *times)
        .unique(own, keep="first", maintain_order=True)
        .select(*own, *times)
    )
    rows = first.join(inside, on=own, how="left", validate="1:1").with_columns(pl.lit(True).alias("outcome_observed"))
    return rows if success.table == EVENTS else _without_done(rows, pairs, own=own, end=end)


def _responses(events: pl.LazyFrame, reached: pl.LazyFrame, *, success: Success, level: Level) -> pl.LazyFrame:
    """Events of the kinds, with the step and template that they answer where the level is one of them."""
    found = events.filter(pl.col("event").is_in(success.kinds)).select(
        "enrollment_id",
        "step_id",
        pl.col("event_time").alias("outcome_time"),
        known_time().alias("outcome_recorded_time"),
        pl.lit(None, pl.Datetime("us", "UTC")).alias("outcome_withdrawn_time"),
    )
    if level.key == CAMPAIGN_KEY:
        return found
    steps = reached.filter(pl.col("position") > 0).select("enrollment_id", "step_id", "template_id")
    return found.join(steps, on=["enrollment_id", "step_id"], validate="m:1")


def _results(outcomes: pl.LazyFrame, *, success: Success) -> pl.LazyFrame:
    return outcomes.filter(pl.col("outcome").is_in(success.kinds)).select(
        "enrollment_id",
        "outcome_time",
        pl.max_horizontal("outcome_time", "recorded_time").alias("outcome_recorded_time"),
        pl.col("withdrawn_time").alias("outcome_withdrawn_time"),
    )


def _without_success(first: pl.LazyFrame) -> pl.LazyFrame:
    never = pl.lit(None, pl.Datetime("us", "UTC"))
    return first.with_columns(
        *(never.alias(f"outcome_{name}") for name in ("time", "recorded_time", "withdrawn_time")),
        pl.lit(False).alias("outcome_observed"),
    )


def _without_done(rows: pl.LazyFrame, pairs: pl.LazyFrame, *, own: Sequence[str], end: pl.Expr) -> pl.LazyFrame:
    """Enrollments whose outcome lay before the element do not count in its rate.

    Only if that was known when their window ended, which is before any rate can count them: a fact recorded later
    would take them out of rates that had been seen with them.
    """
    done = pairs.filter(
        (pl.col("outcome_time") < pl.col(SENT_TIME))
        & (pl.col("outcome_recorded_time") <= end)
        & (pl.col("outcome_withdrawn_time").fill_null(_NEVER) > end)
    )
    gone = done.select(*own, pl.lit(False).alias("counted")).unique()
    return rows.join(gone, on=list(own), how="left", validate="1:1").with_columns(
        pl.col("counted").fill_null(True).alias("outcome_observed")
    )
