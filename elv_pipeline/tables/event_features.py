"""Features of moments from the log of events, as known at each moment.

Belongs here: the tables that the declarations read, the events that each moment may know, and the feature table in
batches. Does not belong here: what is made of known events (``event_totals.py``), rates of elements
(``element_history.py``), when moments are (``moments.py``).

An event is known from when it had happened and had been recorded. A moment is joined with the events of its own
enrollment that were known by then, and every feature is an exact sum, minimum or maximum over those. The events of an
enrollment are few, so nothing is gained by sums over time, which could not take in events that are recorded late.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import polars as pl

from elv_pipeline.errors import ContractError
from elv_pipeline.problems.event_specs import ElementHistory, EventSpec, StepPosition
from elv_pipeline.tables.day_blocks import Columns, Compiled, feature_batches
from elv_pipeline.tables.element_history import ElementHistories, ObservedSpan
from elv_pipeline.tables.event_totals import PairFeatures, compile_pairs
from elv_pipeline.tables.moments import MOMENT_COLUMNS, SINCE, known_time, reaches, timetable, with_state
from elv_pipeline.tables.pair_chunks import facts_by, pair_chunks

_EVENT_ORDER = ("enrollment_id", "time", "known", "kind", "step_id")


@dataclass(frozen=True, kw_only=True)
class EventInputs:
    """What the features read; rows that no moment may know yet are allowed and never reached.

    Attributes:
        moments: the moments to compute features for, ``MOMENT_COLUMNS``. Their times may be any: a moment of an open
            enrollment with today's ``prediction_time`` gets the features of today.
        enrollments: those of the moments, and those whose elements' history counts.
        steps: versions of campaign steps.
        events: all events of the enrollments of the moments, and those of the history.
        outcomes: outcomes of the history, or None where none are configured.
        span: how far the records of events and outcomes reach.
    """

    moments: pl.LazyFrame
    enrollments: pl.LazyFrame
    steps: pl.LazyFrame
    events: pl.LazyFrame
    outcomes: pl.LazyFrame | None = None
    span: ObservedSpan = field(default_factory=ObservedSpan)


def event_features(inputs: EventInputs, *, specs: Sequence[EventSpec], timezone: str) -> Iterator[pl.DataFrame]:
    """Features of each moment from what was known then.

    Args:
        inputs: the tables.
        specs: the declarations; their columns have different names.
        timezone: zone of hours and weekdays.

    Yields:
        ``MOMENT_COLUMNS`` and then every declared column in order, one row a moment, all together in order of
        (day, prediction_time, moment_id); at least one frame, maybe without rows.

    Raises:
        ContractError: a moment stands more than once.
    """
    names = [column.name for spec in specs for column in spec.columns()]
    moments = _ordered(inputs.moments)
    for batch in feature_batches(moments, compiled_events(inputs, specs=specs, timezone=timezone)):
        yield batch.select(*MOMENT_COLUMNS, *names)


def compiled_events(inputs: EventInputs, *, specs: Sequence[EventSpec], timezone: str) -> list[Compiled]:
    """The declarations as pieces for ``feature_batches``: they compute block by block, from moments sorted by day."""
    own = [spec for spec in specs if not isinstance(spec, ElementHistory)]
    found: list[Compiled] = [CompiledEvents(inputs=inputs, pairs=compile_pairs(own), timezone=timezone)] if own else []
    histories = [spec for spec in specs if isinstance(spec, ElementHistory)]
    if histories:
        reached = reaches(inputs.enrollments, inputs.steps, inputs.events).collect(engine="streaming").lazy()
        found += [
            ElementHistories.of(
                reached, inputs.events, inputs.outcomes, spec=spec, moments=inputs.moments, span=inputs.span
            )
            for spec in histories
        ]
    return found


def _ordered(moments: pl.LazyFrame) -> pl.DataFrame:
    frame = moments.select(MOMENT_COLUMNS).sort("day", "prediction_time", "moment_id").collect(engine="streaming")
    if frame["moment_id"].n_unique() < frame.height:
        repeated = frame["moment_id"].filter(frame["moment_id"].is_duplicated()).sort()[0]
        raise ContractError(
            f"moments: {repeated} stands more than once; a moment has one row. "
            f"Make the moments anew from enrollments, campaign_steps and engagement_logs."
        )
    return frame.rechunk()


@dataclass(frozen=True, kw_only=True)
class CompiledEvents:
    """Everything that is made of a moment's own events."""

    inputs: EventInputs
    pairs: PairFeatures
    timezone: str

    def for_leads(self, leads: pl.DataFrame) -> Columns:
        """Read the events and campaigns that a block of moments can know; see ``Compiled``."""
        events = self._events(leads)
        sizes = facts_by("enrollment_id", facts=events)
        context = self._context(leads)

        def columns(part: pl.DataFrame) -> pl.DataFrame:
            rows = part.select("moment_id").join(
                context, on="moment_id", how="left", validate="1:1", maintain_order="left"
            )
            chunks = [self._of_chunk(chunk, events) for chunk in pair_chunks(rows, sizes, key="enrollment_id")]
            return pl.concat(chunks) if chunks else self._of_chunk(rows, events)

        return columns

    def _of_chunk(self, rows: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
        numbered = rows.with_row_index("row")
        pairs = (
            numbered.lazy()
            .select("row", "enrollment_id", "moment", pl.col("step_id").alias("moment_step"))
            .join(
                events.lazy().drop(self.pairs.properties_of_last), on="enrollment_id"
            )  # m:n: every moment of an enrollment with every event of it
            .filter(pl.col("known") <= pl.col("moment"))
            .with_columns((pl.col("moment") - pl.col("time")).alias("age"))
            .collect()
        )
        return self.pairs.columns(numbered, pairs, events)

    def _events(self, moments: pl.DataFrame) -> pl.DataFrame:
        """Events of the moments' enrollments of the kinds that matter, in an order that their content decides."""
        kinds = self.pairs.kinds
        latest = moments["prediction_time"].max()
        local = pl.col("event_time").dt.convert_time_zone(self.timezone)
        rows = (
            self.inputs.events.filter(pl.col("event").is_in(kinds.names))
            .with_columns(known_time().alias("known_time"))
            .filter(pl.col("known_time") <= pl.lit(latest, pl.Datetime("us", "UTC")))
            .join(moments.lazy().select("enrollment_id").unique(), on="enrollment_id", how="semi")
            .select(
                "enrollment_id",
                "step_id",
                kinds.number().alias("kind"),
                pl.col("event_time").dt.epoch("us").alias("time"),
                pl.col("known_time").dt.epoch("us").alias("known"),
                local.dt.hour().alias("hour"),
                local.dt.weekday().alias("weekday"),
                *self.pairs.properties,
            )
            .collect(engine="streaming")
        )
        return rows.sort(*_EVENT_ORDER, *self.pairs.properties).with_row_index("rank")

    def _context(self, moments: pl.DataFrame) -> pl.DataFrame:
        """What is known of each moment apart from events: its enrollment, and its campaign's steps at the time."""
        began = self.inputs.enrollments.select("enrollment_id", pl.col("enrolled_time").dt.epoch("us").alias("began"))
        rows = moments.lazy().select(
            "moment_id", "enrollment_id", "campaign_id", "step_id", "position", "prediction_time"
        )
        rows = rows.join(began, on="enrollment_id", how="left", validate="m:1")
        if any(isinstance(spec, StepPosition) for spec in self.pairs.specs):
            rows = _with_plan(rows, timetable(self.inputs.steps))
        moment = pl.col("prediction_time").dt.epoch("us").alias("moment")
        return rows.with_columns(moment).drop("prediction_time", "campaign_id").collect(engine="streaming")


def _with_plan(rows: pl.LazyFrame, states: pl.LazyFrame) -> pl.LazyFrame:
    """Add ``planned_days`` of the moment's step, ``steps_left`` and ``next_days``, as its campaign was known then."""
    state = ["campaign_id", SINCE]
    placed = with_state(rows, states)
    planned = states.select(*state, "step_id", pl.col("wait_days").alias("planned_days"))
    asked = placed.select(*state, pl.col("position").alias("here")).unique().drop_nulls(SINCE)
    behind = (
        asked.join(states, on=state, how="left")  # m:n: positions of a state with its steps
        .group_by(*state, "here")
        .agg(
            (pl.col("position") > pl.col("here")).sum().cast(pl.Int64).alias("steps_left"),
            pl.col("position").filter(pl.col("position") > pl.col("here")).min().alias("next_position"),
        )
    )
    waits = states.group_by(*state, "position").agg(pl.col("wait_days").min().alias("next_days"))
    behind = behind.join(
        waits, left_on=[*state, "next_position"], right_on=[*state, "position"], how="left", validate="m:1"
    )
    return placed.join(planned, on=[*state, "step_id"], how="left", validate="m:1").join(
        behind, left_on=[*state, "position"], right_on=[*state, "here"], how="left", validate="m:1"
    )
