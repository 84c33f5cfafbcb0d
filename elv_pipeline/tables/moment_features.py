"""The feature table of moments: every declaration of an outreach problem compiled into one plan.

Belongs here: assembling the compiled parts for moments. Does not belong here: the parts (``event_features.py``,
``known_attributes.py``), when moments are (``moments.py``), or reading and writing.

Its rows have the keys of every feature table: ``lead_id`` is the moment, ``created_time`` its prediction time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import get_args

import polars as pl

from elv_pipeline.ingest.parsing.names import normalised_name
from elv_pipeline.ingest.text_content import with_text_properties
from elv_pipeline.problems.contact_specs import ContactHistory
from elv_pipeline.problems.event_specs import EventSpec
from elv_pipeline.problems.feature_specs import Attribute, Calendar, KnownAttribute
from elv_pipeline.problems.spec import DataAtHand, ScoringProblem
from elv_pipeline.problems.step_specs import StepContent
from elv_pipeline.tables.calendar_parts import calendar_columns
from elv_pipeline.tables.contact_history import compiled_contact_history
from elv_pipeline.tables.day_blocks import Compiled, CompiledJoin, feature_batches
from elv_pipeline.tables.event_features import EventInputs, compiled_events
from elv_pipeline.tables.known_attributes import as_known

JOIN_METHOD = "enrollment"
"""How a moment is joined with its step, template and campaign: by its own enrollment."""
_EVENT_SPECS = get_args(EventSpec)


def keyed(moments: pl.LazyFrame) -> pl.LazyFrame:
    """Moments under the names of the core: with ``lead_id``, ``created_time`` and ``join_method``."""
    return moments.with_columns(
        pl.col("moment_id").alias("lead_id"),
        pl.col("prediction_time").alias("created_time"),
        pl.lit(JOIN_METHOD).alias("join_method"),
    )


def moment_features(
    inputs: EventInputs,
    *,
    contacts: pl.LazyFrame,
    problem: ScoringProblem,
    data: DataAtHand,
    timezone: str,
) -> Iterator[pl.DataFrame]:
    """Features of each moment from what was known then.

    Args:
        inputs: the tables of events, with the moments to compute features for.
        contacts: versions of contacts.
        problem: the declarations.
        data: which parts exist.
        timezone: zone of local times.

    Yields:
        ``problem.key_columns``, then every declared column in order, in order of (day, created_time, lead_id); at least
        one frame, maybe without rows.
    """
    names = [column.name for column in problem.feature_columns(data, lag_days=0)]
    ordered = keyed(inputs.moments).sort("day", "created_time", "lead_id").collect(engine="streaming").rechunk()
    compiled = _compiled(inputs, contacts, problem=problem, timezone=timezone)
    own = _own_columns(problem, timezone=timezone)
    for batch in feature_batches(ordered, compiled):
        yield batch.with_columns(own).select(*problem.key_columns, *names)


def _compiled(
    inputs: EventInputs, contacts: pl.LazyFrame, *, problem: ScoringProblem, timezone: str
) -> Sequence[Compiled]:
    events = [feature for feature in problem.features if isinstance(feature, _EVENT_SPECS)]
    histories = [feature for feature in problem.features if isinstance(feature, ContactHistory)]
    found = [
        *compiled_events(inputs, specs=events, timezone=timezone),
        *compiled_contact_history(inputs, specs=histories),
    ]
    tables = {"contacts": contacts, "campaign_steps": inputs.steps}
    for feature in problem.features:
        if isinstance(feature, KnownAttribute):
            found.append(CompiledJoin(partial(_attribute, tables[feature.table], feature)))
        elif isinstance(feature, StepContent):
            found.append(CompiledJoin(partial(_content, inputs.steps, feature)))
    return found


def _own_columns(problem: ScoringProblem, *, timezone: str) -> list[pl.Expr]:
    """Columns that need nothing but the moment itself."""
    columns: list[pl.Expr] = []
    for feature in problem.features:
        if isinstance(feature, Calendar):
            columns += calendar_columns(feature, timezone)
        elif isinstance(feature, Attribute):
            columns.append(pl.col(feature.column).alias(f"category_{feature.column}"))
    return columns


def _versions(table: pl.LazyFrame) -> pl.LazyFrame:
    """The table with the two times by which ``as_known`` chooses a version."""
    names = table.collect_schema().names()
    since = pl.col("valid_from") if "valid_from" in names else pl.lit(None, pl.Datetime("us", "UTC"))
    return table.with_columns(since.alias("valid_from"), pl.col("recorded_time").alias("recorded_at"))


def _attribute(table: pl.LazyFrame, feature: KnownAttribute, moments: pl.LazyFrame) -> pl.LazyFrame:
    known = as_known(moments, _versions(table), key=feature.key, column=feature.column)
    return known.select("lead_id", normalised_name(pl.col(feature.column)).alias(f"category_{feature.column}"))


def _content(steps: pl.LazyFrame, feature: StepContent, moments: pl.LazyFrame) -> pl.LazyFrame:
    """What the text of each moment's step was like; every distinct text is read once."""
    known = as_known(moments, _versions(steps), key="step_id", column="template_text").collect(engine="streaming")
    read = with_text_properties(known, text="template_text", prefix="step")
    buckets = [
        (pl.col("step_tokens").list.eval(pl.element() % feature.token_buckets).list.contains(bucket))
        .cast(pl.Int64)
        .alias(f"step_token_{bucket:02d}")
        for bucket in range(feature.token_buckets)
    ]
    named = [f"step_{name}" for name in ("characters", "words", "questions", "sentiment")]
    return read.lazy().select("lead_id", *named, *buckets)
