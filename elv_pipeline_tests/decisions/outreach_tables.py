"""Canonical tables of a synthetic organisation, and the same with everything planted that a moment cannot know.

Belongs here: what the tests of recommendations share. Does not belong here: assertions.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache

import polars as pl

from elv_pipeline.ingest.outreach_cleaning import clean_outreach
from elv_pipeline.synthetic.outreach.organisation import EXPORTS, Organisation, OutreachSpec, generate_outreach

TIME = pl.Datetime("us", "UTC")
Tables = Mapping[str, pl.DataFrame]


@lru_cache(maxsize=4)
def organisation(contacts: int = 300, days: int = 60) -> Organisation:
    """A small one by default; the default organisation has 6,000 contacts and 240 days."""
    return generate_outreach(OutreachSpec(contacts=contacts, days=days, personal_columns=False))


@lru_cache(maxsize=4)
def cleaned(contacts: int = 300, days: int = 60) -> Tables:
    """Its canonical tables."""
    made = organisation(contacts, days)
    sources = {name: getattr(made, name) for name in EXPORTS}
    return clean_outreach(sources, known_until=made.world.spec.end).tables


def shuffled(tables: Tables, seed: int = 3) -> Tables:
    """The same rows in another order."""
    return {name: table.sample(fraction=1.0, shuffle=True, seed=seed) for name, table in tables.items()}


def with_future(tables: Tables, moment: datetime) -> Tables:
    """Rows that a moment cannot know: of its future, and of its past that is recorded a second after it."""
    late, past, future = (
        _time(moment + timedelta(**{name: n})) for name, n in (("seconds", 1), ("days", -5), ("days", 2))
    )
    return {
        "contacts": _more(
            tables["contacts"],
            tables["contacts"].with_columns(
                recorded_time=late, source=pl.lit("planted"), qualification_status=pl.lit("customer")
            ),
        ),
        "campaigns": _more(
            tables["campaigns"],
            tables["campaigns"].with_columns("new-" + pl.col("campaign_id"), started_time=late),
        ),
        "campaign_steps": _more(
            tables["campaign_steps"],
            *(
                _other_version(tables["campaign_steps"], valid, recorded)
                for valid, recorded in ((past, late), (late, past))
            ),
            _other_version(tables["campaign_steps"], past, late).with_columns("new-" + pl.col("step_id")),
        ),
        "enrollments": _more(
            tables["enrollments"],
            tables["enrollments"].with_columns("new-" + pl.col("enrollment_id"), enrolled_time=future),
        ),
        "engagement_logs": _more(
            tables["engagement_logs"],
            *(
                _events(tables["engagement_logs"], event, happened, late if happened is past else happened)
                for event in ("sent", "called", "opened", "replied", "bounced", "opted_out")
                for happened in (past, future)
            ),
        ),
        "outcomes": _outcomes(tables, past=past, late=late, future=future),
    }


def _time(moment: datetime) -> pl.Expr:
    return pl.lit(moment).cast(TIME)


def _more(table: pl.DataFrame, *others: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([table, *(other.select(table.columns).cast(dict(table.schema)) for other in others)])


def _other_version(steps: pl.DataFrame, valid: pl.Expr, recorded: pl.Expr) -> pl.DataFrame:
    return steps.with_columns(
        position=pl.col("position") % 3 + 1,
        channel=pl.lit("letter"),
        template_id=pl.lit("planted"),
        template_text=pl.lit("Planted?"),
        wait_days=pl.lit(0.1),
        valid_from=valid,
        recorded_time=recorded,
    )


def _events(events: pl.DataFrame, name: str, happened: pl.Expr, recorded: pl.Expr) -> pl.DataFrame:
    reply = [pl.lit(None).alias(column) for column in events.columns if column.startswith("reply_")]
    return (
        events.unique(["enrollment_id", "step_id"])
        .with_columns(*reply, event=pl.lit(name), event_time=happened, recorded_time=recorded)
        .select(events.columns)
    )


def _outcomes(tables: Tables, *, past: pl.Expr, late: pl.Expr, future: pl.Expr) -> pl.DataFrame:
    known = tables["outcomes"]
    withdrawn = known.with_columns(
        withdrawn_time=pl.when(pl.col("withdrawn_time").is_null()).then(late).otherwise("withdrawn_time")
    )
    rows = tables["enrollments"].select("enrollment_id", outcome=pl.lit("booked_call"))
    nothing = {"withdrawn_time": pl.lit(None), "value_micros": pl.lit(1)}
    return _more(
        withdrawn,
        rows.with_columns(outcome_time=past, recorded_time=late, **nothing),
        rows.with_columns(outcome_time=future, recorded_time=future, **nothing),
    )
